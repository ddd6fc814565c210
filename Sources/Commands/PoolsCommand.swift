// `afloat pools`.

internal import ArgumentParser
internal import Control
internal import Kernel

struct PoolsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pools",
    abstract: "Show the pools: each server's state, load, latency and last check.",
    discussion: """
      REQ/S is smoothed over some seconds. 5XX, P50 and P99 (times from a request to
      the first byte of its answer) are counted since the balancer started; for the
      present see afloat top. CONNECTIONS and REQUESTS are up to half a second old.
      With --json, responses are counted by their first digit, 1 to 5, and times are
      in milliseconds; null where the balancer gives no figures.
      """)

  @OptionGroup var connection: ConnectionOptions

  func run() throws {
    let client = connection.client()
    let pools = try client.get("/v1/pools", [APIPool].self)
    // The table without them is better than none.
    let figures = try? client.get("/v1/figures", BalancerFigures.self)
    guard connection.json else { return Terminal.write(connection.views.pools(pools, figures)) }
    Terminal.write(
      try JSONLine.text(pools.map { pool in CountedPool(pool, figures?.pools.first { $0.name == pool.name }) }))
  }
}

/// A pool of the API with what the balancer has counted.
struct CountedPool: Encodable {
  private struct Server: Encodable {
    var server: APIServer
    var figures: ServerFigures?

    enum CodingKeys: String, CodingKey {
      case responses
      case p50 = "p50_ms"
      case p99 = "p99_ms"
    }

    func encode(to encoder: any Encoder) throws {
      try server.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(figures?.traffic.responses, forKey: .responses)
      let counts = figures?.traffic.firstByte.counts ?? []
      try container.encode(LatencyBuckets.quantile(0.5, counts).map { $0 / 1_000 }, forKey: .p50)
      try container.encode(LatencyBuckets.quantile(0.99, counts).map { $0 / 1_000 }, forKey: .p99)
    }
  }

  private var name: String
  private var servers: [Server]
  private var waiting: Int?
  private var queued: UInt64?
  private var queueFull: UInt64?
  private var queueLate: UInt64?
  private var retries: UInt64?

  init(_ pool: APIPool, _ figures: PoolFigures?) {
    name = pool.name
    servers = pool.servers.map { server in
      Server(server: server, figures: figures?.servers.first { $0.name == server.name })
    }
    waiting = figures?.waiting
    queued = figures?.queued
    queueFull = figures?.queueFull
    queueLate = figures?.queueLate
    retries = figures?.retries
  }

  enum CodingKeys: String, CodingKey {
    case name, servers, waiting, queued, retries
    case queueFull = "queue_full"
    case queueLate = "queue_late"
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(name, forKey: .name)
    try container.encode(servers, forKey: .servers)
    try container.encode(waiting, forKey: .waiting)
    try container.encode(queued, forKey: .queued)
    try container.encode(queueFull, forKey: .queueFull)
    try container.encode(queueLate, forKey: .queueLate)
    try container.encode(retries, forKey: .retries)
  }
}
