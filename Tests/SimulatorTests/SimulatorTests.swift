// The election under faults, a few seeds of the many that `afloat-sim` runs, and the proof that the simulator sees faults.

import ClusterNode
import Primitives
import Simulator
import Testing

@Suite("The election in a simulated cluster")
struct SimulationTests {
  @Test("keeps its invariants", arguments: [UInt64](1...8))
  func short(seed: UInt64) {
    let outcome = Simulation.run(SimulationSetup(seed: seed, length: .seconds(10)))
    #expect(outcome.violation == nil)
    #expect(outcome.totals.simulatedNanoseconds >= 10_000_000_000 && outcome.totals.faults >= 20)
    #expect(outcome.totals.datagrams + outcome.totals.unicasts > 100)
  }

  @Test("goes through rounds for a minute at least")
  func long() {
    let outcome = Simulation.run(SimulationSetup(seed: 4))
    #expect(outcome.violation == nil)
    #expect(outcome.totals.simulatedNanoseconds >= 60_000_000_000 && outcome.totals.rounds >= 2)
  }

  /// Seeds that once broke an invariant: 67, V5, a holder that never heard of the rival that had announced and gave way.
  @Test("keeps them for seeds that once broke one", arguments: [67] as [UInt64])
  func found(seed: UInt64) {
    #expect(Simulation.run(SimulationSetup(seed: seed)).violation == nil)
  }

  @Test("runs the same way twice from one seed")
  func reproducible() {
    let first = Simulation.run(SimulationSetup(seed: 77, length: .seconds(5), keepsLog: true))
    let second = Simulation.run(SimulationSetup(seed: 77, length: .seconds(5), keepsLog: true))
    #expect(first.totals == second.totals)
    #expect(first.log == second.log)
    #expect(Simulation.run(SimulationSetup(seed: 78, length: .seconds(5), keepsLog: true)).log != first.log)
  }
}

@Suite("A planted fault is found")
struct PlantedFaultTests {
  /// Among which seeds it must be found, in histories of a few seconds. Most show within one or two.
  static let faults: [(name: String, seeds: ClosedRange<UInt64>)] = [
    ("own-evidence-only", 1...1), ("order-from-own-configuration", 3...3), ("no-announcement-after-heal", 1...1),
    ("unconfirmed-boot-believed", 1...1), ("draining-acquires", 3...3), ("release-before-removal", 3...3),
    ("sleeps-without-doubt", 2...2), ("claims-without-listening", 1...1), ("gate-counts-from-waking", 17...17),
    ("resign-of-any-boot", 1...1), ("lower-rank-stays", 1...1), ("resigns-before-gate", 2...2),
    ("announces-early", 1...1), ("keeps-address", 1...1),
  ]

  @Test("within the stated number of seeds", arguments: faults.map(\.name))
  func found(name: String) throws {
    let fault = try #require(PlantedFaults.all.first { $0.name == name }?.fault)
    let seeds = try #require(Self.faults.first { $0.name == name }?.seeds)
    let found = seeds.first {
      Simulation.run(SimulationSetup(seed: $0, length: .seconds(1), plantedFaults: fault)).violation != nil
    }
    #expect(found != nil, "\(name) was not found in the seeds \(seeds)")
  }

  @Test("and every fault has a limit")
  func complete() { #expect(Set(Self.faults.map(\.name)) == Set(PlantedFaults.all.map(\.name))) }
}
