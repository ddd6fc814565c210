// The access log's own thread: takes records out of the workers' rings, puts them into words and writes them, many at a time.
// A slow disk or reader holds up nobody but this thread; what does not fit into the rings meanwhile is counted as dropped.

internal import Control
internal import Kernel
internal import Primitives
internal import Synchronization

final class AccessLog: Sendable {
  /// Lines that are put together before they are written.
  private static let batchByteCount = 128 * 1024
  /// Records of one ring before the next one has its turn.
  private static let largestTurn = 4096
  /// While lines come, they are gathered for this long: a turn takes a worker that shares its processor some 3 % of it away.
  private static let gathering = TimeSpan.milliseconds(4)
  /// A wake-up that was missed costs this much.
  private static let idling = TimeSpan.milliseconds(200)
  /// local0.info, as HAProxy's.
  private static let syslogPriority = 134

  /// Where lines go.
  private enum Sink {
    case nowhere
    case descriptor(Int32)
    case syslog(Int32)
  }

  private struct State {
    var format = AccessLogConfiguration.Format.combined
    var target: AccessLogConfiguration.Target?
    /// A descriptor that has come and is not used yet; ours.
    var incoming: Int32 = -1
    var hasStarted = false
    var isStopping = false
    var hasEnded = false
    var failure: String?
    /// Slots of each pool's servers, and how many slots listeners have: for the loads in HAProxy's format.
    var pools: [Int32: [Int32]] = [:]
    var listenerCount = 0
  }

  let rings: [LogRing]
  /// The thread waits for records: whoever brings one wakes it.
  let isWaiting = Atomic<Bool>(false)
  let wakeUp: WakeUp
  private let shared: SharedState
  private let syslogPath: String
  private let state = Mutex(State())
  private let written = Counter()
  /// Lines that could not be written.
  private let lost = Counter()

  init(shared: SharedState, rings: [LogRing], syslogPath: String = LogTarget.syslogPath) throws(SystemError) {
    self.shared = shared
    self.rings = rings
    self.syslogPath = syslogPath
    wakeUp = try WakeUp()
  }

  /// A worker has published a record.
  @inline(__always)  // once per logged exchange: one load while the log's thread is busy
  func wakeIfWaiting() {
    if isWaiting.load(ordering: .relaxed) && isWaiting.exchange(false, ordering: .relaxed) { wakeUp.signal() }
  }

  var figures: AccessLogFigures {
    var figures = AccessLogFigures()
    figures.written = written.current
    figures.dropped = rings.reduce(lost.current) { $0 + $1.dropped.current }
    return figures
  }

  /// For people, while lines cannot be written.
  var failure: String? { state.withLock { $0.failure } }

  // MARK: From the main thread

  /// What is logged, and how, from now on; nil: nothing. A file's or standard output's descriptor comes by `use`.
  func configure(_ configuration: AccessLogConfiguration?, pools: [Int32: [Int32]], listenerCount: Int) {
    let starts = state.withLock { state in
      state.target = configuration?.target
      if let format = configuration?.format { state.format = format }
      if configuration == nil { state.failure = nil }
      state.pools = pools
      state.listenerCount = listenerCount
      if configuration == nil || state.hasStarted { return false }
      state.hasStarted = true
      return true
    }
    if starts {
      do throws(SystemError) { try Threads.start("access log") { self.run() } } catch {
        state.withLock {
          $0.hasStarted = false
          $0.failure = error.description
        }
      }
    }
    wakeUp.signal()
  }

  /// Lines go to this descriptor, which is ours from here on, once those that are under way have gone to the one before.
  func use(_ descriptor: consuming FileDescriptor) {
    let raw = descriptor.release()
    let replaced = state.withLock { state in
      let old = state.incoming
      state.incoming = raw
      return old
    }
    if replaced >= 0 { StreamSocket.close(replaced) }
    wakeUp.signal()
  }

  /// Writes what is left, for `milliseconds` at most.
  func finish(milliseconds: Int) {
    let runs = state.withLock { state in
      state.isStopping = true
      return state.hasStarted
    }
    if !runs { return }
    wakeUp.signal()
    for _ in 0..<milliseconds {
      if state.withLock({ $0.hasEnded }) { return }
      Threads.sleep(.milliseconds(1))
    }
  }

  // MARK: The thread

  private func run() {
    guard let poller = try? Poller(capacity: 1), (try? poller.add(wakeUp.descriptor.raw, .read, token: 0)) != nil else {
      state.withLock { $0.failure = "the access log's thread cannot wait for records" }
      return
    }
    var writer = Writer(log: self)
    while true {
      let wasBusy = writer.turn()
      if !wasBusy && state.withLock({ $0.isStopping }) { break }
      if !wasBusy {
        isWaiting.store(true, ordering: .sequentiallyConsistent)
        // Whoever published before that has not woken us.
        if writer.turn() {
          isWaiting.store(false, ordering: .relaxed)
          continue
        }
      }
      if poller.wait(timeout: wasBusy ? Self.gathering : Self.idling) > 0 { wakeUp.clear() }
    }
    writer.close()
    state.withLock { $0.hasEnded = true }
  }

  /// What the thread has; used on it alone.
  private struct Writer: ~Copyable {
    private let log: AccessLog
    private var sink = Sink.nowhere
    private var line = LogLine(.combined)
    private var buffer = LogBuffer(capacity: 2 * AccessLog.batchByteCount)
    private var lineCount: UInt64 = 0
    private var isTorn = false
    private var header: [UInt8] = []
    private var headerSecond: Int64 = -1
    private var pools: [Int32: [Int32]] = [:]
    private var poolLoads: [Int32: Int] = [:]
    private var allConnections = 0

    init(log: AccessLog) { self.log = log }

    /// Whether there was anything to be written.
    mutating func turn() -> Bool {
      let (target, format, incoming) = log.state.withLock { state in
        defer { state.incoming = -1 }
        if state.format == .hap { pools = state.pools }
        return (state.target, state.format, state.incoming)
      }
      if format != line.format { line = LogLine(format) }
      adopt(target, incoming)
      if case .nowhere = sink, target != nil { return false }
      line.unixOffset = Clock.unixNanoseconds - Clock.monotonic.nanoseconds
      if format == .hap { takeLoads() }
      var isBusy = false
      for ring in log.rings {
        for _ in 0..<AccessLog.largestTurn {
          guard let bytes = ring.next() else { break }
          isBusy = true
          put(bytes, needsLoads: format == .hap)
          ring.release(bytes.count)
        }
      }
      flush()
      // It has been switched off.
      if target == nil && !isBusy { close() }
      return isBusy
    }

    mutating func close() {
      if case .descriptor(let raw) = sink { StreamSocket.close(raw) }
      if case .syslog(let raw) = sink { StreamSocket.close(raw) }
      sink = .nowhere
    }

    private mutating func adopt(_ target: AccessLogConfiguration.Target?, _ incoming: Int32) {
      if incoming >= 0 {
        close()
        isTorn = false
        sink = .descriptor(incoming)
      }
      guard case .syslog? = target else { return }
      if case .syslog = sink { return }
      let raw = LogTarget.connectSyslog(log.syslogPath)
      if raw >= 0 {
        close()
        sink = .syslog(raw)
      } else {
        fail("there is no system log at \(log.syslogPath)")
      }
    }

    private func fail(_ words: String?) {
      log.state.withLock { $0.failure = words.map { "the access log cannot be written: \($0)" } }
    }

    private mutating func put(_ bytes: UnsafeRawBufferPointer, needsLoads: Bool) {
      let start = bytes.baseAddress!
      let record = start.loadUnaligned(as: LogRecord.self)
      let texts = LogTexts(
        record, behind: (start + MemoryLayout<LogRecord>.size).assumingMemoryBound(to: UInt8.self))
      if case .syslog(let raw) = sink {
        buffer.clear()
        writeHeader()
        line.write(record, texts, needsLoads ? loads(of: record) : LogLoads(), to: &buffer)
        let (isSent, isGone) = LogTarget.send(raw, buffer.bytes, buffer.count - 1)
        if isGone { close() }
        if isSent { log.written.increase() } else { log.lost.increase() }
        buffer.clear()
        return
      }
      line.write(record, texts, needsLoads ? loads(of: record) : LogLoads(), to: &buffer)
      lineCount += 1
      if buffer.count >= AccessLog.batchByteCount { flush() }
    }

    /// `<134>Nov 26 08:12:14 afloat-balancer[123]: ` (RFC 3164).
    private mutating func writeHeader() {
      let second = Clock.unixNanoseconds / 1_000_000_000
      if second != headerSecond {
        headerSecond = second
        let time = LocalTime(unixSecond: second)
        func two(_ value: Int32, _ pad: String) -> String { (value < 10 ? pad : "") + "\(value)" }
        header = Array(
          ("<\(AccessLog.syslogPriority)>\(LogLine.month(time.month)) \(two(time.day, " ")) "
            + "\(two(time.hour, "0")):\(two(time.minute, "0")):\(two(time.second, "0")) "
            + "afloat-balancer[\(LogTarget.processID)]: ").utf8)
      }
      buffer.makeRoom(header.count)
      for byte in header { buffer.append(byte) }
    }

    private mutating func flush() {
      if lineCount == 0 { return }
      defer {
        buffer.clear()
        lineCount = 0
      }
      guard case .descriptor(let raw) = sink else {
        log.lost.add(lineCount)
        return
      }
      if isTorn {
        // The end of a line is missing: the next one must not go on in the middle of it.
        var end: UInt8 = 10
        isTorn = LogTarget.write(raw, &end, 1).written == 0
      }
      let (count, failure) = isTorn ? (written: 0, failure: nil) : LogTarget.write(raw, buffer.bytes, buffer.count)
      var whole: UInt64 = 0
      for position in 0..<count where buffer.bytes[position] == 10 { whole += 1 }
      log.written.add(whole)
      log.lost.add(lineCount - whole)
      if let failure {
        isTorn = count > 0 && buffer.bytes[count - 1] != 10
        fail(failure.cause)
      } else if log.failure != nil && !isTorn {
        fail(nil)
      }
    }

    // MARK: Loads

    private mutating func takeLoads() {
      poolLoads = [:]
      let count = log.state.withLock { $0.listenerCount }
      allConnections = (0..<count).reduce(0) {
        $0 + log.shared.listenerConnections[$1].load(ordering: .relaxed)
      }
    }

    private mutating func loads(of record: LogRecord) -> LogLoads {
      let shared = log.shared
      var loads = LogLoads(all: allConnections)
      if record.listener >= 0 {
        loads.listener = shared.listenerConnections[Int(record.listener)].load(ordering: .relaxed)
      }
      if record.pool >= 0 {
        if poolLoads[record.pool] == nil {
          poolLoads[record.pool] = (pools[record.pool] ?? []).reduce(0) {
            $0 + Int(shared.serverLoads[Int($1)].connections.load(ordering: .relaxed))
          }
        }
        loads.pool = poolLoads[record.pool] ?? 0
        loads.poolQueue = Int(shared.poolQueues[Int(record.pool)].waiting.load(ordering: .relaxed))
      }
      if record.server >= 0 {
        loads.server = Int(shared.serverLoads[Int(record.server)].connections.load(ordering: .relaxed))
        loads.serverQueue = Int(shared.serverLoads[Int(record.server)].waiting.load(ordering: .relaxed))
      }
      return loads
    }
  }
}
