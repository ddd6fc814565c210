// Runs the election in a simulated cluster: `afloat-sim --seeds N [--seed S] [--nodes K] [--plant FAULT]`. Ends with 1 at
// the first seed that breaks an invariant, after printing its log; `--seed S` alone runs that seed again. `--plant` puts a
// known fault into the nodes, to see how many seeds it takes to find it.

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
    let isSound = arguments.allSatisfy { argument in
      switch argument {
      case "--seeds", "--seed", "--nodes": number(argument) != nil
      case "--plant": fault != nil
      default: !argument.hasPrefix("-")
      }
    }
    guard isSound, nodes.map({ (2...7).contains($0) }) ?? true else {
      print("usage: afloat-sim [--seeds N] [--seed FIRST] [--nodes 2-7] [--plant FAULT]")
      print("faults: \(PlantedFaults.all.map(\.name).joined(separator: ", "))")
      exit(2)
    }
    let first = number("--seed") ?? 1
    let seeds = number("--seeds") ?? (number("--seed") == nil ? 100 : 1)
    var totals = SimulationTotals()
    for seed in first..<(first + seeds) {
      var setup = SimulationSetup(seed: seed, nodeCount: nodes, plantedFaults: fault ?? [])
      let outcome = Simulation.run(setup)
      totals.add(outcome.totals)
      guard let violation = outcome.violation else { continue }
      setup.keepsLog = true
      for line in Simulation.run(setup).log { print(line) }
      print("FAILED \(violation)")
      exit(1)
    }
    for line in totals.lines { print(line) }
    print("OK")
  }
}
