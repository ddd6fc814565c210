// A blocking stream connection to a path: how the command line reaches the agent. Every call gives up after a time-out,
// so a hung agent cannot hang its operator.

internal import CLinux
internal import Glibc
package import Primitives
internal import Synchronization

package struct LocalStream: ~Copyable {
  private let descriptor: FileDescriptor

  /// Connects to the Unix socket at `path`. `timeout` bounds each later read and write as well.
  package init(path: String, timeout: TimeSpan) throws(SystemError) {
    let milliseconds = Int32(clamping: max(1, timeout.milliseconds))
    descriptor = FileDescriptor(
      owning: try checkedCall("connect to \(path)") { afloat_connect_local(path, milliseconds) })
  }

  /// Writes everything. Throws EAGAIN after the time-out.
  package borrowing func write(_ bytes: [UInt8]) throws(SystemError) {
    let raw = descriptor.raw
    var sent = 0
    while sent < bytes.count {
      let offset = sent
      sent += try checkedCall("send the request") {
        bytes.withUnsafeBytes { send(raw, $0.baseAddress! + offset, $0.count - offset, Int32(MSG_NOSIGNAL)) }
      }
    }
  }

  /// Some bytes, none at the end. Throws EAGAIN after the time-out.
  package borrowing func read() throws(SystemError) -> [UInt8] {
    let raw = descriptor.raw
    var room = [UInt8](repeating: 0, count: 64 * 1024)
    let count = try checkedCall("read the answer") { recv(raw, &room, room.count, 0) }
    return Array(room[..<count])
  }
}

/// The terminal, where there is one.
package enum Terminal {
  package static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
  package static var inputIsTerminal: Bool { isatty(STDIN_FILENO) == 1 }

  private static let outputFault = Atomic<Int32>(0)
  /// Why something that was to be on standard output is not; nil for a reader that has seen enough.
  package static var fault: String? {
    let code = outputFault.load(ordering: .relaxed)
    return code == 0 ? nil : SystemError("write to standard output", code: code).description
  }

  /// Writes all of `text` to standard output or standard error; a closed pipe ends it quietly, other failures are kept in
  /// `fault`.
  package static func write(_ text: String, toError: Bool = false) {
    let bytes = Array(text.utf8)
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(toError ? STDERR_FILENO : STDOUT_FILENO, $0.baseAddress! + written, $0.count - written)
      }
      if count > 0 {
        written += count
      } else if errno != EINTR {
        if !toError && errno != EPIPE { outputFault.store(errno, ordering: .relaxed) }
        return
      }
    }
  }

  /// On Ctrl-C: these words on standard error, then exit status 130.
  package static func onInterrupt(say words: StaticString) {
    afloat_on_interrupt(words.utf8Start, words.utf8CodeUnitCount)
  }

  /// Sleeps; a signal may end it early.
  package static func pause(_ span: TimeSpan) { usleep(UInt32(clamping: span.nanoseconds / 1_000)) }

  /// An environment variable that is there and not empty.
  package static func environment(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
  }
}

extension SystemError {
  package var isNoSuchFile: Bool { code == ENOENT }
}
