// What live traffic says of a server: too many failures in a short time, and it gets nothing for a while, whatever its
// checks say. A value without a clock; who may be ejected at the same time is the pool's business (`mayEject`).

package import Primitives

package struct PassiveSettings: Equatable, Sendable {
  package static let largestFailureCount = 100

  /// Failures that eject a server, 1 to `largestFailureCount`.
  package var failures: Int
  /// All of them within this time.
  package var within: TimeSpan
  /// For this long.
  package var eject: TimeSpan
  /// Of the pool's servers at most this share is ejected at a time, in percent.
  package var atMostPercent: Int

  package init(
    failures: Int = 5, within: TimeSpan = .seconds(10), eject: TimeSpan = .seconds(30), atMostPercent: Int = 50
  ) {
    precondition((1...Self.largestFailureCount).contains(failures) && (0...100).contains(atMostPercent))
    self.failures = failures
    self.within = within
    self.eject = eject
    self.atMostPercent = atMostPercent
  }

  /// Whether one more of `serverCount` servers may be ejected. The last one never is.
  package func mayEject(ejectedCount: Int, serverCount: Int) -> Bool {
    ejectedCount + 1 < serverCount && (ejectedCount + 1) * 100 <= serverCount * atMostPercent
  }
}

/// The live failures of one server.
package struct PassiveHealth: Sendable {
  private struct Seen {
    var at: Instant
    /// Requests that the server had been given by then, and how many had failed before.
    var requests: UInt64
    var failures: UInt64
  }

  /// A server that fails fewer than one in this many of its requests is not ejected: on a busy server a few failures in
  /// ten seconds mean nothing.
  package static let largestRequestsPerFailure: UInt64 = 50

  package let settings: PassiveSettings
  /// Until when it is ejected; nil: it is not.
  package private(set) var ejectedUntil: Instant?
  private var recent: [Seen] = []
  private var failureCount: UInt64 = 0
  /// What was seen at the last two calls of `mark`, the older one first.
  private var marks: (Seen, Seen)?

  package init(settings: PassiveSettings) { self.settings = settings }

  /// To be said every second or so: many failures at one moment are held against the requests of the time before, too.
  package mutating func mark(requests: UInt64, now: Instant) {
    let seen = Seen(at: now, requests: requests, failures: failureCount)
    marks = (marks?.1 ?? seen, seen)
  }

  /// `count` failures more, seen at `now`; the server has been given `requests` requests so far, those that failed
  /// included. True if that is enough to eject it: then say `eject`, if the pool allows it.
  package mutating func handle(failures count: Int, requests: UInt64, now: Instant) -> Bool {
    recent.removeAll { now - $0.at > settings.within }
    let seen = Seen(at: now, requests: requests, failures: failureCount)
    for _ in 0..<min(count, settings.failures) { recent.append(seen) }
    failureCount += UInt64(count)
    if recent.count > settings.failures { recent.removeFirst(recent.count - settings.failures) }
    guard ejectedUntil == nil, recent.count == settings.failures, var since = recent.first else { return false }
    if let mark = marks?.0, mark.at < since.at { since = mark }
    let given = requests >= since.requests ? requests - since.requests : 0
    return given <= (failureCount - since.failures) * Self.largestRequestsPerFailure
  }

  package mutating func eject(now: Instant) {
    ejectedUntil = now + settings.eject
    recent = []
  }

  /// True if its time is over with this call.
  package mutating func advance(now: Instant) -> Bool {
    guard let until = ejectedUntil, now >= until else { return false }
    ejectedUntil = nil
    return true
  }

  /// Its checks have seen it go down and come back: what was held against it is over. True if it had been ejected.
  package mutating func recover() -> Bool {
    recent = []
    defer { ejectedUntil = nil }
    return ejectedUntil != nil
  }
}
