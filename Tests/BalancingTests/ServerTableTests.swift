// Who is chosen: algorithms, affinity, draining, limits, retries.

import Primitives
import Testing

@testable import Balancing

/// A table with its plan, freed together.
final class Pool {
  let plan: PoolPlan
  var table: ServerTable
  var loads: [Int32]

  init(
    _ weights: [Int], algorithm: BalancingAlgorithm = .roundRobin, name: String = "app", names: [String]? = nil,
    limits: [Int]? = nil, keys: [CookieKey] = [], grace: TimeSpan = .seconds(30), worker: Int = 0, up: Bool = true
  ) {
    plan = PoolPlan(
      pool: name,
      servers: weights.indices.map {
        PlannedServer(name: names?[$0] ?? "s\($0)", weight: weights[$0], maximumConnections: limits?[$0] ?? 0)
      }, algorithm: algorithm, usesHash: true, cookieKeys: keys)
    table = ServerTable(plan: plan, stickyGrace: grace, worker: worker, seed: 1)
    loads = weights.map { _ in 0 }
    if up { for index in weights.indices { table.setAvailability(index, .up, now: at(0)) } }
  }

  deinit {
    table.deallocate()
    plan.deallocate()
  }

  func choose(
    cookie: Int = -1, key: UInt64 = 0, source: Bool = false, tried: [Int] = [], now: Instant = at(0)
  ) -> Choice {
    var set = TriedServers()
    for server in tried { _ = set.insert(server) }
    return table.choose(
      cookieServer: cookie, clientKey: key, hashesSource: source, tried: set, now: now, load: { loads[$0] })
  }

  func server(key: UInt64 = 0, source: Bool = false, tried: [Int] = []) -> Int {
    Int(choose(key: key, source: source, tried: tried).server)
  }
}

func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

@Suite struct ServerTableTests {
  @Test("ejected servers are the last resort", arguments: [false, true])
  func ejected(hashes: Bool) {
    let pool = Pool([1, 1, 1], algorithm: hashes ? .hash : .roundRobin)
    pool.table.setAvailability(0, .ejected, now: at(0))
    let turns = (0..<30).map { pool.server(key: UInt64($0)) }
    #expect(Set(turns) == [1, 2])
    #expect(pool.choose(cookie: 0).cause == .moved)
    // All others have failed this request.
    #expect(pool.choose(tried: [1, 2]) == Choice(server: 0, cause: .algorithm))
    #expect(pool.choose(tried: [0, 1, 2]) == Choice(server: -1, cause: .noneLeft))
    // All others are down.
    pool.table.setAvailability(1, .down, now: at(1))
    pool.table.setAvailability(2, .maintenance, now: at(1))
    #expect(pool.server(key: 7) == 0)
    #expect(pool.choose(cookie: 0).cause == .cookie)
    pool.table.setAvailability(2, .up, now: at(2))
    #expect((0..<9).allSatisfy { pool.server(key: UInt64($0)) == 2 })
  }

  @Test("servers of which nothing is known are the last resort, and keep their clients")
  func unchecked() {
    let pool = Pool([1, 1])
    pool.table.setAvailability(0, .unchecked, now: at(0))
    pool.table.setAvailability(1, .unchecked, now: at(0))
    #expect(Set((0..<9).map { _ in pool.server() }) == [0, 1])
    pool.table.setAvailability(1, .up, now: at(1))
    #expect((0..<9).allSatisfy { _ in pool.server() == 1 })
    #expect(pool.choose(cookie: 0) == Choice(server: 0, cause: .cookie))
    pool.table.setAvailability(0, .down, now: at(2))
    #expect(pool.choose(cookie: 0) == Choice(server: 1, cause: .moved))
  }

  @Test("nobody gets an ejected server because the others are full")
  func ejectedAndFull() {
    let pool = Pool([1, 1], limits: [0, 1])
    pool.table.setAvailability(0, .ejected, now: at(0))
    pool.loads[1] = 1
    #expect(pool.choose() == Choice(server: -1, cause: .allFull))
  }

  @Test("round robin gives each its weight, smoothly")
  func roundRobin() {
    let pool = Pool([5, 1, 1])
    let turns = (0..<7).map { _ in pool.server() }
    #expect(turns.filter { $0 == 0 }.count == 5)
    #expect(turns.filter { $0 == 1 }.count == 1)
    // Smooth: never all five in a row.
    let twice = (0..<70).map { _ in pool.server() }
    #expect(!twice.indices.dropFirst(4).contains { i in (0..<5).allSatisfy { twice[i - $0] == 0 } })
    let equal = Pool([100, 100, 100])
    let order = (0..<9).map { _ in equal.server() }
    #expect(Set(order[0..<3]) == [0, 1, 2] && order[0..<3] == order[3..<6] && order[3..<6] == order[6..<9])
  }

  @Test("workers start their rounds at different servers")
  func offsets() {
    #expect(Set((0..<3).map { Pool([1, 1, 1], worker: $0).server() }) == [0, 1, 2])
    #expect(Set((0..<3).map { Pool([1, 1, 1], algorithm: .leastConnections, worker: $0).server() }) == [0, 1, 2])
  }

  @Test("a server that comes back does not get the turns that it missed")
  func comingBack() {
    let pool = Pool([1, 1, 1])
    pool.table.setAvailability(1, .down, now: at(1))
    let without = (0..<30).map { _ in pool.server() }
    #expect(!without.contains(1) && without.filter { $0 == 0 }.count == 15)
    pool.table.setAvailability(1, .up, now: at(2))
    let with = (0..<30).map { _ in pool.server() }
    for server in 0..<3 { #expect((9...11).contains(with.filter { $0 == server }.count)) }
  }

  @Test("least connections counts load against weight, and equals take turns")
  func leastConnections() {
    let pool = Pool([100, 100, 200], algorithm: .leastConnections)
    pool.loads = [3, 1, 5]
    #expect(pool.server() == 1)
    pool.loads = [3, 3, 5]
    #expect(pool.server() == 2)
    pool.loads = [0, 0, 9]
    #expect(Set((0..<6).map { _ in pool.server() }) == [0, 1])
    // Filling up by the rule ends at the weights' shares.
    pool.loads = [0, 0, 0]
    for _ in 0..<400 { pool.loads[pool.server()] += 1 }
    #expect(pool.loads == [100, 100, 200])
  }

  @Test("random of two prefers the less loaded, and respects weights")
  func randomTwo() {
    let pool = Pool([100, 100, 100, 100], algorithm: .randomTwo)
    pool.loads = [1000, 0, 0, 0]
    let turns = (0..<4000).map { _ in pool.server() }
    // Only when both draws fall on it.
    #expect(turns.filter { $0 == 0 }.count < 400)
    let weighted = Pool([300, 100], algorithm: .randomTwo)
    for _ in 0..<4000 { weighted.loads[weighted.server()] += 1 }
    #expect((2900...3100).contains(weighted.loads[0]))
  }

  @Test(
    "servers that were tried are not chosen again",
    arguments: [BalancingAlgorithm.roundRobin, .leastConnections, .randomTwo, .hash])
  func tried(_ algorithm: BalancingAlgorithm) {
    let pool = Pool([1, 1, 1], algorithm: algorithm)
    for key in UInt64(0)..<50 {
      let first = pool.server(key: key)
      let second = pool.server(key: key, tried: [first])
      let third = pool.server(key: key, tried: [first, second])
      #expect(Set([first, second, third]) == [0, 1, 2])
      #expect(pool.choose(key: key, tried: [0, 1, 2]) == Choice(server: -1, cause: .noneLeft))
    }
    var full = TriedServers()
    for index in 0..<TriedServers.capacity {
      let inserted = full.insert(index)
      #expect(inserted)
    }
    let overflowed = full.insert(99)
    #expect(!overflowed && !full.contains(99) && full.contains(7))
  }

  @Test(
    "nobody is up before the first check, and the cause says so",
    arguments: [BalancingAlgorithm.roundRobin, .leastConnections, .randomTwo, .hash])
  func none(_ algorithm: BalancingAlgorithm) {
    let pool = Pool([1, 1], algorithm: algorithm, up: false)
    #expect(pool.choose() == Choice(server: -1, cause: .noneUp))
    pool.table.setAvailability(0, .draining, now: at(0))
    pool.table.setAvailability(1, .maintenance, now: at(0))
    #expect(pool.choose() == Choice(server: -1, cause: .noneUp))
    #expect(Pool([], algorithm: algorithm).choose() == Choice(server: -1, cause: .noneUp))
    #expect(Pool([0, 0], algorithm: algorithm).choose() == Choice(server: -1, cause: .noneUp))
  }

  @Test("full servers are left out", arguments: [BalancingAlgorithm.roundRobin, .leastConnections, .randomTwo, .hash])
  func limits(_ algorithm: BalancingAlgorithm) {
    let pool = Pool([1, 1, 1], algorithm: algorithm, limits: [2, 3, 2])
    for key in UInt64(0)..<7 {
      let server = pool.server(key: key)
      #expect(server >= 0)
      if server >= 0 { pool.loads[server] += 1 }
    }
    #expect(pool.loads == [2, 3, 2])
    #expect(pool.choose() == Choice(server: -1, cause: .allFull))
  }

  @Test("a cookie's server is taken while it is up, or draining within the grace")
  func cookie() {
    let pool = Pool([1, 1, 0], grace: .seconds(30))
    for _ in 0..<5 { #expect(pool.choose(cookie: 1) == Choice(server: 1, cause: .cookie)) }
    // Weight 0 keeps new clients away, not its own.
    #expect(pool.choose(cookie: 2) == Choice(server: 2, cause: .cookie))
    #expect(pool.choose(cookie: 1, tried: [1]) == Choice(server: 0, cause: .moved))
    pool.table.setAvailability(1, .draining, now: at(100))
    #expect(pool.choose(cookie: 1, now: at(100)).server == 1)
    #expect(pool.choose(cookie: 1, now: at(129)).server == 1)
    // Said again, the grace does not start anew.
    pool.table.setAvailability(1, .draining, now: at(129))
    #expect(pool.choose(cookie: 1, now: at(130)) == Choice(server: 0, cause: .moved))
    #expect(pool.choose(now: at(101)) == Choice(server: 0, cause: .algorithm))
    pool.table.setAvailability(1, .down, now: at(140))
    #expect(pool.choose(cookie: 1, now: at(141)) == Choice(server: 0, cause: .moved))
    pool.table.setAvailability(1, .maintenance, now: at(140))
    #expect(pool.choose(cookie: 1, now: at(141)) == Choice(server: 0, cause: .moved))
    // A tag that is nobody's: chosen anew and issued again.
    #expect(pool.choose(cookie: -2) == Choice(server: 0, cause: .moved))
  }

  @Test("the grace is a pure function of times")
  func grace() {
    #expect(ServerTable.acceptsSticky(drainingSince: at(10), now: at(10), grace: .seconds(5)))
    #expect(ServerTable.acceptsSticky(drainingSince: at(10), now: at(14), grace: .seconds(5)))
    #expect(!ServerTable.acceptsSticky(drainingSince: at(10), now: at(15), grace: .seconds(5)))
    #expect(!ServerTable.acceptsSticky(drainingSince: at(10), now: at(10), grace: .zero))
  }
}

@Suite struct AffinityTests {
  static let first = CookieKey(Array(0..<16))!
  static let second = CookieKey(Array(16..<32))!

  @Test("each server's tag finds it, in small and large pools", arguments: [1, 3, 16, 17, 300])
  func tags(_ count: Int) {
    let pool = Pool(Array(repeating: 1, count: count), keys: [Self.first, Self.second])
    let old = Pool(Array(repeating: 1, count: count), keys: [Self.second])
    var seen = Set<UInt64>()
    for server in 0..<count {
      let tag = pool.plan.issuedTag(server)
      #expect(pool.table.server(ofTag: tag) == server)
      #expect(pool.table.server(ofTag: old.plan.issuedTag(server)) == server)
      #expect(old.table.server(ofTag: tag) == -1)
      #expect(pool.table.server(ofTag: tag ^ 1) == -1)
      seen.insert(tag)
    }
    #expect(seen.count == count)
    #expect(pool.table.server(ofTag: 0) == -1)
  }

  @Test("tags are of names, not of positions or addresses, and never change")
  func golden() {
    let pool = Pool([1, 1], keys: [Self.first])
    let turned = Pool([1, 1], names: ["s1", "s0"], keys: [Self.first])
    #expect(pool.plan.issuedTag(0) == turned.plan.issuedTag(1))
    #expect(Pool([1], name: "other", keys: [Self.first]).plan.issuedTag(0) != pool.plan.issuedTag(0))
    #expect(Pool([1], keys: []).table.server(ofTag: pool.plan.issuedTag(0)) == -1)
    #expect(
      pool.plan.issuedTag(0)
        == SipHash.tag(Array("app\u{0}s0".utf8), key: (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)))
    #expect(CookieKey([1, 2, 3]) == nil)
  }

  @Test("the cookie's line")
  func line() {
    func line(_ maxAge: Int64?, _ secure: Bool, _ sameSite: String?) -> String {
      String(
        decoding: AffinityCookie.line(
          name: "AFLOAT", tag: 0xab, maxAgeSeconds: maxAge, secure: secure, sameSite: sameSite),
        as: UTF8.self)
    }
    #expect(line(nil, false, nil) == "Set-Cookie: AFLOAT=00000000000000ab; Path=/; HttpOnly\r\n")
    #expect(
      line(3600, true, "Lax")
        == "Set-Cookie: AFLOAT=00000000000000ab; Path=/; HttpOnly; Max-Age=3600; Secure; SameSite=Lax\r\n")
  }

  @Test("a table of a later plan takes over what the earlier one knew of the servers that stay")
  func adopting() {
    let old = Pool([100, 100, 100], names: ["a", "b", "c"])
    old.table.setAvailability(1, .draining, now: at(5))
    let new = Pool([100, 100, 100], names: ["c", "b", "d"], up: false)
    new.table.adopt(old.table, now: at(9), oldPlace: { [2, 1, -1][$0] }, newcomer: { _ in .maintenance })
    #expect((0..<3).map { new.table.availability($0) } == [.up, .draining, .maintenance])
    // The grace runs from when the drain began.
    #expect(new.choose(cookie: 1, now: at(34)).server == 1)
    #expect(new.choose(cookie: 1, now: at(36)).server == 0)
    #expect((0..<5).map { _ in new.server() } == [0, 0, 0, 0, 0])
  }

  @Test("servers tried are found by other numbers")
  func renumbering() {
    var tried = TriedServers()
    for slot in [40, 7, 12] { _ = tried.insert(slot) }
    let places = tried.renumbered { [40: 0, 7: -1, 12: 2][$0] ?? -1 }
    #expect(places.count == 2)
    #expect(places.contains(0) && places.contains(2) && !places.contains(7))
  }
}
