// Weights that change while the table is in use: slow starts, operators' weights, backups.

import Primitives
import Testing

@testable import Balancing

/// A table with its plan, freed together; mutating calls within expectations.
private final class Changing {
  private(set) var plan: PoolPlan
  var table: ServerTable

  init(_ plan: PoolPlan, slowStart: Int64 = 10) {
    self.plan = plan
    table = ServerTable(plan: plan, slowStart: .seconds(slowStart))
  }

  deinit {
    table.deallocate()
    plan.deallocate()
  }

  /// The next configuration, with the same servers.
  func adopt(_ next: PoolPlan, _ seconds: Int64) {
    var after = ServerTable(plan: next, slowStart: table.slowStart)
    after.adopt(table, now: at(seconds), oldPlace: { $0 }, newcomer: { _ in .down })
    table.deallocate()
    plan.deallocate()
    plan = next
    table = after
  }

  func set(_ server: Int, _ availability: ServerAvailability, _ seconds: Int64) {
    table.setAvailability(server, availability, now: at(seconds))
  }

  func owner(_ key: UInt64) -> Int {
    let choice = table.choose(
      clientKey: StableHash.mix(key), tried: TriedServers(), now: at(0), load: { _ in 0 })
    return Int(choice.server)
  }

  /// How many of so many turns each server gets.
  func shares(_ turns: Int) -> [Int] {
    var counts = Array(repeating: 0, count: plan.serverCount)
    for turn in 0..<turns {
      let server = owner(UInt64(turn))
      if server >= 0 { counts[server] += 1 }
    }
    return counts
  }
}

@Suite struct SlowStartTests {
  static func plan(
    _ weights: [Int], algorithm: BalancingAlgorithm = .roundRobin, backups: Set<Int> = []
  ) -> PoolPlan {
    PoolPlan(
      pool: "app",
      servers: weights.indices.map {
        PlannedServer(name: "s\($0)", weight: weights[$0], isBackup: backups.contains($0))
      }, algorithm: algorithm, usesHash: true)
  }

  @Test("a server that comes up gets its share in a straight line", arguments: [1, 100, 1000])
  func ramp(_ weight: Int) {
    let pool = Changing(Self.plan([weight, weight]))
    pool.set(0, .up, 0)
    pool.set(1, .up, 100)
    for (second, expected) in [(Int64(101), 0.1), (105, 0.5), (109, 0.9)] {
      pool.table.advance(now: at(second))
      #expect(pool.table.isRamping)
      let shares = pool.shares(1900)
      let share = Double(shares[1]) / Double(shares[0])
      #expect(abs(share - expected) < 0.02, "after \(second - 100) s: \(share)")
    }
    pool.table.advance(now: at(110))
    #expect(!pool.table.isRamping)
    #expect(pool.shares(1000) == [500, 500])
  }

  @Test("servers that start together share alike, and the only one gets all")
  func together() {
    let pool = Changing(Self.plan([100, 100, 100]))
    for server in 0..<3 { pool.set(server, .up, 0) }
    pool.table.advance(now: at(1))
    #expect(pool.shares(300).allSatisfy { (98...102).contains($0) })
    pool.set(0, .down, 2)
    pool.set(1, .down, 2)
    #expect(pool.shares(10) == [0, 0, 10])
  }

  @Test("what was drained or down starts slowly again, each time")
  func again() {
    let pool = Changing(Self.plan([100, 100]))
    pool.set(0, .up, 0)
    pool.set(1, .up, 0)
    pool.table.advance(now: at(20))
    for state in [ServerAvailability.draining, .down, .maintenance] {
      pool.set(1, state, 30)
      pool.set(1, .up, 40)
      let share = pool.shares(1000)[1]
      #expect(share < 10, "after \(state)")
      pool.table.advance(now: at(50))
    }
    #expect(pool.shares(100) == [50, 50])
  }

  @Test("only clients that will belong to it move to a server that starts by and by")
  func hash() {
    let pool = Changing(Self.plan([100, 100, 100], algorithm: .hash))
    func owners() -> [Int] { (0..<2000).map { pool.owner($0) } }
    pool.set(0, .up, 0)
    pool.set(1, .up, 0)
    pool.table.advance(now: at(20))
    var before = owners()
    pool.set(2, .up, 100)
    for second in Int64(100)...110 {
      pool.table.advance(now: at(second))
      let now = owners()
      #expect(zip(before, now).allSatisfy { $0 == $1 || $1 == 2 })
      before = now
    }
    #expect((550...780).contains(before.filter { $0 == 2 }.count))
  }

  @Test("another weight is in force with its configuration; 0 keeps new clients away")
  func weights() {
    let pool = Changing(Self.plan([100, 100]), slowStart: 0)
    pool.set(0, .up, 0)
    pool.set(1, .up, 0)
    pool.adopt(Self.plan([300, 100]), 1)
    #expect(pool.shares(400) == [300, 100])
    pool.adopt(Self.plan([0, 100]), 1)
    #expect(pool.shares(10) == [0, 10])
    pool.adopt(Self.plan([100, 100]), 1)
    #expect(pool.shares(100) == [50, 50])
  }

  @Test("backups take clients only while nobody else is up", arguments: [BalancingAlgorithm.roundRobin, .hash])
  func backups(_ algorithm: BalancingAlgorithm) {
    let pool = Changing(Self.plan([100, 100, 100, 100], algorithm: algorithm, backups: [2, 3]), slowStart: 0)
    for server in 0..<4 { pool.set(server, .up, 0) }
    #expect(pool.shares(100)[2...] == [0, 0])
    pool.set(0, .down, 1)
    #expect(pool.shares(100) == [0, 100, 0, 0])
    pool.set(1, .draining, 1)
    let shares = pool.shares(100)
    #expect(shares[0] + shares[1] == 0 && shares[2] > 25 && shares[3] > 25)
    pool.set(0, .up, 2)
    #expect(pool.shares(100) == [100, 0, 0, 0])
  }

  @Test("large pools: rows are those of the configured weights, and leave backups out")
  func rows() {
    let count = 300
    func plan(_ weight: Int) -> PoolPlan {
      var weights = Array(repeating: 100, count: count)
      weights[3] = weight
      return Self.plan(weights, algorithm: .hash, backups: [7])
    }
    let pool = Changing(plan(100), slowStart: 0)
    for server in 0..<count { pool.set(server, .up, 0) }
    let before = pool.shares(6000)
    #expect(before[7] == 0)
    pool.adopt(plan(1000), 1)
    #expect(pool.shares(6000)[3] > before[3] * 4)
    pool.adopt(plan(100), 1)
    #expect(pool.shares(6000) == before)
    pool.adopt(plan(10), 1)
    #expect(pool.shares(6000)[3] < before[3])
  }
}

/// The algorithms against slow and obvious versions of themselves, under random states, weights, limits and loads.
@Suite struct AgainstObviousVersionsTests {
  struct Model {
    var weights: [Int]
    var limits: [Int]
    var loads: [Int32]
    var up: [Bool]
    var tried: [Int] = []

    func isOpen(_ server: Int) -> Bool {
      up[server] && weights[server] > 0 && !tried.contains(server)
        && (limits[server] == 0 || loads[server] < limits[server])
    }
    var open: [Int] { weights.indices.filter(isOpen) }
  }

  /// A model, a table in the same state, and what random changes come of `seed`.
  static func run(
    _ seed: UInt64, _ algorithm: BalancingAlgorithm, check: (Model, _ key: UInt64, _ chosen: Int) -> Void
  ) {
    var random = SeededRandom(seed: seed)
    func draw(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
    let count = 1 + draw(12)
    var model = Model(
      weights: (0..<count).map { _ in draw(5) == 0 ? 0 : 1 + draw(300) },
      limits: (0..<count).map { _ in draw(3) == 0 ? 1 + draw(4) : 0 }, loads: Array(repeating: 0, count: count),
      up: Array(repeating: false, count: count))
    func makePlan() -> PoolPlan {
      PoolPlan(
        pool: "app",
        servers: (0..<count).map {
          PlannedServer(name: "s\($0)", weight: model.weights[$0], maximumConnections: model.limits[$0])
        }, algorithm: algorithm, usesHash: true)
    }
    var plan = makePlan()
    var table = ServerTable(plan: plan, seed: seed)
    defer {
      table.deallocate()
      plan.deallocate()
    }
    for _ in 0..<120 {
      let server = draw(count)
      switch draw(6) {
      case 0:
        model.up[server].toggle()
        table.setAvailability(server, model.up[server] ? .up : .down, now: at(1))
      case 1:
        model.weights[server] = draw(4) == 0 ? 0 : 1 + draw(1000)
        let next = makePlan()
        var after = ServerTable(plan: next, seed: seed)
        after.adopt(table, now: at(1), oldPlace: { $0 }, newcomer: { _ in .down })
        table.deallocate()
        plan.deallocate()
        (plan, table) = (next, after)
      case 2: model.loads[server] = Int32(draw(6))
      default: break
      }
      model.tried = draw(4) == 0 ? [draw(count)] : []
      var tried = TriedServers()
      for server in model.tried { _ = tried.insert(server) }
      let key = random.next()
      let loads = model.loads
      let choice = table.choose(clientKey: key, tried: tried, now: at(2), load: { loads[$0] })
      if model.open.isEmpty {
        #expect(choice.server == -1 && choice.cause != .algorithm)
      } else {
        #expect(model.isOpen(Int(choice.server)), "seed \(seed)")
        check(model, key, Int(choice.server))
      }
    }
  }

  @Test("every choice is open, whatever the algorithm", arguments: [BalancingAlgorithm.roundRobin, .randomTwo])
  func open(_ algorithm: BalancingAlgorithm) {
    for seed in UInt64(0)..<400 { Self.run(seed, algorithm) { _, _, _ in } }
  }

  @Test("least connections finds the least load for its weight")
  func leastConnections() {
    for seed in UInt64(0)..<400 {
      Self.run(seed, .leastConnections) { model, _, chosen in
        func cost(_ server: Int) -> Double { Double(model.loads[server] + 1) / Double(model.weights[server]) }
        #expect(cost(chosen) <= model.open.map(cost).min()! + 1e-12, "seed \(seed)")
      }
    }
  }

  @Test("rendezvous finds the best draw for its weight")
  func rendezvous() {
    for seed in UInt64(0)..<400 {
      Self.run(seed, .hash) { model, key, chosen in
        func rank(_ server: Int) -> Double {
          let draw = StableHash.combine(key, Rendezvous.identity(pool: "app", server: "s\(server)"))
          return -log2(Double(draw) / 0x1p64) / Double(model.weights[server])
        }
        #expect(rank(chosen) <= model.open.map(rank).min()! + 1e-6, "seed \(seed)")
      }
    }
  }

  @Test("smooth weighted round robin gives the weights' shares in any run of their sum")
  func roundRobin() {
    for seed in UInt64(0)..<200 {
      var random = SeededRandom(seed: seed)
      let weights = (0..<(1 + Int(random.next() % 8))).map { _ in Int(random.next() % 10) }
      let sum = weights.reduce(0, +)
      if sum == 0 { continue }
      let pool = Pool(weights)
      var counts = weights.map { _ in 0 }
      for _ in 0..<(3 * sum) { counts[pool.server()] += 1 }
      #expect(counts == weights.map { 3 * $0 }, "seed \(seed): \(weights)")
    }
  }
}

private func log2(_ value: Double) -> Double {
  // The exponent, then twenty-six squarings for the fraction: no library in a pure room's tests either.
  var value = value
  var result = 0.0
  while value < 1 { value *= 2; result -= 1 }
  while value >= 2 { value /= 2; result += 1 }
  var bit = 0.5
  for _ in 0..<40 {
    value *= value
    if value >= 2 { value /= 2; result += bit }
    bit /= 2
  }
  return result
}
