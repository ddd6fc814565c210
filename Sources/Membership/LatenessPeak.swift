// How late things have been lately, and the detection time that fits it.
//
// A percentile forgets the stall that comes once a minute, and that one is what makes a false failover. So the worst is
// kept, and forgotten by halves: one freak stall is out of the way in minutes, a host that stalls again and again stays
// slower to judge.

package import Primitives

/// The worst lateness seen lately; it halves every `halfLife`.
package struct LatenessPeak: Sendable {
  package static let halfLife = TimeSpan.seconds(120)
  /// Beyond this many halves nothing is left.
  private static let forgottenAfterHalves: Int64 = 40

  private var peak = TimeSpan.zero
  private var at = Instant(nanoseconds: 0)

  package init() {}

  package mutating func note(_ lateness: TimeSpan, now: Instant) {
    guard lateness > value(now: now) else { return }
    peak = lateness
    at = now
  }

  package mutating func forget() { peak = .zero }

  package func value(now: Instant) -> TimeSpan {
    guard peak > .zero else { return .zero }
    let age = max(0, (now - at).nanoseconds)
    let halves = age / Self.halfLife.nanoseconds
    guard halves < Self.forgottenAfterHalves else { return .zero }
    let whole = peak.nanoseconds >> halves
    // Straight between two halves; by parts of 1,024, so that nothing overflows.
    let part = age % Self.halfLife.nanoseconds / (Self.halfLife.nanoseconds / 1024)
    return TimeSpan(nanoseconds: whole - whole / 2048 * part)
  }
}

/// The detection time that tolerates a lateness.
package enum DetectionTime {
  /// It grows to at most this many times what is configured: a longer silence is a failure, not jitter.
  package static let growthLimit: Int64 = 4

  /// A heartbeat that is `peak` late arrives `interval + peak` after the one before; half an interval and a quarter of
  /// the peak are to spare.
  package static func needed(interval: TimeSpan, peak: TimeSpan, configured: TimeSpan) -> TimeSpan {
    let wanted = interval + interval / 2 + peak + peak / 4
    return min(max(configured, wanted), configured * growthLimit)
  }

  /// Whether a lateness is jitter at all.
  package static func isJitter(_ lateness: TimeSpan, configured: TimeSpan) -> Bool {
    lateness > .zero && lateness < configured * growthLimit
  }
}
