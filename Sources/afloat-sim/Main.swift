// Runs the election in a simulated cluster: `afloat-sim --seeds N [--seed S]`. Ends with 1 at the first seed that breaks an
// invariant, after printing the end of its log; `--seed S` alone runs that seed again. `--plant` puts a known fault into the
// nodes, to see how many seeds it takes to find it.

import ClusterNode
import Glibc
import Primitives
import Simulator

@main
struct Main {
  static func main() {
    let arguments = CommandLine.arguments.dropFirst()
    func text(_ name: String) -> String? {
      guard let position = arguments.firstIndex(of: name), position + 1 < arguments.endIndex else { return nil }
      return arguments[position + 1]
    }
    func number(_ name: String) -> UInt64? { text(name).flatMap { UInt64($0) } }
    let plant = text("--plant")
    let fault = PlantedFaults.all.first { $0.name == plant }?.fault
    let nodes = number("--nodes").map { Int(clamping: $0) }
    let vips = number("--vips").map { Int(clamping: $0) }
    let isSound = arguments.allSatisfy { argument in
      switch argument {
      case "--seeds", "--seed", "--nodes", "--vips", "--seconds", "--heartbeat": number(argument) != nil
      case "--plant": fault != nil
      default: !argument.hasPrefix("-")
      }
    }
    let seconds = number("--seconds") ?? 60
    let heartbeat = number("--heartbeat")
    guard isSound, nodes.map({ (2...7).contains($0) }) ?? true, vips.map({ (1...64).contains($0) }) ?? true,
      heartbeat.map({ (1...1000).contains($0) }) ?? true,
      (1...86_400).contains(seconds)
    else {
      print(
        """
        usage: afloat-sim [--seeds N] [--seed FIRST] [--nodes 2-7] [--vips 1-64] [--heartbeat MS] [--seconds N]
                          [--plant FAULT]
          --seeds      histories to run: 100, or 1 with --seed
          --seed       the first of them: 1
          --nodes      members of the cluster, else drawn from each seed
          --vips       that they share, else drawn from each seed: 1 to 4
          --heartbeat  1 to 1000 ms, else drawn from each seed: 2 to 100 ms
          --seconds    1 to 86400, the least that a history lasts in the cluster's time: 60
          --plant      a known fault
        """)
      print("faults: \(PlantedFaults.all.map(\.name).joined(separator: ", "))")
      exit(2)
    }
    let first = number("--seed") ?? 1
    let seeds = number("--seeds") ?? (number("--seed") == nil ? 100 : 1)
    var totals = SimulationTotals()
    let began = clock()
    for seed in first..<(first + seeds) {
      var setup = SimulationSetup(
        seed: seed, nodeCount: nodes, length: .seconds(Int64(seconds)), plantedFaults: fault ?? [])
      setup.vipCount = vips
      setup.heartbeat = heartbeat.map { .milliseconds(Int64($0)) }
      let outcome = Simulation.run(setup)
      totals.add(outcome.totals)
      guard let violation = outcome.violation else { continue }
      setup.keepsLog = true
      for line in Simulation.run(setup).log.suffix(loggedLines) { print(line) }
      print("FAILED \(violation)")
      exit(1)
    }
    for line in totals.lines { print(line) }
    let spent = Double(clock() - began) / Double(CLOCKS_PER_SEC)
    let simulated = Double(totals.simulatedNanoseconds) / 1e9
    print("throughput       \(Int(simulated / max(spent, 1e-3))) s of cluster time per second of CPU")
    print("OK")
  }

  /// How much of a failed history is shown: its last round, as a rule.
  static let loggedLines = 1000
}
