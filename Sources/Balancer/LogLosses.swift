// Lines that the access log has lost: told while it goes on, and for a while after; in the figures they are counted for good.

internal import Primitives

struct LogLosses {
  /// After so long without a loss nothing is said any more.
  static let memory = TimeSpan.seconds(300)

  private var dropped: UInt64 = 0
  private var lastLoss: Instant?

  /// - Parameter dropped: lines that were lost so far.
  mutating func warning(dropped: UInt64, now: Instant) -> String? {
    if dropped != self.dropped { lastLoss = now }
    self.dropped = dropped
    guard let lastLoss, now - lastLoss < Self.memory else { return nil }
    return "\(dropped) lines of the access log are lost: "
      + "where it goes is slower than the requests, or cannot be written"
  }
}
