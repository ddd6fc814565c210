// The bounded table of buckets: keys are apart, workers together give no more tokens than one, and a flood of keys locks
// nobody out.

import Primitives
import Routing
import Testing

@testable import Balancer

struct RateTableTests {
  private let rule = RateRule(requests: 10, every: .seconds(10), burst: 5)
  private let start = Instant(nanoseconds: 1_000_000_000_000)

  private func take(_ table: RateTable, _ text: String, _ name: UInt64 = 1, _ now: Instant) -> Int64 {
    Array(text.utf8).withUnsafeBufferPointer { table.take($0, rule: name, rule, now: now) }
  }

  @Test func `each key of each rule has a bucket of its own`() {
    let table = RateTable(seed: (1, 2))
    for _ in 0..<5 {
      #expect(take(table, "a", 1, start) == 0)
      #expect(take(table, "b", 1, start) == 0)
      #expect(take(table, "a", 2, start) == 0)
    }
    #expect(take(table, "a", 1, start) == 1_000_000_000)
    #expect(take(table, "b", 1, start) == 1_000_000_000)
    #expect(take(table, "a", 2, start) == 1_000_000_000)
    #expect(take(table, "", 1, start) == 0)
    #expect(take(table, "a", 1, start + .seconds(1)) == 0)
  }

  @Test func `an IPv6 client is its network of 64 bits`() throws {
    let table = RateTable(seed: (1, 2))
    func take(_ text: String) throws -> Int64 {
      table.take(try #require(IPAddress(text)), rule: 1, rule, now: start)
    }
    for _ in 0..<5 { #expect(try take("2001:db8::1") == 0) }
    #expect(try take("2001:db8::ffff:1") > 0)
    #expect(try take("2001:db8:0:1::1") == 0)
    #expect(try take("192.0.2.1") == 0)
  }

  @Test func `workers that take at once get the tokens of one bucket`() async {
    let table = RateTable(seed: (3, 4))
    let rule = RateRule(requests: 1, every: .seconds(3600), burst: 1000)
    let now = start
    let count = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<4 {
        group.addTask {
          (0..<1000).count { _ in table.take(IPAddress(v4: 7), rule: 1, rule, now: now) == 0 }
        }
      }
      return await group.reduce(0, +)
    }
    // A request that loses its race for the slot eight times is let through.
    #expect((1000...1050).contains(count))
  }

  @Test func `a flood of keys costs no more memory and locks nobody out`() {
    let table = RateTable(seed: (5, 6))
    for _ in 0..<5 { #expect(take(table, "victim", 1, start) == 0) }
    for index in 0..<UInt32(4 * RateTable.slotCount) {
      #expect(table.take(IPAddress(v4: index), rule: 1, rule, now: start + .seconds(10)) == 0)
    }
    #expect(take(table, "victim", 1, start + .seconds(20)) == 0)
  }
}
