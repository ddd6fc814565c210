// The bucket that is one number against a bucket that counts its tokens.

import Primitives
import Routing
import Testing

@Suite("Rate limits") struct RateRuleTests {
  /// Tokens as a fraction over the interval, so that nothing is rounded.
  private struct Bucket {
    let interval: Int64
    let burst: Int64
    var level: Int64
    var last: Int64

    init(_ rule: RateRule, burst: Int, now: Int64) {
      interval = rule.intervalNanoseconds
      self.burst = Int64(burst)
      level = interval * self.burst
      last = now
    }

    mutating func take(_ now: Int64) -> Int64 {
      level = min(interval * burst, level + (now - last))
      last = now
      if level >= interval {
        level -= interval
        return 0
      }
      return interval - level
    }
  }

  @Test("the same requests are taken and refused, with the same waits", arguments: 0..<50) func sameAsCounting(
    _ seed: Int
  ) {
    var random = SeededRandom(seed: UInt64(seed))
    let burst = Int(random.next() % 20) + 1
    let rule = RateRule(
      requests: Int(random.next() % 1000) + 1, every: .milliseconds(Int64(random.next() % 5000) + 1), burst: burst)
    var now = Int64(random.next() % 1_000_000_000_000)
    var slow = Bucket(rule, burst: burst, now: now)
    var fullAt: Int64 = 0
    for _ in 0..<2000 {
      now += Int64(random.next() % UInt64(rule.intervalNanoseconds * 2))
      if random.next() % 100 == 0 { now += rule.depthNanoseconds }
      let result = rule.take(fullAt: fullAt, now: now)
      fullAt = result.fullAt
      #expect(result.waitNanoseconds == slow.take(now))
    }
  }

  @Test("a burst at once, then one per interval") func burst() {
    let rule = RateRule(requests: 10, every: .seconds(1), burst: 3)
    var fullAt: Int64 = 0
    func take(_ now: Int64) -> Int64 {
      let result = rule.take(fullAt: fullAt, now: now)
      fullAt = result.fullAt
      return result.waitNanoseconds
    }
    let start: Int64 = 5_000_000_000
    #expect((0..<3).map { _ in take(start) } == [0, 0, 0])
    #expect(take(start) == 100_000_000)
    #expect(take(start + 99_999_999) == 1)
    #expect(take(start + 100_000_000) == 0)
    #expect(take(start + 100_000_000) == 100_000_000)
  }

  @Test("extremes neither overflow nor lock anybody out") func extremes() {
    let rule = RateRule(requests: 1, every: .seconds(86_400), burst: 1_000_000)
    let result = rule.take(fullAt: Int64.max, now: 1_000)
    #expect(result.waitNanoseconds > 0 && result.fullAt <= 1_000 + rule.depthNanoseconds)
    #expect(RateRule(requests: 0, every: .zero, burst: 0).take(fullAt: 0, now: 10).waitNanoseconds == 0)
  }
}
