// Owned file descriptors: closed once, by the one who owns them.

internal import CLinux
internal import Glibc

/// A file descriptor that closes itself.
package struct FileDescriptor: ~Copyable, Sendable {
  package let raw: Int32

  /// Takes over `raw`, which must be open and owned by nobody else.
  package init(owning raw: Int32) {
    precondition(raw >= 0, "a file descriptor is not negative")
    self.raw = raw
  }

  deinit { close(raw) }

  /// Gives up ownership: the caller closes it.
  package consuming func release() -> Int32 {
    let raw = raw
    discard self
    return raw
  }

  /// A second descriptor of the same file, close-on-exec.
  package borrowing func duplicate() throws(SystemError) -> FileDescriptor {
    let raw = raw
    return FileDescriptor(owning: try checkedCall("duplicate a descriptor") { fcntl(raw, F_DUPFD_CLOEXEC, 10) })
  }
}

/// Descriptors that arrived together, closed together unless taken one by one.
package struct FileDescriptorList: ~Copyable, Sendable {
  private var raws: [Int32]
  package init(owning raws: [Int32] = []) { self.raws = raws }
  deinit { for raw in raws { close(raw) } }

  package var count: Int { raws.count }
  /// Takes the first one that is left; nil when none is.
  package mutating func takeFirst() -> FileDescriptor? {
    raws.isEmpty ? nil : FileDescriptor(owning: raws.removeFirst())
  }
}

/// A counter that wakes a poller from another thread (eventfd).
package struct WakeUp: ~Copyable, Sendable {
  package let descriptor: FileDescriptor

  package init() throws(SystemError) {
    descriptor = FileDescriptor(
      owning: try checkedCall("create an eventfd") { eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC)) })
  }

  package borrowing func signal() { _ = eventfd_write(descriptor.raw, 1) }

  package borrowing func clear() {
    var count: eventfd_t = 0
    _ = eventfd_read(descriptor.raw, &count)
  }
}
