// Connections to servers: opened, pooled, given back.

internal import Balancing
internal import HTTP1
internal import Kernel
internal import Primitives
internal import ProxyProtocol
internal import Synchronization

typealias Upstream = UnsafeMutablePointer<ServerConnection>

extension Worker {
  /// Heads of answers: more generous than requests, servers are ours.
  static let serverHeadLimits = HeadLimits(headByteCount: 64 * 1024, fieldCount: 1_000)

  // MARK: Opening

  /// Result of `connect`: the server has reached its limit in the meantime.
  static var isFull: Int32 { -2 }
  /// Result of `connect`: this node has no port, descriptor, memory or place left. The server is not to blame.
  static var isExhausted: Int32 { -3 }
  /// Of `connect`: nobody listens there.
  static var isRefused: Int32 { -4 }

  /// Which idle connections a request may go over.
  enum Reuse {
    case none
    /// One that has been used within a second: servers close those that are idle for longer.
    case fresh
    case any
  }

  /// A connection to `server` for the client: an idle one, or a new one that is about to be. -1 with nothing changed
  /// when none can be opened, `isFull` when the server has no room, `isExhausted` when this node has none.
  mutating func connect(_ index: Int32, _ client: Client, to server: Int32, reuse: Reuse) -> Int32 {
    let load = shared.serverLoads[Int(server)].connections.wrappingAdd(1, ordering: .relaxed).newValue
    let limit = snapshot.servers[Int(server)].limit
    if limit > 0 && load > limit {
      giveBack(server)
      return Self.isFull
    }
    var found: Int32 = -1
    if reuse != .none {
      if reuse == .any || hasFreshIdle(server) {
        found = idleHeads[Int(server)]
        if found >= 0 { unlinkIdle(found, upstreams[found]) }
      }
      if found < 0 && limit > 0 { found = takeShared(server, reuse) }
    }
    if found < 0 {
      if limit > 0 { makeRoom(server, limit) }
      found = openServer(server)
      if found == Self.isExhausted {
        closeAllIdleServers()
        found = openServer(server)
      }
      if found < 0 {
        giveBack(server)
        return found
      }
    }
    let upstream = upstreams[found]
    upstream.pointee.client = index
    client.pointee.server = found
    client.pointee.lastServer = server
    noteConnecting(client, to: server, isReused: upstream.pointee.phase != .connecting)
    return found
  }

  /// Has idle connections closed in favour of one that is about to be opened: the server may have no more slots than `limit`, and
  /// an idle connection takes one. Those of other workers go in a moment: until then the new one waits in the server's queue.
  /// From then on they are shared.
  @inline(never)
  private mutating func makeRoom(_ server: Int32, _ limit: Int32) {
    var excess = shared.serverLoads[Int(server)].open.load(ordering: .relaxed) &+ 1 &- limit
    if excess <= 0 { return }
    excess &-= shared.idle.close(server, atMost: excess)
    if excess > 0 { excess &-= closeIdle(server, atMost: excess) }
    for (place, peer) in peers.enumerated() where place != index && excess > 0 {
      let idle = Int32(truncatingIfNeeded: peer.counters.servers[Int(server)].idle.current)
      if idle == 0 { continue }
      peer.mailbox.post(.closeIdle(server: server, count: min(idle, excess)))
      excess &-= idle
    }
  }

  /// An idle connection that some worker has left for all; -1: there is none.
  private mutating func takeShared(_ server: Int32, _ reuse: Reuse) -> Int32 {
    let raw = shared.idle.take(server, notBefore: reuse == .fresh ? now - .seconds(1) : Instant(nanoseconds: 0))
    if raw < 0 { return -1 }
    let found = adopt(raw, server)
    if found < 0 { return -1 }
    upstreams[found].pointee.phase = .head
    upstreams[found].pointee.isReused = true
    return found
  }

  /// Leaves an idle connection to whichever worker needs it next.
  @inline(never)
  private mutating func share(_ index: Int32, _ upstream: Upstream) {
    let server = upstream.pointee.server
    let raw = upstream.pointee.stream.descriptor
    poller.remove(raw)
    upstream.pointee.stream.descriptor = -1
    closeServer(index, upstream, abortively: false)
    let ticks = snapshot.pools[Int(snapshot.servers[Int(server)].pool)].idle
    let span = TimeSpan(nanoseconds: Int64(clamping: ticks) * TimerWheel.tickNanoseconds)
    shared.idle.put(raw, to: server, now: now, until: now + span)
  }

  /// The connection's index, or a result of `connect`.
  private mutating func openServer(_ server: Int32) -> Int32 {
    let raw = StreamSocket.connect(to: snapshot.servers[Int(server)].address)
    if raw < 0 {
      return StreamSocket.isRefused(raw)
        ? Self.isRefused : StreamSocket.isExhausted(raw) ? Self.isExhausted : -1
    }
    shared.serverLoads[Int(server)].open.wrappingAdd(1, ordering: .relaxed)
    return adopt(raw, server)
  }

  /// A place for a connection that is counted already; closes it where there is none.
  private mutating func adopt(_ raw: Int32, _ server: Int32) -> Int32 {
    let index = upstreams.take()
    if index < 0 {
      StreamSocket.close(raw)
      shared.serverLoads[Int(server)].open.wrappingSubtract(1, ordering: .relaxed)
      return Self.isExhausted
    }
    let upstream = upstreams[index]
    upstream.pointee.isOpen = true
    upstream.pointee.server = server
    upstream.pointee.phase = .connecting
    upstream.pointee.stream.descriptor = raw
    let token = EventToken(.server, index: index, generation: upstream.pointee.generation)
    do {
      try poller.add(raw, .allEdges, token: token.rawValue)
      upstream.pointee.stream.isRegistered = true
      return index
    } catch {
      closeServer(index, upstream, abortively: false)
      return Self.isExhausted
    }
  }

  // MARK: Events

  @inline(__always)  // once per event
  mutating func serverIsReady(_ index: Int32, _ upstream: Upstream, _ readiness: Readiness) {
    let isOver = readiness.isOver
    if isOver || readiness.hasPeerClosed { upstream.pointee.stream.peerClosed = true }
    switch upstream.pointee.phase {
    case .idle:
      // Nothing is due on it: bytes or an end, it is of no use any more.
      if isOver || readiness.isReadable { dropIdle(index, upstream) }
      return
    case .connecting:
      connectHasEnded(index, upstream, readiness)
      return
    case .tunnel:
      let client = upstream.pointee.client
      if isOver || readiness.isReadable { upstream.pointee.stream.mayRead = true }
      relay(client, clients[client])
      return
    case .head, .body, .answered: break
    }
    if isOver || readiness.isReadable { upstream.pointee.stream.mayRead = true }
    if readiness.isWritable && serverOutputWaits(upstream) {
      let generation = upstream.pointee.generation
      serverTakesMore(index, upstream)
      if upstream.pointee.generation != generation { return }
    }
    if upstream.pointee.stream.hasMore { readServer(index, upstream) }
  }

  @inline(never)
  private mutating func connectHasEnded(_ index: Int32, _ upstream: Upstream, _ readiness: Readiness) {
    let code = StreamSocket.pendingError(upstream.pointee.stream.descriptor)
    if code != 0 || readiness.hasError {
      serverFailed(index, upstream, StreamSocket.isRefused(code) ? .refused : .connect)
      return
    }
    guard readiness.isWritable else { return }
    let client = upstream.pointee.client
    if let version = snapshot.servers[Int(upstream.pointee.server)].proxyHeader,
      !sendProxyHeader(version, clients[client], upstream)
    {
      serverFailed(index, upstream, .connect)
      return
    }
    noteConnected(clients[client])
    if readiness.isReadable { upstream.pointee.stream.mayRead = true }
    if clients[client].pointee.phase == .tunnel {
      upstream.pointee.phase = .tunnel
      tunnelIsConnected(client, clients[client])
      return
    }
    upstream.pointee.phase = .head
    // The time to connect is over; now the client's for its body, or the server's for its answer.
    if clients[client].pointee.phase == .body {
      awaitBody(client, clients[client])
    } else {
      awaitAnswer(client, clients[client])
    }
    let generation = upstream.pointee.generation
    serverTakesMore(index, upstream)
    if upstream.pointee.generation == generation && upstream.pointee.stream.hasMore { readServer(index, upstream) }
  }

  /// What a server is told of its client before anything else. False if it was not taken whole.
  private func sendProxyHeader(_ version: ProxyHeaderVersion, _ client: Client, _ upstream: Upstream) -> Bool {
    let source = Endpoint(address: client.pointee.address, port: client.pointee.port)
    var destination = proxiedTo[upstream.pointee.client]
    if destination == nil, let local = StreamSocket.localAddress(client.pointee.stream.descriptor) {
      destination = Endpoint(address: local.address, port: local.port)
    }
    guard let destination else { return false }
    let header = ProxyHeader.bytes(version, source: source, destination: destination)
    return StreamSocket.send(upstream.pointee.stream.descriptor, header, header.count) == header.count
  }

  // MARK: Giving back

  /// The exchange is over, or given up: the connection waits for the next one or is closed.
  @inline(__always)  // once per answer
  mutating func releaseServer(_ index: Int32, _ upstream: Upstream, reuse: Bool, abortively: Bool = false) {
    let client = upstream.pointee.client
    let server = upstream.pointee.server
    clients[client].pointee.server = -1
    upstream.pointee.client = -1
    // Before it is given back: who gets its place then finds the connection, or does not count it.
    if reuse {
      keep(index, upstream)
    } else {
      closeServer(index, upstream, abortively: abortively)
    }
    giveBack(server)
  }

  /// Of a server with a limit: at the limit its idle connections are every worker's, above it they are closed.
  @inline(__always)
  private mutating func keep(_ index: Int32, _ upstream: Upstream) {
    let server = Int(upstream.pointee.server)
    let limit = snapshot.servers[server].limit
    if limit > 0 {
      let open = shared.serverLoads[server].open.load(ordering: .relaxed)
      if open > limit { return closeServer(index, upstream, abortively: false) }
      if open == limit && shared.threads > 1 { return share(index, upstream) }
    }
    pushIdle(index, upstream)
  }

  /// One request or connection fewer on `server`. Whoever waits for it must not be missed: see `enqueue`.
  @inline(__always)  // once per request
  private mutating func giveBack(_ server: Int32) {
    shared.serverLoads[Int(server)].connections.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    serverCameFree(server)
  }

  mutating func closeServer(_ index: Int32, _ upstream: Upstream, abortively: Bool) {
    if upstream.pointee.stream.descriptor >= 0 {
      shared.serverLoads[Int(upstream.pointee.server)].open.wrappingSubtract(1, ordering: .relaxed)
    }
    upstream.pointee.stream.close(&buffers, abortively: abortively)
    timers.cancel(serverTimer(index))
    upstreams.give(index)
  }

  @inline(__always)
  private mutating func pushIdle(_ index: Int32, _ upstream: Upstream) {
    let server = Int(upstream.pointee.server)
    let head = idleHeads[server]
    counters.servers[server].idle.increase()
    upstream.pointee.phase = .idle
    upstream.pointee.isReused = true
    upstream.pointee.idleSince = tick
    upstream.pointee.previousIdle = -1
    upstream.pointee.nextIdle = head
    if head >= 0 { upstreams[head].pointee.previousIdle = index }
    idleHeads[server] = index
    timers.set(serverTimer(index), tick &+ snapshot.pools[Int(snapshot.servers[server].pool)].idle)
  }

  @inline(__always)
  private mutating func unlinkIdle(_ index: Int32, _ upstream: Upstream) {
    let previous = upstream.pointee.previousIdle
    let next = upstream.pointee.nextIdle
    if previous >= 0 {
      upstreams[previous].pointee.nextIdle = next
    } else {
      idleHeads[Int(upstream.pointee.server)] = next
    }
    if next >= 0 { upstreams[next].pointee.previousIdle = previous }
    counters.servers[Int(upstream.pointee.server)].idle.decrease()
    upstream.pointee.phase = .head
    timers.cancel(serverTimer(index))
  }

  /// Whether the connection that would be used next is `Reuse.fresh`. Those that have something to be read are closed on the
  /// way, and so is a stale one: a new one takes its place.
  @inline(never)
  private mutating func hasFreshIdle(_ server: Int32) -> Bool {
    while idleHeads[Int(server)] >= 0 {
      let index = idleHeads[Int(server)]
      let isStale = tick &- upstreams[index].pointee.idleSince >= Self.second
      if !isStale && !StreamSocket.hasInput(upstreams[index].pointee.stream.descriptor) { return true }
      dropIdle(index, upstreams[index])
      if isStale { return false }
    }
    return false
  }

  mutating func dropIdle(_ index: Int32, _ upstream: Upstream) {
    unlinkIdle(index, upstream)
    closeServer(index, upstream, abortively: false)
  }

  /// Of this worker. Returns how many there were.
  @discardableResult
  mutating func closeIdle(_ server: Int32, atMost limit: Int32) -> Int32 {
    var count: Int32 = 0
    while count < limit && idleHeads[Int(server)] >= 0 {
      let index = idleHeads[Int(server)]
      dropIdle(index, upstreams[index])
      count &+= 1
    }
    return count
  }

  /// Of this worker, and those that are every worker's.
  mutating func closeIdleServers(_ server: Int32) {
    closeIdle(server, atMost: .max)
    shared.idle.close(server, atMost: .max)
  }

  @inline(never)
  mutating func closeAllIdleServers() {
    for server in 0..<snapshot.servers.count { closeIdleServers(Int32(server)) }
  }

  /// What the checks or an operator say of a server. Connections that are busy go on; waiting ones keep no stale server.
  mutating func setAvailability(_ server: Int, _ availability: ServerAvailability, _ since: Instant) {
    let record = snapshot.servers[server]
    if record.place < 0 { return }
    let pool = Int(record.pool)
    tables[pool].setAvailability(Int(record.place), availability, now: since)
    if tables[pool].isRamping { rampSoon() }
    if waitingCount > 0 { queueIsDue(pool) }
    // Those to an ejected server may be stale; while it is the last resort it gets new ones.
    if availability != .up { closeIdleServers(Int32(server)) }
  }

  /// Timers are numbered: clients first, then connections to servers.
  @inline(__always)
  func serverTimer(_ index: Int32) -> Int32 { Int32(truncatingIfNeeded: clients.capacity) &+ index }

  /// Whether nothing came behind the answer. A read that was filled to its end leaves that open.
  @inline(__always)
  func isDrained(_ upstream: Upstream) -> Bool {
    if !upstream.pointee.stream.mayRead { return true }
    if StreamSocket.hasInput(upstream.pointee.stream.descriptor) { return false }
    upstream.pointee.stream.mayRead = false
    return true
  }

  /// Connections to servers that take no new clients are not kept for later.
  @inline(__always)
  func isPooled(_ upstream: Upstream) -> Bool {
    let server = snapshot.servers.baseAddress! + Int(upstream.pointee.server)
    if server.pointee.isRetired || server.pointee.proxyHeader != nil { return false }
    return tables[Int(server.pointee.pool)].availability(Int(server.pointee.place)).keepsConnections
  }

  /// The request had content that its method gives no meaning to (RFC 9110, section 9.3). A server that does not read it would
  /// take it for the next request on this connection, and its answer would be another client's.
  @inline(__always)
  func mayBeMisread(_ client: Client) -> Bool {
    if client.pointee.exchange.bodyFraming.isNone { return false }
    return client.pointee.exchange.method.isSafe || client.pointee.exchange.method == .delete
  }
}
