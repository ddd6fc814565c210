// A node that woke late must not judge others by its own sleep. This value watches how late each wake-up is.

package import Primitives

package struct StallGuard: Sendable {
  package enum Verdict: Hashable, Sendable {
    case punctual
    /// Later than an interval: judge nobody for one interval more, and while it stays so for a detection time at most.
    case late(TimeSpan)
    /// Longer than the others wait for it: they may have given up on it.
    case lost(TimeSpan)
  }

  /// Nobody is judged dead before this.
  package private(set) var judgeNotBefore = Instant(nanoseconds: .min)
  /// Nobody who slept takes anything before this: a peer that it does not believe yet may hold it. One interval for a
  /// heartbeat of ours to be heard, one for the echo.
  package private(set) var takeNotBefore = Instant(nanoseconds: .min)
  /// The node says `stalled` in its heartbeats until this.
  package private(set) var flaggedUntil = Instant(nanoseconds: .min)
  package private(set) var worst = TimeSpan.zero
  private var lastWake: Instant
  /// Since when not everything that had arrived could be read.
  private var floodedSince: Instant?
  /// Since when every wake-up has been late: none came on time after an interval without sleep.
  private var lateSince: Instant?
  /// The last late wake-up is over then.
  private var lateUntil = Instant(nanoseconds: .min)

  package init(now: Instant) { lastWake = now }

  /// Call at every wake-up, after what has arrived was read. Where something is left, a peer's heartbeat may be in it:
  /// nobody is judged for an interval, in a flood that lasts for a detection time at most.
  package mutating func read(all: Bool, now: Instant, interval: TimeSpan, detection: TimeSpan) {
    guard !all else {
      floodedSince = nil
      return
    }
    let since = floodedSince ?? now
    floodedSince = since
    if now < since + detection { judgeNotBefore = max(judgeNotBefore, min(now + interval, since + detection)) }
  }

  /// Call first at every wake-up.
  /// - Parameters:
  ///   - due: when the node meant to wake at the latest (its next heartbeat).
  ///   - live: how long after a heartbeat the node may still answer for what it holds.
  package mutating func wake(
    now: Instant, due: Instant, interval: TimeSpan, detection: TimeSpan, live: TimeSpan
  ) -> Verdict {
    defer { lastWake = max(lastWake, now) }
    guard now > lastWake else { return .punctual }
    let lateness = now - due
    guard lateness > interval else {
      if now >= lateUntil { lateSince = nil }
      return .punctual
    }
    worst = max(worst, lateness)
    // Where lateness never ends, somebody must take over all the same: what has arrived was read, and the kernel stamped it.
    let since = lateSince ?? now
    lateSince = since
    lateUntil = now + interval
    judgeNotBefore = max(judgeNotBefore, min(now + interval, since + detection))
    takeNotBefore = max(takeNotBefore, min(now + interval * 2, since + detection + interval))
    flaggedUntil = now + detection
    return lateness + interval > live ? .lost(lateness) : .late(lateness)
  }
}
