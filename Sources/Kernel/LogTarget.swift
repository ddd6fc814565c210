// Where log lines go when they leave a process: a descriptor, or the system's log over its Unix socket; and the local time that
// such lines traditionally carry.

internal import CLinux
internal import Glibc

package enum LogTarget {
  package static let syslogPath = "/dev/log"

  /// Opens a file to be appended to, or a pipe that somebody reads; never waits for a reader.
  package static func open(_ path: String) throws(SystemError) -> FileDescriptor {
    FileDescriptor(
      owning: try checkedCall("open \(path)") {
        Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode_t(0o640))
      })
  }

  /// Another descriptor of this process's standard output.
  package static func duplicateOutput() throws(SystemError) -> FileDescriptor {
    FileDescriptor(
      owning: try checkedCall("duplicate standard output") { fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10) })
  }

  /// Writes everything, waiting where the other end is slow, and gives up when it takes nothing for a second. Returns how much
  /// was written, and why not all of it.
  package static func write(
    _ raw: Int32, _ bytes: UnsafePointer<UInt8>, _ count: Int
  ) -> (written: Int, failure: SystemError?) {
    var written = 0
    while written < count {
      let result = Glibc.write(raw, bytes + written, count - written)
      if result > 0 {
        written += result
      } else if errno == EAGAIN {
        // Somebody else's non-blocking pipe.
        var waiting = pollfd(fd: raw, events: Int16(POLLOUT), revents: 0)
        if poll(&waiting, 1, 1_000) == 0 { return (written, SystemError("write", code: EAGAIN)) }
      } else if errno != EINTR {
        return (written, .last("write"))
      }
    }
    return (written, nil)
  }

  /// Connects to the system's log at `path`; -1 where there is none.
  package static func connectSyslog(_ path: String) -> Int32 {
    path.withCString { afloat_connect_datagram($0) }
  }

  /// One message. False when it could not be sent: within a tenth of a second, or at all (then `isGone`).
  package static func send(
    _ raw: Int32, _ bytes: UnsafePointer<UInt8>, _ count: Int
  ) -> (isSent: Bool, isGone: Bool) {
    for _ in 0..<2 {
      let result = Glibc.send(raw, bytes, count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
      if result >= 0 { return (true, false) }
      guard errno == EAGAIN || errno == EINTR || errno == ENOBUFS else { return (false, errno != EMSGSIZE) }
      var waiting = pollfd(fd: raw, events: Int16(POLLOUT), revents: 0)
      _ = poll(&waiting, 1, 100)
    }
    return (false, false)
  }

  package static var processID: Int32 { getpid() }
}

/// A moment in parts.
package struct LocalTime: Sendable {
  package private(set) var year: Int32 = 1970
  /// 1…12, 1…31.
  package private(set) var month: Int32 = 1
  package private(set) var day: Int32 = 1
  package private(set) var hour: Int32 = 0
  package private(set) var minute: Int32 = 0
  package private(set) var second: Int32 = 0
  /// East of Greenwich.
  package private(set) var offsetMinutes: Int32 = 0

  package init() {}

  /// In the host's time zone.
  package init(unixSecond: Int64) {
    var time = time_t(unixSecond)
    var parts = tm()
    localtime_r(&time, &parts)
    self.init(parts)
  }

  package init(utcSecond: Int64) {
    var time = time_t(utcSecond)
    var parts = tm()
    gmtime_r(&time, &parts)
    self.init(parts)
  }

  private init(_ parts: tm) {
    year = parts.tm_year + 1900
    month = parts.tm_mon + 1
    day = parts.tm_mday
    hour = parts.tm_hour
    minute = parts.tm_min
    second = parts.tm_sec
    offsetMinutes = Int32(parts.tm_gmtoff / 60)
  }
}

/// A file by what it is, not by its name: whether a log has been renamed away under its writer.
package struct FileIdentity: Equatable, Sendable {
  private let device: UInt64
  private let number: UInt64

  /// Nil if there is none.
  package init?(path: String) {
    var information = stat()
    guard stat(path, &information) == 0 else { return nil }
    (device, number) = (UInt64(information.st_dev), UInt64(information.st_ino))
  }

  package init?(of descriptor: borrowing FileDescriptor) {
    var information = stat()
    guard fstat(descriptor.raw, &information) == 0 else { return nil }
    (device, number) = (UInt64(information.st_dev), UInt64(information.st_ino))
  }
}
