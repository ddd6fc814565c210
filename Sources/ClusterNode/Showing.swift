// The node as `status` shows it, copied into storage that the caller keeps.

import Election
import Membership
import Primitives

extension NodeCore {
  func snapshot(into status: inout StatusSnapshot, now: Instant) {
    status.takenAt = now
    status.worstStall = stall.worst
    status.detectionTime = detectionTime
    status.configuredDetectionTime = members.configuredDetection
    status.lateness = ownLateness.value(now: now)
    status.nextSequence = nextSequence
    for slot in 0..<MemberIndex.limit { status.members[slot] = memberView(MemberIndex(slot), now: now) }
    for hearer in 0..<memberCount {
      for other in 0..<memberCount {
        let link = linkView(MemberIndex(hearer), MemberIndex(other))
        status.links[hearer * MemberIndex.limit + other] = link
      }
      for path in 0..<members.pathCount {
        let view = pathView(MemberIndex(hearer), path)
        status.paths[hearer * Arrival.pathLimit + path] = view
      }
    }
    for slot in 0..<VIPIndex.limit { status.vips[slot] = vipView(VIPIndex(slot), now: now) }
  }

  private func vipView(_ vip: VIPIndex, now: Instant) -> VIPView {
    let record = vips[vip.value]
    var view = VIPView()
    guard record.isConfigured else { return view }
    view.isConfigured = true
    view.ineligible = ineligibility(vip, now: now)
    view.position = record.isClaimed ? .holder : (view.ineligible == nil ? .candidate : .idle)
    view.holder = record.isClaimed ? selfIndex : record.holderSeen
    if view.holder == nil, let unheard = VIPClaim.heldUnheard(vip, members, candidacies, now) {
      view.holder = unheard.holder
      view.toldBy = unheard.witness
    }
    for slot in 0..<memberCount {
      let member = MemberIndex(slot)
      let isThere = member == selfIndex ? view.ineligible == nil : members.isAlive(member)
      if isThere, member == selfIndex || candidacies[vip, member].eligible { view.eligibleMembers |= 1 << UInt64(slot) }
    }
    view.since = record.since
    view.failedUntil = record.failedUntil
    view.addressFailures = record.addressFailures
    view.cause = record.cause
    switch record.phase {
    case .quietening, .removing: view.handoverUnderWay = true
    case .idle, .acquiring, .holding: break
    }
    return view
  }

  private func linkView(_ hearer: MemberIndex, _ other: MemberIndex) -> LinkView {
    guard hearer == selfIndex else { return members.isAlive(hearer) ? links[hearer, other] : LinkView() }
    var view = LinkView()
    view.heardAt = members[other].heardAt
    view.loss = members[other].window.loss ?? 0
    view.roundTrip = members[other].roundTrip
    return view
  }

  private func pathView(_ member: MemberIndex, _ path: Int) -> PathView {
    var view = PathView()
    view.heardAt = members.lastHeard(member, path: path)
    view.multicastAt = members.lastMulticast(member, path: path)
    return view
  }

  private func memberView(_ member: MemberIndex, now: Instant) -> MemberView {
    let peer = members[member]
    var view = MemberView()
    guard peer.isConfigured else { return view }
    view.isConfigured = true
    if member == selfIndex {
      view.isSelf = true
      view.state = listening ? .starting : .alive
      view.draining = draining
      view.hearsUs = true
      view.lastHeard = now
      view.configurationDigest = configuration.digest
      view.intentsDigest = intentsDigest
      view.detectionTime = detectionTime
      return view
    }
    switch peer.life {
    case .unheard: return view
    case .dead: view.state = .dead
    case .alive: view.state = members.isSuspect(member, now: now) ? .suspect : (peer.starting ? .starting : .alive)
    }
    view.draining = peer.draining
    view.hearsUs = members.hearsUs(member, now: now)
    view.roundTrip = peer.roundTrip
    view.lossIn = peer.window.loss
    view.lossOut = peer.lossOut
    view.lastHeard = peer.heardAt
    view.configurationDigest = peer.configurationDigest
    view.intentsDigest = peer.intentsDigest
    view.detectionTime = peer.detection
    view.patience = peer.patience
    return view
  }
}
