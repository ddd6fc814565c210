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

extension Readiness {
  // Asked for every event of every loop: single tests of constant bits, where a set literal would be built at run time.

  /// Everything, edge-triggered: what a data connection is registered for, once.
  @inlinable package static var allEdges: Readiness { Readiness(rawValue: 0x001 | 0x004 | 0x2000 | 1 << 31) }

  /// Broken, or both directions are over.
  @inlinable package var isOver: Bool { rawValue & (0x008 | 0x010) != 0 }
  /// Something to be read, or the end.
  @inlinable package var isReadable: Bool { rawValue & (0x001 | 0x2000) != 0 }
  /// The peer has ended its direction.
  @inlinable package var hasPeerClosed: Bool { rawValue & 0x2000 != 0 }
  @inlinable package var isWritable: Bool { rawValue & 0x004 != 0 }
  @inlinable package var hasError: Bool { rawValue & 0x008 != 0 }
}
