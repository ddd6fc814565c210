// One run of a script that checks a server, and the book of all that run: how many may at once, and what is left of those that
// were killed. Each runs on a thread of its own, from its start on; the thread of the checks is woken when one has ended.

internal import Kernel
internal import Primitives
internal import Synchronization

/// The first line that a script prints, fit to be shown: what cannot be printed is a question mark.
struct FirstLine {
  /// Of a longer line this much is kept, and " …" says so: 200 bytes with it.
  static let largestByteCount = 196
  private var bytes: [UInt8] = []
  private var isWhole = false
  private var isCut = false

  mutating func take(_ part: some Sequence<UInt8>) {
    for byte in part where !isWhole {
      if bytes.isEmpty && byte <= 32 { continue }
      if byte == 10 {
        isWhole = true
      } else if bytes.count == Self.largestByteCount {
        isWhole = true
        isCut = true
      } else {
        bytes.append(byte)
      }
    }
  }

  /// Empty where nothing was printed. A character that the cut goes through is left out.
  var text: String {
    var scalars = Array(String(decoding: bytes, as: UTF8.self).unicodeScalars)
    if isCut, scalars.last == "\u{fffd}" { scalars.removeLast() }
    while let last = scalars.last, last.value <= 32 { scalars.removeLast() }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars.map { $0.value == 9 ? " " : Self.isPrintable($0) ? $0 : "?" })
    return String(view) + (isCut ? " …" : "")
  }

  private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case ..<32, 127...159, 0x61c, 0x200b...0x200f, 0x2028...0x202e, 0x2066...0x2069, 0xfeff, 0xfffd: false
    default: true
    }
  }
}

/// Tells the thread of the checks which runs are over.
final class ScriptBoard: Sendable {
  private let tokens = Mutex<[UInt64]>([])
  let wakeUp: WakeUp

  init() throws(SystemError) { wakeUp = try WakeUp() }

  func post(_ token: UInt64) {
    tokens.withLock { $0.append(token) }
    wakeUp.signal()
  }

  func takeAll() -> [UInt64] {
    wakeUp.clear()
    return tokens.withLock { tokens in
      defer { tokens = [] }
      return tokens
    }
  }
}

/// A script from its start until it has been reaped, on a thread of its own: a start that hangs (a file system that does)
/// holds up nobody else.
final class ScriptRun: Sendable {
  /// One that prints more has lost its way.
  static let largestOutputByteCount = 64 * 1024
  /// Of it and what it starts: some programs close all that they might have, one by one.
  private static let descriptorLimit: UInt64 = 1024

  enum Ending: Equatable {
    case ended(ProcessEnding)
    case printedTooMuch
    case notStarted(SystemError)
  }

  private struct State {
    var line = FirstLine()
    /// While its number is its own.
    var group: ProcessGroup?
    var isKilled = false
    var ending: Ending?
    /// Nothing is left of it.
    var isOver = false
    /// Of who wants to hear of the ending.
    var token: UInt64?
  }

  private let state = Mutex(State())
  private let board: ScriptBoard

  /// One that has no thread yet.
  init(_ board: ScriptBoard) { self.board = board }

  /// What it has printed, `: ` before it; empty if it has said nothing.
  var words: String {
    let text = state.withLock { $0.line.text }
    return text.isEmpty ? "" : ": \(text)"
  }

  /// Nil until it has ended, or has been found to be none that ends well.
  var ending: Ending? { state.withLock { $0.ending } }

  var isOver: Bool { state.withLock { $0.isOver } }

  /// Has the board tell `token` as soon as there is an ending.
  func watch(_ token: UInt64) {
    let hasEnding = state.withLock { state in
      state.token = token
      return state.ending != nil
    }
    if hasEnding { board.post(token) }
  }

  /// Ends it with all that it has started in its group, now or as soon as it has been started. Nobody is told of it any more.
  func kill() {
    state.withLock { state in
      state.isKilled = true
      state.token = nil
      state.group?.kill()
    }
  }

  // MARK: On its thread

  /// Runs the script to its end; `environment`: all that it gets, `NAME=VALUE` each.
  fileprivate func work(_ path: String, _ environment: [String]) {
    // The kernel copies the table of descriptors for a new process: here it holds next to nothing, whatever the balancer has.
    Threads.leaveDescriptors(keeping: board.wakeUp.descriptor)
    do throws(SystemError) {
      let program = try Program(path, environment: environment, descriptorLimit: Self.descriptorLimit)
      follow(program)
    } catch {
      end(.notStarted(error))
    }
    state.withLock { $0.isOver = true }
  }

  private func end(_ ending: Ending) {
    let token = state.withLock { state in
      if state.ending != nil { return UInt64?.none }
      state.ending = ending
      return state.token
    }
    if let token { board.post(token) }
  }

  private func follow(_ program: borrowing Program) {
    let group = program.group
    state.withLock { state in
      state.group = group
      if state.isKilled { group.kill() }
    }
    var room = [UInt8](repeating: 0, count: 4096)
    var byteCount = 0
    var mayPrint = true
    var hasEnded = false
    while !hasEnded {
      program.wait(forOutput: mayPrint)
      // In this order: what was printed before the end is in the pipe by now. Others may hold it open for as long as they like.
      hasEnded = program.hasEnded
      while mayPrint, let bytes = program.read(&room) {
        byteCount += bytes.count
        mayPrint = !bytes.isEmpty && byteCount <= Self.largestOutputByteCount
        state.withLock { $0.line.take(bytes) }
      }
      if byteCount > Self.largestOutputByteCount {
        end(.printedTooMuch)
        group.kill()
      }
    }
    state.withLock { $0.group = nil }
    // What it started and left behind is ended with it; not reaped yet, so the number is still its own.
    group.kill()
    var ending = program.ending()
    while ending == nil {
      Threads.sleep(.milliseconds(1))
      ending = program.ending()
    }
    if let ending { end(.ended(ending)) }
  }
}

/// The scripts of all checks of a thread.
final class ScriptRuns {
  /// Others wait for their turn.
  static let largestCount = 32
  /// Beside them so many that were killed and have not ended: processes that are stuck in the kernel, with a thread of ours each.
  static let largestHangingCount = 128
  /// For those that are killed at the very end.
  private static let patience = TimeSpan.milliseconds(200)

  private let board = Result { () throws(SystemError) in try ScriptBoard() }
  private var isWatched = false
  private var runningCount = 0
  /// Until nothing is left of them: a process may be in the kernel's hands for a while.
  private var killed: [ScriptRun] = []

  var hasRoom: Bool { runningCount < Self.largestCount }
  /// No script is started until some of those that were killed have ended.
  var isStuck: Bool { killed.count >= Self.largestHangingCount }

  /// Throws if this node lacks what it takes; whether there is such a script its ending tells.
  func start(_ path: String, environment: [String]) throws(SystemError) -> ScriptRun {
    let run = ScriptRun(try board.get())
    try Threads.start("script") { run.work(path, environment) }
    runningCount += 1
    return run
  }

  /// Has `poller` tell under `token` when some have ended: `takeAll` says which.
  func watch(_ poller: borrowing Poller, token: UInt64) throws(SystemError) {
    if isWatched { return }
    try poller.add(try board.get().wakeUp.descriptor.raw, .read, token: token)
    isWatched = true
  }

  /// The tokens of those that have an ending.
  func takeAll() -> [UInt64] { (try? board.get().takeAll()) ?? [] }

  /// Nobody waits for this run any more. What is left of it is killed.
  func end(_ run: ScriptRun) {
    runningCount -= 1
    if run.isOver { return }
    run.kill()
    killed.append(run)
  }

  func reap() { if !killed.isEmpty { killed.removeAll { $0.isOver } } }

  /// Returns when those that were killed have ended, or after a moment.
  func waitForEnds() {
    let deadline = Clock.monotonic + Self.patience
    reap()
    while !killed.isEmpty, Clock.monotonic < deadline {
      Threads.sleep(.milliseconds(1))
      reap()
    }
  }
}

/// Servers whose checks wait until a script may run, in the order in which they came.
struct ScriptTurns {
  private var waiting: [(index: Int, since: Instant)] = []
  private var first = 0

  var count: Int { waiting.count - first }
  /// Since when the first has waited.
  var waitingSince: Instant? { first < waiting.count ? waiting[first].since : nil }

  mutating func append(_ index: Int, _ now: Instant) { waiting.append((index, now)) }

  mutating func next() -> Int? {
    guard first < waiting.count else { return nil }
    defer {
      first += 1
      // What was taken is dropped in large parts, not one by one.
      if first >= 64 && first * 2 >= waiting.count {
        waiting.removeFirst(first)
        first = 0
      }
    }
    return waiting[first].index
  }

  mutating func keep(_ isWanted: (Int) -> Bool) {
    waiting = waiting[first...].filter { isWanted($0.index) }
    first = 0
  }
}
