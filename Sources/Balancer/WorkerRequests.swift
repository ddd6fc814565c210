// Requests on their way from a client to a server.

internal import Balancing
internal import HTTP1
internal import Kernel
internal import Primitives

extension Worker {
  /// A request up to this length, head and body, is kept until its answer begins, so that it can be sent again.
  private static let heldByteCount = 16 * 1024
  private static let requestHeadReadByteCount = 16 * 1024

  var receiveStart: UnsafeMutablePointer<UInt8> { receiveArea + Self.headroom }

  /// Reads and takes as far as it goes: heads between requests, bodies while a server takes them.
  mutating func readClient(_ index: Int32, _ client: Client) {
    let generation = client.pointee.generation
    var turn = 0
    while client.pointee.generation == generation {
      switch client.pointee.phase {
      case .head:
        // Answers of ours that are not taken must not pile up.
        if !client.pointee.stream.output.isEmpty { return }
      case .body: if !serverTakesBody(client) { return }
      case .proxyHeader: break
      default: return
      }
      turn &+= client.pointee.phase == .body ? Self.bodyShare : 1
      if turn > Self.largestTurn {
        goOnLater(index, client)
        return
      }
      if isSpliced(client) {
        let step = spliceBody(index, client)
        if step == .goOn { continue }
        if step == .stop { return }
      }
      let isUntried = client.pointee.stream.inputIsUntried
      var count = client.pointee.stream.takeInput(receiveStart, &buffers)
      if isUntried {
        // What came behind the last request may be the whole next one.
      } else if client.pointee.stream.mayRead {
        // Between requests a small read: what comes after the head is copied aside until its turn.
        let room = client.pointee.phase != .body ? Self.requestHeadReadByteCount : room(for: client.pointee.stream)
        precondition(count &+ room <= receiveByteCount)
        switch client.pointee.stream.read(into: receiveStart + count, room: room) {
        case .bytes(let received): count &+= received
        case .blocked:
          client.pointee.stream.hold(receiveStart, count, &buffers)
          return
        case .ended:
          // For the log: it is all that there will be.
          client.pointee.stream.hold(receiveStart, count, &buffers)
          clientEndedWhileReading(index, client)
          return
        case .failed:
          client.pointee.stream.hold(receiveStart, count, &buffers)
          clientIsGone(index, client)
          return
        }
      } else if count == 0 {
        if client.pointee.stream.hasEnded { clientEndedWhileReading(index, client) }
        return
      }
      if client.pointee.phase == .head {
        if !takeHead(index, client, count) { return }
      } else if client.pointee.phase == .proxyHeader {
        if !takeProxyHeader(index, client, count) { return }
      } else {
        let goesOn = takeBody(index, client, receiveStart, count)
        if client.pointee.generation == generation { finishIfAnswered(client) }
        if !goesOn { return }
      }
    }
  }

  /// The client's end came where a head or a body was due.
  @inline(never)
  mutating func clientEndedWhileReading(_ index: Int32, _ client: Client) {
    if endedAnswered(client, .bodyCutOff) { return }
    // In the middle of a body the server must not take it for whole: its connection is closed with the client's.
    closeClient(index, client, abortively: client.pointee.phase == .body)
  }

  // MARK: Heads

  /// Takes a head from the receive area, of which `count` bytes have arrived. False when reading cannot go on now.
  private mutating func takeHead(_ index: Int32, _ client: Client, _ count: Int) -> Bool {
    let listener = snapshot.listeners.baseAddress! + Int(client.pointee.listener)
    var options = listener.pointee.requestOptions
    if client.pointee.isTrusted { options.insert(.trustedSource) }
    var head = RequestHead()
    switch head.parse(
      receiveStart, count: count, limits: listener.pointee.headLimits, options: options, scratch: headScratch)
    {
    case .complete: break
    case .incomplete where client.pointee.stream.hasEnded:
      client.pointee.headHasBegun = true
      client.pointee.stream.hold(receiveStart, count, &buffers)
      clientEndedWhileReading(index, client)
      return false
    case .incomplete:
      // The deadline of a head starts with its first byte (of the first head: with the connection), and is not put off by
      // the next ones.
      if !client.pointee.headHasBegun {
        client.pointee.headHasBegun = true
        client.pointee.headSince = now.nanoseconds
        if client.pointee.hasServed { timers.set(index, tick &+ listener.pointee.requestHead) }
      }
      client.pointee.stream.hold(receiveStart, count, &buffers)
      return client.pointee.stream.mayRead
    case .fault(let fault):
      client.pointee.keepsAlive = false
      client.pointee.headHasBegun = false
      client.pointee.exchange = Exchange()
      noteBadBeginning(client, receiveStart, count)
      client.pointee.exchange.notes.ending = .malformed
      counters.listeners[Int(client.pointee.listener)].refused.increase()
      answer(index, client, status: fault.status, fault.words)
      return false
    }
    client.pointee.headHasBegun = false
    client.pointee.hasServed = true
    return startExchange(index, client, head, options, count)
  }

  @inline(__always)  // once per request; apart from takeHead for its length
  private mutating func startExchange(
    _ index: Int32, _ client: Client, _ head: RequestHead, _ options: RequestOptions, _ count: Int
  ) -> Bool {
    let listener = snapshot.listeners.baseAddress! + Int(client.pointee.listener)
    counters.listeners[Int(client.pointee.listener)].requests.increase()
    client.pointee.exchange = Exchange()
    noteBeginning(client, head)
    client.pointee.exchange.method = head.method
    client.pointee.exchange.isOldVersion = head.isOldVersion
    client.pointee.exchange.wantsUpgrade = head.flags.contains(.upgrade)
    client.pointee.exchange.bodyFraming = head.framing
    client.pointee.exchange.bodyByteCount = head.framing.isCounted ? head.contentLength : 0
    client.pointee.exchange.awaitsContinue = head.flags.contains(.expectsContinue)
    client.pointee.keepsAlive = head.keepsAlive
    client.pointee.phase = head.framing.isNone ? .waiting : .body

    if head.framing.isCounted && head.contentLength > listener.pointee.maximumBodyByteCount {
      counters.listeners[Int(client.pointee.listener)].refused.increase()
      answer(index, client, status: 413, "the body is larger than this listener allows")
      return false
    }
    if head.maxForwards == 0 { return answerHere(index, client, head, count) }

    client.pointee.exchange.pool = listener.pointee.pool
    if listener.pointee.routes.count > 0 && answeredByRoute(index, client, head, count) { return true }
    var (server, cause) = choosePoolAndServer(client, head)
    while server < 0, cause.isNoneUp, standIn(client) { (server, cause) = choosePoolAndServer(client, head) }
    let pool = snapshot.pools.baseAddress! + Int(client.pointee.exchange.pool)
    let waits = server < 0 && cause.isFull && pool.pointee.terms.queueSize > 0
    if server < 0 && !waits {
      // The rest of what came belongs to this request or to the next one.
      holdRest(client, head, count)
      if !cause.isNoneUp || !sorry(index, client, head, of: receiveStart, route(of: client)?.pointee.rewrite) {
        noServer(index, client, cause)
      }
      return true
    }
    client.pointee.exchange.setsCookie = pool.pointee.cookieName != nil && !cause.isCookie

    prepareForwarding(index, client)
    var additions = RequestAdditions(forwarding: client.pointee.forwardingText, via: snapshot.via)
    var head = head
    if client.pointee.exchange.route >= 0 { applyRoute(client, &head, &additions) }
    if snapshot.logDetail == .fields { identify(client, &head, &additions) }
    if head.host.isEmpty {
      additions.defaultHost = snapshot.servers[Int(waits ? pool.pointee.servers[0] : server)].host
    }
    // Head and a small body in one buffer, sent at once, kept for a second try.
    let bound = head.writtenByteBound(additions)
    let arrived = count &- Int(head.byteCount)
    let beside = head.framing.isNone ? 0 : min(arrived &+ 64, Self.heldByteCount)
    var request = buffers.take(bound &+ beside)
    request.end = Int32(
      truncatingIfNeeded: head.write(
        from: receiveStart, scratch: headScratch, options: options, additions: additions, to: request.bytes,
        capacity: bound))
    client.pointee.exchange.request = request
    if snapshot.hasOwnHosts { client.pointee.exchange.host = HostField.range(in: request.bytes, count: request.count) }

    let body = receiveStart + Int(head.byteCount)
    var goesOn = true
    if head.framing.isNone {
      client.pointee.stream.holdNext(body, arrived, &buffers)
    } else if arrived > 0 {
      goesOn = takeBody(index, client, body, arrived)
      if !goesOn && client.pointee.phase != .body && client.pointee.phase != .waiting { return false }
    }
    if waits {
      if !enqueue(index, client, forCookieServer: cause == .cookieFull) { queueIsFull(index, client) }
      return client.pointee.phase == .head
    }
    return sendExchange(index, client, to: server, mayReuse: true) && goesOn
  }

  mutating func holdRest(_ client: Client, _ head: RequestHead, _ count: Int) {
    let arrived = count - Int(head.byteCount)
    client.pointee.stream.holdNext(receiveStart + Int(head.byteCount), arrived, &buffers)
  }

  /// OPTIONS or TRACE that may go no further.
  @inline(never)
  private mutating func answerHere(_ index: Int32, _ client: Client, _ head: RequestHead, _ count: Int) -> Bool {
    holdRest(client, head, count)
    if head.method != .options {
      answer(index, client, status: 501, "TRACE is not answered here")
      return true
    }
    let closes = !client.pointee.keepsAlive || !head.framing.isNone || mustClose(client)
    let written = LocalResponse.writeOptions(date: date.text(), closes: closes, to: scratch, capacity: scratchByteCount)
    finishAnswer(index, client, written, closes: closes)
    return true
  }

  @inline(__always)
  private mutating func prepareForwarding(_ index: Int32, _ client: Client) {
    if client.pointee.hasForwardingText { return }
    client.pointee.hasForwardingText = true
    client.pointee.forwardingText = ForwardingText(
      address: client.pointee.address, isSecure: client.pointee.isSecure,
      storage: forwardingTexts + Int(index) * ForwardingText.byteCapacity)
  }

  // MARK: Bodies

  /// Whether more of the body can be passed on: what went before has been taken by the kernel.
  private func serverTakesBody(_ client: Client) -> Bool {
    let server = client.pointee.server
    if server < 0 { return false }
    let upstream = upstreams[server]
    return upstream.pointee.phase != .connecting && !serverOutputWaits(upstream)
  }

  /// Request bytes that the server's kernel has not taken.
  @inline(__always)
  func serverOutputWaits(_ upstream: Upstream) -> Bool {
    if !upstream.pointee.stream.output.isEmpty { return true }
    let client = upstream.pointee.client
    if client < 0 { return false }
    let exchange = clients[client]
    return Int(exchange.pointee.exchange.requestSentCount) < exchange.pointee.exchange.request.count
  }

  /// Takes `count` bytes of a body at `bytes`; what belongs to the next request is kept. False when reading cannot go on
  /// now.
  mutating func takeBody(_ index: Int32, _ client: Client, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) -> Bool {
    let listener = snapshot.listeners.baseAddress! + Int(client.pointee.listener)
    if client.pointee.exchange.awaitsContinue {
      client.pointee.exchange.awaitsContinue = false
      // It did not wait to be told.
      let server = client.pointee.server
      if server >= 0 && upstreams[server].pointee.phase != .connecting { awaitBody(index, client) }
    }
    if client.pointee.exchange.bodyFraming.isCounted {
      let here = Int(min(Int64(count), client.pointee.exchange.bodyByteCount))
      client.pointee.exchange.bodyByteCount &-= Int64(here)
      client.pointee.exchange.notes.bytesIn &+= Int64(here)
      if client.pointee.exchange.bodyByteCount == 0 { client.pointee.phase = .waiting }
      noteProgress(
        index, client, here, isLast: client.pointee.phase == .waiting, span: listener.pointee.clientBody)
      client.pointee.stream.holdNext(bytes + here, count &- here, &buffers)
      return passBody(index, client, bytes, here)
    }
    let step = client.pointee.exchange.chunkedBody.read(bytes, count: count, output: .chunked, scratch: scratch)
    if case .fault(let fault) = step.status {
      badBody(index, client, status: 400, fault.words)
      return false
    }
    client.pointee.exchange.bodyByteCount &+= Int64(step.payloadCount)
    client.pointee.exchange.notes.bytesIn &+= Int64(step.consumed)
    if client.pointee.exchange.bodyByteCount > listener.pointee.maximumBodyByteCount {
      badBody(index, client, status: 413, "the body is larger than this listener allows")
      return false
    }
    if step.status.isEnd { client.pointee.phase = .waiting }
    noteProgress(index, client, step.consumed, isLast: step.status.isEnd, span: listener.pointee.clientBody)
    let rest = count &- step.consumed
    if step.status.isEnd {
      client.pointee.stream.holdNext(bytes + step.consumed, rest, &buffers)
    } else {
      client.pointee.stream.hold(bytes + step.consumed, rest, &buffers)
    }
    if step.status.isMore && client.pointee.stream.hasEnded && step.consumed < count {
      clientEndedWhileReading(index, client)
      return false
    }
    // An unfinished size line is kept until more has come.
    let canGoOn = step.status.isEnd || step.consumed == count || client.pointee.stream.mayRead
    let passed =
      step.writtenCount > 0
      ? passBody(index, client, scratch, step.writtenCount)
      : passBody(index, client, bytes + step.forward.offset, step.forward.count)
    return passed && canGoOn
  }

  /// Body bytes go beside the head if that has not been sent and there is room, else to the server.
  private mutating func passBody(
    _ index: Int32, _ client: Client, _ bytes: UnsafePointer<UInt8>, _ count: Int
  ) -> Bool {
    if count == 0 || client.pointee.exchange.bodyIsDropped {
      // What is dropped here is in no buffer: the request must not be sent again as if it were whole.
      if count > 0 { client.pointee.exchange.isPastHolding = true }
      if client.pointee.phase == .waiting { awaitAnswer(index, client) }
      return true
    }
    let server = client.pointee.server
    let isHolding = !client.pointee.exchange.isPastHolding && !client.pointee.exchange.answerHasBegun
    if isHolding && client.pointee.exchange.request.count &+ count <= Self.heldByteCount {
      buffers.append(bytes, count, to: &client.pointee.exchange.request)
      return server < 0 ? true : sendRequest(index, client, upstreams[server])
    }
    client.pointee.exchange.isPastHolding = true
    if server < 0 {
      // The head is about to be sent: keep this little behind it.
      buffers.append(bytes, count, to: &client.pointee.exchange.request)
      return true
    }
    let upstream = upstreams[server]
    if upstream.pointee.phase == .connecting
      || Int(client.pointee.exchange.requestSentCount) < client.pointee.exchange.request.count
    {
      buffers.append(bytes, count, to: &client.pointee.exchange.request)
      return true
    }
    if !upstream.pointee.stream.write(bytes, count, &buffers) { return serverRefusesBody(index, client, server) }
    client.pointee.stream.growWindow(readCount: count, largest: Self.largestWindow)
    if client.pointee.phase == .waiting {
      upstream.pointee.stream.noteUndelivered()
      awaitAnswer(index, client)
    }
    return true
  }

  @inline(never)
  private mutating func badBody(_ index: Int32, _ client: Client, status: Int, _ reason: StaticString) {
    counters.listeners[Int(client.pointee.listener)].refused.increase()
    let ending = status == 413 ? Ending.tooLarge : .malformed
    if endedAnswered(client, ending) { return }
    client.pointee.exchange.notes.ending = ending
    if client.pointee.exchange.headIsSent {
      closeClient(index, client, abortively: true)
    } else {
      client.pointee.keepsAlive = false
      answer(index, client, status: status, reason)
    }
  }

  // MARK: Sending

  /// Gives the prepared request to `server`. False when reading from the client cannot go on now.
  mutating func sendExchange(_ index: Int32, _ client: Client, to server: Int32, mayReuse: Bool) -> Bool {
    // What must not be sent twice is not risked on a connection that the server has closed meanwhile, or is about to.
    let reuse: Reuse = !mayReuse ? .none : client.pointee.exchange.method.isIdempotent ? .any : .fresh
    if snapshot.hasOwnHosts { writeHost(client, of: server) }
    let found = connect(index, client, to: server, reuse: reuse)
    if found == Self.isFull {
      let isForCookie = client.pointee.exchange.cookieServer == server
      if !enqueue(index, client, forCookieServer: isForCookie) { queueIsFull(index, client) }
      return client.pointee.phase == .head
    }
    if found < 0 {
      connectFailedAtOnce(index, client, server, found)
      return client.pointee.phase == .head
    }
    client.pointee.exchange.requestSentCount = 0
    counters.servers[Int(server)].requests.increase()
    let upstream = upstreams[found]
    upstream.pointee.stream.undelivered = 0
    if upstream.pointee.phase == .connecting {
      timers.set(index, tick &+ snapshot.pools[Int(snapshot.servers[Int(server)].pool)].connect)
      return false
    }
    // On an open connection no deadline was set yet: the client's time for its body begins.
    if client.pointee.phase == .body { awaitBody(index, client) }
    return sendRequest(index, client, upstream)
  }

  /// The request will not be sent again.
  @inline(__always)
  mutating func dropRequest(_ client: Client) {
    client.pointee.exchange.requestSentCount = 0
    buffers.give(&client.pointee.exchange.request)
    if client.pointee.exchange.originalHost.hasBlock { buffers.give(&client.pointee.exchange.originalHost) }
  }

  /// Sends what is left of the held request. False when reading from the client cannot go on now.
  @inline(__always)
  mutating func sendRequest(_ index: Int32, _ client: Client, _ upstream: Upstream) -> Bool {
    if upstream.pointee.phase == .connecting { return true }
    let sent = Int(client.pointee.exchange.requestSentCount)
    let request = client.pointee.exchange.request
    let count = request.count &- sent
    if count == 0 { return true }
    let taken = StreamSocket.send(upstream.pointee.stream.descriptor, request.bytes + sent, count)
    if upstream.pointee.stream.isBroken(taken) {
      return serverRefusesBody(index, client, client.pointee.server)
    }
    if taken > 0 { client.pointee.exchange.requestSentCount &+= Int32(truncatingIfNeeded: taken) }
    if taken < count || sent > 0 { upstream.pointee.stream.noteUndelivered() }
    if client.pointee.phase == .waiting {
      awaitAnswer(index, client)
      return false
    }
    return taken == count
  }

  /// The server's socket can be written again, or has just been connected.
  @inline(never)
  mutating func serverTakesMore(_ index: Int32, _ upstream: Upstream) {
    let place = upstream.pointee.client
    let client = clients[place]
    let generation = upstream.pointee.generation
    _ = sendRequest(place, client, upstream)
    if upstream.pointee.generation != generation { return }
    if !upstream.pointee.stream.output.isEmpty {
      if !upstream.pointee.stream.flush(&buffers) {
        _ = serverRefusesBody(place, client, index)
        return
      }
      if upstream.pointee.phase == .answered {
        restOfRequestIsDue(place, client)
      } else if client.pointee.phase == .body {
        awaitBody(place, client)
      } else {
        awaitAnswer(place, client)
      }
    }
    if client.pointee.phase == .body && !serverOutputWaits(upstream) {
      readClient(place, client)
    } else {
      finishIfAnswered(client)
    }
  }
}
