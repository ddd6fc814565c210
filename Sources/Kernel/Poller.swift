// epoll: one instance per loop.

package import CLinux
internal import Glibc
package import Primitives

/// What a descriptor is ready for.
package struct Readiness: OptionSet, Sendable {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }
  package static let read = Readiness(rawValue: 0x001)
  package static let write = Readiness(rawValue: 0x004)
  package static let error = Readiness(rawValue: 0x008)
  package static let hangUp = Readiness(rawValue: 0x010)
  package static let peerClosed = Readiness(rawValue: 0x2000)
  package static let edgeTriggered = Readiness(rawValue: 1 << 31)
}

/// One epoll instance and its batch of events.
package struct Poller: ~Copyable {
  package let descriptor: FileDescriptor
  /// `capacity` events; the first `wait()` of them are valid.
  package let events: UnsafeMutablePointer<epoll_event>
  package let capacity: Int

  package init(capacity: Int = 512) throws(SystemError) {
    descriptor = FileDescriptor(
      owning: try checkedCall("create an epoll instance") { epoll_create1(Int32(EPOLL_CLOEXEC)) })
    events = .allocate(capacity: capacity)
    events.initialize(repeating: epoll_event(), count: capacity)
    self.capacity = capacity
  }

  deinit { events.deallocate() }

  /// `token` comes back with each event of this descriptor.
  package borrowing func add(_ raw: Int32, _ interest: Readiness, token: UInt64) throws(SystemError) {
    try control(EPOLL_CTL_ADD, raw, interest, token)
  }

  package borrowing func modify(_ raw: Int32, _ interest: Readiness, token: UInt64) throws(SystemError) {
    try control(EPOLL_CTL_MOD, raw, interest, token)
  }

  package borrowing func remove(_ raw: Int32) {
    var event = epoll_event()
    _ = epoll_ctl(descriptor.raw, EPOLL_CTL_DEL, raw, &event)
  }

  private borrowing func control(_ operation: Int32, _ raw: Int32, _ interest: Readiness, _ token: UInt64)
    throws(SystemError)
  {
    var event = epoll_event()
    event.events = interest.rawValue
    event.data.u64 = token
    let poller = descriptor.raw
    try checkedCall("watch descriptor \(raw)") { epoll_ctl(poller, operation, raw, &event) }
  }

  /// Waits for events; nil waits without limit, a past time-out polls. An interruption counts as none.
  /// Rounded up to whole milliseconds: use a timerfd where that is too coarse.
  package borrowing func wait(timeout: TimeSpan?) -> Int {
    let milliseconds: Int32 =
      timeout.map { $0 <= .zero ? 0 : Int32(clamping: ($0.nanoseconds + 999_999) / 1_000_000) } ?? -1
    return max(0, Int(epoll_wait(descriptor.raw, events, Int32(capacity), milliseconds)))
  }
}

/// A timer that a poller can wait for, exact to the nanosecond that the kernel gives (CLOCK_MONOTONIC).
package struct Timer: ~Copyable, Sendable {
  package let descriptor: FileDescriptor

  package init() throws(SystemError) {
    descriptor = FileDescriptor(
      owning: try checkedCall("create a timer") {
        timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK | TFD_CLOEXEC))
      })
  }

  /// Fires once at `instant` (at once if it has passed); `.distantFuture` disarms.
  package borrowing func arm(at instant: Instant) {
    var setting = itimerspec()
    if instant != .distantFuture {
      let nanoseconds = max(1, instant.nanoseconds)
      setting.it_value.tv_sec = Int(nanoseconds / 1_000_000_000)
      setting.it_value.tv_nsec = Int(nanoseconds % 1_000_000_000)
    }
    timerfd_settime(descriptor.raw, Int32(TFD_TIMER_ABSTIME), &setting, nil)
  }

  package borrowing func clear() {
    var count: UInt64 = 0
    _ = read(descriptor.raw, &count, 8)
  }
}
