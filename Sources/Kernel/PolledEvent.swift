// Events of a poller for those who do not import the C module.

internal import CLinux

/// One event of the last batch.
package struct PolledEvent {
  package let readiness: Readiness
  /// What `Poller.add` was given for the descriptor.
  package let token: UInt64
}

extension Poller {
  /// Event number `index` of the last `wait()`.
  package borrowing func event(_ index: Int) -> PolledEvent {
    PolledEvent(readiness: Readiness(rawValue: events[index].events), token: events[index].data.u64)
  }
}
