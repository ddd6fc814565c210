// Clients that wait because every server they may have has reached `max_connections`. Who came first goes first, over all
// workers: each worker keeps its own clients in lists and tells the others since when the first of them has waited. Whoever
// gives a server back lets the longest waiting client have it, or wakes the worker that has it.
//
// There is a list for each pool, of clients that take any server, and one for each server, of clients whose cookie is
// that server's: they do not hold up those who can go elsewhere.

internal import Balancing
internal import HTTP1
internal import Kernel
internal import Primitives
internal import Synchronization

/// A list through the clients' `nextWaiting`.
struct WaitingList {
  var first: Int32 = -1
  var last: Int32 = -1
}

enum WaitingPlace: UInt8 {
  case nowhere
  /// For any server of `exchange.pool`.
  case pool
  /// For the server of the client's cookie.
  case server
}

extension Worker {
  /// How often clients that wait are looked at without a cause: every cause is told, so this is a second pair of eyes.
  static let queueLookInterval: Tick = 4
  /// Clients of one queue that are looked at before other queues get their turn.
  private static let largestTurnCount = 256

  // MARK: Coming

  /// The client's request, or its connection in TCP mode, waits for a server. False, with nothing changed, if too many wait.
  @inline(never)
  mutating func enqueue(_ index: Int32, _ client: Client, forCookieServer: Bool) -> Bool {
    let pool = Int(client.pointee.exchange.pool)
    let terms = snapshot.pools[pool].terms
    let count = shared.poolQueues[pool].all.wrappingAdd(1, ordering: .relaxed).newValue
    if count > terms.queueSize {
      shared.poolQueues[pool].all.wrappingSubtract(1, ordering: .relaxed)
      client.pointee.waitingSince = 0
      return false
    }
    // Who had to leave one queue for another goes on from where it was.
    if client.pointee.waitingSince == 0 {
      client.pointee.waitingSince = Clock.monotonic.nanoseconds
      counters.pools[pool].queued.increase()
    }
    client.pointee.waitingPool = Int32(pool)
    if forCookieServer {
      let server = Int(client.pointee.exchange.cookieServer)
      client.pointee.waitingPlace = .server
      client.pointee.waitingSlot = Int32(server)
      insert(index, client, into: &serverLists[server])
      shared.serverLoads[server].waiting.wrappingAdd(1, ordering: .sequentiallyConsistent)
    } else {
      client.pointee.waitingPlace = .pool
      client.pointee.waitingSlot = Int32(pool)
      insert(index, client, into: &poolLists[pool])
      shared.poolQueues[pool].waiting.wrappingAdd(1, ordering: .sequentiallyConsistent)
    }
    waitingCount += 1
    tellFirst(client.pointee.waitingPlace, client.pointee.waitingSlot)
    let waited = Tick(clamping: (now.nanoseconds - client.pointee.waitingSince) / TimerWheel.tickNanoseconds)
    timers.set(index, tick &+ (terms.queueTimeout > waited ? terms.queueTimeout - waited : 1))
    // A server may have come free between our look and this: then whoever gave it back has not seen us.
    queueIsDue(pool)
    return true
  }

  /// Behind those who have waited longer: nearly always at the end.
  private func insert(_ index: Int32, _ client: Client, into list: inout WaitingList) {
    var previous = list.last
    while previous >= 0 && clients[previous].pointee.waitingSince > client.pointee.waitingSince {
      previous = clients[previous].pointee.previousWaiting
    }
    let next = previous < 0 ? list.first : clients[previous].pointee.nextWaiting
    client.pointee.previousWaiting = previous
    client.pointee.nextWaiting = next
    if previous < 0 { list.first = index } else { clients[previous].pointee.nextWaiting = index }
    if next < 0 { list.last = index } else { clients[next].pointee.previousWaiting = index }
  }

  /// Whether a new client has to wait behind others. A cookie's client waits only behind those of its own server, which
  /// `chooseServer` sees to.
  @inline(__always)
  func othersWait(_ pool: Int) -> Bool {
    snapshot.pools[pool].plan.hasLimits && shared.poolQueues[pool].waiting.load(ordering: .relaxed) > 0
  }

  // MARK: Going

  /// Takes a client out of its list, if it is in one.
  @inline(__always)  // the compare; the rest is rare
  mutating func leaveQueue(_ client: Client) {
    if client.pointee.waitingPlace != .nowhere { unlinkWaiting(client) }
  }

  @inline(never)
  private mutating func unlinkWaiting(_ client: Client) {
    noteQueueLeft(client)
    let place = client.pointee.waitingPlace
    let slot = Int(client.pointee.waitingSlot)
    let previous = client.pointee.previousWaiting
    let next = client.pointee.nextWaiting
    if previous >= 0 { clients[previous].pointee.nextWaiting = next }
    if next >= 0 { clients[next].pointee.previousWaiting = previous }
    if place == .server {
      if previous < 0 { serverLists[slot].first = next }
      if next < 0 { serverLists[slot].last = previous }
      shared.serverLoads[slot].waiting.wrappingSubtract(1, ordering: .relaxed)
    } else {
      if previous < 0 { poolLists[slot].first = next }
      if next < 0 { poolLists[slot].last = previous }
      shared.poolQueues[slot].waiting.wrappingSubtract(1, ordering: .relaxed)
    }
    shared.poolQueues[Int(client.pointee.waitingPool)].all.wrappingSubtract(1, ordering: .relaxed)
    waitingCount -= 1
    client.pointee.waitingPlace = .nowhere
    client.pointee.waitingSince = 0
    tellFirst(place, Int32(slot))
    // Its turn may have come in the meantime, and nobody else was told.
    queueIsDue(Int(client.pointee.waitingPool))
  }

  /// As `leaveQueue`, but should the client have to wait once more it keeps its place among the others and its deadline.
  private mutating func leaveForAnother(_ client: Client) {
    let since = client.pointee.waitingSince
    unlinkWaiting(client)
    client.pointee.waitingSince = since
  }

  private func tellFirst(_ place: WaitingPlace, _ slot: Int32) {
    let first = place == .server ? serverLists[Int(slot)].first : firstForAny(Int(slot))
    let since = first < 0 ? Int64.max : clients[first].pointee.waitingSince
    let heads = place == .server ? shared.serverHeads : shared.poolHeads
    heads[Int(slot) * shared.threads + index].store(since, ordering: .sequentiallyConsistent)
  }

  /// The first that waits for any server of the pool, -1 if nobody does. Those before it have been failed by some servers:
  /// none of the others may have room when one of these has, so they hold nobody up.
  private func firstForAny(_ pool: Int) -> Int32 {
    var index = poolLists[pool].first
    while index >= 0 && clients[index].pointee.exchange.tried.count > 0 { index = clients[index].pointee.nextWaiting }
    return index
  }

  // MARK: Serving

  /// A server with a limit has been given back.
  @inline(__always)
  mutating func serverCameFree(_ server: Int32) {
    if snapshot.servers[Int(server)].limit == 0 { return }
    let pool = Int(snapshot.servers[Int(server)].pool)
    if shared.poolQueues[pool].all.load(ordering: .sequentiallyConsistent) > 0 { queueIsDue(pool) }
  }

  /// The pool's queue is looked at after the present batch of events: not now, a message may be half handled.
  @inline(never)
  mutating func queueIsDue(_ pool: Int) {
    if !dueQueues.contains(Int32(pool)) { dueQueues.append(Int32(pool)) }
  }

  mutating func serveDueQueues() {
    // What is served may give back again: those come with the next batch, whose wait is not long then.
    let due = dueQueues
    dueQueues.removeAll(keepingCapacity: true)
    for pool in due { serveQueue(Int(pool)) }
  }

  @inline(never)
  mutating func lookAtQueues() {
    nextQueueLook = tick &+ Self.queueLookInterval
    makeQueuesDue()
  }

  /// Also of pools that have no limits any more: their clients wait for nothing.
  private mutating func makeQueuesDue() {
    for pool in 0..<snapshot.pools.count where shared.poolQueues[pool].all.load(ordering: .relaxed) > 0 {
      queueIsDue(pool)
    }
  }

  private mutating func serveQueue(_ pool: Int) {
    var passed: Int32 = -1
    for _ in 0..<Self.largestTurnCount {
      serveRetries(pool, after: &passed)
      let (server, since, isElsewhere) = oldestForOneServer(pool)
      let general = firstForAny(pool)
      let ownGeneral = general < 0 ? Int64.max : clients[general].pointee.waitingSince
      let (elsewhere, worker) = oldestElsewhere(shared.poolHeads, pool)
      if server >= 0 && since < min(ownGeneral, elsewhere) {
        if isElsewhere >= 0 {
          wake(isElsewhere, pool)
          return
        }
        if !serve(serverLists[server].first) { return }
        continue
      }
      if ownGeneral == .max && elsewhere == .max { return }
      if elsewhere < ownGeneral {
        // Only they can say whether there is a server for them; if there is room for more, they wake us.
        wake(worker, pool)
        return
      }
      if !serve(general) { return }
    }
    queueIsDue(pool)
  }

  /// Serves those before `firstForAny` that can be. `passed`: the last for which there was none in this turn.
  private mutating func serveRetries(_ pool: Int, after passed: inout Int32) {
    for _ in 0..<Self.largestTurnCount {
      let index = passed < 0 ? poolLists[pool].first : clients[passed].pointee.nextWaiting
      if index < 0 || clients[index].pointee.exchange.tried.count == 0 { return }
      if !serve(index) { passed = index }
    }
  }

  /// Among the pool's servers with room and clients of their own that wait: the one whose first client has waited longest.
  /// `worker`: who has that client, -1 for this one.
  private func oldestForOneServer(_ pool: Int) -> (server: Int, since: Int64, worker: Int) {
    let queue = shared.poolQueues + pool
    if queue.pointee.all.load(ordering: .relaxed) == queue.pointee.waiting.load(ordering: .relaxed) {
      return (-1, .max, -1)
    }
    var best = (server: -1, since: Int64.max, worker: -1)
    for slot in snapshot.pools[pool].servers where shared.serverLoads[Int(slot)].waiting.load(ordering: .relaxed) > 0 {
      let server = Int(slot)
      let place = Int(snapshot.servers[server].place)
      let takesClients = tables[pool].takesSticky(place, now)
      // Those who wait for a server that takes nobody any more go elsewhere at once.
      if takesClients && !hasRoom(slot) { continue }
      let own = serverLists[server].first
      if own >= 0 && clients[own].pointee.waitingSince < best.since {
        best = (server, clients[own].pointee.waitingSince, -1)
      }
      let (since, worker) = oldestElsewhere(shared.serverHeads, server)
      if since < best.since { best = (server, since, worker) }
    }
    return best
  }

  private func oldestElsewhere(_ heads: UnsafeMutablePointer<Atomic<Int64>>, _ slot: Int) -> (since: Int64, worker: Int)
  {
    var best = (since: Int64.max, worker: -1)
    for worker in 0..<shared.threads where worker != index {
      let since = heads[slot * shared.threads + worker].load(ordering: .relaxed)
      if since < best.since { best = (since, worker) }
    }
    return best
  }

  private func wake(_ worker: Int, _ pool: Int) { peers[worker].mailbox.post(.serve(pool: Int32(pool))) }

  /// Gives the client a server. False if there is none for it now.
  private mutating func serve(_ index: Int32) -> Bool {
    let client = clients[index]
    let wasForCookie = client.pointee.waitingPlace == .server
    var (server, cause) = chooseServer(client, isWaiting: true)
    if cause == .cookieFull || (cause == .allFull && !wasForCookie) { return false }
    leaveForAnother(client)
    if cause == .noneUp { (server, cause) = chooseWithStandIns(client) }
    let generation = client.pointee.generation
    if cause.isFull {
      // Another server than the one that it waited for, or a pool that stands in.
      if cause != .cookieFull { client.pointee.exchange.cookieServer = -2 }
      if !enqueue(index, client, forCookieServer: cause == .cookieFull) { queueIsFull(index, client) }
    } else {
      leadOn(index, client, server, cause)
    }
    if client.pointee.generation == generation && client.pointee.waitingPlace == .nowhere {
      client.pointee.waitingSince = 0
    }
    return true
  }

  /// The client, which is in no list any more, goes to `server`, or is told why there is none (-1).
  private mutating func leadOn(_ index: Int32, _ client: Client, _ server: Int32, _ cause: ChoiceCause) {
    if client.pointee.phase == .tunnel {
      if server < 0 { refuseTunnel(index, client) } else { openTunnel(index, client, to: server) }
    } else if server < 0 {
      if !cause.isNoneUp || !sorryForHeld(index, client) { noServer(index, client, cause) }
    } else {
      let pool = Int(client.pointee.exchange.pool)
      client.pointee.exchange.setsCookie = snapshot.pools[pool].cookieName != nil && !cause.isCookie
      sendAndReadOn(index, client, to: server)
    }
  }

  // MARK: Not served

  /// The client has waited for as long as the pool's queue allows.
  @inline(never)
  mutating func waitedTooLong(_ index: Int32, _ client: Client) {
    let terms = snapshot.pools[Int(client.pointee.exchange.pool)].terms
    leaveQueue(client)
    counters.pools[Int(client.pointee.exchange.pool)].queueLate.increase()
    client.pointee.exchange.notes.ending = .queueLate
    if client.pointee.phase == .tunnel {
      refuseTunnel(index, client)
    } else {
      answer(index, client, status: 503, terms.queueLate, retryAfterSeconds: 1)
    }
  }

  @inline(never)
  mutating func queueIsFull(_ index: Int32, _ client: Client) {
    let pool = snapshot.pools[Int(client.pointee.exchange.pool)]
    noteQueueFull(client)
    if client.pointee.phase == .tunnel {
      refuseTunnel(index, client)
    } else {
      let reason = pool.terms.queueSize == 0 ? pool.allFull : pool.terms.queueFull
      answer(index, client, status: 503, reason, retryAfterSeconds: 1)
    }
  }

  /// Servers have changed: those who wait for one that is gone wait for any.
  @inline(never)
  mutating func moveFromRetiredServers() {
    if waitingCount == 0 { return }
    for server in 0..<snapshot.servers.count
    where snapshot.servers[server].place < 0 || snapshot.servers[server].isRetired {
      while serverLists[server].first >= 0 {
        let index = serverLists[server].first
        let client = clients[index]
        leaveForAnother(client)
        client.pointee.exchange.cookieServer = -2
        if !enqueue(index, client, forCookieServer: false) { queueIsFull(index, client) }
      }
    }
    for pool in 0..<snapshot.pools.count where poolLists[pool].first >= 0 { tellFirst(.pool, Int32(pool)) }
    makeQueuesDue()
  }
}
