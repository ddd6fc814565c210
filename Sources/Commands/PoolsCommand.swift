// `afloat pools`.

internal import ArgumentParser
internal import Control

struct PoolsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pools",
    abstract: "Show the pools: each server's state, load, latency and last check.",
    discussion: """
      REQ/S is smoothed over some seconds. 5XX, P50 and P99 (times from a request to
      the first byte of its answer) are counted since the balancer started; for the
      present see afloat top.
      """)

  @OptionGroup var connection: ConnectionOptions

  func run() throws {
    let client = connection.client()
    // The table without them is better than none.
    let figures = connection.json ? nil : try? client.get("/v1/figures", BalancerFigures.self)
    try connection.show("/v1/pools", [APIPool].self) { $0.pools($1, figures) }
  }
}
