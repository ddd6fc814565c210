// What is noted of exchanges while they last, and what becomes of it at their end: a few additions in the worker's own figures,
// and, where requests are logged, a record in its ring. Times are those of the batches of events in which things happened.

internal import Control
internal import HTTP1
internal import Kernel
internal import Primitives

/// Of an exchange, or a tunnel. Figures need the first lines of it, the log the rest.
struct ExchangeNotes {
  /// It has begun, and its end has not been noted.
  var isUnderWay = false
  /// Known before its end.
  var ending = Ending.none
  var retryCount: UInt8 = 0
  /// Of the final answer; 0: none.
  var status: UInt16 = 0
  /// Slot of the server that it was sent to last; -1: none.
  var server: Int32 = -1
  // Of the monotonic clock, in nanoseconds.
  /// The request's head was whole, or the connection of a tunnel was there.
  var began: Int64 = 0
  /// The first byte of the final answer; 0: it did not come.
  var firstByteAt: Int64 = 0
  var connectBegan: Int64 = 0
  var bytesIn: Int64 = 0
  var bytesOut: Int64 = 0
  var headOut: UInt32 = 0
  // Microseconds.
  var head: UInt32 = 0
  var queue: UInt32 = 0
  /// Of `queue`: before the client last began to wait, which was then.
  var queueBefore: UInt32 = 0
  var queuedSince: Int64 = 0
  var connect = notReached
  /// 0: none has been given.
  var requestID: UInt64 = 0
  /// What becomes of an X-Request-ID of the client's, where ids are logged.
  var clientsID = ClientsID.none
  /// Of the bytes: those of a tunnel that have been counted already.
  var relayedIn: Int64 = 0
  var relayedOut: Int64 = 0
  /// The answer, and its status if it has one, is the server's.
  var isServerStatus = false
  /// The request line was longer than what was captured.
  var isCut = false
  /// Ten bytes of counts, then the texts that the log needs; no block where nothing is logged.
  var text = Buffer()
}

extension Worker {
  // MARK: Beginning

  /// A request's head is whole.
  @inline(__always)  // once per request
  mutating func noteBeginning(_ client: Client, _ head: RequestHead) {
    client.pointee.exchange.notes.isUnderWay = true
    client.pointee.exchange.notes.began = now.nanoseconds
    client.pointee.exchange.notes.bytesIn = Int64(head.byteCount)
    if client.pointee.headSince != 0 { noteSlowHead(client) }
    if snapshot.logDetail != .nothing { capture(client, head) }
  }

  @inline(never)
  private mutating func noteSlowHead(_ client: Client) {
    client.pointee.exchange.notes.head = Self.microseconds(now.nanoseconds &- client.pointee.headSince)
    client.pointee.headSince = 0
  }

  /// A head that cannot be understood, or that will never be whole: `count` bytes of it are at `bytes`. To be called before
  /// it is answered.
  @inline(never)
  mutating func noteBadBeginning(_ client: Client, _ bytes: UnsafePointer<UInt8>, _ count: Int) {
    client.pointee.exchange.notes.isUnderWay = true
    client.pointee.exchange.notes.began = now.nanoseconds
    client.pointee.exchange.notes.bytesIn = Int64(count)
    if client.pointee.headSince != 0 { noteSlowHead(client) }
    if RequestMethod.isHead(bytes, count: count) { client.pointee.exchange.method = .head }
    if snapshot.logDetail == .nothing { return }
    var start = 0
    while start < count && (bytes[start] == 13 || bytes[start] == 10) { start += 1 }
    var end = start
    while end < count && bytes[end] != 13 && bytes[end] != 10 { end += 1 }
    capture(client, line: Text(start: bytes + start, count: end - start), .empty, .empty, .empty)
  }

  /// The part of a head that has come is all that there will be.
  @inline(never)
  mutating func noteCutOffHead(_ client: Client) {
    let held = client.pointee.stream.input
    if held.isEmpty {
      noteBadBeginning(client, receiveStart, 0)
    } else {
      noteBadBeginning(client, held.bytes, held.count)
    }
  }

  /// A TCP client's connection.
  @inline(never)
  mutating func noteTunnel(_ client: Client) {
    client.pointee.exchange.notes.isUnderWay = true
    client.pointee.exchange.notes.began = now.nanoseconds
    if snapshot.logDetail != .nothing { capture(client, line: .empty, .empty, .empty, .empty) }
  }

  /// The id that the client sees is the one in the log.
  mutating func requestID(of client: Client) -> UInt64 {
    if client.pointee.exchange.notes.requestID == 0 { client.pointee.exchange.notes.requestID = random.next() }
    return client.pointee.exchange.notes.requestID
  }

  @inline(never)
  private mutating func capture(_ client: Client, _ head: RequestHead) {
    let bytes = UnsafePointer(receiveStart)
    func text(_ range: ByteRange) -> Text { Text(start: bytes + range.offset, count: range.count) }
    let line = Text(start: bytes + Int(head.start), count: Int(head.fieldsStart) - 2 - Int(head.start))
    if snapshot.logDetail == .requestLine {
      capture(client, line: line, .empty, .empty, .empty)
      return
    }
    let fields = head.loggedFields(in: bytes)
    var id = Text.empty
    if fields.requestIDCount > 0 {
      let isKept =
        client.pointee.isTrusted && fields.requestIDCount == 1 && RequestID.isUsable(text(fields.requestID))
      client.pointee.exchange.notes.clientsID = isKept ? .kept : .replaced
      if isKept { id = text(fields.requestID) }
    }
    capture(client, line: line, id: id, text(head.host), text(fields.referer), text(fields.agent))
  }

  private mutating func capture(
    _ client: Client, line: Text, id: Text = .empty, _ host: Text, _ referer: Text, _ agent: Text
  ) {
    _ = requestID(of: client)
    let lineCount = min(line.count, LogRecord.largestLineByteCount)
    let hostCount = min(host.count, LogRecord.largestHostByteCount)
    let refererCount = min(referer.count, LogRecord.largestRefererByteCount)
    let agentCount = min(agent.count, LogRecord.largestAgentByteCount)
    var text = buffers.take(CapturedCounts.byteCount + id.count + lineCount + hostCount + refererCount + agentCount)
    let counts = CapturedCounts(
      line: UInt16(lineCount), host: UInt16(hostCount), referer: UInt16(refererCount), agent: UInt16(agentCount),
      id: UInt16(id.count))
    UnsafeMutableRawPointer(text.tail).storeBytes(of: counts, as: CapturedCounts.self)
    text.end &+= Int32(CapturedCounts.byteCount)
    Self.add(id, id.count, to: &text)
    Self.add(line, lineCount, to: &text)
    Self.add(host, hostCount, to: &text)
    Self.add(referer, refererCount, to: &text)
    Self.add(agent, agentCount, to: &text)
    client.pointee.exchange.notes.isCut = lineCount < line.count
    client.pointee.exchange.notes.text = text
  }

  @inline(__always)  // five times per logged request
  private static func add(_ part: Text, _ count: Int, to text: inout Buffer) {
    if count == 0 { return }
    text.tail.update(from: part.baseAddress!, count: count)
    text.end &+= Int32(truncatingIfNeeded: count)
  }

  // MARK: On the way

  /// An answer of our own, or its head, lies in the scratch memory, `count` bytes: what its end will be if it is taken.
  @inline(never)
  mutating func noteOwnAnswer(_ client: Client, _ count: Int) -> Ending {
    if !client.pointee.exchange.notes.isUnderWay { noteBadBeginning(client, receiveStart, 0) }
    // "HTTP/1.1 503 …"
    let status = (0..<3).reduce(0) { $0 * 10 + Int(scratch[9 + $1]) - 48 }
    client.pointee.exchange.notes.status = UInt16(clamping: status)
    client.pointee.exchange.notes.isServerStatus = false
    client.pointee.exchange.notes.firstByteAt = now.nanoseconds
    client.pointee.exchange.notes.bytesOut &+= Int64(count)
    var head = 0
    while head + 4 < count
      && !(scratch[head] == 13 && scratch[head + 1] == 10 && scratch[head + 2] == 13 && scratch[head + 3] == 10)
    {
      head += 1
    }
    client.pointee.exchange.notes.headOut = UInt32(clamping: min(head + 4, count))
    let known = client.pointee.exchange.notes.ending
    return known == .none ? Ending(ofAnswer: status) : known
  }

  /// Passed on in a tunnel: counted now, since it may last for days.
  @inline(never)
  mutating func noteRelayed(_ client: Client, up: Int, down: Int) {
    client.pointee.exchange.notes.bytesIn &+= Int64(up)
    client.pointee.exchange.notes.bytesOut &+= Int64(down)
    client.pointee.exchange.notes.relayedIn &+= Int64(up)
    client.pointee.exchange.notes.relayedOut &+= Int64(down)
    if down > 0 && client.pointee.exchange.notes.firstByteAt == 0 {
      client.pointee.exchange.notes.firstByteAt = now.nanoseconds
      client.pointee.exchange.notes.isServerStatus = true
    }
    let server = client.pointee.exchange.notes.server
    counters.listenerTraffic[Int(client.pointee.listener)].add(up: up, down: down)
    if server >= 0 { counters.serverTraffic[Int(server)].add(up: up, down: down) }
  }

  /// The client waits for a server no longer, or in another queue.
  @inline(never)
  mutating func noteQueueLeft(_ client: Client) {
    if client.pointee.exchange.notes.queuedSince != client.pointee.waitingSince {
      client.pointee.exchange.notes.queuedSince = client.pointee.waitingSince
      client.pointee.exchange.notes.queueBefore = client.pointee.exchange.notes.queue
    }
    let span = Self.microseconds(Clock.monotonic.nanoseconds &- client.pointee.waitingSince)
    client.pointee.exchange.notes.queue =
      min(client.pointee.exchange.notes.queueBefore, notReached / 2) &+ min(span, notReached / 2)
  }

  func noteQueueFull(_ client: Client) {
    counters.pools[Int(client.pointee.exchange.pool)].queueFull.increase()
    client.pointee.exchange.notes.ending = .queueFull
  }

  /// A connection to a server begins, or an idle one is taken.
  @inline(__always)  // once per request
  func noteConnecting(_ client: Client, to server: Int32, isReused: Bool) {
    client.pointee.exchange.notes.server = server
    client.pointee.exchange.notes.connect = isReused ? 0 : notReached
    if !isReused { client.pointee.exchange.notes.connectBegan = now.nanoseconds }
  }

  func noteConnected(_ client: Client) {
    client.pointee.exchange.notes.connect =
      Self.microseconds(now.nanoseconds &- client.pointee.exchange.notes.connectBegan)
  }

  /// A server failed this request, and it goes to one again.
  func noteRetry(_ client: Client, pool: Int) {
    client.pointee.exchange.notes.retryCount &+= client.pointee.exchange.notes.retryCount < 255 ? 1 : 0
    client.pointee.exchange.notes.ending = .none
    counters.pools[pool].retries.increase()
  }

  static func microseconds(_ nanoseconds: Int64) -> UInt32 {
    UInt32(clamping: min(Int64(notReached) - 1, max(0, nanoseconds / 1_000)))
  }

  // MARK: The end

  /// The exchange, or the tunnel, is over.
  @inline(never)
  mutating func noteEnd(_ client: Client, _ ending: Ending) {
    client.pointee.exchange.notes.isUnderWay = false
    let began = client.pointee.exchange.notes.began
    let firstByteAt = client.pointee.exchange.notes.firstByteAt
    let firstByte = UInt64(max(0, firstByteAt &- began)) / 1_000
    let total =
      UInt64(max(0, now.nanoseconds &- began)) / 1_000 &+ UInt64(client.pointee.exchange.notes.head)
    let bytesIn = client.pointee.exchange.notes.bytesIn &- client.pointee.exchange.notes.relayedIn
    let bytesOut = client.pointee.exchange.notes.bytesOut &- client.pointee.exchange.notes.relayedOut
    let status = client.pointee.exchange.notes.status
    let lines = counters.listenerTraffic[Int(client.pointee.listener)]
    lines.count(
      status: status, bytesIn: bytesIn, bytesOut: bytesOut, firstByteMicroseconds: firstByte,
      hasFirstByte: firstByteAt != 0, totalMicroseconds: total)
    if ending != .complete { lines.add(1, TrafficLines.endings + Int(ending.rawValue)) }
    let server = client.pointee.exchange.notes.server
    if server >= 0 {
      counters.serverTraffic[Int(server)].count(
        status: client.pointee.exchange.notes.isServerStatus ? status : 0, bytesIn: bytesIn, bytesOut: bytesOut,
        firstByteMicroseconds: firstByte, hasFirstByte: client.pointee.exchange.notes.isServerStatus,
        totalMicroseconds: total)
    }
    if client.pointee.exchange.route >= 0 { countRoute(client, status, ending) }
    if client.pointee.exchange.notes.text.hasBlock { writeRecord(client, ending, total) }
  }

  @inline(never)
  private mutating func countRoute(_ client: Client, _ status: UInt16, _ ending: Ending) {
    guard let route = route(of: client) else { return }
    let figures = counters.routes + Int(route.pointee.slot)
    figures.pointee.requests.increase()
    let digit = Int(status) / 100
    if digit >= 1 && digit <= 5 { figures.pointee.countResponse(digit) }
    if ending == .denied { figures.pointee.denied.increase() }
  }

  /// The client's connection is being closed, and what ran on it is not finished.
  @inline(never)
  mutating func noteClosing(_ client: Client) {
    if !client.pointee.exchange.notes.isUnderWay {
      if client.pointee.phase != .head || !client.pointee.headHasBegun { return }
      client.pointee.exchange = Exchange()
      noteCutOffHead(client)
      noteEnd(client, stopDeadline.map { now >= $0 } ?? false ? .stopped : .headCutOff)
      return
    }
    if client.pointee.waitingPlace != .nowhere { noteQueueLeft(client) }
    let known = client.pointee.exchange.notes.ending
    noteEnd(client, known == .none ? endingOfClose(client) : known)
  }

  /// Where nobody said why, it was the client.
  private func endingOfClose(_ client: Client) -> Ending {
    if client.pointee.waitingPlace != .nowhere { return .leftQueue }
    let hasAnswer = client.pointee.exchange.headIsSent
    if client.pointee.server >= 0 && upstreams[client.pointee.server].pointee.phase == .answered { return .bodyCutOff }
    switch client.pointee.phase {
    case .tunnel:
      let server = client.pointee.server
      return server >= 0 && upstreams[server].pointee.phase == .connecting ? .leftConnecting : .tunnelEnded
    case .body: return hasAnswer ? .leftAnswer : .bodyCutOff
    case .waiting:
      let server = client.pointee.server
      if server >= 0 && upstreams[server].pointee.phase == .connecting { return .leftConnecting }
      return hasAnswer ? .leftAnswer : .leftWaiting
    case .proxyHeader, .head, .file, .closing, .lingering: return .leftAnswer
    }
  }

  /// A connection that was refused before it became a client's. `isHTTP`: it was answered, with 503.
  @inline(never)
  mutating func noteRefusal(
    _ listener: Int32, _ address: IPAddress, _ port: UInt16, _ ending: Ending, isHTTP: Bool, requestID: UInt64,
    bytesOut: Int
  ) {
    let lines = counters.listenerTraffic[Int(listener)]
    lines.add(1, TrafficLines.endings + Int(ending.rawValue))
    lines.add(UInt64(bytesOut), TrafficLines.bytesOut)
    if isHTTP { lines.add(1, TrafficLines.responses + 4) }
    if snapshot.logDetail == .nothing { return }
    var record = LogRecord()
    record.isHTTP = isHTTP
    record.ending = ending
    record.status = isHTTP ? 503 : 0
    record.address = address
    record.port = port
    record.listener = listener
    record.began = now.nanoseconds
    record.bytesOut = Int64(bytesOut)
    record.headOut = UInt32(clamping: bytesOut)
    record.requestID = requestID
    push(&record, listenerName: snapshot.listeners[Int(listener)].name, .empty, .empty, .empty, .empty)
  }

  // MARK: Records

  @inline(never)
  private mutating func writeRecord(_ client: Client, _ ending: Ending, _ total: UInt64) {
    let notes = client.pointee.exchange.notes
    let listener = snapshot.listeners.baseAddress! + Int(client.pointee.listener)
    var record = LogRecord()
    record.isHTTP = listener.pointee.isHTTP
    record.ending = ending
    record.isCut = notes.isCut
    record.retries = notes.retryCount
    record.status = notes.status
    record.address = client.pointee.address
    record.port = client.pointee.port
    record.listener = client.pointee.listener
    record.pool = client.pointee.exchange.pool
    record.server = notes.server
    record.began = notes.began &- Int64(notes.head) &* 1_000
    record.head = notes.head
    let wasServed = notes.server >= 0
    if wasServed || notes.queue > 0 { record.queue = notes.queue }
    if wasServed { record.connect = notes.connect }
    if notes.firstByteAt != 0 { record.firstByte = Self.microseconds(notes.firstByteAt &- notes.began) }
    record.isServerStatus = notes.isServerStatus
    record.total = total
    record.bytesIn = notes.bytesIn
    record.bytesOut = notes.bytesOut
    record.headOut = notes.headOut
    record.requestID = notes.requestID
    if record.pool >= 0 && snapshot.pools[Int(record.pool)].cookieName != nil { noteAffinity(client, &record) }
    let counts = UnsafeRawPointer(notes.text.bytes).loadUnaligned(as: CapturedCounts.self)
    record.idCount = UInt8(clamping: counts.id)
    record.lineCount = counts.line
    record.hostCount = counts.host
    record.refererCount = counts.referer
    record.agentCount = counts.agent
    push(
      &record, listenerName: listener.pointee.name, route(of: client)?.pointee.name ?? .empty,
      record.pool >= 0 ? snapshot.pools[Int(record.pool)].name : .empty,
      wasServed ? snapshot.servers[Int(record.server)].name : .empty,
      Text(
        start: notes.text.bytes + CapturedCounts.byteCount, count: notes.text.count - CapturedCounts.byteCount))
    buffers.give(&client.pointee.exchange.notes.text)
  }

  private func noteAffinity(_ client: Client, _ record: inout LogRecord) {
    let cookie = client.pointee.exchange.cookieServer
    record.setsCookie = client.pointee.exchange.setsCookie && record.server >= 0
    switch cookie {
    case -1: record.affinity = .none
    case ..<0: record.affinity = .unknown
    default: record.affinity = cookie == record.server ? .kept : .moved
    }
  }

  private mutating func push(
    _ record: inout LogRecord, listenerName: Text, _ route: Text, _ pool: Text, _ server: Text, _ texts: Text
  ) {
    func count(_ name: Text) -> UInt8 { UInt8(clamping: name.count) }
    record.listenerNameCount = count(listenerName)
    record.routeNameCount = count(route)
    record.poolNameCount = count(pool)
    record.serverNameCount = count(server)
    let names =
      Int(record.listenerNameCount) + Int(record.routeNameCount) + Int(record.poolNameCount)
      + Int(record.serverNameCount)
    let size = MemoryLayout<LogRecord>.size + names + texts.count
    let byteCount = (size + LogRing.alignment - 1) / LogRing.alignment * LogRing.alignment
    record.byteCount = Int32(byteCount)
    guard let place = log.rings[index].reserve(byteCount) else { return }
    place.storeBytes(of: record, as: LogRecord.self)
    var next = (place + MemoryLayout<LogRecord>.size).assumingMemoryBound(to: UInt8.self)
    func add(_ text: Text, _ count: Int) {
      if count == 0 { return }
      next.update(from: text.baseAddress!, count: count)
      next += count
    }
    add(listenerName, Int(record.listenerNameCount))
    add(route, Int(record.routeNameCount))
    add(pool, Int(record.poolNameCount))
    add(server, Int(record.serverNameCount))
    add(texts, texts.count)
    log.rings[index].publish(byteCount)
    log.wakeIfWaiting()
  }
}

/// How long the captured texts are, in front of them: that of `id`, then the others in this order.
struct CapturedCounts {
  static let byteCount = 10
  var line: UInt16
  var host: UInt16
  var referer: UInt16
  var agent: UInt16
  var id: UInt16
}
