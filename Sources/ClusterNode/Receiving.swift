// One authenticated datagram. Membership first: only what is newest of a believed boot speaks for its sender. Then what the
// sender let go and what it claims, of each VIP the newest word; last what it heard of the others.

import Election
import Membership
import Primitives
import Wire

extension NodeCore {
  /// The reason, if the datagram was dropped.
  mutating func receive(
    _ datagram: Datagram, over arrival: Arrival, receivedAt stamped: Instant, now: Instant, effects: inout EffectBuffer
  ) -> DropReason? {
    guard !hasExited else { return nil }
    let receivedAt = min(stamped, now)
    guard let slot = memberSlots.slot(of: datagram.header.sender) else { return .unknownSender }
    let sender = MemberIndex(slot)
    if sender == selfIndex { return .ownName }
    noteWake(now: now, effects: &effects)
    isReading = true

    if let reason = datagram.resign {
      guard
        members.resign(datagram.header.boot, sequence: datagram.header.sequence, from: sender)
          || faults.contains(.resignOfAnyBoot)
      else {
        return .unconfirmedBoot
      }
      // A node that leaves names its last successors in the same datagram.
      takeReleases(datagram, from: sender, receivedAt: receivedAt)
      memberEnded(
        sender, cause: reason == .left ? .holderLeft(sender) : .holderResigned(sender), now: now, effects: &effects)
      finish(now: now, effects: &effects)
      return nil
    }

    let digestBefore = members[sender].configurationDigest
    let wasHeard = members.isHeardDirectly(sender, now: receivedAt)
    let acknowledged = members[sender].acknowledgedAt
    var hearing = Self.hearing(datagram, own: members[selfIndex].nameHash, bootFold: boot.fold)
    if faults.contains(.ownIntervalForAll) { (hearing.interval, hearing.detection) = (interval, detectionTime) }
    let isNext = members.isNext(hearing, from: sender)
    let heard = members.hear(
      hearing, from: sender, over: arrival, receivedAt: receivedAt, now: now,
      believeAnyBoot: faults.contains(.unconfirmedBootBelieved))
    switch heard {
    case .replayed: return .replayed
    case .duplicate: return nil
    case .unconfirmed:
      noteUnconfirmed(datagram, hearing, receivedAt: receivedAt)
      return .unconfirmedBoot
    case .accepted(let newest, let newBoot, let revived, let deafened):
      if !isEchoed, let sentAt = members[sender].acknowledgedAt {
        noteEchoed(of: sentAt, patience: members[sender].patience, now: now)
      }
      if newBoot { rebooted(sender, now: now) }
      if deafened { speakSoon(now: now) }
      if revived {
        becameAlive(sender, now: now, effects: &effects)
      } else if newest {
        // Others heard it all the time, not this node: it may have held and announced anything.
        if !wasHeard { announceAllAgain(now: now, unlessUnderWay: true) }
        // It may have VIPs now of which it did not listen to what was told before.
        if members[sender].configurationDigest != digestBefore { tellEverything(now: now) }
      }
      // It may have given this node up for a moment, and forgotten what it claims.
      if let sentAt = members[sender].acknowledgedAt, sentAt - (acknowledged ?? sentAt) >= detectionTime {
        tellEverything(now: now)
      }
      let came = newest ? receivedAt : members.arrival(ofOvertaken: hearing, from: sender, receivedAt: receivedAt)
      // What waited longer than a detection time is evidence of nothing new, nor is what is older than what others heard of a
      // boot that has ended since: but to a node that slept it says who took over.
      let isFresh = members.isAlive(sender) && now - came <= members[sender].patience
      if isFresh || doubt?.isReading == true {
        take(datagram, from: sender, receivedAt: came, isNext: isNext, now: now, effects: &effects)
      }
    }
    finish(now: now, effects: &effects)
    return nil
  }

  /// Static, because the compiler copies the whole core for a call that only reads it here.
  private static func hearing(_ datagram: Datagram, own: UInt64, bootFold: UInt64) -> Hearing {
    let header = datagram.header
    var echo: Echo?
    for position in 0..<datagram.peers.count {
      let report = datagram.peers[position]
      guard report.peer == own, report.bootFold == bootFold else { continue }
      echo = Echo(
        sequence: report.lastSequence, age: .microseconds(Int64(report.ageMicroseconds)), loss: report.loss,
        multicastPaths: report.multicastPaths)
      break
    }
    return Hearing(
      boot: header.boot, sequence: header.sequence, sentAt: Instant(nanoseconds: max(0, header.sendTimeNanoseconds)),
      echo: echo,
      interval: .microseconds(Int64(header.intervalMicroseconds)),
      detection: .microseconds(Int64(header.detectionMicroseconds)), starting: header.flags.contains(.starting),
      draining: header.flags.contains(.draining), configurationDigest: header.configurationDigest,
      intentsDigest: header.intentsDigest)
  }

  /// - Parameter isNext: as `MemberTable.isNext` said.
  private mutating func take(
    _ datagram: Datagram, from sender: MemberIndex, receivedAt: Instant, isNext: Bool, now: Instant,
    effects: inout EffectBuffer
  ) {
    if !heardAnyone {
      heardAnyone = true
      listenUntil = max(listeningSince + longestDetection, now + max(detectionTime, members[sender].patience))
    }
    if datagram.softwareVersion.count > 0 { versionsHeard[sender.value].set(datagram.softwareVersion) }
    takeReleases(datagram, from: sender, receivedAt: receivedAt)
    takeVIPs(datagram, from: sender, receivedAt: receivedAt, isNext: isNext, now: now, effects: &effects)
    withdrawUntold(sender, receivedAt: receivedAt, now: now, effects: &effects)
    if members.hearsUs(sender, now: now), !faults.contains(.ownEvidenceOnly) {
      takeReports(datagram, from: sender, receivedAt: receivedAt, now: now, effects: &effects)
    }
  }

  private mutating func takeReleases(_ datagram: Datagram, from sender: MemberIndex, receivedAt: Instant) {
    for position in 0..<datagram.releases.count {
      let notice = datagram.releases[position]
      guard let slot = vipSlots.slot(of: notice.vip),
        candidacies.release(
          VIPIndex(slot), by: sender, serial: notice.serial, in: datagram.header.sequence, at: receivedAt)
      else { continue }
      _ = stopAwaiting(slot, sender)
      if vips[slot].isClaimed {
        announceAgain(slot, now: receivedAt)
        continue
      }
      // Who yields names the holder that it has heard. What that holder plans for the VIP since then counts.
      evaluateAllWanted = true
      if notice.cause == .unsaid, vips[slot].claim.isPromised(toOtherThan: sender, now: receivedAt) { continue }
      let successor = memberSlots.slot(of: notice.successor).map { MemberIndex($0) }
      // Nor does what a second holder has planned, or a yield that crosses the plan, give it back to who has just handed it on.
      if successor == selfIndex, vips[slot].claim.isPromised(by: selfIndex, now: receivedAt),
        notice.cause == .unsaid || vips[slot].claim.reservedFor != sender
      {
        continue
      }
      vips[slot].keeper = notice.keepsConnections && successor == selfIndex ? sender : nil
      // Who takes it in the successor's stead does so because it was let go, not because it was planned. The giver's detection
      // time counts for all, itself included.
      vips[slot].claim.reserve(
        for: successor, cause: receivedCause(notice.cause, from: sender), otherwise: .holderReleased(sender),
        until: receivedAt + members[sender].detection, now: receivedAt)
    }
  }

  private func receivedCause(_ cause: ReleaseNotice.Cause, from sender: MemberIndex) -> TransitionCause {
    switch cause {
    case .unsaid: .holderReleased(sender)
    case .moved: .moved(sender)
    case .draining: .drained(sender)
    case .failback: .failback(sender)
    case .shutdown: .shutdown(sender)
    case .ineligible: .becameIneligible(sender)
    }
  }

  private mutating func takeVIPs(
    _ datagram: Datagram, from sender: MemberIndex, receivedAt: Instant, isNext: Bool, now: Instant,
    effects: inout EffectBuffer
  ) {
    let sequence = datagram.header.sequence
    for position in 0..<datagram.vips.count {
      let report = datagram.vips[position]
      guard let slot = vipSlots.slot(of: report.vip), candidacies[VIPIndex(slot), sender].toldIn <= sequence else {
        continue
      }
      if report.isUnconfigured, faults.contains(.untoldClaimsCount) { continue }
      let vip = VIPIndex(slot)
      var priority = report.priority
      if faults.contains(.orderFromOwnConfiguration) { priority = configuredPriority(vip, sender) }
      let place: VIPPosition =
        switch report.role {
        case .idle: .idle
        case .candidate: .candidate
        case .holder: .holder
        }
      // Nobody can have taken it before this node had been silent for long enough.
      if doubt?.isReading == true, vips[slot].isClaimed, receivedAt >= (lastSendAt ?? receivedAt) + gateSpan / 2,
        place == .holder || report.holder != 0 && report.holder != StableHash.fold(members[selfIndex].nameHash)
      {
        vips[slot].wasTakenMeanwhile = true
      }
      let held = candidacies[vip, sender].position == .holder
      let before = candidacies[vip, sender].holderHeard
      let isAwaited = stopAwaiting(slot, sender)
      candidacies.note(
        vip, of: sender, passesUnknown: report.passesUnknown, isUnconfigured: report.isUnconfigured,
        holderHeard: faults.contains(.hearsayIgnored) ? 0 : report.holder, in: sequence,
        at: receivedAt)
      guard
        candidacies.announce(vip, by: sender, priority: priority, position: place, eligible: report.eligible, now: now)
      else {
        if isAwaited || before != 0 && report.holder != before { step(vip, now: now, effects: &effects) }
        continue
      }
      if report.isUnconfigured { vips[slot].claim.memberEnded(sender, now: now) }
      if place == .holder, !held {
        supersede(vip, by: sender, now: now)
        if vips[slot].isClaimed { tellRival(slot, now: now) }
      }
      if held, place != .holder, !vips[slot].isClaimed, VIPClaim.holder(vip, members, candidacies) == nil {
        // The datagram that was overtaken, or lost, may say who is to have it.
        vips[slot].claim.vacate(cause: .holderReleased(sender), now: isNext ? now : now + interval / 2)
      }
      step(vip, now: now, effects: &effects)
    }
  }

  /// Who claims what this node holds may have forgotten that, and must hear it before the slot's turn comes: both answer until
  /// one yields.
  private mutating func tellRival(_ slot: Int, now: Instant) {
    vips[slot].urgentRepeats = max(vips[slot].urgentRepeats, ElectionLimits.newcomerRepeats)
    hasNews = true
    speakSoon(now: now)
  }

  /// `sender` holds it now: what others said who have not been heard since is old.
  private mutating func supersede(_ vip: VIPIndex, by sender: MemberIndex, now: Instant) {
    for slot in 0..<memberCount {
      let other = MemberIndex(slot)
      guard other != sender, other != selfIndex, candidacies[vip, other].position == .holder,
        !members.isHeardDirectly(other, now: now)
      else { continue }
      candidacies.supersede(vip, of: other)
    }
  }

  /// A member whose configuration lost a VIP says so; who missed that finds it by its silence.
  private mutating func withdrawUntold(
    _ sender: MemberIndex, receivedAt: Instant, now: Instant, effects: inout EffectBuffer
  ) {
    let span = ElectionLimits.untoldHeartbeats
    heardOf[sender.value].count += 1
    let since = heardOf[sender.value].since
    guard heardOf[sender.value].count >= span, receivedAt - since >= members[sender].interval * Int64(span) else {
      return
    }
    heardOf[sender.value] = (0, receivedAt)
    guard !faults.contains(.untoldClaimsCount) else { return }
    for slot in 0..<vipCount where vips[slot].isConfigured {
      let vip = VIPIndex(slot)
      guard candidacies[vip, sender].isKnown, candidacies[vip, sender].toldAt < since else { continue }
      let held = candidacies[vip, sender].position == .holder
      candidacies.withdraw(vip, by: sender, at: now)
      vips[slot].claim.memberEnded(sender, now: now)
      if held, !vips[slot].isClaimed, VIPClaim.holder(vip, members, candidacies) == nil {
        vips[slot].claim.vacate(cause: .holderReleased(sender), now: now)
      }
      step(vip, now: now, effects: &effects)
    }
  }

  private mutating func takeReports(
    _ datagram: Datagram, from sender: MemberIndex, receivedAt: Instant, now: Instant, effects: inout EffectBuffer
  ) {
    for position in 0..<datagram.peers.count {
      let report = datagram.peers[position]
      guard let slot = memberSlots.slot(of: report.peer) else { continue }
      let member = MemberIndex(slot)
      noteLink(report, of: member, from: sender, receivedAt: receivedAt)
      guard member != sender, member != selfIndex else { continue }
      // The next report comes when the next heartbeat of the member has come to the sender, and the sender's own here.
      let told = position < datagram.patiences.count ? datagram.patiences[position].microseconds : 0
      let patience = max(
        members[sender].patience, told == 0 ? members[member].patience : .microseconds(Int64(told)))
      let revived = members.report(
        of: member, bootFold: report.bootFold, sequence: report.lastSequence,
        age: .microseconds(Int64(report.ageMicroseconds)), patience: patience, receivedAt: receivedAt, now: now)
      if revived { becameAlive(member, now: now, effects: &effects) }
    }
  }

  private mutating func noteLink(
    _ report: PeerReport, of member: MemberIndex, from sender: MemberIndex, receivedAt: Instant
  ) {
    // What was heard of an earlier life is no link of now.
    let boot = member == selfIndex ? boot : members[member].boot
    guard report.bootFold == boot.fold else { return }
    var link = LinkView()
    link.heardAt = receivedAt - .microseconds(Int64(report.ageMicroseconds))
    link.loss = report.loss
    link.roundTrip = report.roundTrip == 0 ? nil : .microseconds(Int64(report.roundTrip) * 10)
    links[sender, member] = link
  }

  // MARK: Members come and go

  private mutating func rebooted(_ member: MemberIndex, now: Instant) {
    for slot in 0..<vipCount where vips[slot].isConfigured && !vips[slot].isClaimed {
      _ = stopAwaiting(slot, member)
      if candidacies[VIPIndex(slot), member].position == .holder {
        candidacies.clearPosition(VIPIndex(slot), of: member, now: now)
        if VIPClaim.holder(VIPIndex(slot), members, candidacies) == nil {
          vips[slot].claim.vacate(cause: .holderDead(member), now: now)
        }
      }
    }
    candidacies.forget(member: member)
    doubt?.hasNewcomer = true
    evaluateAllWanted = true
  }

  private mutating func becameAlive(_ member: MemberIndex, now: Instant, effects: inout EffectBuffer) {
    effects.append(.event(NodeEvent(.memberAlive(member))))
    evaluateAllWanted = true
    awaitClaims(of: member, now: now)
    tellEverything(now: now)
    announceAllAgain(now: now)
  }

  /// It fell silent for this node only, or for too short a time to notice: what it held it may hold still, and it tells of each
  /// VIP in turn. Nothing of that is taken before it has, or has had the time to tell twice.
  private mutating func awaitClaims(of member: MemberIndex, now: Instant) {
    let until = now + members[member].interval * Int64(2 * Telling.heartbeatsPerRound)
    for slot in 0..<vipCount where candidacies[VIPIndex(slot), member].endedBySilence && !vips[slot].isClaimed {
      guard VIPClaim.holder(VIPIndex(slot), members, candidacies) == nil else { continue }
      vips[slot].unheardUntil = max(vips[slot].unheardUntil ?? until, until)
      noteStep(slot)
    }
  }

  /// True if nothing was decided about the VIP until the member tells of it, and no other is waited for.
  private mutating func stopAwaiting(_ slot: Int, _ member: MemberIndex) -> Bool {
    let vip = VIPIndex(slot)
    guard candidacies[vip, member].endedBySilence, vips[slot].unheardUntil != nil else { return false }
    for other in 0..<memberCount
    where MemberIndex(other) != member && candidacies[vip, MemberIndex(other)].endedBySilence {
      if members.isAlive(MemberIndex(other)) { return false }
    }
    vips[slot].unheardUntil = nil
    return true
  }

  /// Whoever comes back may bring neighbours with it whose caches name another holder.
  private mutating func announceAllAgain(now: Instant, unlessUnderWay: Bool = false) {
    for slot in 0..<vipCount where !(unlessUnderWay && vips[slot].announcements.isBursting) {
      announceAgain(slot, now: now)
    }
  }

  /// Somebody else may have announced it since this node did.
  private mutating func announceAgain(_ slot: Int, now: Instant) {
    guard vips[slot].announcements.next != .distantFuture, !faults.contains(.noAnnouncementAfterHeal) else { return }
    vips[slot].announcements.startBurst(now: now)
    noteStep(slot)
  }

  /// A member knows nothing of what was told before it came: all VIPs are news to it, and it may act soon.
  mutating func tellEverything(now: Instant) {
    for slot in 0..<vipCount where vips[slot].isConfigured {
      vips[slot].urgentRepeats = max(vips[slot].urgentRepeats, ElectionLimits.newcomerRepeats)
    }
    hasNews = true
    speakSoon(now: now)
  }

  /// A member is gone: by the clock, by its guardian's word, or by its own.
  mutating func memberEnded(_ member: MemberIndex, cause: TransitionCause, now: Instant, effects: inout EffectBuffer) {
    let silence = now - members[member].evidenceAt
    effects.append(.event(NodeEvent(.memberDead(member), cause: cause, elapsed: silence)))
    for slot in 0..<vipCount where vips[slot].isConfigured {
      let vip = VIPIndex(slot)
      let held = candidacies[vip, member].position == .holder
      _ = stopAwaiting(slot, member)
      vips[slot].claim.memberEnded(member, now: now)
      candidacies.clearPosition(vip, of: member, now: now)
      if held, case .holderDead = cause { candidacies.endBySilence(vip, of: member) }
      if held, !vips[slot].isClaimed, VIPClaim.holder(vip, members, candidacies) == nil {
        vips[slot].claim.vacate(cause: cause, now: now)
      }
    }
    evaluateAllWanted = true
  }

  private func configuredPriority(_ vip: VIPIndex, _ member: MemberIndex) -> UInt16 {
    guard let name = memberName(member), let vipName = vipName(vip) else { return 0 }
    let prefer = configuration.vips.first { $0.name == vipName }?.prefer
    return Preference.priority(vip: vipName, node: name, prefer: prefer)
  }
}
