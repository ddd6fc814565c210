// The detection time in force. It grows at once when this node wakes late, since its peers must not take its lateness for
// death, and shrinks slowly when it is punctual again. It is announced in every heartbeat; peers judge by it.

import Membership
import Primitives

extension NodeCore {
  /// How often the detection time may shrink.
  static let adaptationInterval = TimeSpan.seconds(1)

  /// Call when a heartbeat is due: how late it is.
  mutating func noteLateness(_ lateness: TimeSpan, now: Instant) {
    guard otherMemberCount > 0 else { return }
    if DetectionTime.isJitter(lateness, configured: members.configuredDetection) {
      let before = lateness > ownLateness.value(now: now)
      ownLateness.note(lateness, now: now)
      if before { adapt(now: now) }
    }
    if now >= nextAdaptationAt { adapt(now: now) }
  }

  mutating func adapt(now: Instant) {
    nextAdaptationAt = now + Self.adaptationInterval
    let needed = DetectionTime.needed(
      interval: interval, peak: ownLateness.value(now: now), configured: members.configuredDetection)
    guard needed != detectionTime else { return }
    members.detection = needed
    if needed <= gateSpan {
      gateSpan = needed
    } else {
      // A peer may have missed the heartbeats that announce it: what answers counts on it only after a few of them.
      gateGrowsAt = telling.number &+ UInt32(clamping: configuration.deadAfter) &+ 1
    }
  }

  /// A datagram is being written: from here on peers know the detection time of the last few heartbeats.
  mutating func noteSend(now: Instant) {
    lastSendAt = now
    if let at = gateGrowsAt, Int32(bitPattern: telling.number &- at) >= 0 {
      gateGrowsAt = nil
      gateSpan = detectionTime
      paceBefore = interval
    }
  }

  /// Between two heartbeats. After a reload to a longer interval they leave as often as before until what answers counts on
  /// the longer detection time.
  var pace: TimeSpan { gateGrowsAt == nil ? interval : min(interval, paceBefore) }

  /// Another interval. A shorter one begins now: peers hear of the shorter detection time with the next heartbeat.
  mutating func changeInterval(to new: TimeSpan, now: Instant) {
    paceBefore = pace
    members.interval = new
    nextHeartbeatAt = min(nextHeartbeatAt, now + new)
  }
}
