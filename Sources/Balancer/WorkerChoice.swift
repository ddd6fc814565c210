// Which server a request or a connection gets: the pool's table asked with what this client brings along, pools that stand
// in when no server is up, and slow starts.

internal import Balancing
internal import HTTP1
internal import Kernel
internal import Primitives
internal import Synchronization

extension Worker {
  /// Between two steps of slow starts.
  static let rampInterval: Tick = 6

  /// Added to the load of a server that clients wait for: more than any limit.
  private static let reservedLoad: Int32 = 1 << 24

  /// A server for the client's request or connection, by its slot; -1 and the reason if there is none.
  /// `isWaiting`: it is the client's turn; others who wait do not matter.
  mutating func chooseServer(_ client: Client, isWaiting: Bool = false) -> (server: Int32, cause: ChoiceCause) {
    let slot = Int(client.pointee.exchange.pool)
    let pool = snapshot.pools.baseAddress! + slot
    var tried = client.pointee.exchange.tried
    if tried.count > 0 { tried = tried.renumbered { place(of: Int32(truncatingIfNeeded: $0), in: slot) } }
    // A client that is kept by its source stays with a draining server as long as its connection lives and there is room.
    if pool.pointee.hashesSource, client.pointee.lastServer >= 0 {
      let last = place(of: client.pointee.lastServer, in: slot)
      if last >= 0, tables[slot].availability(last).isDraining, !tried.contains(last),
        hasRoom(client.pointee.lastServer)
      {
        return (client.pointee.lastServer, .algorithm)
      }
    }
    let key = pool.pointee.hashesSource ? Rendezvous.key(of: client.pointee.address) : client.pointee.exchange.hashKey
    let loads = shared.serverLoads
    let slots = pool.pointee.servers.baseAddress
    var cookiePlace = Int(client.pointee.exchange.cookieServer)
    // A server that has been removed meanwhile is as good as unknown.
    if cookiePlace >= 0 {
      cookiePlace = place(of: client.pointee.exchange.cookieServer, in: slot)
      if cookiePlace < 0 { cookiePlace = -2 }
    }
    let choice = tables[slot].choose(
      cookieServer: cookiePlace, clientKey: key, hashesSource: pool.pointee.hashesSource, tried: tried, now: now,
      load: { place in
        let load = loads + Int(slots![place])
        let count = load.pointee.connections.load(ordering: .relaxed)
        // Those who wait for this server and no other come first.
        return isWaiting || load.pointee.waiting.load(ordering: .relaxed) == 0 ? count : count &+ Self.reservedLoad
      })
    if !isWaiting && choice.server >= 0 && !choice.cause.isCookie && othersWait(slot) { return (-1, .allFull) }
    return (choice.server < 0 ? -1 : pool.pointee.servers[Int(choice.server)], choice.cause)
  }

  /// Whether the server has not reached `max_connections`.
  @inline(__always)
  func hasRoom(_ server: Int32) -> Bool {
    let limit = snapshot.servers[Int(server)].limit
    return limit == 0 || shared.serverLoads[Int(server)].connections.load(ordering: .relaxed) < limit
  }

  /// The place of the server in slot `server` in the plan of `pool`; -1 if it is not there any more.
  @inline(__always)
  func place(of server: Int32, in pool: Int) -> Int {
    let record = snapshot.servers.baseAddress! + Int(server)
    return Int(record.pointee.pool) == pool ? Int(record.pointee.place) : -1
  }

  // MARK: Pools that stand in

  /// The client goes to the pool that stands in for its own; false if there is none.
  @inline(never)
  mutating func standIn(_ client: Client) -> Bool {
    let next = snapshot.pools[Int(client.pointee.exchange.pool)].terms.standIn
    if next < 0 { return false }
    client.pointee.exchange.pool = next
    client.pointee.exchange.cookieServer = -1
    return true
  }

  /// As `chooseServer`, in pools that stand in where no server is up. The settings let no chain of them be a ring.
  mutating func chooseWithStandIns(_ client: Client) -> (server: Int32, cause: ChoiceCause) {
    var (server, cause) = chooseServer(client)
    while server < 0, cause.isNoneUp, standIn(client) {
      readHeld(client)
      (server, cause) = chooseServer(client)
    }
    return (server, cause)
  }

  /// What the request that is held brings along for the pool that stands in.
  @inline(never)
  mutating func readHeld(_ client: Client) {
    let slot = Int(client.pointee.exchange.pool)
    let pool = snapshot.pools.baseAddress! + slot
    guard pool.pointee.cookieName != nil || pool.pointee.terms.hash.isOfRequest, let head = parseHeld(client) else {
      return
    }
    readAlong(client, head, of: scratch, pool, slot)
  }

  /// The head of a request that is held, in the scratch memory.
  mutating func parseHeld(_ client: Client) -> RequestHead? {
    let request = client.pointee.exchange.request
    // In a copy: a parse looks some bytes further than its text goes.
    let room = scratchByteCount - scanSlack
    if request.isEmpty || request.count > room { return nil }
    scratch.update(from: request.bytes, count: request.count)
    var head = RequestHead()
    let limits = HeadLimits(headByteCount: room, fieldCount: headScratchFieldCount, targetByteCount: room)
    let result = head.parse(scratch, count: request.count, limits: limits, options: [], scratch: headScratch)
    if case .complete = result { return head }
    return nil
  }

  // MARK: What a request brings along

  /// Asks the pool that `exchange.pool` says with what this request brings along.
  @inline(__always)  // once per request
  mutating func choosePoolAndServer(
    _ client: Client, _ head: RequestHead
  ) -> (server: Int32, cause: ChoiceCause) {
    let slot = Int(client.pointee.exchange.pool)
    let pool = snapshot.pools.baseAddress! + slot
    addRetryCredit(slot)
    readAlong(client, head, of: receiveStart, pool, slot)
    return chooseServer(client)
  }

  @inline(__always)  // once per request
  private mutating func readAlong(
    _ client: Client, _ head: RequestHead, of bytes: UnsafePointer<UInt8>, _ pool: UnsafePointer<PoolRecord>,
    _ slot: Int
  ) {
    if let name = pool.pointee.cookieName { findCookieServer(client, head, of: bytes, name, slot) }
    if pool.pointee.terms.hash.isOfRequest {
      client.pointee.exchange.hashKey = hashKey(client, head, of: bytes, pool.pointee.terms)
    }
  }

  @inline(never)
  private mutating func findCookieServer(
    _ client: Client, _ head: RequestHead, of bytes: UnsafePointer<UInt8>, _ name: CookieName, _ pool: Int
  ) {
    var occurrence = 0
    while occurrence < RequestHead.maximumTagCount,
      let tag = head.tag(named: name, occurrence: occurrence, in: bytes)
    {
      let server = tables[pool].server(ofTag: tag)
      if server >= 0 {
        client.pointee.exchange.cookieServer = snapshot.pools[pool].servers[server]
        return
      }
      client.pointee.exchange.cookieServer = -2
      occurrence += 1
    }
  }

  /// Puts the server's own Host into the request, or the client's back where another server's stands.
  @inline(never)
  mutating func writeHost(_ client: Client, of server: Int32) {
    let range = client.pointee.exchange.host
    if range.isEmpty { return }
    let own = snapshot.servers[Int(server)].ownHost
    if own.isEmpty && client.pointee.exchange.originalHost.isEmpty { return }
    if client.pointee.exchange.originalHost.isEmpty {
      buffers.append(
        client.pointee.exchange.request.bytes + range.offset, range.count, to: &client.pointee.exchange.originalHost)
    }
    let original = client.pointee.exchange.originalHost
    let text = own.isEmpty ? Text(start: original.bytes, count: original.count) : own
    buffers.replace(range.offset..<range.endOffset, with: text, in: &client.pointee.exchange.request)
    client.pointee.exchange.host = ByteRange(range.offset, range.offset + text.count)
  }

  /// The key of a pool that hashes a header, a cookie or the URI; the source's where the request has no such thing.
  @inline(never)
  private func hashKey(
    _ client: Client, _ head: RequestHead, of bytes: UnsafePointer<UInt8>, _ terms: PoolTerms
  ) -> UInt64 {
    var values = FieldValues(named: terms.hashName, in: head)
    let found: ByteRange? =
      switch terms.hash {
      case .header: values.next(bytes)
      case .cookie: head.value(ofCookie: CookieName(terms.hashName), in: bytes)
      case .uri: head.path
      case .none, .source: nil
      }
    guard let found, !found.isEmpty else { return Rendezvous.key(of: client.pointee.address) }
    return StableHash.hash(bytes + found.offset, found.count)
  }

  // MARK: Slow start

  mutating func rampSoon() { nextRamp = min(nextRamp, tick &+ Self.rampInterval) }

  @inline(never)
  mutating func advanceRamps() {
    nextRamp = TimerWheel.never
    for pool in 0..<snapshot.pools.count where tables[pool].isRamping {
      tables[pool].advance(now: now)
      if tables[pool].isRamping { rampSoon() }
    }
  }
}
