// `afloat pools`.

internal import ArgumentParser
internal import Control

struct PoolsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pools",
    abstract: "Show the pools: each server's state, load and last check.")

  @OptionGroup var connection: ConnectionOptions

  func run() throws { try connection.show("/v1/pools", [APIPool].self) { $0.pools($1) } }
}
