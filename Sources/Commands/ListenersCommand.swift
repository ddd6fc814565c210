// `afloat listeners`.

internal import ArgumentParser
internal import Control

struct ListenersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "listeners",
    abstract: "Show where clients connect, and how many do.")

  @OptionGroup var connection: ConnectionOptions

  func run() throws { try connection.show("/v1/listeners", [APIListener].self) { $0.listeners($1) } }
}
