// One child of the agent: its process, its control socket, what waits to be sent to it, and when it is started again.

internal import Control
internal import Kernel
internal import Primitives

/// A child that is running, waiting to be started again, or stopped for good. Used on the supervisor's thread only.
struct Child: ~Copyable {
  /// Both children speak every second at least; one that has been silent this long is of no use to anybody.
  static let patience = TimeSpan.seconds(10)
  /// Messages that may wait for a child that does not read; at the limit it counts as hung.
  static let maximumWaiting = 1_000

  enum SendResult { case sent, hung }

  private struct Waiting {
    var bytes: [UInt8]
    var descriptors: [Int32]
    /// Keeps the descriptors open until they have been sent.
    var owner: (any AnyObject & Sendable)?
  }

  let name: String
  let path: String
  private var process: ChildProcess?
  private var socket: ControlSocket?
  private var waiting: [Waiting] = []
  private var backOff = BackOff()
  private(set) var startedAt = Instant(nanoseconds: 0)
  /// Nil: running, or not to be started again.
  var restartAt: Instant?
  private(set) var startCount = 0
  /// Why it does not run, in words.
  var downBecause = "not started"
  /// What it said was wrong, before it ended.
  var complaint: String?
  /// When to kill it: it has closed its socket, and should end by itself.
  private(set) var killAt: Instant?
  /// It said that it is ready for work.
  var isReady = false
  private var lastHeard = Instant(nanoseconds: 0)
  /// When it counts as hung unless it says something before.
  var silentAt: Instant { isRunning ? lastHeard + Self.patience : .distantFuture }

  init(name: String, path: String) {
    self.name = name
    self.path = path
  }

  var isRunning: Bool { pid != nil }
  /// Nil where there is none; for the poller.
  private(set) var socketDescriptor: Int32?
  private(set) var processDescriptor: Int32?
  private(set) var pid: Int32?
  var hasWaiting: Bool { !waiting.isEmpty }

  /// What `status` shows; a child that is not to run is not in the list.
  var shown: APIProcess {
    APIProcess(
      name: name, pid: pid, state: pid == nil ? downBecause : isReady ? "running" : "starting",
      restarts: max(0, startCount - 1))
  }

  /// Starts the process with the control socket as descriptor 3 and `descriptors` from 4 on, and sends `first` with
  /// `firstDescriptors`. On failure nothing runs and `restartAt` is set.
  mutating func start(
    user: String, descriptors: [Int32], first: [UInt8], firstDescriptors: [Int32], now: Instant
  ) throws(SystemError) {
    precondition(process == nil, "a child runs once")
    restartAt = nil
    startCount += 1
    startedAt = now
    lastHeard = now
    isReady = false
    waiting = []
    complaint = nil
    killAt = nil
    do throws(SystemError) {
      let pair = try ControlSocket.pair()
      let child = try ChildProcess.start(
        path, arguments: ["--user", user], descriptors: [pair.child.descriptor.raw] + descriptors)
      pid = child.pid
      processDescriptor = child.pidfd.raw
      process = consume child
      let parent = pair.takeParent()
      socketDescriptor = parent.descriptor.raw
      // A child that is gone already does not take it; its pidfd says so.
      _ = try? parent.send(first, descriptors: firstDescriptors)
      try? parent.setNonBlocking()
      socket = consume parent
    } catch {
      downBecause = "cannot be started: \(error)"
      restartAt = now + backOff.delay(afterLifetime: .zero)
      throw error
    }
  }

  /// A start that failed half-way: what runs is ended and reaped (it is fresh, this takes microseconds), and the next start
  /// is planned, so that nothing runs unwatched and nothing is tried without a pause.
  mutating func abandon(because: String, now: Instant) {
    kill()
    while isRunning, !reap(now: now, restart: true) { Threads.sleep(.milliseconds(1)) }
    downBecause = "cannot be started: \(because)"
    restartAt = max(restartAt ?? now, now + .milliseconds(100))
  }

  /// Sends now, or when the child has read what it has. A child that is not running is told nothing.
  /// `descriptors` belong to `owner`, which is kept until they have gone.
  mutating func send(
    _ message: some Encodable, descriptors: [Int32] = [], owner: (any AnyObject & Sendable)? = nil
  ) -> SendResult {
    guard socket != nil else { return .sent }
    guard let bytes = try? MessageCoding.encode(message) else { preconditionFailure("our messages can be encoded") }
    waiting.append(Waiting(bytes: bytes, descriptors: descriptors, owner: owner))
    return flush()
  }

  /// Sends what waits, as far as the child reads.
  mutating func flush() -> SendResult {
    while let first = waiting.first {
      // A socket whose other end is gone: the end of the process is noticed elsewhere.
      guard let sent = try? socket?.send(first.bytes, descriptors: first.descriptors) else {
        waiting = []
        return .sent
      }
      if !sent { return waiting.count > Self.maximumWaiting ? .hung : .sent }
      waiting.removeFirst()
    }
    return .sent
  }

  enum Received { case message([UInt8]), nothing, ended }

  /// The next message, if one waits.
  mutating func receive(now: Instant) -> Received {
    guard socket != nil else { return .ended }
    // A process that ends with messages unread gives ECONNRESET once, before what it still had to say: ask again.
    for _ in 0..<2 {
      do {
        guard let packet = try socket!.receive() else { return .nothing }
        lastHeard = now
        return .message(packet.bytes)
      } catch { continue }
    }
    return .ended
  }

  mutating func closeSocket() {
    socket = nil
    socketDescriptor = nil
    waiting = []
  }

  /// The child has closed its socket: it is about to end, or of no use.
  mutating func hasHungUp(now: Instant) {
    closeSocket()
    killAt = now + .seconds(1)
  }

  /// It has been silent for too long. Its end follows; a process that even SIGKILL does not end is killed again in a while.
  mutating func giveUp(_ now: Instant) {
    lastHeard = now
    complaint = "said nothing for \(Self.patience.milliseconds / 1_000) s and was killed"
    kill()
  }

  mutating func kill() {
    killAt = nil
    process?.signal(9)
  }

  /// Takes note that the process has ended; false if it has not yet. `restart`: plan the next start.
  mutating func reap(now: Instant, restart: Bool) -> Bool {
    guard let reason = process?.endedBecause() else { return false }
    downBecause = complaint.map { "\(reason): \($0)" } ?? reason
    killAt = nil
    process = nil
    pid = nil
    processDescriptor = nil
    isReady = false
    closeSocket()
    restartAt = restart ? now + backOff.delay(afterLifetime: now - startedAt) : nil
    return true
  }
}
