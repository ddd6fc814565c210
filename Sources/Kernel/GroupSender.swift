// For who only speaks to a multicast group and does not listen, and signals to processes that are held by descriptor.

internal import CLinux
internal import Glibc
package import Primitives

/// A non-blocking UDP socket that sends to one IPv4 group through one interface. It joins nothing, so nothing piles up in it.
package struct GroupSender: ~Copyable, Sendable {
  private let descriptor: FileDescriptor
  private let group: UInt32
  private let port: UInt16

  /// Throws if the interface is not there, or `group` or `source` is not IPv4.
  package init(group: Endpoint, interface index: UInt32, source: IPAddress) throws(SystemError) {
    guard let value = group.address.v4Value, let sourceValue = source.v4Value else {
      throw SystemError("send to the group \(group) as \(source)", code: EAFNOSUPPORT)
    }
    descriptor = FileDescriptor(
      owning: try checkedCall("send to the group \(group) through interface \(index) as \(source)") {
        afloat_multicast_sender_open(index, sourceValue)
      })
    self.group = value
    port = group.port
  }

  /// Sends one datagram; 0, or the errno of the refusal. Never blocks, allocates nothing.
  package borrowing func send(_ bytes: UnsafeRawBufferPointer) -> Int32 {
    afloat_multicast_send(descriptor.raw, bytes.baseAddress, bytes.count, group, port)
  }
}

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
