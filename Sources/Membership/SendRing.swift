// When this node's last datagrams were sent: an echo of one of their sequences dates what a peer says.

package import Primitives

package struct SendRing: Sendable {
  package static let width: UInt64 = 256
  /// The sequence of the next datagram.
  package private(set) var next: UInt64 = 1
  private var times = [Instant](repeating: Instant(nanoseconds: 0), count: Int(width))

  package init() {}

  /// Takes the next sequence.
  package mutating func send(at now: Instant) -> UInt64 {
    let sequence = next
    times[Int(sequence % Self.width)] = now
    next += 1
    return sequence
  }

  /// Nil if it was never sent, or too long ago to be known.
  package func time(of sequence: UInt64) -> Instant? {
    guard sequence > 0, sequence < next, next - sequence <= Self.width else { return nil }
    return times[Int(sequence % Self.width)]
  }
}
