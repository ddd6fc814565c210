// Numbers into words: the node's status and events as the agent and its users see them.

import ClusterNode
import Control
import Election
import Kernel
import Membership
import Primitives
import Wire

extension Hands {
  /// Sends the picture that the heartbeat thread has offered.
  func reportStatus() {
    let picture = shared.status
    let takenAt = picture.snapshot.takenAt
    let unixAtTaking = Clock.unixNanoseconds - (Clock.monotonic - takenAt).nanoseconds
    reportLinksIfDue(picture.snapshot)
    var vips: [VIPStatus] = []
    for (slot, configuration) in names.vips.enumerated() {
      guard let configuration, picture.snapshot.vips[slot].isConfigured else { continue }
      let view = picture.snapshot.vips[slot]
      vips.append(
        VIPStatus(
          name: configuration.name, holder: view.holder.flatMap { names.members[$0.value] },
          role: VIPRole(view.position),
          // What this node has not heard itself began it does not know when.
          sinceUnixNanoseconds: view.toldBy == nil
            ? view.since.map { unixAtTaking - (takenAt - $0).nanoseconds } ?? 0 : 0,
          cause: causeOfHolder(view, vip: slot), ineligible: view.ineligible.map { words($0, vip: slot) },
          eligible: names.members.enumerated().compactMap { (slot, name) in
            view.eligibleMembers >> UInt64(slot) & 1 == 1 ? name : nil
          }.sorted(), claimedBy: claimant(of: slot, now: takenAt),
          toldBy: view.toldBy.flatMap { names.members[$0.value] }))
    }
    var members: [MemberStatus] = []
    var pathNews = PathNews()
    for (slot, name) in names.members.enumerated() {
      guard let name, picture.snapshot.members[slot].isConfigured else { continue }
      let view = picture.snapshot.members[slot]
      members.append(
        MemberStatus(
          name: name, state: .init(view.state), draining: view.draining, roundTrip: view.roundTrip,
          lossIn: view.lossIn.map { Double($0) / 255 }, lossOut: view.lossOut.map { Double($0) / 255 },
          lastHeardAgo: view.lastHeard.map { takenAt - $0 }, configurationDigest: view.configurationDigest,
          intentsDigest: view.intentsDigest,
          softwareVersion: view.isSelf ? SoftwareVersion.text : reporter.softwareVersions[slot],
          detectionTime: view.isSelf ? view.detectionTime : view.patience,
          paths: paths(of: slot, picture.snapshot, &pathNews)))
    }
    tell(pathNews, at: takenAt)
    var dropped: [String: UInt64] = [:]
    for reason in DropReason.allCases where reason != .ownName && picture.dropped[reason.rawValue] > 0 {
      dropped[reason.words] = picture.dropped[reason.rawValue]
    }
    reporter.report(
      .status(
        ElectorStatus(
          vips: vips.sorted { $0.name < $1.name }, members: members.sorted { $0.name < $1.name }, dropped: dropped,
          worstStall: picture.snapshot.worstStall, detectionTime: picture.snapshot.detectionTime,
          warnings: reporter.allWarnings(picture.shell) + detectionWarning(picture.snapshot))))
  }

  /// Why peers wait longer for this node than the configuration says.
  private func detectionWarning(_ snapshot: StatusSnapshot) -> [String] {
    guard snapshot.detectionTime > snapshot.configuredDetectionTime else { return [] }
    func milliseconds(_ span: TimeSpan) -> String { "\(span.nanoseconds / 1_000_000) ms" }
    return [
      "detection time \(milliseconds(snapshot.detectionTime)) instead of "
        + "\(milliseconds(snapshot.configuredDetectionTime)): this host kept the elector from running for "
        + "up to \(milliseconds(snapshot.lateness)) lately"
    ]
  }

  private func causeOfHolder(_ view: VIPView, vip slot: Int) -> String {
    guard let holder = view.holder, let witness = view.toldBy else { return words(view.cause, vip: slot) }
    return "\(names.member(holder)) holds it, as \(names.member(witness)) says (not heard here)"
  }

  private func words(_ cause: TransitionCause, vip slot: Int) -> String {
    switch cause {
    case .addressFailed: addressFaults[slot] ?? cause.words(names.member)
    case .becameIneligible(let member) where names.members[member.value] == plan.configuration.node:
      missing(slot).map { "this node may not hold it any more: \($0)" } ?? cause.words(names.member)
    default: cause.words(names.member)
    }
  }

  /// What the agent says that a VIP misses here.
  private func missing(_ slot: Int) -> String? {
    guard let standing = names.vips[slot].flatMap({ standings[$0.name] }), !standing.eligible else { return nil }
    return standing.cause
  }

  private func words(_ ineligibility: Ineligibility, vip slot: Int) -> String {
    switch ineligibility {
    case .addressFailed: addressFaults[slot] ?? ineligibility.words
    case .requirementsUnmet: missing(slot) ?? ineligibility.words
    case .noCarrier:
      names.vips[slot].flatMap { interfaces[$0.interface] == nil ? "there is no interface \($0.interface)" : nil }
        ?? ineligibility.words
    default: ineligibility.words
    }
  }

  func report(_ event: NodeEvent, at: Instant) {
    switch event.kind {
    case .vipGained(let vip):
      // Told once it is announced, with the time that took.
      finishGain(vip, announcedAt: nil)
      gains[vip.value] = (event, at)
    case .vipLost(let vip):
      finishGain(vip, announcedAt: nil)
      vipEvent(.vipLost, vip, event, at: at)
    case .vipAddressFailed(let vip):
      finishGain(vip, announcedAt: nil)
      vipEvent(.vipAddressFailed, vip, event, at: at)
    case .handoverDone(let vip, let member):
      tell(
        .handoverDone, subject: names.vip(vip), cause: "\(names.member(member)) has it", at: at,
        steps: ["swap": event.elapsed.nanoseconds])
    case .vipHeldBy: break  // seen in every status
    case .memberAlive(let member): tell(.memberAlive, subject: names.member(member), cause: "heard", at: at, steps: [:])
    case .memberDead(let member):
      stopPassing(to: member)
      tell(
        .memberDead, subject: names.member(member),
        cause: event.cause == .none ? "fell silent" : event.cause.words(names.member), at: at,
        steps: event.elapsed > .zero ? ["detect": event.elapsed.nanoseconds] : [:])
    case .woke: woke(by: event.elapsed, at: at)
    }
  }

  /// On a busy host late wake-ups come in swarms: at most one event a second, with how many it stands for.
  private func woke(by lateness: TimeSpan, at: Instant) {
    stalls.count += 1
    stalls.worst = max(stalls.worst, lateness)
    guard at - stalls.toldAt >= .seconds(1) else { return }
    let milliseconds = Double(stalls.worst.nanoseconds / 10_000) / 100
    let cause =
      stalls.count == 1
      ? "this node woke \(milliseconds) ms late"
      : "this node woke late \(stalls.count) times, at the worst \(milliseconds) ms"
    tell(
      .warning, subject: plan.configuration.node.text, cause: cause, at: at, steps: ["stall": stalls.worst.nanoseconds])
    stalls = (0, .zero, at)
  }

  /// Reports a gain that is waiting for its announcement, with its steps: `detect` is the holder's silence up to the
  /// decision, `decide` the time from the wake-up that decided until the hands began, `activate` from there until the
  /// first announcement had left.
  func finishGain(_ vip: VIPIndex, announcedAt: Instant?) {
    guard let gain = gains[vip.value] else { return }
    gains[vip.value] = nil
    var steps: [String: Int64] = [:]
    if gain.event.elapsed > .zero { steps["detect"] = gain.event.elapsed.nanoseconds }
    if let announcedAt, let began = acquiringSince[vip.value] {
      steps["decide"] = max(0, (began - gain.at).nanoseconds)
      steps["activate"] = (announcedAt - began).nanoseconds
    }
    tell(
      .vipGained, subject: names.vip(vip), cause: words(gain.event.cause, vip: vip.value), at: gain.at, steps: steps)
  }

  private func vipEvent(_ kind: ElectorEvent.Kind, _ vip: VIPIndex, _ event: NodeEvent, at: Instant) {
    var cause = words(event.cause, vip: vip.value)
    if kind == .vipAddressFailed { cause = addressFaults[vip.value] ?? cause }
    tell(kind, subject: names.vip(vip), cause: cause, at: at, steps: [:])
  }

  func tell(
    _ kind: ElectorEvent.Kind, subject: String, cause: String, at: Instant, steps: [String: Int64] = [:]
  ) {
    let unix = Clock.unixNanoseconds - (Clock.monotonic - at).nanoseconds
    reporter.report(
      .event(ElectorEvent(kind: kind, subject: subject, cause: cause, unixNanoseconds: unix, steps: steps)))
  }
}

extension VIPRole {
  fileprivate init(_ position: VIPPosition) {
    switch position {
    case .idle: self = .idle
    case .candidate: self = .candidate
    case .holder: self = .holder
    }
  }
}

extension MemberStatus.State {
  fileprivate init(_ state: MemberView.State) {
    switch state {
    case .unheard, .dead: self = .dead
    case .starting: self = .starting
    case .alive: self = .alive
    case .suspect: self = .suspect
    }
  }
}
