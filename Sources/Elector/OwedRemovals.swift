// Addresses that the system would not remove. An address that nobody claims but that still answers is the worst that can be
// left behind, so it is tried again until it is gone or held again.

import Kernel
import Primitives

/// What is still to be removed; each address once.
struct OwedRemovals {
  static let retry = TimeSpan.milliseconds(50)
  /// Beyond it the oldest is given up. More than all the VIPs' addresses of a large configuration.
  static let limit = 4096

  private(set) var addresses: [InterfaceAddress] = []
  private var dueAt = Instant.distantFuture

  var isEmpty: Bool { addresses.isEmpty }

  mutating func owe(_ address: InterfaceAddress, now: Instant) {
    guard !addresses.contains(where: { Hands.same($0, address) }) else { return }
    if addresses.count >= Self.limit { addresses.removeFirst() }
    addresses.append(address)
    dueAt = min(dueAt, now + Self.retry)
  }

  /// It is wanted again.
  mutating func forgive(_ address: InterfaceAddress) { addresses.removeAll { Hands.same($0, address) } }

  /// Tries all of them if it is time. `remove` says whether the address is gone now. Returns those that are.
  mutating func pay(now: Instant, remove: (InterfaceAddress) -> Bool) -> [InterfaceAddress] {
    guard !addresses.isEmpty, now >= dueAt else { return [] }
    var gone: [InterfaceAddress] = []
    addresses.removeAll { address in
      guard remove(address) else { return false }
      gone.append(address)
      return true
    }
    dueAt = addresses.isEmpty ? .distantFuture : now + Self.retry
    return gone
  }

  /// How long to wait for the next try at the most; nil: nothing is owed.
  func wait(now: Instant) -> TimeSpan? { isEmpty ? nil : max(.zero, dueAt - now) }
}
