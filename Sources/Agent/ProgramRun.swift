// One run of an operator's program: its time limit, what it prints, line by line within a bound, and how it ended.

internal import Kernel
internal import Primitives

/// Bytes into lines of text. A line that is too long is cut, what follows of it is dropped.
package struct OutputLines {
  package static let longestLine = 512
  private var partial: [UInt8] = []
  private var isCut = false

  package init() {}

  package mutating func take(_ bytes: some Sequence<UInt8>, _ line: (String) -> Void) {
    for byte in bytes {
      if byte == 10 {
        finish(line)
      } else if partial.count < Self.longestLine {
        partial.append(byte)
      } else {
        isCut = true
      }
    }
  }

  /// Call at the end: a last line may lack its newline. Lines of nothing are left out.
  package mutating func finish(_ line: (String) -> Void) {
    let text = String(decoding: partial.reversed().drop { $0 <= 32 }.reversed(), as: UTF8.self)
    if !text.isEmpty { line(isCut ? text + " …" : text) }
    partial = []
    isCut = false
  }
}

final class ProgramRun {
  /// So much is read of a program's output when it wakes the loop, and after its end.
  private static let readsAtOnce = 4
  private static let readsAtEnd = 32

  let deadline: Instant
  private let program: Program
  private var lines = OutputLines()
  private(set) var isOverdue = false

  /// - Parameter tokens: of the end and of the output, in `poller`.
  init(
    _ path: String, environment: [String], deadline: Instant, poller: borrowing Poller,
    tokens: (end: UInt64, output: UInt64)
  ) throws(SystemError) {
    self.deadline = deadline
    program = try Program(path, environment: environment)
    do throws(SystemError) {
      try poller.add(program.processDescriptor, .read, token: tokens.end)
      try poller.add(program.outputDescriptor, .read, token: tokens.output)
    } catch {
      program.killGroup()
      while program.ending() == nil { Threads.sleep(.milliseconds(1)) }
      throw error
    }
  }

  /// Something was printed, or nothing more will come.
  func readOutput(_ poller: borrowing Poller, _ line: (String) -> Void) {
    if !read(Self.readsAtOnce, line) { poller.remove(program.outputDescriptor) }
  }

  private func read(_ times: Int, _ line: (String) -> Void) -> Bool {
    var room = [UInt8](repeating: 0, count: 4096)
    for _ in 0..<times {
      guard let bytes = program.read(&room) else { return true }
      if bytes.isEmpty { return false }
      lines.take(bytes, line)
    }
    return true
  }

  /// Its time is over: it is ended with all that it started. True the first time.
  func end() -> Bool {
    defer { isOverdue = true }
    program.killGroup()
    return !isOverdue
  }

  /// The program has ended: how. Nil if it has not. `killsRest`: what it started and left behind is ended too.
  func ended(_ poller: borrowing Poller, killsRest: Bool, _ line: (String) -> Void) -> ProcessEnding? {
    if killsRest { program.killGroup() }
    guard let ending = program.ending() else { return nil }
    _ = read(Self.readsAtEnd, line)
    lines.finish(line)
    poller.remove(program.processDescriptor)
    poller.remove(program.outputDescriptor)
    return ending
  }
}
