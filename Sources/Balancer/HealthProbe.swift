// One check of one server, from connect to verdict: a small state machine on a non-blocking socket, or a script. The thread
// that runs the checks owns the poller; this only says what came of what it was told.

internal import Control
internal import HTTP1
internal import Health
internal import Kernel
internal import Patterns
internal import Primitives
internal import ProxyProtocol

/// A pattern that bodies of answers are searched for; freed with its last user.
final class BodyPattern {
  let pattern: Pattern

  /// Nil if it is none, which the settings have found out before.
  init?(_ text: String) {
    guard let pattern = try? Pattern(text) else { return nil }
    self.pattern = pattern
  }

  deinit { pattern.deallocate() }
}

/// Memory of all checks of a thread, which are looked at one after the other.
final class ProbeMemory {
  static let readByteCount = 16 * 1024
  let area = UnsafeMutablePointer<UInt8>.allocate(capacity: readByteCount)
  let scratch = HeadScratch(fieldCount: Worker.serverHeadLimits.fieldCount)
  let matcher = PatternMatcher()

  deinit {
    area.deallocate()
    scratch.deallocate()
    matcher.deallocate()
  }
}

struct HealthProbe {
  /// Of an answer this much is looked at.
  static let largestAnswerByteCount = 64 * 1024
  /// For what was killed to end.
  private static let patience = TimeSpan.seconds(1)

  let kind: HealthCheckConfiguration.Kind
  let request: [UInt8]
  let timeout: TimeSpan
  let address: SocketAddress
  private let pattern: BodyPattern?
  private let scripts: ScriptRuns
  private let sockets: CheckSockets
  /// What a script gets to know.
  private let environment: [String]

  /// Among `sockets`; -1 while no check runs on a connection.
  private var place: Int32 = -1
  private var run: ScriptRun?
  /// One that was killed and may not have ended yet, and when that was.
  var killed: (run: ScriptRun, at: Instant)?
  private(set) var deadline = Instant.distantFuture
  private var started = Instant(nanoseconds: 0)
  private var isConnected = false
  private var sentCount = 0
  /// The server has closed its side.
  private var hasEnded = false
  private var received: [UInt8] = []

  init(
    _ server: ServerConfiguration, _ pool: PoolConfiguration, _ pattern: BodyPattern? = nil, scripts: ScriptRuns,
    sockets: CheckSockets
  ) {
    self.pattern = pattern
    self.scripts = scripts
    self.sockets = sockets
    let check = pool.check
    let endpoint = Endpoint(address: server.endpoint.address, port: check.port ?? server.endpoint.port)
    kind = check.kind
    timeout = check.timeout
    address = SocketAddress(endpoint)
    // A port of its own is taken for one that only the checks use.
    let header = check.port == nil ? server.proxyHeader.map { ProxyHeader.bytesOfOwn($0) } ?? [] : []
    if case .script = check.kind {
      environment = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "AFLOAT_POOL=\(pool.name)",
        "AFLOAT_SERVER=\(server.name)", "AFLOAT_ADDRESS=\(endpoint.address)", "AFLOAT_PORT=\(endpoint.port)",
      ]
    } else {
      environment = []
    }
    switch check.kind {
    case .none, .script: request = []
    case .tcp(let send, _): request = header + send
    case .http(let path, let method, let host, _):
      let head = """
        \(method) \(path) HTTP/1.1\r
        Host: \(host ?? server.host ?? pool.authority(of: server, port: endpoint.port))\r
        User-Agent: afloat-check\r
        Accept: */*\r
        Connection: close\r
        \r\n
        """
      request = header + Array(head.utf8)
    }
  }

  var isRunning: Bool { place >= 0 || run != nil }

  var isScript: Bool { if case .script = kind { true } else { false } }

  /// Starts a check; an outcome if it failed at once.
  mutating func start(now: Instant) -> CheckOutcome? {
    if case .script(let path) = kind { return start(path, now) }
    let result = sockets.connect(to: address, speaks: !request.isEmpty)
    if result < 0 {
      let words = StreamSocket.words(for: -result)
      return StreamSocket.isExhausted(result)
        ? .notMade("no connection can be opened: \(words)") : Self.noConnection(-result)
    }
    place = result
    started = now
    deadline = now + timeout
    isConnected = false
    sentCount = 0
    received = []
    hasEnded = false
    return nil
  }

  /// One process at a time and server: one that cannot even be killed stays the only one.
  private mutating func start(_ path: String, _ now: Instant) -> CheckOutcome? {
    if let killed, !killed.run.isOver {
      if Clock.monotonic - killed.at < Self.patience { return .notMade(nil) }
      return .failure("script \(path) was killed and has not ended, it hangs in the kernel")
    }
    killed = nil
    if scripts.isStuck {
      let count = ScriptRuns.largestHangingCount
      return .notMade("\(count) scripts were killed and have not ended, they hang in the kernel")
    }
    do throws(SystemError) {
      run = try scripts.start(path, environment: environment)
    } catch {
      return .notMade("script \(path) cannot be started: \(error.cause)")
    }
    started = now
    deadline = now + timeout
    return nil
  }

  /// Has `poller` tell under `token` when `advance` has something to do, until `close`; of a script by way of them all.
  func watch(_ poller: borrowing Poller, _ token: EventToken) throws(SystemError) {
    guard let run else { return try sockets.watch(place, poller, token) }
    try scripts.watch(poller, token: EventToken(.server, index: ServerRegistry.scriptsIndex).rawValue)
    run.watch(token.rawValue)
  }

  mutating func close() {
    if let run {
      scripts.end(run)
      killed = run.isOver ? nil : (run, Clock.monotonic)
    }
    run = nil
    if place >= 0 {
      // Where nothing was said that could be lost, or all has been said, no end has to be waited for.
      var saysNothing = false
      if case .tcp(_, let expect) = kind { saysNothing = request.isEmpty && expect.isEmpty }
      sockets.end(place, abortively: saysNothing || hasEnded)
    }
    place = -1
    deadline = .distantFuture
    received = []
  }

  /// This one checks the same server from now on, with no run of its own yet: what is left of `other`'s is still the only one.
  mutating func succeed(_ other: HealthProbe) { killed = other.killed }

  mutating func putOff(_ span: TimeSpan) { deadline = deadline + span }

  private static func noConnection(_ code: Int32) -> CheckOutcome {
    let words = StreamSocket.words(for: code)
    return StreamSocket.isUnreachable(code) ? .silence(words) : .failure(words)
  }

  /// The deadline has passed.
  func timedOut() -> CheckOutcome {
    if case .script(let path) = kind {
      return .failure("script \(path) did not end within \(Self.words(timeout))\(run?.words ?? "")")
    }
    return .silence("\(isConnected ? "no answer" : "no connection") within \(Self.words(timeout))")
  }

  /// The socket is ready for something, or the script has ended; an outcome once there is one.
  mutating func advance(_ readiness: Readiness, now: Instant, _ memory: ProbeMemory) -> CheckOutcome? {
    if case .script(let path) = kind { return run.flatMap { outcome($0, path, now) } }
    let descriptor = sockets.descriptor(place)
    // Where something is sent that tells as well.
    if !isConnected, request.isEmpty {
      let code = StreamSocket.pendingError(descriptor)
      if code != 0 { return Self.noConnection(code) }
      // What comes may still be of the check before on this socket.
      if !StreamSocket.isConnected(descriptor) { return nil }
      isConnected = true
    }
    while sentCount < request.count {
      let rest = request.count - sentCount
      let sent = request.withUnsafeBufferPointer {
        StreamSocket.send(descriptor, $0.baseAddress! + sentCount, rest)
      }
      if sent == StreamSocket.wouldBlock { return nil }
      if sent < 0 { return Self.noConnection(Int32(-sent)) }
      sentCount += sent
      isConnected = true
    }
    if case .tcp(_, let expect) = kind, expect.isEmpty { return .success("connected in \(Self.words(now - started))") }
    // An event of its own tells when something comes.
    if !request.isEmpty && !readiness.isReadable && !readiness.isOver { return nil }
    switch kind {
    case .none, .script: return .success("not checked")
    case .tcp(_, let expect):
      return receive(readiness, memory) { probe, ended in probe.judge(expect, ended, now) }
    case .http(_, let method, _, let expect):
      return receive(readiness, memory) { probe, ended in probe.judgeHTTP(method, expect, ended, now, memory) }
    }
  }

  private func outcome(_ run: ScriptRun, _ path: String, _ now: Instant) -> CheckOutcome? {
    guard let ending = run.ending else { return nil }
    let (script, said) = ("script \(path)", run.words)
    return switch ending {
    case .ended(.exited(0)): .success("\(script) succeeded in \(Self.words(now - started))\(said)")
    case .ended(.exited(let status)): .failure("\(script) exited with \(status)\(said)")
    case .ended(let other): .failure("\(script) was ended by \(other.words)\(said)")
    case .notStarted(let error) where error.isShortage: .notMade("\(script) cannot be started: \(error.cause)")
    case .notStarted(let error): .failure("\(script) cannot be started: \(error.cause)")
    case .printedTooMuch: .failure("\(script) printed more than \(ScriptRun.largestOutputByteCount / 1024) KiB\(said)")
    }
  }

  private mutating func receive(
    _ readiness: Readiness, _ memory: ProbeMemory, _ judge: (borrowing HealthProbe, _ ended: Bool) -> CheckOutcome?
  ) -> CheckOutcome? {
    let descriptor = sockets.descriptor(place)
    while true {
      let count = StreamSocket.receive(descriptor, memory.area, ProbeMemory.readByteCount)
      if count == StreamSocket.wouldBlock {
        // Who waits for an acknowledgement before it says the rest gets it.
        if !received.isEmpty { StreamSocket.acknowledgeAtOnce(descriptor) }
        return nil
      }
      if count < 0 { return .failure(StreamSocket.words(for: Int32(-count))) }
      received.append(contentsOf: UnsafeBufferPointer(start: memory.area, count: count))
      hasEnded = count == 0
      if let outcome = judge(self, hasEnded) {
        // The end comes with the answer, as a rule. Where it was there before, a short read was all before it.
        if !hasEnded {
          hasEnded =
            readiness.hasPeerClosed && count < ProbeMemory.readByteCount
            || StreamSocket.receive(descriptor, memory.area, ProbeMemory.readByteCount) == 0
        }
        return outcome
      }
      if count == 0 || received.count >= Self.largestAnswerByteCount {
        return .failure("the answer is incomplete or too long")
      }
    }
  }

  private func judge(_ expected: [UInt8], _ ended: Bool, _ now: Instant) -> CheckOutcome? {
    if Self.contains(received[...], expected) { return .success("answered in \(Self.words(now - started))") }
    return ended ? .failure("the answer does not hold what is expected") : nil
  }

  private func judgeHTTP(
    _ method: String, _ expected: HealthCheckConfiguration.Expectation, _ ended: Bool, _ now: Instant,
    _ memory: ProbeMemory
  ) -> CheckOutcome? {
    var head = ResponseHead()
    var start = 0
    let padded = received + [UInt8](repeating: 0, count: scanSlack)
    // Interim answers come before the one that counts.
    repeat {
      let result = padded.withUnsafeBufferPointer {
        head.parse(
          $0.baseAddress! + start, count: received.count - start, isHeadRequest: method == "HEAD",
          limits: Worker.serverHeadLimits, scratch: memory.scratch)
      }
      switch result {
      case .incomplete: return ended ? .failure("the connection was closed before an answer") : nil
      case .fault(let fault): return .failure("the answer is malformed: \(fault.words)")
      case .complete: start += Int(head.byteCount)
      }
    } while head.isInterim
    let status = Int(head.status)
    guard expected.status.contains(where: { $0.contains(status) }) else { return .failure("status \(status)") }
    guard let (body, isComplete) = Self.content(padded, start, received.count, head) else {
      return .failure("status \(status), but its body is malformed")
    }
    let isWhole = ended || isComplete
    if let text = expected.bodyContains, !Self.contains(body, Array(text.utf8)) {
      return isWhole ? .failure("status \(status), but the body does not hold \"\(text)\"") : nil
    }
    if let pattern, let text = expected.bodyPattern {
      // A part of the body may match where the whole does not. Of a longer one the beginning has to do.
      if !isWhole && received.count < Self.largestAnswerByteCount { return nil }
      switch body.withUnsafeBufferPointer({ memory.matcher.search(pattern.pattern, in: $0) }) {
      case .found: break
      case .absent: return .failure("status \(status), but the body does not match \"\(text)\"")
      case .tooHard: return .failure("status \(status), but the body takes too long to match \"\(text)\"")
      }
    }
    return .success("\(status) in \(Self.words(now - started))")
  }

  /// What has come of an answer's body, which starts at `start` of `bytes` and ends at `end` so far, without its chunks; and
  /// whether that is all of it. Nil: it is malformed.
  private static func content(
    _ bytes: [UInt8], _ start: Int, _ end: Int, _ head: ResponseHead
  ) -> (body: ArraySlice<UInt8>, isComplete: Bool)? {
    switch head.framing {
    case .none: return ([], true)
    case .counted:
      let count = min(Int64(end - start), head.contentLength)
      return (bytes[start..<(start + Int(count))], count == head.contentLength)
    case .untilClose: return (bytes[start..<end], false)
    case .chunked: break
    }
    var chunks = ChunkedBody()
    let scratch = UnsafeMutableBufferPointer<UInt8>.allocate(
      capacity: ChunkedBody.scratchByteCount(for: end - start))
    defer { scratch.deallocate() }
    let step = bytes.withUnsafeBufferPointer {
      chunks.read($0.baseAddress! + start, count: end - start, output: .content, scratch: scratch.baseAddress!)
    }
    if case .fault = step.status { return nil }
    // Content in one piece is where it came, else it has been put together.
    let body =
      step.writtenCount > 0
      ? Array(scratch[..<step.writtenCount])[...]
      : bytes[(start + step.forward.offset)..<(start + step.forward.endOffset)]
    return (body, step.status.isEnd)
  }

  static func contains(_ bytes: ArraySlice<UInt8>, _ part: [UInt8]) -> Bool {
    guard let first = part.first else { return true }
    var index = bytes.startIndex
    while index + part.count <= bytes.endIndex {
      if bytes[index] == first, bytes[index..<(index + part.count)].elementsEqual(part) { return true }
      index += 1
    }
    return false
  }

  private static func words(_ span: TimeSpan) -> String {
    let microseconds = span.nanoseconds / 1_000
    if microseconds < 1_000 { return "\(microseconds) µs" }
    if microseconds < 1_000_000 { return "\(microseconds / 1_000) ms" }
    return microseconds % 1_000_000 == 0 ? "\(microseconds / 1_000_000) s" : "\(microseconds / 1_000) ms"
  }
}
