// Latency buckets: each value is in the bucket that says so, and quantiles are as good as the buckets are narrow.

import Control
import Primitives
import Testing

struct LatencyBucketsTests {
  @Test func `bounds meet, and every value lies between those of its bucket`() {
    #expect(LatencyBuckets.start(0) == 0)
    for index in 0..<LatencyBuckets.count {
      let (start, end) = (LatencyBuckets.start(index), LatencyBuckets.start(index + 1))
      #expect(LatencyBuckets.index(microseconds: start) == index)
      #expect(LatencyBuckets.index(microseconds: end - 1) == index)
      #expect(end - start <= max(8, start / 8))
    }
    #expect(LatencyBuckets.start(LatencyBuckets.count) == 1 << 32)
    #expect(LatencyBuckets.index(microseconds: .max) == LatencyBuckets.count - 1)
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `quantiles are those of a sort, up to the width of a bucket`(_ seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    var values: [UInt64] = []
    var counts = [UInt64](repeating: 0, count: LatencyBuckets.count)
    for _ in 0..<(1 + Int(random.next() % 3_000)) {
      // From microseconds to minutes.
      let value = random.next() >> (32 + random.next() % 31)
      values.append(value)
      counts[LatencyBuckets.index(microseconds: value)] += 1
    }
    values.sort()
    for quantile in [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0] {
      let exact = values[max(1, Int((quantile * Double(values.count)).rounded(.up))) - 1]
      let found = try #require(LatencyBuckets.quantile(quantile, counts))
      #expect(abs(found - Double(exact)) <= max(8, Double(exact) / 8))
    }
  }

  @Test func `nothing has no quantile`() {
    #expect(LatencyBuckets.quantile(0.5, [UInt64](repeating: 0, count: LatencyBuckets.count)) == nil)
  }

  @Test func `figures keep their buckets, and differences are those of the counts`() {
    var counts = [UInt64](repeating: 0, count: LatencyBuckets.count)
    counts[3] = 5
    counts[200] = 7
    let earlier = LatencyFigures(counts: counts, sumMicroseconds: 100)
    #expect(earlier.counts == counts)
    #expect(earlier.buckets == [3, 5, 200, 7])
    counts[3] = 6
    counts[10] = 1
    let later = LatencyFigures(counts: counts, sumMicroseconds: 150)
    let between = later.since(earlier)
    #expect(between.buckets == [3, 1, 10, 1])
    #expect(between.count == 2 && between.sumMicroseconds == 50)
    // A balancer that was started anew.
    #expect(earlier.since(later) == earlier)
  }
}
