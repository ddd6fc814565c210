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
    // A client that is kept by its source stays with a draining server as long as its connection lives.
    if pool.pointee.hashesSource, client.pointee.lastServer >= 0 {
      let last = place(of: client.pointee.lastServer, in: slot)
      if last >= 0, tables[slot].availability(last).isDraining, !tried.contains(last) {
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
    while server < 0, cause.isNoneUp, standIn(client) { (server, cause) = chooseServer(client) }
    return (server, cause)
  }

  // MARK: What is hashed

  /// The key of a pool that hashes a header, a cookie or the URI; the source's where the request has no such thing.
  @inline(never)
  func hashKey(_ client: Client, _ head: RequestHead, _ terms: PoolTerms) -> UInt64 {
    var values = FieldValues(named: terms.hashName, in: head)
    let found: ByteRange? =
      switch terms.hash {
      case .header: values.next(receiveStart)
      case .cookie: head.value(ofCookie: CookieName(terms.hashName), in: receiveStart)
      case .uri: head.path
      case .none, .source: nil
      }
    guard let found, !found.isEmpty else { return Rendezvous.key(of: client.pointee.address) }
    return StableHash.hash(receiveStart + found.offset, found.count)
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
