// When a host took a VIP: what nobody held two may take at the same moment, from different datagrams or by clocks that
// differ, and both answer until one hears the other. Where one of the two hands it on before it has heard of that, its
// successor answers in its stead.

/// All in nanoseconds of true time.
package struct Taking: Hashable, Sendable {
  /// When it was taken by somebody to whom nobody gave it: by this host, or by who gave it to this host.
  package var at: Int64
  /// This host has it from another's plan.
  package var isGiven: Bool

  package static let never = Taking(at: .min / 2, isGiven: false)

  package init(at: Int64, isGiven: Bool = false) {
    self.at = at
    self.isGiven = isGiven
  }

  /// Handed on to another host.
  package var given: Taking { Taking(at: at, isGiven: true) }

  /// Whether both may answer now because neither could know of the other. Where one was given, that lasts no longer
  /// than datagrams need: neither taker can have heard of the other, nor the successor of the second, nor that one of
  /// the successor.
  /// - Parameters:
  ///   - interval: between two heartbeats.
  ///   - delay: the longest that a datagram is on its way.
  package func coincides(with other: Taking, now: Int64, interval: Int64, delay: Int64) -> Bool {
    let since = now - min(at, other.at)
    guard isGiven || other.isGiven else { return since < interval }
    return abs(at - other.at) <= delay && since <= 3 * delay
  }
}
