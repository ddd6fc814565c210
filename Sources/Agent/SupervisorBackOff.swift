// How long to wait before a dead child is started again.

package import Primitives

/// 100 ms, doubling to 5 s; a child that lived for 10 s is forgiven.
package struct BackOff: Equatable, Sendable {
  package static let first = TimeSpan.milliseconds(100)
  package static let longest = TimeSpan.seconds(5)
  package static let forgivenAfter = TimeSpan.seconds(10)

  private var next = Self.first

  package init() {}

  /// The wait after a child that lived for `lifetime` (zero if it could not be started).
  package mutating func delay(afterLifetime lifetime: TimeSpan) -> TimeSpan {
    if lifetime >= Self.forgivenAfter { next = Self.first }
    let delay = next
    next = min(Self.longest, next * 2)
    return delay
  }
}
