// One run of a script that checks a server, and the book of all that run: how many may at once, and what is left of those that
// were killed. Nothing here waits for a script; the thread of the checks is woken when one has ended or printed something.

internal import Kernel
internal import Primitives

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
    case ..<32, 127...159, 0x200b...0x200f, 0x2028...0x202e, 0x2066...0x2069, 0xfeff, 0xfffd: false
    default: true
    }
  }
}

/// A script from its start until it has been reaped.
final class ScriptRun {
  /// One that prints more has lost its way.
  static let largestOutputByteCount = 64 * 1024

  enum Ending: Equatable {
    case ended(ProcessEnding)
    case printedTooMuch
  }

  private let program: Program
  private var line = FirstLine()
  private var outputByteCount = 0
  private(set) var isReaped = false

  /// - Parameter environment: all that it gets, `NAME=VALUE` each.
  init(_ path: String, environment: [String]) throws(SystemError) {
    program = try Program(path, environment: environment)
  }

  /// Has `poller` tell of its end and of what it prints, each under `token`, until the run is gone.
  func watch(_ poller: borrowing Poller, token: UInt64) throws(SystemError) {
    // On edges: an output that its last writer has closed is told of once.
    try poller.add(program.outputDescriptor, [.read, .edgeTriggered], token: token)
    try poller.add(program.processDescriptor, [.read, .edgeTriggered], token: token)
  }

  /// What it has printed, `: ` before it; empty if it has said nothing.
  var words: String {
    let text = line.text
    return text.isEmpty ? "" : ": \(text)"
  }

  /// Reads what has come; how it ended, once it has. What it started and left behind is ended with it.
  func advance() -> Ending? {
    // In this order: what was printed before the end is in the pipe by now. Others may hold it open for as long as they like.
    let hasEnded = program.hasEnded
    var room = [UInt8](repeating: 0, count: 4096)
    while outputByteCount <= Self.largestOutputByteCount, let bytes = program.read(&room), !bytes.isEmpty {
      outputByteCount += bytes.count
      line.take(bytes)
    }
    if hasEnded {
      program.killGroup()
      if let ending = program.ending() {
        isReaped = true
        return .ended(ending)
      }
    }
    return outputByteCount > Self.largestOutputByteCount ? .printedTooMuch : nil
  }

  /// Ends it with all that it has started in its group; `reap` finds out when that has come to pass.
  func kill() { if !isReaped { program.killGroup() } }

  func reap() { if !isReaped, program.ending() != nil { isReaped = true } }
}

/// The scripts of all checks of a thread.
final class ScriptRuns {
  /// Others wait for their turn.
  static let largestCount = 32
  /// For those that are killed at the very end.
  private static let patience = TimeSpan.milliseconds(200)

  private var runningCount = 0
  /// Until they have been reaped: a process may be in the kernel's hands for a while.
  private var killed: [ScriptRun] = []

  var hasRoom: Bool { runningCount < Self.largestCount }

  func start(_ path: String, environment: [String]) throws(SystemError) -> ScriptRun {
    let run = try ScriptRun(path, environment: environment)
    runningCount += 1
    return run
  }

  /// Nobody waits for this run any more. What is left of it is killed.
  func end(_ run: ScriptRun) {
    runningCount -= 1
    if run.isReaped { return }
    run.kill()
    killed.append(run)
  }

  func reap() {
    if killed.isEmpty { return }
    for run in killed { run.reap() }
    killed.removeAll { $0.isReaped }
  }

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
