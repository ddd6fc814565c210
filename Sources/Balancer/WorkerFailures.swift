// When a server fails: another try where that is safe, an answer in plain words where it is not.
//
//   connect failed, nothing sent                → another server, any method
//   reused connection closed, no answer begun   → safe or idempotent methods: another server or, for clients that belong
//                                                 to this one, first a new connection to it
//   new connection closed, no answer begun      → another server, safe or idempotent methods
//   time-out                                    → 504; safe or idempotent methods: another server where that is configured
//   an answer of 502, 503 or 504                → the same, else the answer is passed on
//   its host has gone without a word            → safe methods (where time-outs are repeated: as those): another server, else
//                                                 it goes on waiting
//   any byte of the final answer sent           → the client's connection is aborted
//
// As often as the pool's retry allows, within its budget, and only while the whole request is still held. A connection that
// is refused costs nothing of the budget: no server has worked for it, so trying another multiplies nothing.

internal import Balancing
internal import HTTP1
internal import Kernel
internal import Primitives
internal import Synchronization

/// How a server's connection ended, or why its answer is of no use.
enum ServerFailure: UInt8 {
  /// Nothing was sent.
  case connect
  /// The same, and told at once: nobody listens there.
  case refused
  /// Closed or reset, perhaps in the middle of an answer.
  case closed
  case malformed
  case timedOut
  /// It says itself that it cannot: 502, 503, 504.
  case unavailable

  /// For people, of live traffic.
  var words: String {
    switch self {
    case .connect: "no connection"
    case .refused: "connection refused"
    case .closed: "connection lost"
    case .malformed: "a malformed answer"
    case .timedOut: "no answer in time"
    case .unavailable: "an answer of 502, 503 or 504"
    }
  }
}

extension Worker {
  /// Hundredths of a retry: a pool starts with this many and never saves more.
  static let initialRetryCredit: Int32 = 100 * 100
  private static let largestRetryCredit: Int32 = 100 * 1_000
  /// Requests that leave a server that has gone at a time, on each worker.
  private static let largestMoveCount = 64

  /// Each request earns a share of a retry.
  @inline(__always)
  mutating func addRetryCredit(_ pool: Int) {
    let sum = retryCredit[pool] &+ snapshot.pools[pool].retryBudgetPercent
    retryCredit[pool] = min(sum, Self.largestRetryCredit)
  }

  mutating func payForRetry(_ pool: Int) -> Bool {
    if retryCredit[pool] < 100 { return false }
    retryCredit[pool] -= 100
    return true
  }

  /// The exchange on `upstream` cannot go on there.
  @inline(never)
  mutating func serverFailed(_ index: Int32, _ upstream: Upstream, _ failure: ServerFailure) {
    let place = upstream.pointee.client
    let client = clients[place]
    let server = upstream.pointee.server
    if client.pointee.phase == .tunnel {
      tunnelConnectFailed(place, client, server, failure)
      return
    }
    let isClients = failure == .closed && keptWaiting(place, client, upstream)
    if client.pointee.exchange.headIsSent {
      noteFailure(of: server, failure, isClients: isClients)
      client.pointee.exchange.notes.ending =
        failure == .timedOut ? .serverStalled : failure == .malformed ? .serverBadBody : .serverCutOff
      closeClient(place, client, abortively: true)
      return
    }
    let wasReused = upstream.pointee.isReused
    releaseServer(index, upstream, reuse: false, abortively: failure == .timedOut)
    let staleConnection = failure == .closed && wasReused && !client.pointee.exchange.answerHasBegun
    if !staleConnection { noteFailure(of: server, failure, isClients: isClients) }
    switch failure {
    case .connect, .refused: connectFailed(place, client, server, failure)
    case .closed where client.pointee.exchange.answerHasBegun:
      client.pointee.exchange.notes.ending = .serverClosed
      answer(place, client, status: 502, "the server closed its connection within the head of its answer")
    case .closed: lostConnection(place, client, server, wasReused: wasReused)
    case .malformed: answer(place, client, status: 502, "the server's answer is malformed")
    case .timedOut: timedOut(place, client, server)
    case .unavailable: preconditionFailure("such an answer is passed on, or another server is asked")
    }
  }

  @inline(never)
  mutating func connectFailedAtOnce(_ place: Int32, _ client: Client, _ server: Int32, _ result: Int32) {
    let isOurFault = result == Self.isExhausted
    let failure = result == Self.isRefused ? ServerFailure.refused : .connect
    if !isOurFault { noteFailure(of: server, failure) }
    connectFailed(place, client, server, failure, isOurFault: isOurFault)
  }

  /// Nothing was sent: any method may go elsewhere. `isOurFault`: this node could not open a connection to that server, for
  /// which another one may have a port left.
  private mutating func connectFailed(
    _ place: Int32, _ client: Client, _ server: Int32, _ failure: ServerFailure, isOurFault: Bool = false
  ) {
    let pool = Int(snapshot.servers[Int(server)].pool)
    client.pointee.exchange.connectFailureCount &+= 1
    if snapshot.pools[pool].terms.retryCauses.contains(.connect),
      Int(client.pointee.exchange.connectFailureCount) <= snapshot.pools[pool].retryAttempts,
      tryElsewhere(place, client, server, pool, isFree: failure == .refused)
    {
      return
    }
    if isOurFault {
      client.pointee.exchange.notes.ending = .exhausted
      answer(
        place, client, status: 503, "this node can open no more connections to servers", retryAfterSeconds: 1)
    } else {
      if client.pointee.exchange.notes.ending == .none { client.pointee.exchange.notes.ending = .connectFailed }
      answer(place, client, status: 502, "the connection to the server failed")
    }
  }

  private mutating func lostConnection(_ place: Int32, _ client: Client, _ server: Int32, wasReused: Bool) {
    let pool = Int(snapshot.servers[Int(server)].pool)
    if mayRepeat(client, pool, wasReused ? .reusedConnection : .lostConnection) {
      // A kept connection that was closed as we used it says little against the server, so its own clients stay; but it may
      // be the first sign of its death, so the others do not, and if the new connection fails as well it is a failure like
      // any other.
      let stays = wasReused && !client.pointee.exchange.hasStayed && belongs(client, to: server, pool)
      if stays { client.pointee.exchange.hasStayed = true } else { client.pointee.exchange.replayCount &+= 1 }
      if !stays && tryElsewhere(place, client, server, pool) { return }
      if wasReused && payForRetry(pool) {
        noteRetry(client, pool: pool)
        client.pointee.exchange.bodyIsDropped = false
        _ = sendExchange(place, client, to: server, mayReuse: false)
        return
      }
    }
    client.pointee.exchange.notes.ending = .serverClosed
    answer(place, client, status: 502, "the server closed its connection before it answered")
  }

  /// Whether the request may be sent once more after a server may have seen it: all of it is held, its method allows it,
  /// and it has not been repeated too often.
  private func mayRepeat(_ client: Client, _ pool: Int, _ cause: RetryCauses) -> Bool {
    let exchange = client.pointee.exchange
    let record = snapshot.pools.baseAddress! + pool
    return record.pointee.terms.retryCauses.contains(cause) && record.pointee.terms.mayRepeat(exchange.method)
      && !exchange.isPastHolding && !exchange.request.isEmpty && client.pointee.phase != .body
      && Int(exchange.replayCount) < record.pointee.retryAttempts
  }

  private mutating func timedOut(_ place: Int32, _ client: Client, _ server: Int32) {
    let pool = Int(snapshot.servers[Int(server)].pool)
    if !client.pointee.exchange.answerHasBegun && mayRepeat(client, pool, .timeout) {
      client.pointee.exchange.replayCount &+= 1
      if tryElsewhere(place, client, server, pool) { return }
    }
    answer(place, client, status: 504, "the server did not answer in time")
  }

  /// The server has answered with a status that another server may be asked after. True: another has been asked, and the
  /// answer is forgotten.
  @inline(never)
  mutating func repeatedAfterStatus(_ index: Int32, _ upstream: Upstream, _ place: Int32, _ client: Client) -> Bool {
    let server = upstream.pointee.server
    let pool = Int(snapshot.servers[Int(server)].pool)
    guard mayRepeat(client, pool, .status), client.pointee.exchange.interimCount == 0,
      Int(client.pointee.exchange.requestSentCount) == client.pointee.exchange.request.count
    else { return false }
    // Only for another server that is well: without one, this answer is the answer.
    return moved(index, upstream, place, client, pool)
  }

  /// Gives up the exchange on `upstream` for one with another server of the pool that is well. False, with nothing changed,
  /// if there is none.
  private mutating func moved(
    _ index: Int32, _ upstream: Upstream, _ place: Int32, _ client: Client, _ pool: Int
  ) -> Bool {
    let tried = client.pointee.exchange.tried
    if retryCredit[pool] < 100 || !client.pointee.exchange.tried.insert(Int(upstream.pointee.server)) { return false }
    let (next, cause) = chooseServer(client)
    if next < 0 || availability(next).isLastResort {
      client.pointee.exchange.tried = tried
      return false
    }
    _ = payForRetry(pool)
    client.pointee.exchange.replayCount &+= 1
    client.pointee.exchange.answerHasBegun = false
    // Nothing more is read from its connection, so that carries nothing more.
    releaseServer(index, upstream, reuse: false, abortively: true)
    sendAgain(place, client, to: next, cause, pool)
    return true
  }

  private func availability(_ server: Int32) -> ServerAvailability {
    let record = snapshot.servers.baseAddress! + Int(server)
    return tables[Int(record.pointee.pool)].availability(Int(record.pointee.place))
  }

  /// The host of `server` has gone without a word: requests that wait for it and may be sent again go to others. What finds
  /// no room or no credit now gets another chance with the next check that meets silence.
  @inline(never)
  mutating func moveWaiting(awayFrom server: Int32) {
    let pool = Int(snapshot.servers[Int(server)].pool)
    let causes = snapshot.pools[pool].terms.retryCauses
    var count = 0
    for index in 0..<Int32(truncatingIfNeeded: upstreams.highWater) where retryCredit[pool] >= 100 {
      let upstream = upstreams[index]
      guard upstream.pointee.server == server, upstream.pointee.phase == .head, upstream.pointee.client >= 0 else {
        continue
      }
      let place = upstream.pointee.client
      let client = clients[place]
      // Should it live after all, only what is safe may be done twice.
      let mayMove =
        causes.contains(.timeout)
        ? mayRepeat(client, pool, .timeout)
        : client.pointee.exchange.method.isSafe && mayRepeat(client, pool, .lostConnection)
      guard mayMove, !client.pointee.exchange.answerHasBegun, moved(index, upstream, place, client, pool) else {
        continue
      }
      noteFailure(of: server, .timedOut)
      count += 1
      // The others are not to drown in what one has left.
      if count == Self.largestMoveCount { return }
    }
  }

  // MARK: Counting

  /// A server has failed a request or a connection. `isClients`: it is counted, and not held against the server.
  @inline(never)
  mutating func noteFailure(of server: Int32, _ failure: ServerFailure, isClients: Bool = false) {
    counters.servers[Int(server)].failures.increase()
    if !isClients { tellFailure(of: server, failure) }
  }

  /// The main thread hears of failures, once until it has looked.
  @inline(never)
  mutating func tellFailure(of server: Int32, _ failure: ServerFailure) {
    if !snapshot.pools[Int(snapshot.servers[Int(server)].pool)].terms.isWatched { return }
    let load = shared.serverLoads + Int(server)
    load.pointee.lastFailure.store(UInt32(failure.rawValue), ordering: .relaxed)
    load.pointee.failures.wrappingAdd(1, ordering: .relaxed)
    if !shared.hasNewFailures.pointee.exchange(true, ordering: .acquiringAndReleasing) { reports.wakeUp.signal() }
  }

  /// Whether affinity ties the client to this server.
  private func belongs(_ client: Client, to server: Int32, _ pool: Int) -> Bool {
    snapshot.pools[pool].hashesSource || client.pointee.exchange.cookieServer == server
  }

  /// Another server, without those that failed this request; the sorry site if none is up any more. False, with nothing
  /// sent, if there is none. What is sent for the second time goes over a new connection, because there is no third.
  private mutating func tryElsewhere(
    _ place: Int32, _ client: Client, _ server: Int32, _ pool: Int, isFree: Bool = false
  ) -> Bool {
    let isNoted = client.pointee.exchange.tried.insert(Int(server))
    if !isNoted || client.pointee.exchange.request.isEmpty { return false }
    let own = client.pointee.exchange
    let (next, cause) = chooseWithStandIns(client)
    if cause.isNoneUp && sorryForHeld(place, client) { return true }
    let isPaid = isFree || retryCredit[pool] >= 100
    if next < 0 {
      // They have no room: it waits for one of them.
      guard cause.isFull, isPaid, enqueue(place, client, forCookieServer: cause == .cookieFull) else {
        leaveStandIn(client, for: own)
        return false
      }
      if !isFree { _ = payForRetry(pool) }
      noteRetry(client, pool: pool)
      client.pointee.exchange.bodyIsDropped = false
      return true
    }
    if !isPaid {
      leaveStandIn(client, for: own)
      return false
    }
    if !isFree { _ = payForRetry(pool) }
    sendAgain(place, client, to: next, cause, Int(client.pointee.exchange.pool))
    return true
  }

  /// The client goes to no pool that stands in after all: it is its own pool's again, as in `own`.
  private func leaveStandIn(_ client: Client, for own: Exchange) {
    client.pointee.exchange.pool = own.pool
    client.pointee.exchange.cookieServer = own.cookieServer
    client.pointee.exchange.hashKey = own.hashKey
  }

  private mutating func sendAgain(_ place: Int32, _ client: Client, to server: Int32, _ cause: ChoiceCause, _ pool: Int)
  {
    noteRetry(client, pool: pool)
    client.pointee.exchange.setsCookie = snapshot.pools[pool].cookieName != nil && !cause.isCookie
    client.pointee.exchange.bodyIsDropped = false
    sendAndReadOn(place, client, to: server)
  }

  /// Sends a request that could not go on before. What has come of its body meanwhile is read on: no event will tell.
  mutating func sendAndReadOn(_ place: Int32, _ client: Client, to server: Int32) {
    let generation = client.pointee.generation
    let isFirst = client.pointee.exchange.replayCount == 0 && !client.pointee.exchange.hasStayed
    _ = sendExchange(place, client, to: server, mayReuse: isFirst)
    if client.pointee.generation == generation && client.pointee.phase == .body { goOnLater(place, client) }
  }

  // MARK: Answers of our own

  @inline(never)
  mutating func noServer(_ place: Int32, _ client: Client, _ cause: ChoiceCause) {
    let pool = snapshot.pools[Int(client.pointee.exchange.pool)]
    let reason =
      switch cause {
      case .allFull: pool.allFull
      case .cookieFull: pool.cookieFull
      case .noneLeft: pool.noneLeft
      default: pool.noneUp
      }
    answer(place, client, status: 503, reason, retryAfterSeconds: 1)
  }

  mutating func answer(
    _ place: Int32, _ client: Client, status: Int, _ reason: StaticString, retryAfterSeconds: Int = 0
  ) {
    let text = Text(start: reason.utf8Start, count: reason.utf8CodeUnitCount)
    answer(place, client, status: status, text, retryAfterSeconds: retryAfterSeconds)
  }

  /// Answers the client's request; no server has one for it any more.
  @inline(never)
  mutating func answer(_ place: Int32, _ client: Client, status: Int, _ reason: Text, retryAfterSeconds: Int) {
    leaveQueue(client)
    let server = client.pointee.server
    if server >= 0 { releaseServer(server, upstreams[server], reuse: false, abortively: true) }
    let closes = !client.pointee.keepsAlive || client.pointee.phase == .body || mustClose(client)
    let written = LocalResponse.write(
      status: status, reason: reason, date: date.text(), requestID: requestID(of: client), givenID: givenID(of: client),
      closes: closes, withoutBody: client.pointee.exchange.method.isHead,
      oldVersion: client.pointee.exchange.isOldVersion, retryAfterSeconds: retryAfterSeconds, to: scratch,
      capacity: scratchByteCount)
    finishAnswer(place, client, written, closes: closes)
  }

  /// Sends an answer from the scratch memory and goes on to the next request, or to closing.
  mutating func finishAnswer(_ place: Int32, _ client: Client, _ count: Int, closes: Bool) {
    dropRequest(client)
    let ending = noteOwnAnswer(client, count)
    if !client.pointee.stream.write(scratch, count, &buffers) {
      clientIsGone(place, client)
      return
    }
    noteEnd(client, ending)
    if !closes {
      awaitNextRequest(place, client)
      // Not from here: we may have been called while a request was read, and many may wait behind it.
      if client.pointee.stream.hasNext { goOnLater(place, client) }
      return
    }
    client.pointee.keepsAlive = false
    if client.pointee.stream.output.isEmpty {
      beginLinger(place, client)
    } else {
      finishClosing(place, client)
    }
  }
}
