// The parts of a snapshot that are made from one pool or one listener of the configuration. A part that did not change is
// taken over by the next snapshot as it is: a large pool's hash takes time to compute, and its memory need not be there
// twice.

internal import Balancing
internal import Control
internal import HTTP1
internal import Kernel
internal import Primitives

/// Everything that a pool's records depend on.
struct PoolSource: Equatable {
  let pool: PoolConfiguration
  let slot: Int
  let serverSlots: [Int]
  let node: String
  let cookieKeys: [[UInt8]]
  /// Headers that name node and server, of all listeners.
  let servedByHeaders: [String]
  /// Slot of the pool that stands in; -1: none.
  var standIn = -1
}

final class PoolPart {
  let source: PoolSource
  let record: PoolRecord
  /// By place.
  let servers: [ServerRecord]
  private let memory = RecordMemory()

  /// Throws a sentence about a contradiction that the agent should have found.
  init(_ source: PoolSource) throws(BalancerFault) {
    self.source = source
    let pool = source.pool
    let keys = source.cookieKeys.compactMap(CookieKey.init)
    var cookieName: CookieName?
    if case .cookie(let name, _, _, _) = pool.affinity {
      guard !name.isEmpty else { throw BalancerFault("the affinity cookie of pool \(pool.name) has no name") }
      guard !keys.isEmpty else { throw BalancerFault("pool \(pool.name) uses cookies, but there is no cookie key") }
      cookieName = CookieName(memory.text(name))
    }
    let hashes = pool.affinity == .source || pool.balance == .hash(.source)
    let plan = PoolPlan(
      pool: pool.name,
      servers: pool.servers.map {
        PlannedServer(
          name: $0.name, weight: min(max($0.weight, 0), 1_000), maximumConnections: max(0, $0.maximumConnections ?? 0),
          isBackup: $0.isBackup)
      }, algorithm: pool.balance.algorithm, usesHash: hashes, cookieKeys: cookieName == nil ? [] : keys)
    record = PoolRecord(
      plan: plan, stickyGrace: pool.stickyGrace, servers: memory.keep(source.serverSlots.map { Int32($0) }),
      hashesSource: hashes, cookieName: cookieName, connect: Snapshot.ticks(pool.timeouts.connect),
      response: Snapshot.ticks(pool.timeouts.response), idle: Snapshot.ticks(pool.timeouts.idle),
      retryAttempts: min(max(pool.retry.attempts, 0), TriedServers.capacity - 1),
      retryBudgetPercent: Int32(clamping: pool.retry.budgetPercent),
      terms: PoolTerms(pool, standIn: source.standIn, memory),
      noneUp: memory.text("no server of pool \(pool.name) is up"),
      noneLeft: memory.text("every server of pool \(pool.name) that is up has been tried"),
      cookieFull: memory.text("the server of this client in pool \(pool.name) has reached max_connections"),
      allFull: memory.text("every server of pool \(pool.name) has reached max_connections"),
      name: memory.text(pool.name))
    var servers: [ServerRecord] = []
    for place in pool.servers.indices {
      servers.append(Self.server(place, source, tag: cookieName == nil ? nil : plan.issuedTag(place), memory))
    }
    self.servers = servers
  }

  deinit { record.plan.deallocate() }

  private static func server(_ place: Int, _ source: PoolSource, tag: UInt64?, _ memory: RecordMemory) -> ServerRecord {
    let server = source.pool.servers[place]
    var setCookie = Text.empty
    if let tag, case .cookie(let name, let maxAge, let secure, let sameSite) = source.pool.affinity {
      let seconds = maxAge.map { $0.nanoseconds / 1_000_000_000 }
      setCookie = memory.keep(
        AffinityCookie.line(name: name, tag: tag, maxAgeSeconds: seconds, secure: secure, sameSite: sameSite))
    }
    return ServerRecord(
      address: SocketAddress(server.endpoint), pool: Int32(source.slot), place: Int32(place), setCookie: setCookie,
      host: memory.text(source.pool.authority(of: server, port: server.endpoint.port)),
      ownHost: server.host.map { memory.text($0) } ?? .empty,
      limit: Int32(clamping: max(0, server.maximumConnections ?? 0)), proxyHeader: server.proxyHeader,
      servedBy: memory.keep(
        source.servedByHeaders.map { memory.text("\($0): \(source.node)/\(server.name)\r\n") }),
      name: memory.text(server.name))
  }
}

/// What is left of a server that was removed and still has connections: texts of its own, so that they keep neither the
/// table of its pool nor the texts of all others.
final class RetiredServer {
  let record: ServerRecord
  private let memory: RecordMemory

  init(_ server: ServerRecord) {
    let memory = RecordMemory()
    func copy(_ text: Text) -> Text { memory.keep(Array(text)) }
    var record = server
    record.isRetired = true
    record.setCookie = copy(server.setCookie)
    record.host = copy(server.host)
    record.ownHost = copy(server.ownHost)
    record.servedBy = memory.keep(server.servedBy.map(copy))
    record.name = copy(server.name)
    self.record = record
    self.memory = memory
  }
}

/// Everything that a listener's record depends on.
struct ListenerSource: Equatable {
  let listener: ListenerConfiguration
  /// Slots of the pools that it and its routes name.
  let pools: [String: Int32]
  /// Place of its header in `PoolSource.servedByHeaders`; -1 without.
  let servedBy: Int
  /// Slots of its routes, in their order.
  let routeSlots: [Int]
}

final class ListenerPart {
  let source: ListenerSource
  let record: ListenerRecord
  private let memory = RecordMemory()

  /// Throws a sentence about a contradiction that the agent should have found.
  init(_ source: ListenerSource) throws(BalancerFault) {
    self.source = source
    let listener = source.listener
    var options = RequestOptions()
    switch listener.forwardedStyle {
    case .xForwarded: options.insert(.addsXForwarded)
    case .forwarded: options.insert(.addsForwarded)
    case .both: options.formUnion([.addsXForwarded, .addsForwarded])
    case .none: break
    }
    let limits = listener.limits
    guard let pool = listener.pool.isEmpty ? -1 : source.pools[listener.pool] else {
      throw BalancerFault("listener \(listener.name) names the pool \(listener.pool), which does not exist")
    }
    var servedByNames: [Text] = []
    if let header = listener.servedByHeader { servedByNames.append(memory.text(header.lowercased())) }
    record = ListenerRecord(
      isHTTP: listener.mode == .http, pool: pool,
      routes: try RouteBuilder(memory: memory, pools: source.pools).records(listener, slots: source.routeSlots),
      requestOptions: options,
      headLimits: HeadLimits(
        headByteCount: min(max(limits.headByteCount, 512), Snapshot.largestConfigurableHead),
        fieldCount: min(max(limits.headerCount, 1), 10_000)),
      requestHead: Snapshot.ticks(listener.timeouts.requestHead), idle: Snapshot.ticks(listener.timeouts.idle),
      clientBody: Snapshot.ticks(listener.timeouts.clientBody), tunnel: Snapshot.ticks(listener.timeouts.tunnel),
      maximumConnections: max(1, limits.connections), maximumBodyByteCount: limits.bodyByteCount ?? Int64.max,
      maximumConnectionsPerSource: limits.connectionsPerSource ?? 0, trusted: memory.keep(listener.forwardedTrust),
      servedBy: Int32(source.servedBy),
      servedByName: memory.keep(servedByNames),
      name: memory.text(listener.name))
  }
}

extension BalanceAlgorithm {
  fileprivate var algorithm: BalancingAlgorithm {
    switch self {
    case .roundRobin: .roundRobin
    case .leastConnections: .leastConnections
    case .randomTwo: .randomTwo
    case .hash: .hash
    }
  }
}
