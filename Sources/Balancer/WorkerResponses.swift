// Answers on their way from a server to a client.

internal import Balancing
internal import HTTP1
internal import Kernel
internal import Primitives

extension Worker {
  /// Interim answers to one request; more is a server gone wrong.
  private static let maximumInterimCount: UInt8 = 32

  /// Reads and passes on as far as it goes, and as the client takes it.
  mutating func readServer(_ index: Int32, _ upstream: Upstream) {
    if upstream.pointee.phase == .answered {
      answeredServerSpoke(index, upstream)
      return
    }
    let generation = upstream.pointee.generation
    var turn = 0
    while upstream.pointee.stream.hasMore {
      let place = upstream.pointee.client
      let client = clients[place]
      // A slow reader stops a fast writer.
      if !client.pointee.stream.output.isEmpty {
        if client.pointee.exchange.heldSince == 0 { client.pointee.exchange.heldSince = max(1, tick) }
        return
      }
      turn &+= upstream.pointee.phase == .body ? Self.bodyShare : 1
      if turn > Self.largestTurn {
        goOnLater(index, upstream)
        return
      }
      if upstream.pointee.phase == .body && isSpliced(upstream) && spliceAnswerBody(index, upstream, place, client) {
        if upstream.pointee.generation != generation || upstream.pointee.phase != .body { return }
        continue
      }
      let isUntried = upstream.pointee.stream.inputIsUntried
      var count = upstream.pointee.stream.takeInput(receiveStart, &buffers)
      // What came behind an interim answer may be the whole final one.
      if !isUntried {
        let isHead = upstream.pointee.phase == .head
        let room = room(upTo: isHead ? Self.headReadByteCount : Int(upstream.pointee.stream.window))
        precondition(count &+ room <= receiveByteCount)
        switch upstream.pointee.stream.read(into: receiveStart + count, room: room) {
        case .bytes(let received): count &+= received
        case .blocked:
          upstream.pointee.stream.hold(receiveStart, count, &buffers)
          return
        case .ended:
          serverEnded(index, upstream)
          return
        case .failed:
          serverFailed(index, upstream, .closed)
          return
        }
      }
      client.pointee.exchange.answerHasBegun = true
      if upstream.pointee.phase == .head {
        takeAnswerHead(index, upstream, place, client, count)
      } else {
        passAnswerBody(index, upstream, place, client, receiveStart, count, headByteCount: 0)
      }
      if upstream.pointee.generation != generation { return }
      switch upstream.pointee.phase {
      case .head, .body: continue
      case .tunnel:
        relay(place, client)
        return
      default: return
      }
    }
  }

  private mutating func goOnLater(_ index: Int32, _ upstream: Upstream) {
    if upstream.pointee.stream.isDeferred { return }
    upstream.pointee.stream.isDeferred = true
    deferUntilAfterBatch(EventToken(.server, index: index, generation: upstream.pointee.generation))
  }

  // MARK: Heads

  @inline(__always)  // once per answer
  private mutating func takeAnswerHead(
    _ index: Int32, _ upstream: Upstream, _ place: Int32, _ client: Client, _ count: Int
  ) {
    var head = ResponseHead()
    let isHead = client.pointee.exchange.method.isHead
    switch head.parse(
      receiveStart, count: count, isHeadRequest: isHead, limits: Self.serverHeadLimits, scratch: headScratch)
    {
    case .complete: break
    case .incomplete:
      upstream.pointee.stream.hold(receiveStart, count, &buffers)
      return
    case .fault:
      serverFailed(index, upstream, .malformed)
      return
    }
    if head.status < 200 {
      takeInterim(index, upstream, place, client, head, count)
      return
    }
    if head.status >= 502 && head.status <= 504 { tellFailure(of: upstream.pointee.server, .unavailable) }
    let terms = snapshot.pools.baseAddress! + Int(client.pointee.exchange.pool)
    if terms.pointee.terms.retries(status: Int32(head.status)), repeatedAfterStatus(index, upstream, place, client) {
      return
    }
    client.pointee.exchange.notes.status = UInt16(truncatingIfNeeded: head.status)
    client.pointee.exchange.notes.isServerStatus = true
    client.pointee.exchange.notes.firstByteAt = now.nanoseconds
    upstream.pointee.keepsAlive = head.keepsAlive
    upstream.pointee.bodyFraming = head.framing
    upstream.pointee.isEarly = client.pointee.phase == .body || serverOutputWaits(upstream)
    // Who waited to be told to go on is not to send its body after that, or sends it to nobody.
    if client.pointee.exchange.awaitsContinue && client.pointee.phase == .body {
      client.pointee.exchange.bodyIsDropped = true
    }
    if mustClose(client) || serverWantsClose(upstream) || client.pointee.phase == .body && !wantsRest(upstream, client)
    {
      client.pointee.keepsAlive = false
    }
    var additions = ResponseAdditions()
    let isOld = client.pointee.exchange.isOldVersion
    switch head.framing {
    case .none, .counted: upstream.pointee.outgoing = .asReceived
    case .chunked, .untilClose:
      upstream.pointee.outgoing = isOld ? .untilClose : .chunked
      if isOld { client.pointee.keepsAlive = false }
    }
    additions.framing = upstream.pointee.outgoing
    additions.connection = client.pointee.keepsAlive ? (isOld ? .keepAlive : .implied) : .close
    additions.via = snapshot.via
    let server = Int(upstream.pointee.server)
    if client.pointee.exchange.setsCookie { additions.cookie = snapshot.servers[server].setCookie }
    if snapshot.listeners[Int(client.pointee.listener)].servedBy >= 0 { nameServer(server, client, &head, &additions) }
    if client.pointee.exchange.route >= 0 { applyRoute(client, &head, &additions) }
    if !head.flags.contains(.hasDate) {
      additions.date = date.text()
    }
    let written = head.write(
      from: receiveStart, scratch: headScratch, additions: additions, to: scratch, capacity: scratchByteCount)
    client.pointee.exchange.headIsSent = true
    client.pointee.exchange.notes.headOut &+= UInt32(truncatingIfNeeded: written)
    if Int(client.pointee.exchange.requestSentCount) == client.pointee.exchange.request.count {
      dropRequest(client)
    }
    upstream.pointee.phase = .body
    upstream.pointee.bodyRemaining = max(0, head.contentLength)
    upstream.pointee.chunkedBody = ChunkedBody()
    if client.pointee.exchange.route >= 0, let route = route(of: client) {
      upstream.pointee.chunkedBody.dropsTrailers = !route.pointee.response.cut.isEmpty
    }
    let size = Int(head.byteCount)
    passAnswerBody(index, upstream, place, client, receiveStart + size, count &- size, headByteCount: written)
  }

  /// 1xx: passed on to clients of HTTP/1.1; 101 makes a tunnel if the client asked for one.
  @inline(never)
  private mutating func takeInterim(
    _ index: Int32, _ upstream: Upstream, _ place: Int32, _ client: Client, _ head: ResponseHead, _ count: Int
  ) {
    let size = Int(head.byteCount)
    var head = head
    var additions = ResponseAdditions()
    if head.status == 101 {
      guard head.flags.contains(.upgrade), client.pointee.exchange.wantsUpgrade, client.pointee.phase == .waiting else {
        serverFailed(index, upstream, .malformed)
        return
      }
      additions.connection = .upgrade
      additions.via = snapshot.via
      let server = Int(upstream.pointee.server)
      if client.pointee.exchange.setsCookie { additions.cookie = snapshot.servers[server].setCookie }
      if snapshot.listeners[Int(client.pointee.listener)].servedBy >= 0 {
        nameServer(server, client, &head, &additions)
      }
    } else {
      client.pointee.exchange.interimCount &+= 1
      if client.pointee.exchange.interimCount > Self.maximumInterimCount {
        serverFailed(index, upstream, .malformed)
        return
      }
      hideName(client, &head)
    }
    upstream.pointee.stream.holdNext(receiveStart + size, count - size, &buffers)
    if head.status == 101 || !client.pointee.exchange.isOldVersion {
      let written = head.write(
        from: receiveStart, scratch: headScratch, additions: additions, to: scratch, capacity: scratchByteCount)
      client.pointee.exchange.notes.bytesOut &+= Int64(written)
      client.pointee.exchange.notes.headOut &+= UInt32(truncatingIfNeeded: written)
      if !client.pointee.stream.write(scratch, written, &buffers) {
        clientIsGone(place, client)
        return
      }
    }
    if head.status == 101 {
      client.pointee.exchange.notes.status = 101
      client.pointee.exchange.notes.isServerStatus = true
      client.pointee.exchange.notes.firstByteAt = now.nanoseconds
      dropRequest(client)
      stopWaitingForLeaving(client)
      client.pointee.phase = .tunnel
      upstream.pointee.phase = .tunnel
      client.pointee.stream.mayRead = true
      watch(place, client)
    } else if client.pointee.phase == .waiting {
      awaitAnswer(place, client)
    } else if head.status == 100 && client.pointee.exchange.awaitsContinue {
      client.pointee.exchange.awaitsContinue = false
      awaitBody(place, client)
    }
  }

  /// Whether a client's connection has to end with this answer whatever it asked for.
  @inline(__always)
  func mustClose(_ client: Client) -> Bool {
    client.pointee.isLeaving || stopDeadline != nil || snapshot.listeners[Int(client.pointee.listener)].isRetired
  }

  /// A draining server's clients that are kept by their connection are let go gently.
  @inline(__always)
  private func serverWantsClose(_ upstream: Upstream) -> Bool {
    let server = snapshot.servers.baseAddress! + Int(upstream.pointee.server)
    let pool = Int(server.pointee.pool)
    // A server that has been removed keeps nobody: the next request goes elsewhere.
    if !snapshot.pools[pool].hashesSource || server.pointee.place < 0 { return false }
    return switch tables[pool].availability(Int(server.pointee.place)) {
    // An ejected or unchecked one is in use where there is nobody to move to.
    case .up, .ejected, .unchecked: false
    case .draining, .down, .maintenance: true
    }
  }

  // MARK: Bodies

  /// Passes on `count` bytes of an answer's body at `bytes`, behind a head of `headByteCount` bytes in the scratch memory
  /// if that is not 0. What lies before `bytes`, `headroom` at least, may be overwritten.
  @inline(__always)  // once per read of an answer
  private mutating func passAnswerBody(
    _ index: Int32, _ upstream: Upstream, _ place: Int32, _ client: Client, _ bytes: UnsafeMutablePointer<UInt8>,
    _ count: Int, headByteCount: Int
  ) {
    var isDone = false
    var isClean = true
    var delivered = true
    switch upstream.pointee.bodyFraming {
    case .none:
      isDone = true
      isClean = count == 0
      delivered = send(client, bytes, 0, headByteCount, in: receiveArea)
    case .counted:
      let here = Int(min(Int64(count), upstream.pointee.bodyRemaining))
      upstream.pointee.bodyRemaining &-= Int64(here)
      isDone = upstream.pointee.bodyRemaining == 0
      isClean = here == count
      delivered = send(client, bytes, here, headByteCount, in: receiveArea)
    case .chunked:
      // The head, if there is one, lies at the start of the scratch memory; the body is re-framed right behind it.
      let output: ChunkedOutput = upstream.pointee.outgoing.isChunked ? .chunked : .content
      let area = scratch + headByteCount
      let step = upstream.pointee.chunkedBody.read(bytes, count: count, output: output, scratch: area)
      if case .fault = step.status {
        badAnswerBody(index, upstream, place, client)
        return
      }
      isDone = step.status.isEnd
      let rest = count &- step.consumed
      if isDone { isClean = rest == 0 } else { upstream.pointee.stream.hold(bytes + step.consumed, rest, &buffers) }
      delivered =
        step.writtenCount > 0
        ? send(client, area, step.writtenCount, headByteCount, in: scratch)
        : send(client, bytes + step.forward.offset, step.forward.count, headByteCount, in: receiveArea)
    case .untilClose:
      delivered = sendUntilClose(upstream, client, bytes, count, headByteCount)
    }
    if !delivered {
      clientIsGone(place, client)
      return
    }
    if isDone {
      finishExchange(index, upstream, place, client, isClean: isClean)
      return
    }
    let waits = !client.pointee.stream.output.isEmpty
    upstream.pointee.stream.growWindow(readCount: count, largest: Self.largestWindow)
    bodyGoesOn(place, client, outputWaits: waits)
  }

  /// The rest of a body of known length is worth it: an answer's tail is read together with what may come behind it.
  @inline(__always)  // once per read of a body
  private func isSpliced(_ upstream: Upstream) -> Bool {
    upstream.pointee.bodyFraming == .counted && upstream.pointee.bodyRemaining >= Int64(ByteStream.splicedWindow)
      && upstream.pointee.stream.isLarge && pipe.isOpen
  }

  /// False: nothing was moved, and a read tells why.
  @inline(never)
  private mutating func spliceAnswerBody(
    _ index: Int32, _ upstream: Upstream, _ place: Int32, _ client: Client
  ) -> Bool {
    let limit = Int(min(Int64(room(for: upstream.pointee.stream)), upstream.pointee.bodyRemaining))
    switch splice(&upstream.pointee.stream, &client.pointee.stream, limit: limit) {
    case .bytes(let count):
      client.pointee.exchange.notes.bytesOut &+= Int64(count)
      counters.listeners[Int(client.pointee.listener)].spliced.add(UInt64(count))
      upstream.pointee.bodyRemaining &-= Int64(count)
      if upstream.pointee.bodyRemaining == 0 {
        finishExchange(index, upstream, place, client, isClean: true)
      } else {
        bodyGoesOn(place, client, outputWaits: !client.pointee.stream.output.isEmpty)
      }
    case .nothing: return false
    case .senderFailed: serverFailed(index, upstream, .closed)
    case .receiverFailed(let taken):
      client.pointee.exchange.notes.bytesOut &+= Int64(taken)
      clientIsGone(place, client)
    }
    return true
  }

  /// Head, from the scratch memory, and body to the client in one call: the head goes where the server's stood, right before
  /// the body. Nothing in `area` before `bytes` is needed any more.
  @inline(__always)
  private mutating func send(
    _ client: Client, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ headByteCount: Int,
    in area: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    client.pointee.exchange.notes.bytesOut &+= Int64(headByteCount &+ count)
    if headByteCount == 0 { return count == 0 || client.pointee.stream.write(bytes, count, &buffers) }
    if count == 0 { return client.pointee.stream.write(scratch, headByteCount, &buffers) }
    if headByteCount > bytes - area {
      // More was added to it than there is room for.
      return client.pointee.stream.write(scratch, headByteCount, &buffers)
        && client.pointee.stream.write(bytes, count, &buffers)
    }
    let start = bytes - headByteCount
    if start != scratch { start.update(from: scratch, count: headByteCount) }
    return client.pointee.stream.write(start, headByteCount &+ count, &buffers)
  }

  /// A body that ends by close, as one chunk per read, or as it is for HTTP/1.0.
  @inline(never)
  private mutating func sendUntilClose(
    _ upstream: Upstream, _ client: Client, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ headByteCount: Int
  ) -> Bool {
    if count == 0 || upstream.pointee.outgoing == .untilClose {
      return send(client, bytes, count, headByteCount, in: receiveArea)
    }
    var size: InlineArray<32, UInt8> = .init(repeating: 0)
    var sizeCount = 0
    withUnsafeMutableBytes(of: &size) { raw in
      let line = raw.baseAddress!.assumingMemoryBound(to: UInt8.self)
      sizeCount = ChunkEncoding.writeSizeLine(count, to: line)
      // The size goes before the data, the separator behind it: there is room on both sides.
      (bytes - sizeCount).update(from: line, count: sizeCount)
    }
    (bytes + count).update(from: ChunkEncoding.separator.utf8Start, count: 2)
    return send(client, bytes - sizeCount, sizeCount + count + 2, headByteCount, in: receiveArea)
  }

  /// Whoever is slow now has the time-out.
  @inline(never)
  private mutating func bodyGoesOn(_ place: Int32, _ client: Client, outputWaits: Bool) {
    if outputWaits {
      watch(place, client)
      if !client.pointee.isOpen { return }
      timers.set(place, tick &+ snapshot.listeners[Int(client.pointee.listener)].idle)
    } else {
      awaitAnswer(place, client)
    }
  }

  @inline(never)
  private mutating func badAnswerBody(_ index: Int32, _ upstream: Upstream, _ place: Int32, _ client: Client) {
    noteFailure(of: upstream.pointee.server, .malformed)
    client.pointee.exchange.notes.ending = .serverBadBody
    // Its head is out: only an abort tells the client that the body is not whole.
    closeClient(place, client, abortively: true)
  }

  /// The server has closed where more was due.
  @inline(never)
  private mutating func serverEnded(_ index: Int32, _ upstream: Upstream) {
    let place = upstream.pointee.client
    let client = clients[place]
    guard upstream.pointee.phase == .body, upstream.pointee.bodyFraming.isUntilClose else {
      serverFailed(index, upstream, .closed)
      return
    }
    if upstream.pointee.outgoing.isChunked {
      let end = ChunkEncoding.end
      client.pointee.exchange.notes.bytesOut &+= Int64(end.utf8CodeUnitCount)
      if !client.pointee.stream.write(end.utf8Start, end.utf8CodeUnitCount, &buffers) {
        clientIsGone(place, client)
        return
      }
    }
    upstream.pointee.keepsAlive = false
    finishExchange(index, upstream, place, client, isClean: true)
  }

  // MARK: The end

  /// The answer is complete. The server's connection is pooled if nothing speaks against it, the client's goes on to the
  /// next request or is closed.
  @inline(__always)  // once per request
  mutating func finishExchange(
    _ index: Int32, _ upstream: Upstream, _ place: Int32, _ client: Client, isClean: Bool, _ ending: Ending = .complete
  ) {
    let requestIsWhole =
      client.pointee.phase == .waiting && !client.pointee.exchange.bodyIsDropped && !serverOutputWaits(upstream)
    if !requestIsWhole {
      if requestGoesOn(upstream, place, client, isClean: isClean) { return }
      // What is still to come of its body must not be taken for another request.
      if client.pointee.phase == .body { client.pointee.keepsAlive = false }
    }
    noteEnd(client, ending)
    let reuse =
      upstream.pointee.keepsAlive && isClean && requestIsWhole && !upstream.pointee.isEarly && !mayBeMisread(client)
      && !upstream.pointee.stream.peerClosed && isDrained(upstream) && stopDeadline == nil && isPooled(upstream)
    releaseServer(index, upstream, reuse: reuse, abortively: ending != .complete)
    if !client.pointee.exchange.request.isEmpty { dropRequest(client) }
    if !client.pointee.keepsAlive {
      finishClosing(place, client)
      return
    }
    nextRequest(place, client)
  }

  @inline(__always)
  private mutating func nextRequest(_ place: Int32, _ client: Client) {
    awaitNextRequest(place, client)
    if !client.pointee.isOpen { return }
    if stopDeadline != nil && isIdle(client) {
      closeClient(place, client, abortively: false)
    } else if client.pointee.stream.hasNext {
      readClient(place, client)
    }
  }

  @inline(__always)
  mutating func awaitNextRequest(_ place: Int32, _ client: Client) {
    client.pointee.phase = .head
    client.pointee.idleSince = tick
    timers.set(place, tick &+ snapshot.listeners[Int(client.pointee.listener)].idle)
    if !client.pointee.stream.isRegistered { watch(place, client) }
  }
}
