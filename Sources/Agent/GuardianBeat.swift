// Whether the elector hangs, judged from its beat.

package import Primitives

/// Fed at each of the guardian's wake-ups. The elector hangs if its beat did not move over three wake-ups that were
/// themselves punctual (a host that stalls stalls both), and for longer than 50 ms and than the detection time in force.
package struct BeatWatch: Sendable {
  package static let punctualWakeUps = 3
  package static let atLeast = TimeSpan.milliseconds(50)

  private var beat: UInt64?
  private var unmovedSince = Instant(nanoseconds: 0)
  private var punctual = 0

  package init() {}

  /// How far apart the guardian's wake-ups should be.
  package static func interval(detection: TimeSpan) -> TimeSpan {
    min(max(.milliseconds(20), detection / 3), .milliseconds(500))
  }

  /// True if the elector hangs.
  package mutating func wake(now: Instant, lateBy: TimeSpan, beat new: UInt64, detection: TimeSpan) -> Bool {
    guard new == beat else {
      beat = new
      unmovedSince = now
      punctual = 0
      return false
    }
    guard lateBy <= Self.interval(detection: detection) / 2 else {
      punctual = 0
      return false
    }
    punctual += 1
    return punctual >= Self.punctualWakeUps && now - unmovedSince > max(Self.atLeast, detection)
  }
}
