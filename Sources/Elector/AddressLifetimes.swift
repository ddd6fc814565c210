// When the lifetime of each address that is held began: the kernel takes one away when it is over, and whether it did so or
// another program can be told by that only.

import Kernel
import Primitives

struct AddressLifetimes {
  /// Long enough for a host that stalls for seconds, and for a kernel whose rtnl lock is busy.
  static let span = TimeSpan.seconds(8)

  private struct Key: Hashable {
    let interface: UInt32
    let prefix: AddressPrefix

    init(_ address: InterfaceAddress) {
      interface = address.interface
      prefix = address.prefix
    }
  }
  /// One for each address that is held.
  private var begun: [Key: Instant] = [:]

  /// It was added or prolonged.
  mutating func begin(_ address: InterfaceAddress, now: Instant) { begun[Key(address)] = now }

  /// It is not held any more.
  mutating func forget(_ address: InterfaceAddress) { begun[Key(address)] = nil }

  /// It is gone, and not by us: for how long nobody had prolonged it, if that is why; nil if another program removed it.
  func expired(_ address: InterfaceAddress, now: Instant) -> TimeSpan? {
    guard let begun = begun[Key(address)] else { return nil }
    // The kernel counts in whole seconds, and rounds down.
    return now - begun >= Self.span - .seconds(1) ? now - begun : nil
  }
}
