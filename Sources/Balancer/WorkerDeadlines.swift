// What happens when time is up. A client's connection has one deadline at a time; which one it is follows from what the
// connection is waiting for.

internal import Kernel
internal import Primitives

extension Worker {
  static let second: Tick = 1_000_000_000 / Tick(TimerWheel.tickNanoseconds)
  /// How long a server goes on for a client that has ended its direction: perhaps it still reads.
  static let patienceAfterClientEnded = second
  /// How long we read and drop what a client still sends after its last answer.
  static let lingering = 2 * second
  /// A client that moves less than this in a body's or an idle connection's time is too slow: single bytes put nothing off.
  static let leastProgress: Int32 = 1024
  /// More than this is hardly on its way at a time to a server that takes it at once.
  private static let largestFlight: Int32 = 256 * 1024

  /// Notes that the client has moved `count` bytes; puts its deadline off by `span` when they are enough, or when nothing
  /// is left to move.
  @inline(__always)  // once per read of a body
  mutating func noteProgress(_ index: Int32, _ client: Client, _ count: Int, isLast: Bool, span: Tick) {
    let progress = client.pointee.exchange.progress &+ Int32(truncatingIfNeeded: min(count, Int(Self.leastProgress)))
    if progress < Self.leastProgress && !isLast {
      client.pointee.exchange.progress = progress
      return
    }
    client.pointee.exchange.progress = 0
    timers.set(index, tick &+ span)
  }

  /// The whole request has been read, or its answer flows already: from here the server's time runs, unless we still have
  /// to send.
  @inline(__always)
  mutating func awaitAnswer(_ index: Int32, _ client: Client) {
    if client.pointee.phase != .waiting && !client.pointee.exchange.headIsSent { return }
    let time = snapshot.pools[Int(client.pointee.exchange.pool)].response
    // Who has ended its direction may have gone: another server gets no more time for it than the one before.
    let hasEnded =
      client.pointee.stream.peerClosed && client.pointee.phase == .waiting
      && client.pointee.exchange.notes.retryCount > 0 && !client.pointee.exchange.headIsSent
    timers.set(index, tick &+ (hasEnded ? min(time, Self.patienceAfterClientEnded) : time))
  }

  /// The body is read: the client's time runs, or the server's to say that the body is wanted.
  mutating func awaitBody(_ index: Int32, _ client: Client) {
    timers.set(index, tick &+ bodySpan(client))
  }

  /// Whether a server that closes now may do so because its client kept it waiting, for a second or more: for its body, or
  /// until it took what there was of the answer. Who fails by himself is hardly that late.
  func keptWaiting(_ index: Int32, _ client: Client, _ upstream: Upstream) -> Bool {
    let exchange = client.pointee.exchange
    if exchange.wasHeldUp || exchange.heldSince != 0 && tick >= exchange.heldSince &+ Self.second { return true }
    if client.pointee.phase != .body || serverOutputWaits(upstream) { return false }
    let deadline = timers.deadline(index)
    return deadline != TimerWheel.never && tick &+ bodySpan(client) >= deadline &+ Self.second
  }

  private func bodySpan(_ client: Client) -> Tick {
    client.pointee.exchange.awaitsContinue
      ? snapshot.pools[Int(client.pointee.exchange.pool)].response
      : snapshot.listeners[Int(client.pointee.listener)].clientBody
  }

  mutating func expireDeadlines() {
    while true {
      let timer = timers.nextExpired(tick)
      if timer < 0 { return }
      if Int(timer) < clients.capacity {
        clientIsLate(timer, clients[timer])
      } else {
        let index = timer - Int32(clients.capacity)
        if upstreams[index].pointee.phase == .idle { dropIdle(index, upstreams[index]) }
      }
    }
  }

  @inline(never)
  private mutating func clientIsLate(_ index: Int32, _ client: Client) {
    guard client.pointee.isOpen else { return }
    if client.pointee.waitingPlace != .nowhere {
      waitedTooLong(index, client)
      return
    }
    switch client.pointee.phase {
    case .head:
      if !client.pointee.stream.output.isEmpty {
        // The end of the last answer still waits for the client: without it, only a reset says the truth.
        if !clientTakes(index, client) { closeClient(index, client, abortively: true) }
      } else if client.pointee.headHasBegun {
        client.pointee.keepsAlive = false
        client.pointee.headHasBegun = false
        client.pointee.exchange = Exchange()
        noteCutOffHead(client)
        counters.listeners[Int(client.pointee.listener)].refused.increase()
        answer(index, client, status: 408, "the request's head did not come in time")
      } else {
        closeClient(index, client, abortively: false)
      }
    case .body, .waiting: exchangeIsLate(index, client)
    case .tunnel:
      let server = client.pointee.server
      if server >= 0 && upstreams[server].pointee.phase == .connecting {
        client.pointee.exchange.notes.ending = .connectLate
        tunnelConnectFailed(index, client, upstreams[server].pointee.server, .connect)
      } else {
        client.pointee.exchange.notes.ending = .tunnelIdle
        closeClient(index, client, abortively: true)
      }
    case .file: fileIsLate(index, client)
    case .closing: if !clientTakes(index, client) { closeClient(index, client, abortively: true) }
    case .lingering, .proxyHeader: closeClient(index, client, abortively: false)
    }
  }

  private mutating func exchangeIsLate(_ index: Int32, _ client: Client) {
    let server = client.pointee.server
    precondition(server >= 0, "a request is with a server until it is answered")
    let upstream = upstreams[server]
    if upstream.pointee.phase == .connecting {
      client.pointee.exchange.notes.ending = .connectLate
      serverFailed(server, upstream, .connect)
      return
    }
    if !client.pointee.stream.output.isEmpty {
      if clientTakes(index, client) { return }
      // The client does not read.
      client.pointee.exchange.notes.ending = .clientStalled
      closeClient(index, client, abortively: true)
      return
    }
    if upstream.pointee.phase == .answered {
      answeredIsLate(index, client, server, upstream)
      return
    }
    if client.pointee.phase == .waiting && client.pointee.stream.peerClosed && !client.pointee.exchange.headIsSent {
      closeClient(index, client, abortively: true)
      return
    }
    if client.pointee.phase == .body && !serverOutputWaits(upstream) {
      if client.pointee.exchange.awaitsContinue && !client.pointee.exchange.headIsSent {
        // Servers that know nothing of it wait for the body, as they may.
        answer(index, client, status: 504, "the server did not ask for the request's body in time")
        return
      }
      counters.listeners[Int(client.pointee.listener)].refused.increase()
      client.pointee.exchange.notes.ending = .bodyLate
      if client.pointee.exchange.headIsSent {
        closeClient(index, client, abortively: true)
      } else {
        answer(index, client, status: 408, "the request's body did not come in time")
      }
      return
    }
    let taken = upstream.pointee.stream.takeDelivered()
    if taken >= Self.leastProgress && (upstream.pointee.stream.undelivered > 0 || taken > Self.largestFlight) {
      // It takes the body, slowly. Of a small one, or the end of one, that says nothing: it was on its way.
      if client.pointee.phase == .body { awaitBody(index, client) } else { awaitAnswer(index, client) }
      return
    }
    serverFailed(server, upstream, .timedOut)
  }

  /// Whether a client that is late takes what it gets all the same, and has more time.
  mutating func clientTakes(_ index: Int32, _ client: Client) -> Bool {
    if client.pointee.stream.takeDelivered() < Self.leastProgress { return false }
    timers.set(index, tick &+ snapshot.listeners[Int(client.pointee.listener)].idle)
    return true
  }

  // MARK: Ending

  /// Takes what waits in the queues, closes the listening sockets, and lets what is connected finish.
  mutating func beginStop(_ deadline: Instant) {
    stopDeadline = min(deadline, stopDeadline ?? .distantFuture)
    for place in 0..<listening.count { stopListening(place) }
    for index in 0..<Int32(clients.highWater) {
      let client = clients[index]
      if client.pointee.isOpen && isIdle(client) { closeClient(index, client, abortively: false) }
    }
  }

  /// Between requests, with nothing on its way in either direction.
  func isIdle(_ client: Client) -> Bool {
    client.pointee.phase == .head && client.pointee.hasServed && !client.pointee.headHasBegun
      && client.pointee.stream.output.isEmpty && client.pointee.stream.input.isEmpty
      && !StreamSocket.hasInput(client.pointee.stream.descriptor)
  }

  /// Whether there is nothing left to wait for.
  mutating func isStopped() -> Bool {
    guard let stopDeadline else { return false }
    if now >= stopDeadline { abortClients() }
    return clients.usedCount == 0
  }

  /// What is not finished ends with a reset, never as if it were whole.
  @inline(never)
  private mutating func abortClients() {
    for index in 0..<Int32(clients.highWater) where clients[index].pointee.isOpen {
      let client = clients[index]
      let isWhole = client.pointee.phase == .lingering || isIdle(client)
      if client.pointee.exchange.notes.ending == .none { client.pointee.exchange.notes.ending = .stopped }
      closeClient(index, client, abortively: !isWhole)
    }
  }
}
