// Requests on listeners with routes: the first route that matches decides where a request goes, or answers it.

internal import HTTP1
internal import Kernel
internal import Primitives
internal import Routing

extension Worker {
  /// Finds the route of a request. True: it has been answered, and reading may go on. False: it goes to the pool that is
  /// noted in the exchange.
  @inline(never)
  mutating func answeredByRoute(_ index: Int32, _ client: Client, _ head: RequestHead, _ count: Int) -> Bool {
    guard let path = TargetPath.read(head, of: receiveStart, area: pathArea) else {
      refuse(index, client, head, count, status: 400, "the path has no clear meaning")
      return true
    }
    let host = TargetHost(head, of: receiveStart)
    let request = RouteRequest(
      head, of: receiveStart, scratch: headScratch, path: path, host: host, source: client.pointee.address)
    let routes = snapshot.listeners[Int(client.pointee.listener)].routes
    for place in 0..<routes.count {
      let route = routes.baseAddress! + place
      switch route.pointee.match.verdict(on: request, patternMatcher) {
      case .differs: continue
      case .tooHard:
        refuse(index, client, head, count, status: 400, "the path takes too long to match")
        return true
      case .matches: break
      }
      client.pointee.exchange.route = Int32(truncatingIfNeeded: place)
      client.pointee.exchange.pool = route.pointee.pool
      if let rate = route.pointee.rate, isOverRate(index, client, head, count, rate) { return true }
      switch route.pointee.action {
      case .pool: return false
      case .redirect(let start, let target):
        redirect(index, client, head, count, start, target, path, host)
        return true
      case .respond(let start, let body):
        respond(index, client, head, count, start, fields: .empty, body: body)
        return true
      case .files(let root, let name):
        let folder = FileRoot(root: root, index: name, isRedirected: !route.pointee.isExact)
        serveFile(index, client, head, count, folder, path, route.pointee.rewrite)
        return true
      }
    }
    if client.pointee.exchange.pool >= 0 { return false }
    refuse(index, client, head, count, status: 404, "no route of this listener takes this request")
    return true
  }

  /// Whether the source, or the value of a field, has sent too much; answered then.
  private mutating func isOverRate(
    _ index: Int32, _ client: Client, _ head: RequestHead, _ count: Int, _ rate: RateRecord
  ) -> Bool {
    let wait: Int64
    if rate.field.isEmpty {
      wait = shared.rates.take(client.pointee.address, rule: rate.name, rate.rule, now: now)
    } else {
      var values = PassedFieldValues(named: rate.field, in: head, scratch: headScratch)
      // Of several values nobody knows which one a server takes: such requests share the bucket of those without any.
      let first = values.next(receiveStart)
      let only = values.next(receiveStart) == nil ? first : nil
      let value = only.map { Text(start: receiveStart + $0.offset, count: $0.count) } ?? .empty
      wait = shared.rates.take(value, rule: rate.name, rate.rule, now: now)
    }
    if wait == 0 { return false }
    counters.listeners[Int(client.pointee.listener)].refused.increase()
    takeWholeBody(client, head, count)
    answer(
      index, client, status: 429, "more requests than this route allows",
      retryAfterSeconds: Int((wait + 999_999_999) / 1_000_000_000))
    return true
  }

  /// The pool of a TCP client; -1: none takes it.
  mutating func poolOfSource(_ client: Client) -> Int32 {
    let listener = snapshot.listeners.baseAddress! + Int(client.pointee.listener)
    for route in listener.pointee.routes where route.match.holds(source: client.pointee.address) { return route.pool }
    return listener.pointee.pool
  }

  // MARK: Heads

  /// What the route changes of the head for the server.
  @inline(never)
  mutating func applyRoute(_ client: Client, _ head: inout RequestHead, _ additions: inout RequestAdditions) {
    guard let route = route(of: client) else { return }
    if !route.pointee.request.cut.isEmpty {
      head.cut(route.pointee.request.cut, from: receiveStart, scratch: headScratch)
      client.pointee.exchange.chunkedBody.dropsTrailers = true
    }
    additions.lines = route.pointee.request.lines
    if let rewrite = route.pointee.rewrite, let path = TargetPath.read(head, of: receiveStart, area: pathArea) {
      precondition(rewrite.writtenByteBound(path) <= Self.targetByteCount)
      additions.target = Text(start: targetArea, count: rewrite.write(path, of: receiveStart, to: targetArea))
    }
  }

  /// What the route changes of the head for the client.
  @inline(never)
  func applyRoute(_ client: Client, _ head: inout ResponseHead, _ additions: inout ResponseAdditions) {
    guard let route = route(of: client) else { return }
    if !route.pointee.response.cut.isEmpty {
      head.cut(route.pointee.response.cut, from: receiveStart, scratch: headScratch)
    }
    additions.lines = route.pointee.response.lines
  }

  func route(of client: Client) -> UnsafePointer<RouteRecord>? {
    let routes = snapshot.listeners[Int(client.pointee.listener)].routes
    let place = Int(client.pointee.exchange.route)
    return place >= 0 && place < routes.count ? routes.baseAddress! + place : nil
  }

  // MARK: Answers

  private mutating func refuse(
    _ index: Int32, _ client: Client, _ head: RequestHead, _ count: Int, status: Int, _ reason: StaticString
  ) {
    counters.listeners[Int(client.pointee.listener)].refused.increase()
    client.pointee.exchange.notes.ending = .refused
    takeWholeBody(client, head, count)
    answer(index, client, status: status, reason)
  }

  private mutating func redirect(
    _ index: Int32, _ client: Client, _ head: RequestHead, _ count: Int, _ start: Text, _ target: RedirectTarget,
    _ path: TargetPath, _ host: TargetHost
  ) {
    // With its line end.
    if target.writtenByteBound(path, host) > Self.targetByteCount - 2 {
      refuse(index, client, head, count, status: 414, "the redirect of this target would be too long")
      return
    }
    let isSecure =
      head.cameByHTTPS(in: receiveStart) || !head.flags.contains(.hasForwardedProto) && client.pointee.isSecure
    let written = target.write(path, host, isSecure: isSecure, of: receiveStart, to: targetArea)
    if written == 0 {
      refuse(index, client, head, count, status: 400, "the request names no host")
      return
    }
    targetArea[written] = 13
    targetArea[written + 1] = 10
    respond(index, client, head, count, start, fields: Text(start: targetArea, count: written + 2), body: .empty)
  }

  mutating func respond(
    _ index: Int32, _ client: Client, _ head: RequestHead, _ count: Int, _ start: Text, fields: Text, body: Text
  ) {
    takeWholeBody(client, head, count)
    sendPrepared(index, client, start, fields: fields, body: body)
  }

  /// Answers with a head that is ready up to what every answer has, and a body. `lines`: more fields; nil: the route's.
  mutating func sendPrepared(
    _ index: Int32, _ client: Client, _ start: Text, fields: Text = .empty, lines: Text? = nil, body: Text = .empty
  ) {
    let closes = !client.pointee.keepsAlive || client.pointee.phase == .body || mustClose(client)
    let written = LocalResponse.write(
      prepared: start, fields: fields, lines: lines ?? route(of: client)?.pointee.response.lines ?? .empty,
      date: date.text(), body: body, closes: closes,
      withoutBody: client.pointee.exchange.method.isHead, oldVersion: client.pointee.exchange.isOldVersion, to: scratch,
      capacity: scratchByteCount)
    finishAnswer(index, client, written, closes: closes)
  }

  /// What came behind the head belongs to the next request, but for a body that is there as a whole.
  mutating func takeWholeBody(_ client: Client, _ head: RequestHead, _ count: Int) {
    let arrived = count - Int(head.byteCount)
    guard head.framing.isCounted, head.contentLength <= Int64(arrived) else {
      holdRest(client, head, count)
      return
    }
    let end = Int(head.byteCount) + Int(head.contentLength)
    client.pointee.phase = .waiting
    client.pointee.stream.holdNext(receiveStart + end, count - end, &buffers)
  }
}
