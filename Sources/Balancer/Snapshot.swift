// The configuration as the workers read it: plain records in arrays, texts ready to be copied. Built once, shared by all
// workers, never written again; a change of configuration makes a new one.

internal import Balancing
internal import Control
internal import HTTP1
internal import Kernel
internal import Patterns
internal import Primitives

typealias Text = UnsafeBufferPointer<UInt8>

extension Text {
  static var empty: Text { Text(start: nil, count: 0) }
}

struct ListenerRecord {
  var isHTTP: Bool
  /// For what no route takes; -1: 404.
  var pool: Int32
  var routes: UnsafeBufferPointer<RouteRecord>
  var requestOptions: RequestOptions
  var headLimits: HeadLimits
  /// Ticks.
  var requestHead: Tick
  var idle: Tick
  var clientBody: Tick
  var tunnel: Tick
  var maximumConnections: Int
  /// Int64.max: no limit.
  var maximumBodyByteCount: Int64
  /// 0: no limit.
  var maximumConnectionsPerSource: Int
  /// Believed to say who their clients are.
  var trusted: UnsafeBufferPointer<AddressPrefix>
  /// Lines that name node and server, by server; empty without `served_by_header`.
  var servedBy: UnsafeBufferPointer<Text>
}

struct PoolRecord {
  var plan: PoolPlan
  var stickyGrace: TimeSpan
  var firstServer: Int32
  var serverCount: Int32
  var hashesSource: Bool
  var cookieName: CookieName?
  /// Ticks.
  var connect: Tick
  var response: Tick
  var idle: Tick
  var retryAttempts: Int
  var retryBudgetPercent: Int32
  /// "no server of pool app is up" and its likes.
  var noneUp: Text
  var noneLeft: Text
  var allFull: Text
}

struct ServerRecord {
  var address: SocketAddress
  var pool: Int32
  /// The affinity cookie's whole line; empty without one.
  var setCookie: Text
  /// The address as a Host field would have it.
  var host: Text
}

struct Snapshot: @unchecked Sendable {
  // Unchecked: the memory behind the pointers is written by `init` only.
  let listeners: UnsafeBufferPointer<ListenerRecord>
  let pools: UnsafeBufferPointer<PoolRecord>
  let servers: UnsafeBufferPointer<ServerRecord>
  let via: Text
  /// The most that a head of a request may take.
  let largestHeadByteCount: Int
  /// Field lines that any listener accepts.
  let largestFieldCount: Int

  static let largestConfigurableHead = 128 * 1024

  /// Throws a sentence about a contradiction that the agent should have found.
  init(_ configuration: BalancerConfiguration) throws(BalancerFault) {
    let keys = configuration.cookieKeys.compactMap(CookieKey.init)
    var servers: [ServerRecord] = []
    var serverNames: [String] = []
    var pools: [PoolRecord] = []
    for pool in configuration.pools {
      let record = try Self.pool(pool, keys: keys, firstServer: servers.count)
      pools.append(record)
      let table = ServerTable(plan: record.plan)
      defer { table.deallocate() }
      for (place, server) in pool.servers.enumerated() {
        let tag = record.cookieName == nil ? nil : table.issuedTag(place)
        serverNames.append(server.name)
        servers.append(Self.server(server, pool, index: pools.count - 1, tag: tag))
      }
    }
    var listeners: [ListenerRecord] = []
    let memory = RecordMemory()
    let places = configuration.pools.enumerated().map { ($0.element.name, Int32($0.offset)) }
    let builder = RouteBuilder(memory: memory, pools: Dictionary(places, uniquingKeysWith: { first, _ in first }))
    for listener in configuration.listeners {
      guard let pool = listener.pool.isEmpty ? -1 : builder.pools[listener.pool] else {
        throw BalancerFault("listener \(listener.name) names the pool \(listener.pool), which does not exist")
      }
      var record = Self.listener(listener, pool: pool, node: configuration.node, serverNames: serverNames)
      record.routes = try builder.records(listener)
      listeners.append(record)
    }
    self.listeners = Self.keep(listeners)
    self.pools = Self.keep(pools)
    self.servers = Self.keep(servers)
    via = Self.text("Via: 1.1 \(configuration.node)\r\n")
    largestHeadByteCount = listeners.map(\.headLimits.headByteCount).max() ?? 16 * 1024
    largestFieldCount = listeners.map(\.headLimits.fieldCount).max() ?? 100
  }

  private static func pool(
    _ pool: PoolConfiguration, keys: [CookieKey], firstServer: Int
  ) throws(BalancerFault) -> PoolRecord {
    var cookieName: CookieName?
    if case .cookie(let name, _, _, _) = pool.affinity {
      guard !name.isEmpty else { throw BalancerFault("the affinity cookie of pool \(pool.name) has no name") }
      guard !keys.isEmpty else { throw BalancerFault("pool \(pool.name) uses cookies, but there is no cookie key") }
      cookieName = CookieName(text(name))
    }
    let hashes = pool.affinity == .source || pool.balance == .hashSource
    let algorithm: BalancingAlgorithm =
      switch pool.balance {
      case .roundRobin: .roundRobin
      case .leastConnections: .leastConnections
      case .randomTwo: .randomTwo
      case .hashSource: .hash
      }
    let plan = PoolPlan(
      pool: pool.name,
      servers: pool.servers.map {
        PlannedServer(
          name: $0.name, weight: min(max($0.weight, 0), 1_000), maximumConnections: max(0, $0.maximumConnections ?? 0))
      }, algorithm: algorithm, usesHash: hashes, cookieKeys: cookieName == nil ? [] : keys)
    return PoolRecord(
      plan: plan, stickyGrace: pool.stickyGrace, firstServer: Int32(firstServer),
      serverCount: Int32(pool.servers.count),
      hashesSource: hashes, cookieName: cookieName,
      connect: ticks(pool.timeouts.connect), response: ticks(pool.timeouts.response), idle: ticks(pool.timeouts.idle),
      retryAttempts: min(max(pool.retry.attempts, 0), TriedServers.capacity - 1),
      retryBudgetPercent: Int32(clamping: pool.retry.budgetPercent),
      noneUp: text("no server of pool \(pool.name) is up"),
      noneLeft: text("every server of pool \(pool.name) that is up has been tried"),
      allFull: text("every server of pool \(pool.name) has reached max_connections"))
  }

  private static func server(
    _ server: ServerConfiguration, _ pool: PoolConfiguration, index: Int, tag: UInt64?
  ) -> ServerRecord {
    var setCookie = Text(start: nil, count: 0)
    if let tag, case .cookie(let name, let maxAge, let secure, let sameSite) = pool.affinity {
      let seconds = maxAge.map { $0.nanoseconds / 1_000_000_000 }
      setCookie = keep(
        AffinityCookie.line(name: name, tag: tag, maxAgeSeconds: seconds, secure: secure, sameSite: sameSite))
    }
    return ServerRecord(
      address: SocketAddress(server.endpoint), pool: Int32(index), setCookie: setCookie,
      host: text(server.endpoint.description))
  }

  private static func listener(
    _ listener: ListenerConfiguration, pool: Int32, node: String, serverNames: [String]
  ) -> ListenerRecord {
    var options = RequestOptions()
    switch listener.forwardedStyle {
    case .xForwarded: options.insert(.addsXForwarded)
    case .forwarded: options.insert(.addsForwarded)
    case .both: options.formUnion([.addsXForwarded, .addsForwarded])
    case .none: break
    }
    let limits = listener.limits
    let served = listener.servedByHeader.map { header in serverNames.map { text("\(header): \(node)/\($0)\r\n") } }
    return ListenerRecord(
      isHTTP: listener.mode == .http, pool: pool, routes: .init(start: nil, count: 0), requestOptions: options,
      headLimits: HeadLimits(
        headByteCount: min(max(limits.headByteCount, 512), largestConfigurableHead),
        fieldCount: min(max(limits.headerCount, 1), 10_000)),
      requestHead: ticks(listener.timeouts.requestHead), idle: ticks(listener.timeouts.idle),
      clientBody: ticks(listener.timeouts.clientBody), tunnel: ticks(listener.timeouts.tunnel),
      maximumConnections: max(1, limits.connections), maximumBodyByteCount: limits.bodyByteCount ?? Int64.max,
      maximumConnectionsPerSource: limits.connectionsPerSource ?? 0, trusted: keep(listener.forwardedTrust),
      servedBy: keep(served ?? []))
  }

  /// At least one, at most what a tick counter holds (two years).
  static func ticks(_ span: TimeSpan) -> Tick {
    Tick(clamping: min(max(1, span.nanoseconds / TimerWheel.tickNanoseconds + 1), 1 << 31))
  }

  static func text(_ text: String) -> Text { keep(Array(text.utf8)) }

  /// Moves values to memory that stays for good: configurations are few.
  private static func keep<Value>(_ values: [Value]) -> UnsafeBufferPointer<Value> {
    if values.isEmpty { return UnsafeBufferPointer(start: nil, count: 0) }
    let memory = UnsafeMutableBufferPointer<Value>.allocate(capacity: values.count)
    _ = memory.initialize(from: values)
    return UnsafeBufferPointer(memory)
  }
}

/// Blocks of plain values that are freed together.
final class RecordMemory {
  private var blocks: [UnsafeMutableRawPointer] = []

  func keep<Value>(_ values: [Value]) -> UnsafeBufferPointer<Value> {
    precondition(_isPOD(Value.self), "nothing is released value by value")
    if values.isEmpty { return UnsafeBufferPointer(start: nil, count: 0) }
    let memory = UnsafeMutableBufferPointer<Value>.allocate(capacity: values.count)
    _ = memory.initialize(from: values)
    return UnsafeBufferPointer(memory)
  }

  func text(_ text: String) -> Text { keep(Array(text.utf8)) }
  func pattern(_ pattern: Pattern) -> Pattern { pattern }
}

/// Why the balancer cannot do what it was told, for people.
struct BalancerFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
