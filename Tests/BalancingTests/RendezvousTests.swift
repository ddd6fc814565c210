// Hashing clients to servers: shares by weight, only a lost server's clients move, every node agrees.

import Primitives
import Testing

@testable import Balancing

@Suite struct RendezvousTests {
  @Test("each server gets its weight's share of the clients")
  func shares() {
    let weights = [100, 100, 200, 50, 1000, 0]
    let pool = Pool(weights, algorithm: .hash)
    var counts = weights.map { _ in 0 }
    let total = 40_000
    for client in 0..<total { counts[pool.server(key: StableHash.mix(UInt64(client)))] += 1 }
    for (weight, count) in zip(weights, counts) {
      let expected = Double(total * weight) / Double(weights.reduce(0, +))
      // Five standard deviations.
      #expect(abs(Double(count) - expected) <= 5 * expected.squareRoot() + 1, "weight \(weight): \(count)")
    }
  }

  @Test("only a lost server's clients move, and they spread; the next choice is the retry's", arguments: [7, 300])
  func minimalMovement(_ count: Int) {
    let pool = Pool(Array(repeating: 100, count: count), algorithm: .hash)
    let clients = (0..<(count == 7 ? 5_000 : 1_500)).map { StableHash.mix(UInt64($0)) }
    let before = clients.map { pool.server(key: $0) }
    let retry = clients.map { pool.server(key: $0, tried: [3]) }
    pool.table.setAvailability(3, .down, now: at(1))
    let after = clients.map { pool.server(key: $0) }
    #expect(after == retry)
    var movedTo = Set<Int>()
    for (old, new) in zip(before, after) {
      if old == 3 { movedTo.insert(new) } else { #expect(old == new) }
      #expect(new != 3)
    }
    if count == 7 { #expect(movedTo.count == 6) }
    pool.table.setAvailability(3, .up, now: at(2))
    #expect(clients.map { pool.server(key: $0) } == before)
  }

  @Test("the order of the servers and their weights' scale do not matter, the pool's name does")
  func identity() {
    let pool = Pool([100, 100, 100], algorithm: .hash, names: ["a", "b", "c"])
    let turned = Pool([10, 10, 10], algorithm: .hash, names: ["c", "a", "b"])
    let other = Pool([100, 100, 100], algorithm: .hash, name: "other", names: ["a", "b", "c"])
    var same = 0
    for client in UInt64(0)..<1_000 {
      let key = StableHash.mix(client)
      #expect(["a", "b", "c"][pool.server(key: key)] == ["c", "a", "b"][turned.server(key: key)])
      if pool.server(key: key) == other.server(key: key) { same += 1 }
    }
    #expect((200...470).contains(same))
  }

  @Test("with equal weights the highest draw wins")
  func highestDraw() {
    let pool = Pool([7, 7, 7, 7, 7], algorithm: .hash)
    for client in UInt64(0)..<2_000 {
      let key = StableHash.mix(client)
      let draws = (0..<5).map { StableHash.combine(key, Rendezvous.identity(pool: "app", server: "s\($0)")) }
      #expect(pool.server(key: key) == draws.firstIndex(of: draws.max()!)!)
    }
  }

  @Test("a large pool's rows agree with the computation")
  func rows() {
    let weights = (0..<300).map { $0 % 5 * 50 }
    let pool = Pool(weights, algorithm: .hash)
    #expect(pool.plan.hasRows)
    // The second time from the row.
    for client in Array(UInt64(0)..<500) + Array(0..<500) {
      let key = StableHash.mix(client)
      var best = RendezvousBest()
      for index in weights.indices where weights[index] > 0 {
        best.offer(
          index, StableHash.combine(key % 65_537, Rendezvous.identity(pool: "app", server: "s\(index)")),
          Int32(weights[index]), pool.plan.logarithms)
      }
      #expect(pool.server(key: key) == best.index)
    }
  }

  @Test("affinity by source hashes whatever the algorithm is; draining servers get nobody new")
  func source() {
    let pool = Pool([1, 1, 1], algorithm: .roundRobin)
    for client in UInt64(0)..<100 {
      let key = StableHash.mix(client)
      #expect(Set((0..<3).map { _ in pool.server(key: key, source: true) }).count == 1)
    }
    pool.table.setAvailability(0, .draining, now: at(0))
    for client in UInt64(0)..<100 { #expect(pool.server(key: StableHash.mix(client), source: true) != 0) }
  }

  @Test("the integer logarithm is right and never rises with the hash")
  func logarithm() {
    let table = Rendezvous.makeLogarithms()
    defer { table.deallocate() }
    // Exact at powers of two.
    for shift in UInt64(1)..<64 { #expect(Rendezvous.cost(1 << shift | 1, table) <= (64 - shift) << 32) }
    #expect(Rendezvous.cost(1 << 63, table) == 1 << 32)
    #expect(Rendezvous.cost(0, table) == 64 << 32)
    #expect(table[0] == 0 && table[1024] == 1 << 32)
    // log2(1.5) = 0.5849625007…
    #expect(abs(Double(table[512]) / 4_294_967_296 - 0.584_962_500_721_156) < 1e-8)
    var random = SeededRandom(seed: 5)
    for _ in 0..<20_000 {
      let low = random.next() >> (random.next() % 60)
      let high = low &+ (random.next() >> (random.next() % 60))
      if high < low { continue }
      #expect(Rendezvous.cost(low, table) >= Rendezvous.cost(high, table))
    }
  }

  @Test("golden values: a change here moves clients while the versions of a cluster are mixed")
  func golden() {
    let address = IPAddress("192.0.2.7")!
    let pool = Pool([100, 200, 50, 100], algorithm: .hash, names: ["a", "b", "c", "d"])
    let keys = (0..<32).map { Rendezvous.key(of: IPAddress(v4: UInt32(0xc000_0200 + $0))) }
    #expect(keys.map { pool.server(key: $0) } == Self.goldenServers)
    #expect(Rendezvous.identity(pool: "app", server: "a") == Self.goldenIdentity)
    #expect(Rendezvous.key(of: address) == Self.goldenKey)
    // An IPv6 client is its network.
    #expect(Rendezvous.key(of: IPAddress("2001:db8::1")!) == Rendezvous.key(of: IPAddress("2001:db8::ffff:1")!))
    #expect(Rendezvous.key(of: IPAddress("2001:db8::1")!) != Rendezvous.key(of: IPAddress("2001:db8:0:1::1")!))
  }

  static let goldenServers = [
    0, 2, 0, 0, 0, 1, 1, 1, 1, 3, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 2, 1, 3, 0, 0, 2, 1, 1, 3, 1, 3,
  ]
  static let goldenIdentity: UInt64 = 14_241_492_902_639_594_637
  static let goldenKey: UInt64 = 13_691_603_726_710_948_247
}
