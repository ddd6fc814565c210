// For rooms that do not import the C shim.

internal import CLinux

extension Poller {
  /// The token of the event at `index`, one of those that the last `wait` counted.
  package borrowing func token(_ index: Int) -> UInt64 { events[index].data.u64 }
}
