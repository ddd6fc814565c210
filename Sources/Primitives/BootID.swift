// Which start of an elector speaks.

/// 128 random bits, drawn at every start of an elector.
package struct BootID: Hashable, Sendable {
  package var high: UInt64
  package var low: UInt64
  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }
  @inlinable package static func == (left: BootID, right: BootID) -> Bool {
    left.high == right.high && left.low == right.low
  }
  /// No boot: never drawn.
  package static let none = BootID(high: 0, low: 0)
  /// The 64 bits that peers repeat in their reports.
  @inlinable package var fold: UInt64 { high ^ low }
}
