// Signals to processes that are held by descriptor, and other small calls of who looks after processes.

internal import CLinux
internal import Glibc
package import Primitives

package enum ProcessDescriptor {
  /// Sends a signal through a pidfd.
  package static func signal(_ pidfd: borrowing FileDescriptor, _ number: Int32) {
    _ = afloat_pidfd_send_signal(pidfd.raw, number)
  }

  /// Whether the process of a pidfd has ended; waits for at most `within`.
  package static func hasEnded(_ pidfd: borrowing FileDescriptor, within: TimeSpan) -> Bool {
    var poll = pollfd(fd: pidfd.raw, events: Int16(POLLIN), revents: 0)
    return Glibc.poll(&poll, 1, Int32(clamping: within.milliseconds)) > 0
  }
}

extension Threads {
  /// Puts the calling thread to sleep.
  package static func sleep(_ span: TimeSpan) {
    var remaining = timespec(
      tv_sec: Int(span.nanoseconds / 1_000_000_000), tv_nsec: Int(span.nanoseconds % 1_000_000_000))
    var left = timespec()
    while nanosleep(&remaining, &left) != 0, errno == EINTR { remaining = left }
  }
}

extension FileDescriptor {
  /// A second descriptor of what somebody else owns, close-on-exec.
  package static func duplicate(of raw: Int32) throws(SystemError) -> FileDescriptor {
    FileDescriptor(owning: try checkedCall("duplicate a descriptor") { fcntl(raw, F_DUPFD_CLOEXEC, 10) })
  }
}
