// Log-linear buckets for times: of fixed number and width, so that histograms of many threads and moments are added and
// subtracted bucket by bucket, and a quantile is off by no more than the width of its bucket.
//
//   microseconds   0   8  16 …  64   72   80 …  128  144  160 …  256 …            2³²
//   bucket         0   1   2 …   8    9   10 …   16   17   18 …   24 …  215
//
// Eight buckets of 8 µs, then eight per doubling: an eighth of the value wide at most. What is longer than the last bucket
// counts in it.

package enum LatencyBuckets {
  package static let count = 216

  /// The bucket of a time.
  @inlinable package static func index(microseconds: UInt64) -> Int {
    let units = min(microseconds, UInt64(UInt32.max)) &>> 3
    if units < 8 { return Int(truncatingIfNeeded: units) }
    let shift = 60 &- units.leadingZeroBitCount
    return (shift &+ 1) &* 8 &+ Int(truncatingIfNeeded: units &>> UInt64(truncatingIfNeeded: shift)) &- 8
  }

  /// Where a bucket begins, in microseconds; of `count`, where the last one ends.
  package static func start(_ index: Int) -> UInt64 {
    index < 8 ? UInt64(index) * 8 : UInt64(8 + index % 8) << UInt64(index / 8 - 1 + 3)
  }

  /// The time, in microseconds, that a share `quantile` (0…1) of what was counted does not exceed; between the bounds of its
  /// bucket in proportion. Nil where nothing was counted.
  package static func quantile(_ quantile: Double, _ counts: [UInt64]) -> Double? {
    let total = counts.reduce(0, +)
    guard total > 0 else { return nil }
    let rank = max(1, (quantile * Double(total)).rounded(.up))
    var below = 0.0
    for (index, count) in counts.enumerated() where count > 0 {
      if below + Double(count) >= rank {
        let (start, end) = (Double(start(index)), Double(Self.start(index + 1)))
        return start + (end - start) * (rank - below) / Double(count)
      }
      below += Double(count)
    }
    return Double(start(count))
  }
}
