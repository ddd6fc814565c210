// Small things that a child process does at its start and end.

internal import CLinux
internal import Glibc

package enum Signals {
  /// SIGTERM, SIGINT, SIGHUP and SIGPIPE do nothing from here on.
  package static func ignoreRequestsToEnd() {
    for number in [SIGTERM, SIGINT, SIGHUP, SIGPIPE] { signal(number, SIG_IGN) }
  }
}

package enum Console {
  /// One line to standard error.
  package static func error(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = write(2, bytes, bytes.count)
  }
}

extension FileDescriptor {
  /// Whether `raw` is open in this process.
  package static func isOpen(_ raw: Int32) -> Bool { fcntl(raw, F_GETFD) >= 0 }
}

extension SystemError {
  package static let connectionReset = ECONNRESET
  package static let connectionRefused = ECONNREFUSED
  package static let noDevice = ENODEV
}

/// Closed at first; once open, open for ever.
package struct Latch: ~Copyable, Sendable {
  private let descriptor: FileDescriptor

  package init() throws(SystemError) {
    descriptor = FileDescriptor(owning: try checkedCall("create an eventfd") { eventfd(0, Int32(EFD_CLOEXEC)) })
  }

  package borrowing func open() { _ = eventfd_write(descriptor.raw, 1) }

  /// Waits until it is open.
  package borrowing func wait() {
    var event = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
    while poll(&event, 1, -1) <= 0 {}
  }
}
