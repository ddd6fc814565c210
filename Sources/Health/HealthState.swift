// A server's health as its checks tell it: rise and fall, with a closer look while it changes. A value without a clock;
// the shell runs the checks and says what came of them and when.

package import Primitives

package struct HealthSettings: Equatable, Sendable {
  package var every: TimeSpan
  /// While the state is changing.
  package var fast: TimeSpan
  /// While it is down; right after it went down `fast`, then twice as long each time up to this.
  package var down: TimeSpan
  /// Successes in a row that bring a server up, at least 1.
  package var rise: Int
  /// Failures in a row that take it down, at least 1.
  package var fall: Int

  package init(
    every: TimeSpan = .seconds(2), fast: TimeSpan = .milliseconds(500), down: TimeSpan = .seconds(5), rise: Int = 2,
    fall: Int = 3
  ) {
    precondition(rise >= 1 && fall >= 1)
    self.every = every
    self.fast = fast
    self.down = down
    self.rise = rise
    self.fall = fall
  }
}

package enum HealthVerdict: UInt8, Sendable {
  /// Before the first check has ended: gets nothing. One success suffices to be up, one failure to be down.
  case unknown
  case up
  case down
}

package enum CheckOutcome: Equatable, Sendable {
  /// In words, "200 in 3 ms".
  case success(String)
  /// In words, "connection refused", "status 500".
  case failure(String)
  /// A failure in which nothing came back: the host may be gone. In words, "no answer within 1 s".
  case silence(String)
  /// It could not be made, which says nothing of the server. In words, what this node lacks for it; nil: it was only too early.
  case notMade(String?)
}

/// What the shell has to know after a check.
package struct HealthChange: Equatable, Sendable {
  package var verdict: HealthVerdict
  /// "up: 2 of 2 checks succeeded, last: 200 in 3 ms".
  package var cause: String
}

/// The health of one server as its checks see it.
package struct HealthState: Sendable {
  package private(set) var settings: HealthSettings
  package private(set) var verdict = HealthVerdict.unknown
  package private(set) var since: Instant
  /// When the next check starts.
  package private(set) var nextCheck: Instant
  /// The last check in words, empty before the first.
  package private(set) var lastCheck = ""
  /// Checks in a row that contradict the verdict.
  package private(set) var streak = 0
  /// When the row of checks began from which nothing came back.
  package private(set) var silentSince = Instant(nanoseconds: .min)
  /// Checks in a row from which nothing came back.
  private var silentCount = 0
  /// Failures since it went down, that one included.
  private var downCount = 0
  private var isChecked: Bool
  /// Between a check that could not be made and the next try.
  private static let longestPutOff = TimeSpan.seconds(1)
  private var random: SeededRandom

  /// The first check is due within `first`, at a time that `seed` decides: the checks of many servers, and those of many
  /// nodes, start spread and stay so.
  package init(settings: HealthSettings, now: Instant, seed: UInt64, first: TimeSpan = .zero) {
    self.settings = settings
    since = now
    isChecked = true
    random = SeededRandom(seed: seed)
    let spread = UInt64(max(0, first.nanoseconds)) + 1
    nextCheck = now + TimeSpan(nanoseconds: Int64(random.next() % spread))
  }

  /// Of a server without checks: it counts as up, and none is ever due.
  package init(uncheckedSince now: Instant) {
    settings = HealthSettings()
    since = now
    nextCheck = .distantFuture
    isChecked = false
    verdict = .up
    lastCheck = "not checked"
    random = SeededRandom(seed: 0)
  }

  /// Other settings: the verdict stays until checks by them contradict it, the next of which is due at once.
  package mutating func adopt(_ settings: HealthSettings, now: Instant) {
    self.settings = settings
    isChecked = true
    streak = 0
    nextCheck = now
  }

  /// Live traffic has met a failure: a server that is up is checked soon, not at its next turn; if it is checked at all.
  package mutating func suspect(now: Instant) {
    if verdict == .up && isChecked { nextCheck = min(nextCheck, now + settings.fast) }
  }

  /// As many checks in a row as take a server down met nothing but silence.
  package var isSilent: Bool { silentCount == settings.fall }

  /// A check has started: no other is due until it ends, or until `timeout` at the latest.
  package mutating func checkStarted(now: Instant, timeout: TimeSpan) { nextCheck = now + timeout + settings.every }

  /// Takes a check's outcome; non-nil if the verdict changed.
  package mutating func handle(_ outcome: CheckOutcome, now: Instant) -> HealthChange? {
    let succeeded: Bool
    switch outcome {
    case .success(let words):
      succeeded = true
      silentCount = 0
      lastCheck = words
    case .failure(let words):
      succeeded = false
      silentCount = 0
      lastCheck = words
    case .silence(let words):
      succeeded = false
      if silentCount == 0 { silentSince = now }
      silentCount = min(silentCount + 1, settings.fall)
      lastCheck = words
    case .notMade(let words):
      if verdict == .unknown, let words { lastCheck = words }
      nextCheck = now + jittered(min(settings.fast, Self.longestPutOff))
      return nil
    }
    let change = apply(succeeded, now)
    downCount = verdict == .down ? min(downCount + (succeeded ? 0 : 1), 32) : 0
    nextCheck = now + jittered(interval)
    return change
  }

  private mutating func apply(_ succeeded: Bool, _ now: Instant) -> HealthChange? {
    let target: HealthVerdict = succeeded ? .up : .down
    if verdict == target {
      streak = 0
      return nil
    }
    streak += 1
    let needed = verdict == .unknown ? 1 : (succeeded ? settings.rise : settings.fall)
    if streak < needed { return nil }
    let count = streak
    let wasUnknown = verdict == .unknown
    verdict = target
    since = now
    streak = 0
    let word = succeeded ? "succeeded" : "failed"
    let which =
      wasUnknown ? "the first check \(word)" : count == 1 ? "a check \(word)" : "\(count) checks in a row \(word)"
    return HealthChange(verdict: target, cause: "\(which): \(lastCheck)")
  }

  /// What is left to wait after this check: `fast` in the middle of a change, `down` while down, else `every`. Who has just
  /// gone down is looked at sooner: a restart is over in a second or two, and others may need it.
  private var interval: TimeSpan {
    if streak > 0 { return settings.fast }
    if verdict != .down { return settings.every }
    var interval = settings.fast
    for _ in 1..<max(1, downCount) where interval < settings.down { interval = interval * 2 }
    return min(interval, settings.down)
  }

  /// Between 90 % and 110 %, so that checks of many servers do not march in step.
  private mutating func jittered(_ interval: TimeSpan) -> TimeSpan {
    let tenth = UInt64(max(1, interval.nanoseconds / 10))
    return TimeSpan(nanoseconds: interval.nanoseconds - Int64(tenth) + Int64(random.next() % (2 * tenth + 1)))
  }
}
