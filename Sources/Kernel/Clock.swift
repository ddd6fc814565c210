// The clocks. CLOCK_MONOTONIC unless said.

internal import Glibc
package import Primitives

package enum Clock {
  @inline(__always)  // one clock read per batch of events, on every hot path
  private static func read(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
  }

  package static var monotonic: Instant { Instant(nanoseconds: read(CLOCK_MONOTONIC)) }
  /// Good to the kernel's tick (1–4 ms), cheaper to read.
  package static var monotonicCoarse: Instant { Instant(nanoseconds: read(CLOCK_MONOTONIC_COARSE)) }
  /// Goes on while the machine is suspended.
  package static var boot: Instant { Instant(nanoseconds: read(CLOCK_BOOTTIME)) }
  /// How finely the kernel's timers count.
  package static var resolution: TimeSpan {
    var time = timespec()
    clock_getres(CLOCK_MONOTONIC, &time)
    return .nanoseconds(Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }
  /// Nanoseconds since 1970, for people and logs only.
  package static var unixNanoseconds: Int64 { read(CLOCK_REALTIME) }
}
