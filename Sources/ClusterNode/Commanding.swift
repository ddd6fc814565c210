// What the shell says: operators' wishes, the state of the machine, and answers to effects.

import Election
import Membership
import Primitives

extension NodeCore {
  mutating func handle(_ command: Command, now: Instant, effects: inout EffectBuffer) {
    guard !hasExited else { return }
    noteWake(now: now, effects: &effects)
    switch command {
    case .draining(let wanted):
      guard draining != wanted else { break }
      draining = wanted
      changedStanding()
    case .requirements(let vip, let verdict):
      guard vips[vip.value].isConfigured, vips[vip.value].requirements != verdict else { break }
      vips[vip.value].requirements = verdict
      if verdict == .unmet(strict: true), faults.contains(.strictIgnored) {
        vips[vip.value].requirements = .unmet(strict: false)
      }
      changedStanding()
    case .carrier(let up): changeCarrier(up: up, now: now, effects: &effects)
    case .vipCarrier(let vip, let up):
      guard vips[vip.value].isConfigured, vips[vip.value].hasCarrier != up else { break }
      vips[vip.value].hasCarrier = up
      if up { vips[vip.value].forgetAddressFailures() }
      changedStanding()
    case .intentsDigest(let digest): intentsDigest = digest
    case .move(let vip, let to):
      if let refusal = move(vip, to: to, now: now, effects: &effects) { effects.append(.moveRefused(vip, refusal)) }
    case .handoverReady(let vip):
      guard case .quietening(let handover, _) = vips[vip.value].phase else { break }
      startRemoval(vip, handover, now: now, effects: &effects)
      step(vip, now: now, effects: &effects)
    case .addressResult(let vip, let ok): addressResult(vip, ok: ok, now: now, effects: &effects)
    case .addressRemoved(let vip): addressRemoved(vip, now: now, effects: &effects)
    case .silenced: silenced(now: now, effects: &effects)
    case .shutdown(let quieten): shutDown(quieten: quieten, now: now, effects: &effects)
    }
    finish(now: now, effects: &effects)
  }

  /// Eligibility changed: every VIP is looked at, and the peers hear of it now.
  private mutating func changedStanding() {
    evaluateAllWanted = true
    sendWanted = true
  }

  /// A cable that was pulled is acted on at once. When it is back the node listens anew: the port may not forward yet,
  /// and others hold what this node held.
  private mutating func changeCarrier(up: Bool, now: Instant, effects: inout EffectBuffer) {
    guard hasCarrier != up else { return }
    hasCarrier = up
    if up {
      for slot in 0..<vipCount { vips[slot].forgetAddressFailures() }
      beginListening(now: now)
    } else {
      dropAll(cause: .noCarrier, now: now, effects: &effects)
    }
    changedStanding()
  }

  private mutating func move(
    _ vip: VIPIndex, to: MemberIndex, now: Instant, effects: inout EffectBuffer
  ) -> MoveRefusal? {
    guard vips[vip.value].isConfigured, vips[vip.value].isClaimed else { return .notHolder }
    guard members[to].isConfigured else { return .unknownMember }
    if to == selfIndex { return .alreadyThere }
    guard vips[vip.value].phase == .holding else { return .handoverUnderWay }
    guard members.isAlive(to) else { return .targetNotAlive }
    guard members.isHeardBothWays(to, now: now) else { return .targetNotHeardBothWays }
    guard candidacies[vip, to].mayBeNamed else { return .targetNotEligible }
    beginHandover(vip, Handover(to: to, cause: .moved(to)), quieten: true, now: now, effects: &effects)
    step(vip, now: now, effects: &effects)
    return nil
  }

  private mutating func addressResult(_ vip: VIPIndex, ok: Bool, now: Instant, effects: inout EffectBuffer) {
    let slot = vip.value
    guard vips[slot].acquiresPending > 0 else { return }
    vips[slot].acquiresPending -= 1
    guard vips[slot].acquiresPending == 0, vips[slot].phase == .acquiring else { return }
    if ok {
      vips[slot].addressFailures = 0
      vips[slot].phase = .holding
      vips[slot].announcements.startBurst(now: now)
    } else {
      addressFailed(vip, now: now, effects: &effects)
    }
    step(vip, now: now, effects: &effects)
  }

  private mutating func addressRemoved(_ vip: VIPIndex, now: Instant, effects: inout EffectBuffer) {
    let slot = vip.value
    guard vips[slot].releasesPending > 0 else { return }
    vips[slot].releasesPending -= 1
    guard vips[slot].releasesPending == 0 else { return }
    // Answers come in order: what an acquisition before this release has not answered is lost.
    vips[slot].acquiresPending = vips[slot].phase == .acquiring ? 1 : 0
    tellLost(slot, now: now)
    guard case .removing(let handover, _) = vips[slot].phase else { return }
    finishRelease(vip, handover, now: now, effects: &effects)
    step(vip, now: now, effects: &effects)
  }

  /// What slept doubts already; a node whose heartbeats are refused by its own system ends here. A lone member goes on:
  /// nobody has taken over.
  private mutating func silenced(now: Instant, effects: inout EffectBuffer) {
    guard otherMemberCount > 0, doubt == nil, (0..<vipCount).contains(where: { vips[$0].answers }) else { return }
    beginDoubt(now: now, lateness: gateSpan, effects: &effects)
  }

  private mutating func shutDown(quieten: Bool, now: Instant, effects: inout EffectBuffer) {
    guard !leaving else {
      if !quieten { hurry(now: now, effects: &effects) }
      return
    }
    leaving = true
    changedStanding()
    guard !quieten else { return }
    for slot in 0..<vipCount where vips[slot].isConfigured { step(VIPIndex(slot), now: now, effects: &effects) }
    hurry(now: now, effects: &effects)
  }

  /// Nobody quietens any more: what waits for the balancer goes on.
  private mutating func hurry(now: Instant, effects: inout EffectBuffer) {
    for slot in 0..<vipCount {
      guard case .quietening(let handover, _) = vips[slot].phase else { continue }
      startRemoval(VIPIndex(slot), handover, now: now, effects: &effects)
      step(VIPIndex(slot), now: now, effects: &effects)
    }
  }
}
