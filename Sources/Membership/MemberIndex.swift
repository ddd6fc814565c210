// Members are named by a slot number inside a node: small, fixed, and stable as long as the member stays configured.

/// A slot in the member table. Two nodes may number the same member differently: never put it on the wire.
package struct MemberIndex: Hashable, Sendable {
  /// The most members a cluster may have, this node included.
  package static let limit = 64
  package let rawValue: UInt8

  @inlinable package init(_ value: Int) { rawValue = UInt8(value) }
  @inlinable package static func == (left: MemberIndex, right: MemberIndex) -> Bool { left.rawValue == right.rawValue }
  @inlinable package var value: Int { Int(rawValue) }
}
