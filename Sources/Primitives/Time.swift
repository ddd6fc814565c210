// Time as plain integers. Pure rooms never read a clock: an `Instant` comes in as an argument, and which clock it was
// read from (CLOCK_MONOTONIC unless said) is the caller's business.

/// A length of time in nanoseconds; may be negative when it is a difference.
package struct TimeSpan: Hashable, Comparable, Codable, Sendable {
  package var nanoseconds: Int64

  @inlinable package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  @inlinable package static func nanoseconds(_ count: Int64) -> TimeSpan { TimeSpan(nanoseconds: count) }
  @inlinable package static func microseconds(_ count: Int64) -> TimeSpan { TimeSpan(nanoseconds: count * 1_000) }
  @inlinable package static func milliseconds(_ count: Int64) -> TimeSpan { TimeSpan(nanoseconds: count * 1_000_000) }
  @inlinable package static func seconds(_ count: Int64) -> TimeSpan { TimeSpan(nanoseconds: count * 1_000_000_000) }
  package static let zero = TimeSpan(nanoseconds: 0)

  /// Whole milliseconds, rounded towards zero.
  @inlinable package var milliseconds: Int64 { nanoseconds / 1_000_000 }

  @inlinable package static func == (left: TimeSpan, right: TimeSpan) -> Bool { left.nanoseconds == right.nanoseconds }
  @inlinable package static func < (left: TimeSpan, right: TimeSpan) -> Bool { left.nanoseconds < right.nanoseconds }
  @inlinable package static func + (left: TimeSpan, right: TimeSpan) -> TimeSpan {
    TimeSpan(nanoseconds: left.nanoseconds + right.nanoseconds)
  }
  @inlinable package static func - (left: TimeSpan, right: TimeSpan) -> TimeSpan {
    TimeSpan(nanoseconds: left.nanoseconds - right.nanoseconds)
  }
  @inlinable package static func * (left: TimeSpan, right: Int64) -> TimeSpan {
    TimeSpan(nanoseconds: left.nanoseconds * right)
  }
  @inlinable package static func / (left: TimeSpan, right: Int64) -> TimeSpan {
    TimeSpan(nanoseconds: left.nanoseconds / right)
  }
}

/// A point on a monotonic clock, in nanoseconds since that clock's zero.
package struct Instant: Hashable, Comparable, Codable, Sendable {
  package var nanoseconds: Int64

  @inlinable package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// Later than every instant that a clock shows: "no deadline".
  package static let distantFuture = Instant(nanoseconds: .max)

  @inlinable package static func == (left: Instant, right: Instant) -> Bool { left.nanoseconds == right.nanoseconds }
  @inlinable package static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }
  @inlinable package static func + (left: Instant, right: TimeSpan) -> Instant {
    let (sum, overflow) = left.nanoseconds.addingReportingOverflow(right.nanoseconds)
    return Instant(nanoseconds: overflow ? .max : sum)
  }
  @inlinable package static func - (left: Instant, right: TimeSpan) -> Instant {
    Instant(nanoseconds: left.nanoseconds - right.nanoseconds)
  }
  @inlinable package static func - (left: Instant, right: Instant) -> TimeSpan {
    TimeSpan(nanoseconds: left.nanoseconds - right.nanoseconds)
  }
}
