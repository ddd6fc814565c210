// What time does: heartbeats, the end of listening, judgements, and the VIPs' own timers. Everything acts at its exact
// deadline; `nextDeadline` is the earliest of them.

import Election
import Membership
import Primitives

extension NodeCore {
  var nextDeadline: Instant {
    guard !hasExited else { return .distantFuture }
    var deadline = min(nextHeartbeatAt, earliestStep)
    if listening { deadline = min(deadline, listenUntil) }
    if evaluateAllWanted { deadline = min(deadline, takeNotBefore) }
    if let doubt { deadline = min(deadline, doubt.until) }
    deadline = min(deadline, lostDeadline)
    return min(deadline, max(members.nextDeadline, stall.judgeNotBefore))
  }

  mutating func advance(now: Instant, heardAll: Bool, effects: inout EffectBuffer) {
    guard !hasExited else { return }
    noteWake(now: now, effects: &effects)
    if faults.contains(.gateCountsFromWaking), lastSendAt != nil { lastSendAt = now }
    stall.read(all: heardAll, now: now, interval: interval, detection: detectionTime)
    settleDoubt(now: now, heardAll: heardAll, effects: &effects)
    isReading = false
    if listening, now >= listenUntil {
      listening = false
      evaluateAllWanted = true
      sendWanted = true
    }
    if now >= stall.judgeNotBefore {
      while let member = members.nextDead(now: now) {
        memberEnded(member, cause: .holderDead(member), now: now, effects: &effects)
      }
    }
    if now >= lostDeadline { tellLostDue(now: now) }
    if now >= earliestStep { stepDue(now: now, effects: &effects) }
    if now >= nextHeartbeatAt {
      noteLateness(now - nextHeartbeatAt, now: now)
      sendWanted = true
      nextHeartbeatAt = nextHeartbeatAt + pace
      if nextHeartbeatAt <= now { nextHeartbeatAt = now + pace }
    }
    finish(now: now, effects: &effects)
  }

  private mutating func stepDue(now: Instant, effects: inout EffectBuffer) {
    earliestStep = .distantFuture
    for slot in 0..<vipCount where vips[slot].isConfigured {
      if now >= vips[slot].stepDeadline {
        step(VIPIndex(slot), now: now, effects: &effects)
      } else {
        noteStep(slot)
      }
    }
  }

  /// `earliestStep` is never later than the VIP's own next deadline.
  mutating func noteStep(_ slot: Int) { earliestStep = min(earliestStep, vips[slot].stepDeadline) }

  /// Nothing is claimed before this node has listened for as long as any holder may be silent, whatever its detection time
  /// has grown to. A node that hears nobody waits `aloneAfter`: its
  /// switch port may not forward yet. Whoever it hears first extends the listening by its own detection time.
  mutating func beginListening(now: Instant) {
    listening = true
    listeningSince = now
    heardAnyone = false
    isEchoed = false
    if otherMemberCount == 0 || faults.contains(.claimsWithoutListening) {
      listenUntil = now
    } else {
      listenUntil = now + max(longestDetection, configuration.aloneAfter)
    }
    evaluateAllWanted = true
  }

  /// The first thing at every wake-up. A node that slept is the one that was away, not the others.
  mutating func noteWake(now: Instant, effects: inout EffectBuffer) {
    guard otherMemberCount > 0 else { return }
    let worst = stall.worst
    // Half an interval is for what is on its way: a heartbeat that leaves later than that may cross a takeover.
    let live = gateSpan - pace / 2
    switch stall.wake(now: now, due: nextHeartbeatAt, interval: pace, detection: detectionTime, live: live) {
    case .punctual: break
    case .late(let lateness):
      // Only a new worst is worth a line: on a busy machine there are many.
      guard lateness > worst else { break }
      effects.append(.event(NodeEvent(.woke, elapsed: lateness)))
    case .lost(let lateness): beginDoubt(now: now, lateness: lateness, effects: &effects)
    }
  }
}
