// Bytes passed on both ways without a look: TCP mode, and what follows a 101. Half-closes are passed on, a slow reader
// stops the other side, a reset on one side is a reset on the other.

internal import Balancing
internal import Kernel
internal import Primitives

private enum Passed {
  /// All that was there; more may come.
  case drained
  /// The receiver does not take more now.
  case waits
  /// There is more, but others get their turn first.
  case interrupted
  /// The sender's end has been passed on.
  case finished
  case senderFailed
  case receiverFailed

  var isFailure: Bool { self == .senderFailed || self == .receiverFailed }
}

extension Worker {
  // MARK: TCP mode

  /// A client of a TCP listener: the server may speak first, so it is connected at once.
  mutating func openTunnel(_ index: Int32, _ client: Client) {
    let listener = Int(client.pointee.listener)
    counters.listeners[listener].requests.increase()
    client.pointee.phase = .tunnel
    noteTunnel(client)
    watch(index, client)
    if !client.pointee.isOpen { return }
    client.pointee.exchange.pool = poolOfSource(client)
    if client.pointee.exchange.pool < 0 {
      counters.listeners[listener].refused.increase()
      client.pointee.exchange.notes.ending = .refused
      closeClient(index, client, abortively: true)
      return
    }
    addRetryCredit(Int(client.pointee.exchange.pool))
    connectTunnel(index, client)
  }

  /// `failed`: the pool of a server that has failed this client; -1: none has.
  private mutating func connectTunnel(_ index: Int32, _ client: Client, failed pool: Int = -1, isFree: Bool = true) {
    let (server, cause) = chooseWithStandIns(client)
    let isQueued = server < 0 && cause.isFull && enqueue(index, client, forCookieServer: false)
    if pool >= 0 && (server >= 0 || isQueued) {
      if !isFree { _ = payForRetry(pool) }
      noteRetry(client, pool: pool)
    }
    if server >= 0 {
      openTunnel(index, client, to: server)
    } else if !isQueued {
      if cause.isFull { noteQueueFull(client) }
      refuseTunnel(index, client)
    }
  }

  @inline(never)
  mutating func refuseTunnel(_ index: Int32, _ client: Client) {
    counters.listeners[Int(client.pointee.listener)].refused.increase()
    if client.pointee.exchange.notes.ending == .none { client.pointee.exchange.notes.ending = .noServer }
    closeClient(index, client, abortively: true)
  }

  mutating func openTunnel(_ index: Int32, _ client: Client, to server: Int32) {
    let found = connect(index, client, to: server, reuse: .none)
    if found == Self.isFull {
      if !enqueue(index, client, forCookieServer: false) { queueIsFull(index, client) }
      return
    }
    if found < 0 {
      tunnelConnectFailed(
        index, client, server, found == Self.isRefused ? .refused : .connect, isOurFault: found == Self.isExhausted)
      return
    }
    counters.servers[Int(server)].requests.increase()
    timers.set(index, tick &+ snapshot.pools[Int(snapshot.servers[Int(server)].pool)].connect)
  }

  /// Nothing has been sent yet, so another server may have the client, where the pool's retry says so.
  @inline(never)
  mutating func tunnelConnectFailed(
    _ index: Int32, _ client: Client, _ server: Int32, _ failure: ServerFailure, isOurFault: Bool = false
  ) {
    let upstream = client.pointee.server
    if upstream >= 0 { releaseServer(upstream, upstreams[upstream], reuse: false) }
    if !isOurFault { noteFailure(of: server, failure) }
    let pool = Int(snapshot.servers[Int(server)].pool)
    client.pointee.exchange.connectFailureCount &+= 1
    let isNoted = client.pointee.exchange.tried.insert(Int(server))
    if isNoted && snapshot.pools[pool].terms.retryCauses.contains(.connect)
      && Int(client.pointee.exchange.connectFailureCount) <= snapshot.pools[pool].retryAttempts
      && (failure == .refused || retryCredit[pool] >= 100)
    {
      client.pointee.exchange.notes.ending = .none
      connectTunnel(index, client, failed: pool, isFree: failure == .refused)
    } else {
      if client.pointee.exchange.notes.ending == .none { client.pointee.exchange.notes.ending = .connectFailed }
      closeClient(index, client, abortively: true)
    }
  }

  mutating func tunnelIsConnected(_ index: Int32, _ client: Client) { relay(index, client) }

  // MARK: Passing on

  /// Passes on what is there, both ways.
  @inline(never)
  mutating func relay(_ index: Int32, _ client: Client) {
    let server = client.pointee.server
    if server < 0 || upstreams[server].pointee.phase != .tunnel { return }
    let upstream = upstreams[server]
    var upCount = 0
    var downCount = 0
    var spliced = 0
    let up = pass(&client.pointee.stream, &upstream.pointee.stream, &upCount, &spliced)
    let down = up.isFailure ? up : pass(&upstream.pointee.stream, &client.pointee.stream, &downCount, &spliced)
    if spliced > 0 { counters.listeners[Int(client.pointee.listener)].spliced.add(UInt64(spliced)) }
    if upCount > 0 || downCount > 0 { noteRelayed(client, up: upCount, down: downCount) }
    if up.isFailure || down.isFailure {
      let isClients = up.isFailure ? up == .senderFailed : down == .receiverFailed
      client.pointee.exchange.notes.ending = isClients ? .tunnelClientReset : .tunnelServerReset
      closeClient(index, client, abortively: true)
      return
    }
    if up == .finished && down == .finished {
      client.pointee.exchange.notes.ending = .tunnelEnded
      closeClient(index, client, abortively: false)
      return
    }
    timers.set(index, tick &+ snapshot.listeners[Int(client.pointee.listener)].tunnel)
    if (up == .interrupted || down == .interrupted) && !client.pointee.stream.isDeferred {
      client.pointee.stream.isDeferred = true
      deferUntilAfterBatch(EventToken(.client, index: index, generation: client.pointee.generation))
    }
  }

  /// `count` grows by what was taken from the sender, `spliced` by what of it was not copied.
  private mutating func pass(
    _ sender: inout ByteStream, _ receiver: inout ByteStream, _ count: inout Int, _ spliced: inout Int
  ) -> Passed {
    if !receiver.output.isEmpty {
      if !receiver.flush(&buffers) { return .receiverFailed }
      if !receiver.output.isEmpty { return .waits }
    }
    if !sender.input.isEmpty {
      let held = sender.takeInput(receiveStart, &buffers)
      count &+= held
      if !receiver.write(receiveStart, held, &buffers) { return .receiverFailed }
      if !receiver.output.isEmpty { return .waits }
    }
    var turn = 0
    while sender.mayRead {
      turn &+= Self.bodyShare
      if turn > Self.largestTurn { return .interrupted }
      if sender.isLarge && pipe.isOpen {
        switch splice(&sender, &receiver, limit: room(for: sender)) {
        case .bytes(let moved):
          count &+= moved
          spliced &+= moved
          if !receiver.output.isEmpty { return .waits }
          continue
        case .nothing: break
        case .senderFailed: return .senderFailed
        case .receiverFailed(let taken):
          count &+= taken
          return .receiverFailed
        }
      }
      switch sender.read(into: receiveStart, room: room(for: sender)) {
      case .bytes(let received):
        count &+= received
        if !receiver.write(receiveStart, received, &buffers) { return .receiverFailed }
        sender.growWindow(readCount: received, largest: Self.largestWindow)
        if !receiver.output.isEmpty { return .waits }
      case .blocked: return .drained
      case .ended: break
      case .failed: return .senderFailed
      }
    }
    if !sender.hasEnded { return .drained }
    receiver.shutDown()
    return .finished
  }
}
