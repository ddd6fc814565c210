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
    return min(deadline, max(members.nextDeadline, stall.judgeNotBefore))
  }

  mutating func advance(now: Instant, heardAll: Bool, effects: inout EffectBuffer) {
    guard !hasExited else { return }
    noteWake(now: now, effects: &effects)
    stall.read(all: heardAll, now: now, interval: interval, detection: detectionTime)
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
    if now >= earliestStep { stepDue(now: now, effects: &effects) }
    if now >= nextHeartbeatAt {
      sendWanted = true
      nextHeartbeatAt = nextHeartbeatAt + interval
      if nextHeartbeatAt <= now { nextHeartbeatAt = now + interval }
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

  /// Nothing is claimed before a full detection time of listening. A node that hears nobody waits `aloneAfter`: its
  /// switch port may not forward yet. Whoever it hears first extends the listening by a detection time.
  mutating func beginListening(now: Instant) {
    listening = true
    listeningSince = now
    heardAnyone = false
    if otherMemberCount == 0 || faults.contains(.claimsWithoutListening) {
      listenUntil = now
    } else {
      listenUntil = now + max(detectionTime, configuration.aloneAfter)
    }
    evaluateAllWanted = true
  }

  /// The first thing at every wake-up. A node that slept is the one that was away, not the others.
  mutating func noteWake(now: Instant, effects: inout EffectBuffer) {
    guard otherMemberCount > 0 else { return }
    let worst = stall.worst
    switch stall.wake(now: now, due: nextHeartbeatAt, interval: interval, detection: detectionTime) {
    case .punctual: break
    case .late(let lateness):
      // Only a new worst is worth a line: on a busy machine there are many.
      guard lateness > worst else { break }
      effects.append(.event(NodeEvent(.woke, elapsed: lateness)))
    case .lost(let lateness):
      effects.append(.event(NodeEvent(.woke, cause: .stalled, elapsed: lateness)))
      loseEverything(now: now, effects: &effects)
    }
  }

  /// The peers have given this node up.
  mutating func loseEverything(now: Instant, effects: inout EffectBuffer) {
    dropAll(cause: .stalled, now: now, effects: &effects)
    beginListening(now: now)
    // It knew its peers before: a detection time is enough.
    heardAnyone = true
    listenUntil = now + detectionTime
  }
}
