// Answers that are whole before their requests are, and servers that take no more of a request.

internal import HTTP1
internal import Kernel
internal import Primitives

extension Worker {
  /// Of an answer that begins before its request's body is whole: whether the server reads on behind it, as far as its head
  /// tells.
  func wantsRest(_ upstream: Upstream, _ client: Client) -> Bool {
    upstream.pointee.keepsAlive && !client.pointee.exchange.bodyIsDropped
  }

  /// Whether the rest of a request goes on to its server although the answer is whole: neither of them has said, or shown,
  /// that the connection ends with it.
  @inline(never)
  mutating func requestGoesOn(_ upstream: Upstream, _ place: Int32, _ client: Client, isClean: Bool) -> Bool {
    if upstream.pointee.phase == .answered || !wantsRest(upstream, client) || !isClean { return false }
    if upstream.pointee.outgoing == .untilClose || upstream.pointee.stream.peerClosed || !isDrained(upstream) {
      return false
    }
    upstream.pointee.phase = .answered
    restOfRequestIsDue(place, client)
    return true
  }

  /// The answer is whole: the client's time for its body runs, or the one to take what waits of the answer.
  mutating func restOfRequestIsDue(_ place: Int32, _ client: Client) {
    if client.pointee.stream.output.isEmpty {
      if client.pointee.phase == .body { awaitBody(place, client) } else { awaitAnswer(place, client) }
    } else {
      watch(place, client)
      if client.pointee.isOpen { timers.set(place, tick &+ snapshot.listeners[Int(client.pointee.listener)].idle) }
    }
  }

  /// Ends the exchange if its answer and now its request as well are whole, and sent.
  @inline(__always)  // once per read of a body
  mutating func finishIfAnswered(_ client: Client) {
    if client.pointee.phase != .waiting || client.pointee.server < 0 { return }
    let server = client.pointee.server
    if upstreams[server].pointee.phase == .answered { finishAnswered(server, upstreams[server]) }
  }

  @inline(never)
  private mutating func finishAnswered(_ index: Int32, _ upstream: Upstream) {
    if serverOutputWaits(upstream) { return }
    let place = upstream.pointee.client
    finishExchange(index, upstream, place, clients[place], isClean: true)
  }

  /// A server that has answered is heard of before it has the whole request: it ends, or sends what nobody asked for.
  @inline(never)
  mutating func answeredServerSpoke(_ index: Int32, _ upstream: Upstream) {
    if !upstream.pointee.stream.peerClosed && isDrained(upstream) { return }
    endAnswered(index, upstream, .complete)
  }

  /// The request's rest goes nowhere. The client has its answer, or gets what waits of it, and its connection ends if a part
  /// of the body is still to come.
  mutating func endAnswered(_ index: Int32, _ upstream: Upstream, _ ending: Ending) {
    let place = upstream.pointee.client
    finishExchange(index, upstream, place, clients[place], isClean: false, ending)
  }

  /// The body cannot go on, by the client's doing. False if the answer is not whole either: then only a reset tells.
  @inline(never)
  mutating func endedAnswered(_ client: Client, _ ending: Ending) -> Bool {
    let server = client.pointee.server
    guard client.pointee.phase == .body, server >= 0, upstreams[server].pointee.phase == .answered else { return false }
    endAnswered(server, upstreams[server], ending)
    return true
  }

  /// The rest of a request whose answer is whole does not get on.
  @inline(never)
  mutating func answeredIsLate(_ index: Int32, _ client: Client, _ server: Int32, _ upstream: Upstream) {
    if !serverOutputWaits(upstream) {
      counters.listeners[Int(client.pointee.listener)].refused.increase()
      endAnswered(server, upstream, .bodyLate)
    } else if upstream.pointee.stream.takeDelivered() >= Self.leastProgress {
      restOfRequestIsDue(index, client)
    } else {
      // It wanted no more than it has read.
      endAnswered(server, upstream, .complete)
    }
  }

  /// The server does not take the body: it may have answered already, so its answer is read before anything is decided.
  @inline(never)
  mutating func serverRefusesBody(_ index: Int32, _ client: Client, _ server: Int32) -> Bool {
    let generation = client.pointee.generation
    client.pointee.exchange.bodyIsDropped = true
    upstreams[server].pointee.stream.mayRead = true
    upstreams[server].pointee.stream.peerClosed = true
    readServer(server, upstreams[server])
    return client.pointee.generation == generation && client.pointee.phase == .body
  }
}
