// One check of one server, from connect to verdict: a small state machine on a non-blocking socket. The thread that runs
// the checks owns the poller; this only says what came of what it was told.

internal import Control
internal import HTTP1
internal import Health
internal import Kernel
internal import Primitives

struct HealthProbe {
  /// Of an answer this much is looked at.
  static let largestAnswerByteCount = 64 * 1024

  let kind: HealthCheckConfiguration.Kind
  let request: [UInt8]
  let timeout: TimeSpan
  let address: SocketAddress

  /// -1 while no check runs.
  private(set) var descriptor: Int32 = -1
  private(set) var deadline = Instant.distantFuture
  private var started = Instant(nanoseconds: 0)
  private var isConnected = false
  private var sentCount = 0
  private var received: [UInt8] = []

  init(_ server: ServerConfiguration, _ check: HealthCheckConfiguration) {
    kind = check.kind
    timeout = check.timeout
    address = SocketAddress(server.endpoint)
    switch check.kind {
    case .none: request = []
    case .tcp(let send, _): request = send
    case .http(let path, let method, let host, _, _):
      request = Array(
        """
        \(method) \(path) HTTP/1.1\r
        Host: \(host ?? server.endpoint.description)\r
        User-Agent: afloat-check\r
        Accept: */*\r
        Connection: close\r
        \r\n
        """.utf8)
    }
  }

  var isRunning: Bool { descriptor >= 0 }

  /// Starts a check; an outcome if it failed at once.
  mutating func start(now: Instant) -> CheckOutcome? {
    let result = StreamSocket.connect(to: address)
    if result < 0 { return .failure(StreamSocket.words(for: -result)) }
    descriptor = result
    started = now
    deadline = now + timeout
    isConnected = false
    sentCount = 0
    received = []
    return nil
  }

  mutating func close() {
    if descriptor >= 0 { StreamSocket.close(descriptor) }
    descriptor = -1
    deadline = .distantFuture
    received = []
  }

  /// The deadline has passed.
  func timedOut() -> CheckOutcome {
    .failure("\(isConnected ? "no answer" : "no connection") within \(Self.words(timeout))")
  }

  /// The socket is ready for something; an outcome once there is one.
  mutating func advance(now: Instant) -> CheckOutcome? {
    if !isConnected {
      let code = StreamSocket.pendingError(descriptor)
      if code != 0 { return .failure(StreamSocket.words(for: code)) }
      isConnected = true
    }
    while sentCount < request.count {
      let rest = request.count - sentCount
      let sent = request.withUnsafeBufferPointer {
        StreamSocket.send(descriptor, $0.baseAddress! + sentCount, rest)
      }
      if sent == StreamSocket.wouldBlock { return nil }
      if sent < 0 { return .failure(StreamSocket.words(for: Int32(-sent))) }
      sentCount += sent
    }
    switch kind {
    case .none: return .success("not checked")
    case .tcp(_, let expect):
      if expect.isEmpty { return .success("connected in \(Self.words(now - started))") }
      return receive(now) { probe, ended in probe.judge(expect, ended, now) }
    case .http: return receive(now) { probe, ended in probe.judgeHTTP(ended, now) }
    }
  }

  private mutating func receive(
    _ now: Instant, _ judge: (borrowing HealthProbe, _ ended: Bool) -> CheckOutcome?
  ) -> CheckOutcome? {
    while true {
      var count = 0
      let piece = [UInt8](unsafeUninitializedCapacity: 16 * 1024) { buffer, used in
        count = StreamSocket.receive(descriptor, buffer.baseAddress!, buffer.count)
        used = max(0, count)
      }
      if count == StreamSocket.wouldBlock { return nil }
      if count < 0 { return .failure(StreamSocket.words(for: Int32(-count))) }
      received += piece
      if let outcome = judge(self, count == 0) { return outcome }
      if count == 0 || received.count >= Self.largestAnswerByteCount {
        return .failure("the answer is incomplete or too long")
      }
    }
  }

  private func judge(_ expected: [UInt8], _ ended: Bool, _ now: Instant) -> CheckOutcome? {
    if Self.contains(received[...], expected) { return .success("answered in \(Self.words(now - started))") }
    return ended ? .failure("the answer does not hold what is expected") : nil
  }

  private func judgeHTTP(_ ended: Bool, _ now: Instant) -> CheckOutcome? {
    guard case .http(_, let method, _, let accepted, let expected) = kind else { return nil }
    var head = ResponseHead()
    let scratch = HeadScratch()
    defer { scratch.deallocate() }
    let padded = received + [UInt8](repeating: 0, count: scanSlack)
    let result = padded.withUnsafeBufferPointer {
      head.parse(
        $0.baseAddress!, count: received.count, isHeadRequest: method == "HEAD", limits: Worker.serverHeadLimits,
        scratch: scratch)
    }
    switch result {
    case .incomplete: return ended ? .failure("the connection was closed before an answer") : nil
    case .fault(let fault): return .failure("the answer is malformed: \(fault.words)")
    case .complete: break
    }
    let status = Int(head.status)
    guard accepted.contains(where: { $0.contains(status) }) else { return .failure("status \(status)") }
    if let expected {
      let body = received[Int(head.byteCount)...]
      let isWhole = ended || (head.framing == .counted && Int64(body.count) >= head.contentLength)
      if !Self.contains(body, Array(expected.utf8)) {
        return isWhole ? .failure("status \(status), but the body does not hold \"\(expected)\"") : nil
      }
    }
    return .success("\(status) in \(Self.words(now - started))")
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
