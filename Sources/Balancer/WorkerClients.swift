// Clients' connections: accepted, woken by events, closed.

internal import HTTP1
internal import Kernel
internal import Primitives
internal import ProxyProtocol
internal import Synchronization

typealias Client = UnsafeMutablePointer<ClientConnection>

extension Worker {
  /// Connections taken from one listener before others get their turn.
  private static let largestAcceptBurst = 64
  /// Connections taken from one listener when its queue has to be empty afterwards: a usual `somaxconn`.
  static let largestQueue = 4096
  /// What a client may still send after the last answer before we close regardless.
  static let largestLinger: Int32 = 1024 * 1024

  // MARK: Accepting

  mutating func acceptClients(_ place: Int) { _ = acceptClients(place, atMost: Self.largestAcceptBurst) }

  /// Whether the queue is empty now.
  mutating func acceptClients(_ place: Int, atMost limit: Int) -> Bool {
    var count = 0
    while true {
      if listening[place].raw < 0 { return true }
      if count == limit { return false }
      count &+= 1
      var peer = SocketAddress()
      let raw = StreamSocket.accept(listening[place].raw, &peer)
      if raw < 0 {
        // Out of descriptors: the connection stays in the queue; idle ones are given up so that it has a chance.
        if StreamSocket.isOutOfDescriptors(raw) { giveUpIdle() }
        return Int(raw) == StreamSocket.wouldBlock
      }
      admit(raw, peer, listening[place])
    }
  }

  private mutating func admit(_ raw: Int32, _ peer: SocketAddress, _ place: ListeningPlace) {
    let listener = place.use.listener
    let record = snapshot.listeners[Int(listener)]
    counters.listeners[Int(listener)].accepted.increase()
    let open = shared.listenerConnections[Int(listener)].wrappingAdd(1, ordering: .relaxed).newValue
    let address = peer.address
    // Behind a proxy everybody comes from one address until its header has been read.
    let limit = place.use.startsWithProxyHeader ? 0 : record.maximumConnectionsPerSource
    var refusal: StaticString?
    if open > record.maximumConnections {
      refusal = "this listener has reached its limit of connections"
    } else if limit > 0 && !shared.sources.admit(address, listener: listener, limit: limit) {
      refusal = "your address has reached its limit of connections"
    }
    let index = refusal == nil ? clients.take() : -1
    if index < 0 {
      if refusal == nil && limit > 0 { shared.sources.release(address, listener: listener) }
      refuse(raw, peer, listener, record.isHTTP, refusal ?? "this node has reached its limit of connections")
      return
    }
    let client = clients[index]
    client.pointee.isOpen = true
    client.pointee.listener = listener
    client.pointee.address = address
    client.pointee.port = peer.port
    client.pointee.isCountedBySource = limit > 0
    client.pointee.stream.descriptor = raw
    client.pointee.stream.mayRead = true
    client.pointee.idleSince = tick
    if !handover.addresses.isEmpty { noteLeaving(client) }
    if place.use.startsWithProxyHeader {
      client.pointee.phase = .proxyHeader
    } else {
      noteTrust(client)
    }
    if !record.isHTTP && !place.use.startsWithProxyHeader {
      openTunnel(index, client)
      return
    }
    timers.set(index, tick &+ record.requestHead)
    // TCP_DEFER_ACCEPT: the request is there already.
    readClient(index, client)
    guard client.pointee.isOpen && client.pointee.stream.descriptor == raw else { return }
    if client.pointee.phase == .waiting && client.pointee.stream.output.isEmpty {
      // The answer is the next thing to happen, and often the last.
      unwatched.append(EventToken(.client, index: index, generation: client.pointee.generation))
    } else {
      watch(index, client)
    }
  }

  @inline(__always)  // once per connection
  private func noteTrust(_ client: Client) {
    for prefix in snapshot.listeners[Int(client.pointee.listener)].trusted
    where prefix.contains(client.pointee.address) {
      client.pointee.isTrusted = true
    }
  }

  /// Takes a PROXY header from the receive area, of which `count` bytes have arrived. False when reading cannot go on now.
  @inline(never)
  mutating func takeProxyHeader(_ index: Int32, _ client: Client, _ count: Int) -> Bool {
    switch ProxyHeader.parse(receiveStart, count: count) {
    case .incomplete:
      if client.pointee.stream.hasEnded {
        closeClient(index, client, abortively: false)
        return false
      }
      client.pointee.stream.hold(receiveStart, count, &buffers)
      return client.pointee.stream.mayRead
    case .fault:
      // Whoever sent this is no proxy, or one gone wrong: an answer would not be understood.
      dropRefused(index, client, .malformed)
      return false
    case .complete(let header):
      if let source = header.source {
        client.pointee.address = source.address
        client.pointee.port = source.port
      }
      if let destination = header.destination { proxiedTo[index] = destination }
      client.pointee.isSecure = header.isSecure
      client.pointee.stream.holdNext(receiveStart + header.byteCount, count - header.byteCount, &buffers)
      client.pointee.phase = .head
      return welcome(index, client)
    }
  }

  /// A client of a proxy is known: from here on it is one like others. False when reading cannot go on now.
  private mutating func welcome(_ index: Int32, _ client: Client) -> Bool {
    let listener = client.pointee.listener
    let record = snapshot.listeners.baseAddress! + Int(listener)
    noteTrust(client)
    let limit = record.pointee.maximumConnectionsPerSource
    if limit > 0 {
      if !shared.sources.admit(client.pointee.address, listener: listener, limit: limit) {
        client.pointee.keepsAlive = false
        if record.pointee.isHTTP {
          counters.listeners[Int(listener)].refused.increase()
          client.pointee.exchange.notes.ending = .connectionLimit
          let held = client.pointee.stream.input
          if !held.isEmpty && RequestMethod.isHead(held.bytes, count: held.count) {
            client.pointee.exchange.method = .head
          }
          answer(index, client, status: 503, "your address has reached its limit of connections", retryAfterSeconds: 1)
        } else {
          dropRefused(index, client, .connectionLimit)
        }
        return false
      }
      client.pointee.isCountedBySource = true
    }
    if record.pointee.isHTTP { return client.pointee.stream.hasMore }
    openTunnel(index, client)
    return false
  }

  /// Closes a connection on which nobody would understand an answer.
  private mutating func dropRefused(_ index: Int32, _ client: Client, _ ending: Ending) {
    let listener = client.pointee.listener
    counters.listeners[Int(listener)].refused.increase()
    noteRefusal(
      listener, client.pointee.address, client.pointee.port, ending, isHTTP: false, requestID: random.next(),
      bytesOut: 0)
    closeClient(index, client, abortively: true)
  }

  private mutating func refuse(
    _ raw: Int32, _ peer: SocketAddress, _ listener: Int32, _ isHTTP: Bool, _ reason: StaticString
  ) {
    counters.listeners[Int(listener)].refused.increase()
    shared.listenerConnections[Int(listener)].wrappingSubtract(1, ordering: .relaxed)
    let requestID = random.next()
    var count = 0
    if isHTTP {
      // Take the request that is there, so that closing does not destroy the answer; then one try to send.
      let received = StreamSocket.receive(raw, receiveArea, Self.headReadByteCount)
      count = LocalResponse.write(
        status: 503, reason: reason, date: date.text(), requestID: requestID, closes: true,
        withoutBody: RequestMethod.isHead(receiveArea, count: received), retryAfterSeconds: 1, to: scratch,
        capacity: scratchByteCount)
      _ = StreamSocket.send(raw, scratch, count)
    }
    noteRefusal(
      listener, peer.address, peer.port, .connectionLimit, isHTTP: isHTTP, requestID: requestID, bytesOut: count)
    StreamSocket.close(raw)
  }

  /// Registers the descriptor, once, for everything.
  mutating func watch(_ index: Int32, _ client: Client) {
    if client.pointee.stream.isRegistered { return }
    let token = EventToken(.client, index: index, generation: client.pointee.generation)
    do {
      try poller.add(
        client.pointee.stream.descriptor, .allEdges, token: token.rawValue)
      client.pointee.stream.isRegistered = true
    } catch {
      closeClient(index, client, abortively: true)
    }
  }

  /// Registers the clients whose answers have taken one to two ticks: from here on their going away is noticed.
  @inline(never)
  mutating func watchLate() {
    if tick == lastLateWatch { return }
    lastLateWatch = tick
    swap(&unwatched, &unwatchedBefore)
    for token in unwatched {
      let client = clients[token.index]
      if token.isFor(client.pointee.generation) && client.pointee.isOpen { watch(token.index, client) }
    }
    unwatched.removeAll(keepingCapacity: true)
  }

  // MARK: Events

  @inline(__always)  // once per event
  mutating func clientIsReady(_ index: Int32, _ client: Client, _ readiness: Readiness) {
    if readiness.isOver {
      // Where we have ended our direction, a hang-up may be the regular end with bytes before it.
      if !client.pointee.stream.hasShutDown {
        clientIsGone(index, client)
        return
      }
      client.pointee.stream.peerClosed = true
      client.pointee.stream.mayRead = true
    }
    if readiness.hasPeerClosed { client.pointee.stream.peerClosed = true }
    if readiness.isReadable { client.pointee.stream.mayRead = true }
    let generation = client.pointee.generation
    if readiness.isWritable && !client.pointee.stream.output.isEmpty {
      clientTakesMore(index, client)
      if client.pointee.generation != generation { return }
    } else if client.pointee.phase == .file {
      // What the client sends meanwhile must not hurry the disk.
      if !client.pointee.file.waitsForDisk { sendFile(index, client) }
      return
    }
    if !client.pointee.stream.mayRead { return }
    switch client.pointee.phase {
    case .head, .proxyHeader: readClient(index, client)
    case .body:
      if client.pointee.stream.peerClosed && client.pointee.waitingPlace != .nowhere {
        closeClient(index, client, abortively: false)
      } else {
        readClient(index, client)
      }
    case .waiting: if client.pointee.stream.peerClosed { clientHasEnded(client, index) }
    case .tunnel:
      if client.pointee.stream.peerClosed && client.pointee.waitingPlace != .nowhere {
        client.pointee.exchange.notes.ending = .leftQueue
        closeClient(index, client, abortively: false)
      } else {
        relay(index, client)
      }
    case .closing, .file: break
    case .lingering: linger(index, client)
    }
  }

  mutating func goOnLater(_ index: Int32, _ client: Client) {
    if client.pointee.stream.isDeferred { return }
    client.pointee.stream.isDeferred = true
    deferUntilAfterBatch(EventToken(.client, index: index, generation: client.pointee.generation))
  }

  /// Output that had to wait may go on.
  @inline(never)
  private mutating func clientTakesMore(_ index: Int32, _ client: Client) {
    let before = client.pointee.stream.output.count
    if !client.pointee.stream.flush(&buffers) {
      clientIsGone(index, client)
      return
    }
    let taken = before - client.pointee.stream.output.count
    if taken > 0 && client.pointee.phase != .tunnel {
      noteProgress(
        index, client, taken, isLast: client.pointee.stream.output.isEmpty,
        span: snapshot.listeners[Int(client.pointee.listener)].idle)
    }
    if !client.pointee.stream.output.isEmpty { return }
    switch client.pointee.phase {
    case .tunnel: relay(index, client)
    case .closing: finishClosing(index, client)
    case .file: sendFile(index, client)
    case .lingering, .proxyHeader: break
    case .head:
      let stream = client.pointee.stream
      if stopDeadline != nil && stream.input.isEmpty && !StreamSocket.hasInput(stream.descriptor) {
        // A stop has come while the last answer waited, and no request has come after it.
        finishClosing(index, client)
      } else {
        readClient(index, client)
      }
    case .body, .waiting:
      let server = client.pointee.server
      if server < 0 { return }
      let heldSince = client.pointee.exchange.heldSince
      if heldSince != 0 && tick >= heldSince &+ Self.second { client.pointee.exchange.wasHeldUp = true }
      client.pointee.exchange.heldSince = 0
      if upstreams[server].pointee.phase == .answered {
        restOfRequestIsDue(index, client)
        return
      }
      awaitAnswer(index, client)
      if upstreams[server].pointee.stream.hasMore { readServer(server, upstreams[server]) }
    }
  }

  /// The connection was reset, or both directions are over.
  @inline(never)
  mutating func clientIsGone(_ index: Int32, _ client: Client) { closeClient(index, client, abortively: true) }

  /// The client has ended its direction while its request is with a server. It may still read the answer, or have gone for
  /// good: the kernel cannot tell before we write. So the server gets a moment longer, not its full time.
  @inline(never)
  private mutating func clientHasEnded(_ client: Client, _ index: Int32) {
    if client.pointee.exchange.headIsSent { return }
    if client.pointee.waitingPlace != .nowhere {
      // Servers are scarce: nobody is kept in the queue who has probably gone.
      client.pointee.keepsAlive = false
      client.pointee.exchange.notes.ending = .leftQueue
      answer(index, client, status: 503, "the client ended its direction while it waited for a server")
      return
    }
    let deadline = tick &+ Self.patienceAfterClientEnded
    if deadline < timers.deadline(index) { timers.set(index, deadline) }
  }

  // MARK: Closing

  /// After the last answer: at once if nothing waits to be sent or read.
  mutating func finishClosing(_ index: Int32, _ client: Client) {
    if !client.pointee.stream.output.isEmpty {
      client.pointee.phase = .closing
      timers.set(index, tick &+ snapshot.listeners[Int(client.pointee.listener)].idle)
      watch(index, client)
      return
    }
    if client.pointee.stream.peerClosed && !client.pointee.stream.mayRead {
      closeClient(index, client, abortively: false)
      return
    }
    let bodyIsOutstanding = client.pointee.phase == .body || !client.pointee.stream.input.isEmpty
    if !bodyIsOutstanding && !client.pointee.stream.mayRead && client.pointee.phase != .closing {
      closeClient(index, client, abortively: false)
      return
    }
    beginLinger(index, client)
  }

  /// Closing with bytes unread would reset the connection, and the reset can destroy the answer on its way: end our
  /// direction, read and drop the rest for a while.
  mutating func beginLinger(_ index: Int32, _ client: Client) {
    buffers.give(&client.pointee.stream.input)
    client.pointee.phase = .lingering
    client.pointee.stream.shutDown()
    timers.set(index, tick &+ Self.lingering)
    watch(index, client)
    if client.pointee.isOpen && client.pointee.phase == .lingering { linger(index, client) }
  }

  @inline(never)
  private mutating func linger(_ index: Int32, _ client: Client) {
    while client.pointee.stream.mayRead {
      switch client.pointee.stream.read(into: receiveArea, room: Self.headReadByteCount) {
      case .bytes(let count):
        client.pointee.droppedByteCount &+= Int32(truncatingIfNeeded: count)
        if client.pointee.droppedByteCount > Self.largestLinger {
          closeClient(index, client, abortively: false)
          return
        }
      case .blocked: return
      case .ended, .failed:
        closeClient(index, client, abortively: false)
        return
      }
    }
  }

  /// Gives back all that a client's connection holds; its server connection, if any, is closed.
  mutating func closeClient(_ index: Int32, _ client: Client, abortively: Bool) {
    if client.pointee.exchange.notes.isUnderWay || client.pointee.headHasBegun { noteClosing(client) }
    leaveQueue(client)
    let server = client.pointee.server
    if server >= 0 { releaseServer(server, upstreams[server], reuse: false, abortively: abortively) }
    dropRequest(client)
    closeFile(client)
    client.pointee.stream.close(&buffers, abortively: abortively)
    timers.cancel(index)
    let listener = client.pointee.listener
    shared.listenerConnections[Int(listener)].wrappingSubtract(1, ordering: .relaxed)
    if client.pointee.isCountedBySource { shared.sources.release(client.pointee.address, listener: listener) }
    if client.pointee.isLeaving { stopWaitingForLeaving(client) }
    if !proxiedTo.isEmpty { proxiedTo[index] = nil }
    clients.give(index)
  }

  /// Closes idle keep-alive connections, longest idle first in rough order, to get descriptors back.
  @inline(never)
  private mutating func giveUpIdle() {
    var left = 32
    for index in 0..<Int32(clients.highWater) where left > 0 {
      let client = clients[index]
      guard client.pointee.isOpen, client.pointee.phase == .head, client.pointee.hasServed,
        client.pointee.stream.input.isEmpty, client.pointee.stream.output.isEmpty, tick &- client.pointee.idleSince > 16
      else { continue }
      closeClient(index, client, abortively: false)
      left -= 1
    }
    closeAllIdleServers()
  }
}
