// Runs the election in a simulated cluster: `afloat-sim --seeds N [--seed S] [--nodes K]`. Ends with 1 at the first seed
// that breaks an invariant, after printing its log; `--seed S` alone runs that seed again.

import Glibc
import Primitives
import Simulator

@main
struct Main {
  static func main() {
    let arguments = CommandLine.arguments.dropFirst()
    func value(_ name: String) -> UInt64? {
      guard let position = arguments.firstIndex(of: name), position + 1 < arguments.endIndex else { return nil }
      return UInt64(arguments[position + 1])
    }
    let known = ["--seeds", "--seed", "--nodes"]
    let options = arguments.filter { $0.hasPrefix("-") }
    let nodes = value("--nodes").map { Int(clamping: $0) }
    guard options.allSatisfy({ known.contains($0) && value($0) != nil }), nodes.map({ (2...7).contains($0) }) ?? true
    else {
      print("usage: afloat-sim [--seeds N] [--seed FIRST] [--nodes 2-7]")
      exit(2)
    }
    let first = value("--seed") ?? 1
    let seeds = value("--seeds") ?? (value("--seed") == nil ? 100 : 1)
    var totals = SimulationTotals()
    for seed in first..<(first + seeds) {
      let outcome = Simulation.run(SimulationSetup(seed: seed, nodeCount: nodes))
      totals.add(outcome.totals)
      guard let violation = outcome.violation else { continue }
      for line in Simulation.run(SimulationSetup(seed: seed, nodeCount: nodes, keepsLog: true)).log { print(line) }
      print("FAILED \(violation)")
      exit(1)
    }
    for line in totals.lines { print(line) }
    print("OK")
  }
}
