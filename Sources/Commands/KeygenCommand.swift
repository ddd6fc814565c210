// `afloat keygen` – a new key for a cluster, on standard output.

internal import ArgumentParser
internal import Kernel
internal import Settings

struct KeygenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keygen", abstract: "Make a new key for a cluster.",
    discussion: "Example: (umask 077; afloat keygen > cluster.key), then copy the file to every node.")

  func run() throws {
    // On Linux this is getrandom(2).
    var random = SystemRandomNumberGenerator()
    let key = (0..<ClusterKey.byteCount).map { _ in UInt8.random(in: 0...255, using: &random) }
    Terminal.write(ClusterKey.line(key) + "\n")
  }
}
