// Makes a snapshot of each configuration, on the main thread. It remembers which slot everything has and which parts the
// last snapshot was made of.

internal import Balancing
internal import Control
internal import HTTP1
internal import Kernel
internal import Primitives

/// Where the parts of a configuration are, in its order.
struct Layout {
  var listeners: [Int] = []
  var pools: [Int] = []
  /// By pool.
  var servers: [[Int]] = []
  /// By listener.
  var routes: [[Int]] = []
}

struct SnapshotMaker {
  // Slots that exist at once, removed ones that are still used included. Beyond it a configuration is refused.
  static let listenerCapacity = 1 << 12
  static let poolCapacity = 1 << 14
  static let routeCapacity = 1 << 14
  static let serverCapacity = 1 << 17

  private struct Entry<Record, Part> {
    let record: Record
    let part: Part
  }

  private(set) var listenerSlots = SlotTable<ListenerIdentity>(capacity: listenerCapacity)
  private(set) var poolSlots = SlotTable<String>(capacity: poolCapacity)
  private(set) var serverSlots = SlotTable<ServerIdentity>(capacity: serverCapacity)
  private(set) var routeSlots = SlotTable<RouteIdentity>(capacity: routeCapacity)
  private(set) var layout = Layout()
  /// By slot; retired ones keep what they had, servers without the rest of their pool; nil where nobody is.
  private var listeners: [Entry<ListenerRecord, ListenerPart>?] = []
  private var pools: [PoolPart?] = []
  private var servers: [Entry<ServerRecord, AnyObject>?] = []
  /// For slots of pools that nobody has.
  private let nobody: PoolPart

  init() {
    let pool = PoolConfiguration(
      name: "", balance: .roundRobin, affinity: .none, servers: [], check: HealthCheckConfiguration(kind: .none))
    let source = PoolSource(pool: pool, slot: 0, serverSlots: [], node: "", cookieKeys: [], servedByHeaders: [])
    guard let part = try? PoolPart(source) else { preconditionFailure("a pool without servers has no contradiction") }
    nobody = part
  }

  /// Takes over a configuration; what it does not name any more is retired. Throws a sentence, and changes nothing, where
  /// it holds a contradiction that the agent should have found or does not fit into the slots.
  mutating func make(_ configuration: BalancerConfiguration) throws(BalancerFault) -> SnapshotOwner {
    var next = self
    let owner = try next.build(configuration)
    self = next
    return owner
  }

  private mutating func build(_ configuration: BalancerConfiguration) throws(BalancerFault) -> SnapshotOwner {
    let identities = configuration.pools.flatMap { pool in pool.servers.map { ServerIdentity($0, of: pool.name) } }
    let routes = configuration.listeners.flatMap { listener in
      listener.routes.map { RouteIdentity(listener: listener.name, name: $0.name) }
    }
    guard let listenerList = listenerSlots.assign(configuration.listeners.map(ListenerIdentity.init)),
      let poolList = poolSlots.assign(configuration.pools.map(\.name)), let serverList = serverSlots.assign(identities),
      let routeList = routeSlots.assign(routes)
    else {
      throw BalancerFault(
        "there are more than \(Self.listenerCapacity) listeners, \(Self.poolCapacity) pools, \(Self.routeCapacity)"
          + " routes or \(Self.serverCapacity) servers, removed ones that still have connections included")
    }
    listeners.append(contentsOf: repeatElement(nil, count: listenerSlots.holders.count - listeners.count))
    pools.append(contentsOf: repeatElement(nil, count: poolSlots.holders.count - pools.count))
    servers.append(contentsOf: repeatElement(nil, count: serverSlots.holders.count - servers.count))

    var headers: [String] = []
    for case let header? in configuration.listeners.map(\.servedByHeader) where !headers.contains(header) {
      headers.append(header)
    }
    layout = Layout(listeners: listenerList, pools: poolList)
    var rest = serverList[...]
    for (index, pool) in configuration.pools.enumerated() {
      let own = Array(rest.prefix(pool.servers.count))
      rest = rest.dropFirst(pool.servers.count)
      layout.servers.append(own)
      try take(
        PoolSource(
          pool: pool, slot: poolList[index], serverSlots: own, node: configuration.node,
          cookieKeys: configuration.cookieKeys, servedByHeaders: headers,
          standIn: try standIn(for: pool, configuration, poolList)))
    }
    let pairs = zip(configuration.pools, poolList).map { ($0.name, Int32($1)) }
    let pools = Dictionary(pairs, uniquingKeysWith: { first, _ in first })
    var restOfRoutes = routeList[...]
    for (index, listener) in configuration.listeners.enumerated() {
      let own = Array(restOfRoutes.prefix(listener.routes.count))
      restOfRoutes = restOfRoutes.dropFirst(listener.routes.count)
      layout.routes.append(own)
      try take(
        ListenerSource(
          listener: listener, pools: pools.filter { listener.pools.contains($0.key) },
          servedBy: listener.servedByHeader.flatMap { headers.firstIndex(of: $0) } ?? -1, routeSlots: own),
        slot: listenerList[index])
    }
    retire()
    return snapshot(configuration)
  }

  /// Slot of the pool that stands in when no server of `pool` is up; -1 without one.
  private func standIn(
    for pool: PoolConfiguration, _ configuration: BalancerConfiguration, _ slots: [Int]
  ) throws(BalancerFault) -> Int {
    guard case .pool(let name) = pool.whenAllDown else { return -1 }
    guard let place = configuration.pools.firstIndex(where: { $0.name == name }) else {
      throw BalancerFault("pool \(pool.name) names the pool \(name) to stand in, which does not exist")
    }
    return slots[place]
  }

  private mutating func take(_ source: PoolSource) throws(BalancerFault) {
    var part = pools[source.slot]
    if part?.source != source { part = try PoolPart(source) }
    guard let part else { return }
    pools[source.slot] = part
    for (place, slot) in source.serverSlots.enumerated() {
      servers[slot] = Entry(record: part.servers[place], part: part)
    }
  }

  private mutating func take(_ source: ListenerSource, slot: Int) throws(BalancerFault) {
    var part = listeners[slot]?.part
    if part?.source != source { part = try ListenerPart(source) }
    guard let part else { return }
    listeners[slot] = Entry(record: part.record, part: part)
  }

  private mutating func retire() {
    for slot in listenerSlots.retired {
      guard let entry = listeners[slot] else { continue }
      var record = entry.record
      record.isRetired = true
      listeners[slot] = Entry(record: record, part: entry.part)
    }
    for slot in serverSlots.retired {
      guard let entry = servers[slot] else { continue }
      var (record, part) = (entry.record, entry.part)
      if !record.isRetired {
        let own = RetiredServer(record)
        (record, part) = (own.record, own)
      }
      // In a pool that has been removed as a whole it keeps its place: half a request may still want it.
      if case .configured = poolSlots.holders[Int(record.pool)] { record.place = -1 }
      servers[slot] = Entry(record: record, part: part)
    }
  }

  private func snapshot(_ configuration: BalancerConfiguration) -> SnapshotOwner {
    let node = configuration.node
    let memory = RecordMemory()
    let records = listeners.map { $0?.record ?? ListenerRecord() }
    let used = layout.listeners.map { records[$0].headLimits } + listenerSlots.retired.map { records[$0].headLimits }
    var snapshot = Snapshot(
      listeners: memory.keep(records), pools: memory.keep(pools.map { ($0 ?? nobody).record }),
      servers: memory.keep(servers.map { $0?.record ?? ServerRecord() }), via: memory.text("Via: 1.1 \(node)\r\n"),
      largestHeadByteCount: used.map(\.headByteCount).max() ?? 16 * 1024,
      largestFieldCount: used.map(\.fieldCount).max() ?? 100,
      hasOwnHosts: servers.contains { ($0?.record.ownHost.count ?? 0) > 0 })
    if let access = configuration.accessLog {
      snapshot.logDetail = access.format == .hap ? .requestLine : .fields
    }
    var parts: [AnyObject] = [nobody] + listeners.compactMap { $0?.part } + pools.compactMap { $0 }
    for case let entry? in servers where pools[Int(entry.record.pool)] !== entry.part { parts.append(entry.part) }
    return SnapshotOwner(snapshot, memory: memory, parts: parts)
  }

  // MARK: Slots of what was removed

  /// Routes that are configured no more give their slots back: to be called while every worker has the newest configuration.
  /// Returns the slots.
  mutating func releaseRoutes() -> [Int] {
    let retired = routeSlots.retired
    for slot in retired { routeSlots.release(slot) }
    return retired
  }

  /// Slot of the pool of the server in `slot`; nil if nobody has it.
  func pool(ofServer slot: Int) -> Int? { servers[slot].map { Int($0.record.pool) } }

  /// Slots of all servers of each pool, removed ones that are still used included.
  var serversByPool: [Int: [Int]] {
    Dictionary(grouping: servers.indices.filter { servers[$0] != nil }) { Int(servers[$0]?.record.pool ?? -1) }
  }

  var hasRetired: Bool { listenerSlots.retiredCount + poolSlots.retiredCount + serverSlots.retiredCount > 0 }

  var retired: SlotUse {
    SlotUse(
      listeners: Set(listenerSlots.retired), pools: Set(poolSlots.retired), servers: Set(serverSlots.retired))
  }

  /// Gives back those of `candidates` that are still retired and not used. Returns them.
  mutating func release(_ candidates: SlotUse, except used: SlotUse) -> SlotUse {
    let retired = self.retired
    var free = SlotUse()
    free.listeners = candidates.listeners.intersection(retired.listeners).subtracting(used.listeners)
    // Half a request on the connection of a removed listener may still want any pool that was removed.
    if free.listeners.count == retired.listeners.count {
      free.pools = candidates.pools.intersection(retired.pools).subtracting(used.pools)
    }
    free.servers = candidates.servers.intersection(retired.servers).subtracting(used.servers).filter { slot in
      // The plan of a removed pool leads to its servers.
      guard let pool = servers[slot].map({ Int($0.record.pool) }) else { return true }
      return !retired.pools.contains(pool) || free.pools.contains(pool)
    }
    for slot in free.listeners {
      listenerSlots.release(slot)
      listeners[slot] = nil
    }
    for slot in free.pools {
      poolSlots.release(slot)
      pools[slot] = nil
    }
    for slot in free.servers {
      serverSlots.release(slot)
      servers[slot] = nil
    }
    return free
  }
}
