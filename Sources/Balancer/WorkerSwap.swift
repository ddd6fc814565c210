// A worker takes over a new configuration, between two batches of events. Connections notice nothing: what they remember
// are slots, and a slot's holder stays the same while they use it.

internal import Balancing
internal import HTTP1
internal import Kernel
internal import Primitives

/// A configuration for one worker.
struct WorkerSwap: Sendable {
  enum BindChange: Sendable {
    /// `raw` is the worker's from here on.
    case open(place: Int, raw: Int32, BindUse)
    /// The same socket, for a listener in another slot, or with or without PROXY headers.
    case assign(place: Int, BindUse)
    case close(place: Int)
  }

  let generation: UInt64
  let snapshot: Snapshot
  /// By slot; used for servers that the worker does not know yet.
  let availabilities: [ServerAvailability]
  let binds: [BindChange]
}

/// Retired slots that a worker's connections use.
struct SlotUse: Sendable {
  var listeners: Set<Int> = []
  var pools: Set<Int> = []
  var servers: Set<Int> = []

  mutating func formUnion(_ other: SlotUse) {
    listeners.formUnion(other.listeners)
    pools.formUnion(other.pools)
    servers.formUnion(other.servers)
  }
}

extension Worker {
  /// Throws if a new socket cannot be watched; everything else has been taken over then.
  mutating func takeOver(_ swap: WorkerSwap) throws(SystemError) {
    let old = snapshot
    growAreas(swap.snapshot)
    growSlots(from: old, to: swap.snapshot)
    for pool in 0..<swap.snapshot.pools.count { renewTable(pool, old, swap) }
    snapshot = swap.snapshot
    renumberRoutes(from: old)
    forgetServers(of: old)
    moveFromRetiredServers()
    for server in 0..<old.servers.count where snapshot.servers[server].isRetired && !old.servers[server].isRetired {
      closeIdleServers(Int32(server))
    }
    // Connections of removed listeners are not closed where they wait: a request may be on its way. Their next answer is
    // their last (`mustClose`), or their idle time ends them.
    defer { reports.post(.tookOver(generation: swap.generation), from: index) }
    try change(swap.binds)
  }

  /// What is read and put together between two events needs room for the largest heads.
  private mutating func growAreas(_ next: Snapshot) {
    let largestHead = max(next.largestHeadByteCount, Self.serverHeadLimits.headByteCount)
    if largestHead + Int(Self.largestWindow) > receiveByteCount { makeAreas(largestHead) }
    let fieldCount = max(next.largestFieldCount, Self.serverHeadLimits.fieldCount)
    if fieldCount > headScratchFieldCount { makeHeadScratch(fieldCount) }
  }

  private mutating func growSlots(from old: Snapshot, to next: Snapshot) {
    if next.servers.count > old.servers.count {
      idleHeads = Self.grown(idleHeads, from: old.servers.count, to: next.servers.count, filling: -1)
      serverLists = Self.grown(serverLists, from: old.servers.count, to: next.servers.count, filling: WaitingList())
    }
    if next.pools.count > old.pools.count {
      retryCredit = Self.grown(
        retryCredit, from: old.pools.count, to: next.pools.count, filling: Self.initialRetryCredit)
      poolLists = Self.grown(poolLists, from: old.pools.count, to: next.pools.count, filling: WaitingList())
      let moved = UnsafeMutablePointer<ServerTable>.allocate(capacity: next.pools.count)
      moved.moveInitialize(from: tables, count: old.pools.count)
      tables.deallocate()
      tables = moved
    }
  }

  private static func grown<Value>(
    _ memory: UnsafeMutablePointer<Value>, from old: Int, to count: Int, filling value: Value
  ) -> UnsafeMutablePointer<Value> {
    let moved = UnsafeMutablePointer<Value>.allocate(capacity: count)
    moved.moveInitialize(from: memory, count: old)
    (moved + old).initialize(repeating: value, count: count - old)
    memory.deallocate()
    return moved
  }

  /// A pool whose plan has changed, or which was removed and is back, gets a new table, with what the old one knew of the
  /// servers that are in both.
  private mutating func renewTable(_ pool: Int, _ old: Snapshot, _ swap: WorkerSwap) {
    let record = swap.snapshot.pools[pool]
    let before = pool < old.pools.count ? tables[pool] : nil
    if let before, before.plan.isSame(as: record.plan) {
      let isBack = record.servers.contains { slot in
        Int(slot) < old.servers.count && old.servers[Int(slot)].isRetired
          && !swap.snapshot.servers[Int(slot)].isRetired
      }
      if !isBack { return }
    }
    var table = ServerTable(
      plan: record.plan, stickyGrace: record.stickyGrace, slowStart: record.terms.slowStart, worker: index)
    table.adopt(before, now: now) { place in
      let slot = Int(record.servers[place])
      // What was removed is new when it comes back, and its slot may be another's now.
      guard slot < old.servers.count, old.servers[slot].pool == pool, !old.servers[slot].isRetired else { return -1 }
      return Int(old.servers[slot].place)
    } newcomer: { place in
      swap.availabilities[Int(record.servers[place])]
    }
    before?.deallocate()
    (tables + pool).initialize(to: table)
    if table.isRamping { rampSoon() }
  }

  /// Exchanges remember their route by its place in the listener's list: where that list is another one now, they go on
  /// with the same route, or with none.
  private mutating func renumberRoutes(from old: Snapshot) {
    let changed = (0..<old.listeners.count).filter {
      old.listeners[$0].routes.count > 0
        && old.listeners[$0].routes.baseAddress != snapshot.listeners[$0].routes.baseAddress
    }
    if changed.isEmpty { return }
    for index in 0..<Int32(clients.highWater) where clients[index].pointee.isOpen {
      let client = clients[index]
      let route = Int(client.pointee.exchange.route)
      let listener = Int(client.pointee.listener)
      guard changed.contains(listener), route >= 0, route < old.listeners[listener].routes.count else { continue }
      let identity = old.listeners[listener].routes[route].identity
      let place = snapshot.listeners[listener].routes.firstIndex { $0.identity == identity }
      client.pointee.exchange.route = Int32(place ?? -1)
    }
  }

  /// Clients remember servers by their slots. Those of servers that are gone, or were in the configuration before, may be
  /// another's.
  private mutating func forgetServers(of old: Snapshot) {
    let gone = (0..<snapshot.servers.count).filter {
      snapshot.servers[$0].isRetired || $0 < old.servers.count && old.servers[$0].isRetired
    }
    if gone.isEmpty { return }
    let slots = Set(gone.map(Int32.init))
    for index in 0..<Int32(clients.highWater) where clients[index].pointee.isOpen {
      let client = clients[index]
      if slots.contains(client.pointee.lastServer) { client.pointee.lastServer = -1 }
      if slots.contains(client.pointee.exchange.cookieServer) && client.pointee.waitingPlace != .server {
        client.pointee.exchange.cookieServer = -2
      }
      if client.pointee.exchange.tried.count > 0 {
        client.pointee.exchange.tried = client.pointee.exchange.tried.renumbered {
          slots.contains(Int32(truncatingIfNeeded: $0)) ? -1 : $0
        }
      }
    }
  }

  // MARK: Listening sockets

  private mutating func change(_ binds: [WorkerSwap.BindChange]) throws(SystemError) {
    var failure: SystemError?
    var hasOpened = false
    for bind in binds {
      switch bind {
      case .close(let place): stopListening(place)
      case .assign(let place, let use): listening[place].use = use
      case .open(let place, let raw, let use):
        if stopDeadline != nil {
          StreamSocket.close(raw)
          continue
        }
        hasOpened = true
        if place == listening.count { listening.append(ListeningPlace(raw: -1, use: use)) }
        listening[place] = ListeningPlace(raw: raw, use: use)
        StreamSocket.sendWithoutDelay(raw)
        do throws(SystemError) {
          try poller.add(raw, .read, token: EventToken(.listener, index: Int32(place)).rawValue)
        } catch { failure = error }
      }
    }
    acceptWithData()
    if hasOpened && !handover.addresses.isEmpty { filter() }
    if let failure { throw failure }
  }

  /// Clients of HTTP speak first: they are accepted once they have, which saves a wake-up per connection. Not while
  /// addresses leave the node: then every connection must be seen, so that it can be waited for.
  func acceptWithData() {
    for place in listening where place.raw >= 0 {
      let speaksFirst = snapshot.listeners[Int(place.use.listener)].isHTTP || place.use.startsWithProxyHeader
      StreamSocket.acceptWithData(place.raw, speaksFirst && handover.addresses.isEmpty)
    }
  }

  /// Takes what waits in the queue and closes the socket.
  mutating func stopListening(_ place: Int) {
    if listening[place].raw < 0 { return }
    _ = acceptClients(place, atMost: Self.largestQueue)
    // The agent has the socket too, so closing ours alone would not end its events.
    poller.remove(listening[place].raw)
    StreamSocket.close(listening[place].raw)
    listening[place].raw = -1
  }

  // MARK: What is still used

  /// Retired slots that connections lead to. Looks at every connection: not often.
  func retiredInUse() -> SlotUse {
    var use = SlotUse()
    for index in 0..<Int32(clients.highWater) where clients[index].pointee.isOpen {
      let client = clients[index]
      let listener = Int(client.pointee.listener)
      if snapshot.listeners[listener].isRetired { use.listeners.insert(listener) }
      switch client.pointee.phase {
      case .body, .waiting, .tunnel: use.pools.insert(Int(client.pointee.exchange.pool))
      case .head, .file, .closing, .lingering, .proxyHeader: break
      }
    }
    for index in 0..<Int32(upstreams.highWater) where upstreams[index].pointee.isOpen {
      let server = Int(upstreams[index].pointee.server)
      if snapshot.servers[server].isRetired { use.servers.insert(server) }
    }
    return use
  }
}
