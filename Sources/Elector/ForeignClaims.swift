// Others that say to have an address that this node holds: a machine with the same address, or two holders. Each is said,
// and defended as RFC 5227 section 2.4 (c) has it: one announcement, then none for ten seconds, whatever comes.

import Primitives
import Wire

/// One VIP's address under dispute.
struct ForeignClaims: Sendable {
  /// RFC 5227 DEFEND_INTERVAL.
  static let defendInterval = TimeSpan.seconds(10)
  /// After a gain the former holder's last packets may still be on their way.
  static let grace = TimeSpan.seconds(1)
  /// `status` tells of it for so long.
  static let shownFor = TimeSpan.seconds(30)

  private(set) var claimant = MACAddress(0)
  private(set) var seenAt: Instant?
  private var defendedAt: Instant?
  /// Since the last defence.
  private var count = 0

  /// A claim. What to do about it now: nil is nothing, else how many claims since the last defence this one stands for.
  mutating func note(_ sender: MACAddress, now: Instant) -> Int? {
    claimant = sender
    seenAt = now
    count += 1
    if let defendedAt, now < defendedAt + Self.defendInterval { return nil }
    defer { count = 0 }
    defendedAt = now
    return count
  }

  func isShown(now: Instant) -> Bool { seenAt.map { now < $0 + Self.shownFor } ?? false }
}
