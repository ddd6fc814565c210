// `afloat version`.

internal import ArgumentParser
internal import Control
internal import Kernel

struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "version", abstract: "Say which version this is.")

  @Flag(help: "Print as JSON.")
  var json = false

  func run() throws {
    Terminal.write(json ? "{\"version\":\"\(Software.version)\"}\n" : "afloat \(Software.version)\n")
  }
}
