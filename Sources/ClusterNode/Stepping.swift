// The phases of one VIP at this node, and how the election's decisions move them.
//
//   idle → acquiring → holding → quietening → removing → idle
//              └─────────┴───────────┴── yield, carrier lost, stall ──→ idle
//
// The claim in the heartbeats stands from `acquiring` to the end of `removing`: the successor of a planned handover starts
// only after the address has gone here.

import Election
import Membership
import Primitives
import Wire

extension NodeCore {
  /// Does everything that is due for one VIP.
  mutating func step(_ vip: VIPIndex, now: Instant, effects: inout EffectBuffer) {
    let slot = vip.value
    // A decision can make another one due at once (a contest that is won, then a handover). Bounded by the phases.
    for _ in 0..<6 {
      if let failedUntil = vips[slot].failedUntil, now >= failedUntil { vips[slot].failedUntil = nil }
      if let unheardUntil = vips[slot].unheardUntil, now >= unheardUntil { vips[slot].unheardUntil = nil }
      if let until = vips[slot].heldUnheardUntil, now >= until { vips[slot].heldUnheardUntil = nil }
      announceOwn(vip, now: now)
      // What the sleep brought is read first.
      if vips[slot].isClaimed, doubt?.isReading == true { break }
      if stepPhase(vip, now: now, effects: &effects) { continue }
      if case .removing = vips[slot].phase {
        vips[slot].claim.rest()
        break
      }
      let vacancy = vips[slot].claim.vacantSince == nil ? nil : vips[slot].claim.vacancyCause
      let standing = OwnStanding(
        holding: vips[slot].isClaimed, ineligible: ineligibility(vip, now: now), failback: vips[slot].failback,
        gainedAt: vips[slot].gainedAt, gainedByMove: vips[slot].gainedByMove,
        refusedBy: refusing(vip))
      var decision = vips[slot].claim.decide(
        vip, own: standing, members: members, candidacies: candidacies, now: now)
      if !faults.isEmpty { decision = planted(decision, vip, standing) }
      noteHolder(vip, vacancy: vacancy, now: now, effects: &effects)
      guard carryOut(decision, vip, now: now, effects: &effects) else { break }
    }
    announceIfDue(vip, now: now, effects: &effects)
    noteStep(slot)
  }

  /// Deadlines of the phase. True if the phase changed.
  private mutating func stepPhase(_ vip: VIPIndex, now: Instant, effects: inout EffectBuffer) -> Bool {
    switch vips[vip.value].phase {
    case .idle, .holding: return false
    case .acquiring:
      guard now >= vips[vip.value].acquireDeadline else { return false }
      addressFailed(vip, now: now, effects: &effects)
      return true
    case .quietening(let handover, let deadline):
      if let to = handover.to, !(members.isAlive(to) && candidacies[vip, to].eligible) {
        vips[vip.value].phase = .holding
        effects.append(.handoverCancelled(vip))
        return true
      }
      guard now >= deadline else { return false }
      startRemoval(vip, handover, now: now, effects: &effects)
      return true
    case .removing(let handover, let deadline):
      guard now >= deadline else { return false }
      finishRelease(vip, handover, now: now, effects: &effects)
      return true
    }
  }

  /// True if the decision changed something, so that the next one is worth asking for.
  private mutating func carryOut(
    _ decision: Decision, _ vip: VIPIndex, now: Instant, effects: inout EffectBuffer
  ) -> Bool {
    switch decision {
    case .nothing: return false
    case .announceAgain:
      if !faults.contains(.noAnnouncementAfterHeal), vips[vip.value].announcements.next != .distantFuture {
        vips[vip.value].announcements.startBurst(now: now)
      }
      return true
    case .acquire(let cause):
      guard !isReading, now >= takeNotBefore else {
        evaluateAllWanted = true
        return false
      }
      acquire(vip, cause: cause, now: now, effects: &effects)
      return true
    case .yield(let cause):
      if faults.contains(.lowerRankStays) { return false }
      drop(vip, cause: cause, now: now, effects: &effects)
      return true
    case .handOver(let to, let cause, let quieten):
      guard vips[vip.value].phase == .holding else { return false }
      beginHandover(vip, Handover(to: to, cause: cause), quieten: quieten, now: now, effects: &effects)
      return true
    case .giveUp(let cause):
      guard vips[vip.value].phase == .holding || vips[vip.value].phase == .acquiring else { return false }
      startRemoval(vip, Handover(to: nil, cause: cause), now: now, effects: &effects)
      return true
    }
  }

  /// To whom no failback goes.
  private func refusing(_ vip: VIPIndex) -> MemberIndex? {
    let record = vips[vip.value]
    guard let member = record.refusedBy else { return nil }
    return candidacies[vip, member].toldAt <= record.gainedAt ? member : nil
  }

  // MARK: Transitions

  private mutating func acquire(_ vip: VIPIndex, cause: TransitionCause, now: Instant, effects: inout EffectBuffer) {
    let slot = vip.value
    precondition(vips[slot].phase == .idle, "a VIP is acquired from idle only")
    var silence = TimeSpan.zero
    if case .holderDead(let member) = cause { silence = now - members[member].evidenceAt }
    if case .moved = cause { vips[slot].gainedByMove = true } else { vips[slot].gainedByMove = false }
    vips[slot].phase = .acquiring
    vips[slot].gainedAt = now
    vips[slot].acquiresPending += 1
    vips[slot].holderSeen = selfIndex
    vips[slot].since = now
    vips[slot].cause = cause
    vips[slot].refusedBy = nil
    if let named = vips[slot].awaitedSuccessor, cause == .holderReleased(selfIndex) {
      // It may not know the VIP any more, and each time costs a detection time without a holder.
      vips[slot].refusedBy = named
    }
    vips[slot].awaitedSuccessor = nil
    if faults.contains(.announcesEarly) { vips[slot].announcements.startBurst(now: now) }
    if let keeper = vips[slot].keeper, vips[slot].keepsConnections, cause.isPlanned(by: keeper) {
      effects.append(.passUnknown(vip, to: keeper))
    }
    vips[slot].keeper = nil
    effects.append(.acquire(vip, cause: cause))
    effects.append(.event(NodeEvent(.vipGained(vip), cause: cause, elapsed: silence)))
    sendWanted = true
  }

  /// The system refused the address, or the shell does not answer. The removal is asked for all the same: it comes after
  /// whatever the shell is still at.
  mutating func addressFailed(_ vip: VIPIndex, now: Instant, effects: inout EffectBuffer) {
    effects.append(.event(NodeEvent(.vipAddressFailed(vip), cause: .addressFailed)))
    let failures = vips[vip.value].addressFailures
    vips[vip.value].failedUntil = now + ElectionLimits.addressRetry(failures: failures)
    vips[vip.value].addressFailures = failures + 1
    announceOwn(vip, now: now)
    let successor = VIPClaim.successor(vip, members, candidacies, now)
    startRemoval(vip, Handover(to: successor, cause: .addressFailed), now: now, effects: &effects)
  }

  /// Lets go at once. A rival that it yields to is told: it may never have heard of this claim, and must announce anew.
  mutating func drop(_ vip: VIPIndex, cause: TransitionCause, now: Instant, effects: inout EffectBuffer) {
    let slot = vip.value
    if case .quietening = vips[slot].phase { effects.append(.handoverCancelled(vip)) }
    vips[slot].phase = .idle
    vips[slot].announcements.stop()
    if !faults.contains(.keepsAddress) {
      vips[slot].releasesPending += 1
      effects.append(.release(vip, cause: cause))
    }
    effects.append(.event(NodeEvent(.vipLost(vip), cause: cause)))
    vips[slot].cause = cause
    switch cause {
    case .yielded(let rival), .yieldedUnheard(let rival):
      noteRelease(vips[slot].nameHash, successor: rival, Handover(to: rival, cause: cause))
    default: break
    }
    sendWanted = true
    announceOwn(vip, now: now)
  }

  mutating func dropAll(cause: TransitionCause, now: Instant, effects: inout EffectBuffer) {
    for slot in 0..<vipCount where vips[slot].isClaimed {
      // Its release is under way already. The successor is told when the address has gone, as ever: the cable may be
      // back sooner.
      if case .removing = vips[slot].phase { continue }
      drop(VIPIndex(slot), cause: cause, now: now, effects: &effects)
    }
  }

  mutating func beginHandover(
    _ vip: VIPIndex, _ handover: Handover, quieten: Bool, now: Instant, effects: inout EffectBuffer
  ) {
    guard quieten, let to = handover.to else {
      startRemoval(vip, handover, now: now, effects: &effects)
      return
    }
    // Nobody has to wait for what is in flight where it can end here while the successor serves.
    if vips[vip.value].keepsConnections, candidacies[vip, to].passesUnknown, !leaving {
      var handover = handover
      handover.keepsConnections = true
      startRemoval(vip, handover, now: now, effects: &effects)
      return
    }
    vips[vip.value].phase = .quietening(handover, deadline: now + ElectionLimits.quietenDeadline)
    effects.append(.handoverStarting(vip, to: to, deadline: ElectionLimits.quietenDeadline))
  }

  mutating func startRemoval(_ vip: VIPIndex, _ handover: Handover, now: Instant, effects: inout EffectBuffer) {
    let slot = vip.value
    vips[slot].phase = .removing(handover, deadline: now + ElectionLimits.removalDeadline)
    vips[slot].announcements.stop()
    vips[slot].swapStartedAt = now
    vips[slot].releasesPending += 1
    if handover.keepsConnections {
      if case .drained = handover.cause {
        effects.append(.keepConnections(vip, gently: true))
      } else {
        effects.append(.keepConnections(vip, gently: false))
      }
    }
    effects.append(.release(vip, cause: handover.cause))
    // Behind the shut gate the address answers nobody: the successor may know at once.
    if vips[slot].isGated || faults.contains(.releaseBeforeRemoval) {
      finishRelease(vip, handover, now: now, effects: &effects)
    }
  }

  /// This node answers no more: now the successor may know.
  mutating func finishRelease(_ vip: VIPIndex, _ handover: Handover, now: Instant, effects: inout EffectBuffer) {
    let slot = vip.value
    var successor = handover.to
    if successor.map({ !members.isAlive($0) || !candidacies[vip, $0].eligible }) ?? true {
      // Where nobody is eligible one that misses only what is required takes it.
      successor =
        VIPClaim.successor(vip, members, candidacies, now) ?? successor.flatMap { members.isAlive($0) ? $0 : nil }
        ?? VIPClaim.bestHeard(vip, members, candidacies, now)
    }
    vips[slot].phase = .idle
    vips[slot].claim.reserve(
      for: successor, cause: handover.cause, otherwise: .holderReleased(selfIndex), until: now + detectionTime, now: now
    )
    vips[slot].awaitedSuccessor = successor
    effects.append(.event(NodeEvent(.vipLost(vip), cause: handover.cause)))
    vips[slot].cause = handover.cause
    noteRelease(vips[slot].nameHash, successor: successor, handover)
    announceOwn(vip, now: now)
    sendWanted = true
  }

  mutating func noteRelease(_ nameHash: UInt64, successor: MemberIndex?, _ handover: Handover) {
    noticeSerial &+= 1
    let onWire: ReleaseNotice.Cause =
      switch handover.cause {
      case .moved: .moved
      case .drained: .draining
      case .failback: .failback
      case .shutdown: .shutdown
      case .becameIneligible, .addressFailed: .ineligible
      default: .unsaid
      }
    notices[Int(noticeSerial) % PendingNotice.limit] = PendingNotice(
      notice: ReleaseNotice(
        vip: nameHash, successor: successor.map { members[$0].nameHash } ?? 0, serial: noticeSerial,
        cause: onWire, keepsConnections: handover.keepsConnections),
      repeatsLeft: ElectionLimits.releaseRepeats)
    hasNotices = true
  }

  // MARK: What others see, and what this node sees

  /// Keeps this node's own line in the table true; ranks compare what is announced.
  mutating func announceOwn(_ vip: VIPIndex, now: Instant) {
    let slot = vip.value
    let eligible = ineligibility(vip, now: now) == nil
    let position: VIPPosition = vips[slot].isClaimed ? .holder : (eligible ? .candidate : .idle)
    if candidacies.announce(
      vip, by: selfIndex, priority: vips[slot].priority, position: position, eligible: eligible, now: now)
    {
      vips[slot].urgentRepeats = ElectionLimits.releaseRepeats
      hasNews = true
    }
  }

  private mutating func noteHolder(
    _ vip: VIPIndex, vacancy: TransitionCause?, now: Instant, effects: inout EffectBuffer
  ) {
    let slot = vip.value
    guard !vips[slot].isClaimed else { return }
    let holder = VIPClaim.holder(vip, members, candidacies)
    guard holder != vips[slot].holderSeen else { return }
    let previous = vips[slot].holderSeen
    vips[slot].holderSeen = holder
    vips[slot].since = now
    // A member that does not hear the holder itself is to know.
    vips[slot].urgentRepeats = max(vips[slot].urgentRepeats, 1)
    hasNews = true
    guard let holder else {
      vips[slot].cause = vips[slot].claim.vacancyCause
      return
    }
    let cause: TransitionCause =
      switch vacancy {
      case nil, .vacant, .some(.none), .holderReleased:
        // The successor may have spoken before this node missed the holder.
        if let previous, previous != selfIndex, !members.isAlive(previous) {
          .holderDead(previous)
        } else {
          .observed(holder)
        }
      case .some(let known): known
      }
    vips[slot].cause = cause
    effects.append(.event(NodeEvent(.vipHeldBy(vip, holder), cause: cause)))
    if vips[slot].awaitedSuccessor == holder {
      effects.append(
        .event(NodeEvent(.handoverDone(vip, holder), cause: cause, elapsed: now - vips[slot].swapStartedAt)))
    }
    vips[slot].awaitedSuccessor = nil
  }

  private mutating func announceIfDue(_ vip: VIPIndex, now: Instant, effects: inout EffectBuffer) {
    let slot = vip.value
    guard now >= vips[slot].announcements.next else { return }
    effects.append(.announce(vip))
    vips[slot].announcements.announced(now: now, refresh: vips[slot].announce)
  }
}
