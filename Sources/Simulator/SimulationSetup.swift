// What a run is made of. Everything else follows from the seed.

package import ClusterNode
import Election
package import Primitives

package struct SimulationSetup: Sendable {
  package var seed: UInt64
  /// 2 to 7; nil: drawn from the seed.
  package var nodeCount: Int?
  /// 1 to 64; nil: drawn from the seed, 1 to 4. About 60 that are all news take two datagrams.
  package var vipCount: Int?
  /// Nil: drawn from the seed, 2 ms to 100 ms.
  package var heartbeat: TimeSpan?
  /// A history ends with the round in which it has lasted that long, and has had that many faults.
  package var length: TimeSpan
  package var faults = 20
  package var plantedFaults: PlantedFaults
  /// Keep a log of what happened; slower.
  package var keepsLog: Bool

  package init(
    seed: UInt64, nodeCount: Int? = nil, length: TimeSpan = .seconds(60), plantedFaults: PlantedFaults = [],
    keepsLog: Bool = false
  ) {
    self.seed = seed
    self.nodeCount = nodeCount
    self.length = length
    self.plantedFaults = plantedFaults
    self.keepsLog = keepsLog
  }
}

/// Counts over runs: what was actually exercised.
package struct SimulationTotals: Hashable, Sendable {
  package var seeds = 0
  /// Of chaos and rest.
  package var rounds = 0
  package var faults = 0
  package var datagrams = 0
  /// Datagrams addressed to single members, besides.
  package var unicasts = 0
  /// Sent once more in another key.
  package var copies = 0
  package var lost = 0
  package var duplicated = 0
  package var replayed = 0
  package var takeovers = 0
  package var resigns = 0
  package var plannedHandovers = 0
  package var yields = 0
  package var electorCrashes = 0
  package var hostCrashes = 0
  package var pauses = 0
  /// Of whole machines, with their clocks.
  package var stops = 0
  /// Of all machines at once.
  package var powerLosses = 0
  /// Times in which a system sends nothing.
  package var refusals = 0
  package var cuts = 0
  /// Cuts of multicasts or of unicasts only.
  package var kindCuts = 0
  package var partitions = 0
  package var carrierLosses = 0
  package var drains = 0
  package var reloads = 0
  package var lostAnswers = 0
  package var announcements = 0
  package var simulatedNanoseconds: Int64 = 0

  package init() {}

  package mutating func add(_ other: SimulationTotals) {
    seeds += other.seeds
    rounds += other.rounds
    faults += other.faults
    datagrams += other.datagrams
    unicasts += other.unicasts
    copies += other.copies
    lost += other.lost
    duplicated += other.duplicated
    replayed += other.replayed
    takeovers += other.takeovers
    resigns += other.resigns
    plannedHandovers += other.plannedHandovers
    yields += other.yields
    electorCrashes += other.electorCrashes
    hostCrashes += other.hostCrashes
    pauses += other.pauses
    stops += other.stops
    powerLosses += other.powerLosses
    refusals += other.refusals
    cuts += other.cuts
    kindCuts += other.kindCuts
    partitions += other.partitions
    carrierLosses += other.carrierLosses
    drains += other.drains
    reloads += other.reloads
    lostAnswers += other.lostAnswers
    announcements += other.announcements
    simulatedNanoseconds += other.simulatedNanoseconds
  }

  package var lines: [String] {
    [
      "seeds            \(seeds), \(simulatedNanoseconds / 1_000_000_000) s of cluster time in \(rounds) rounds with \(faults) faults",
      "datagrams        \(datagrams) sent, \(unicasts) to single members, \(copies) in two keys, \(lost) lost, "
        + "\(duplicated) duplicated, \(replayed) replayed by an attacker",
      "takeovers        \(takeovers), of them after a resign \(resigns); planned handovers \(plannedHandovers); yields \(yields)",
      "faults           \(electorCrashes) elector crashes, \(hostCrashes) host crashes, \(pauses) pauses, "
        + "\(stops) with the clocks, \(powerLosses) power losses, \(refusals) hosts that send nothing, \(cuts) one-way cuts, "
        + "\(kindCuts) of multicasts or unicasts only, \(partitions) partitions, \(carrierLosses) cables, \(drains) drains, "
        + "\(reloads) reloads, \(lostAnswers) lost answers",
      "announcements    \(announcements)",
    ]
  }
}

/// An invariant that did not hold.
package struct Violation: Hashable, Sendable, CustomStringConvertible {
  /// "V3" to "V6" as in docs/PROTOCOL.md, and the simulator's own.
  package var invariant: String
  package var seed: UInt64
  package var atNanoseconds: Int64
  package var what: String

  package var description: String {
    "seed \(seed), \(atNanoseconds / 1_000) us: \(invariant): \(what)"
  }
}

package struct SimulationOutcome: Sendable {
  package var totals: SimulationTotals
  /// The first violation; the run ends with it.
  package var violation: Violation?
  package var log: [String]
}
