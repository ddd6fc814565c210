// Signs and verifies the electors' datagrams: HMAC-SHA256 cut to 128 bits, under keys derived from the cluster's. Used by
// the elector for its heartbeats, and by the agent's guardian to resign in a dead elector's name.

package import Wire

/// Up to two live keys: the first signs, all verify. Neither signing nor verifying allocates.
package struct HeartbeatAuthenticator: DatagramAuthenticator, Sendable {
  package static let maximumKeyCount = 2

  private struct LiveKey: Sendable {
    var id: UInt32
    var key: AuthenticationKey

    init(_ clusterKey: [UInt8]) {
      let name = KeyDerivation.derive(.heartbeatKeyID, from: clusterKey, byteCount: 4)
      id = name.reduce(0) { $0 << 8 | UInt32($1) }
      key = AuthenticationKey(bytes: KeyDerivation.derive(.heartbeat, from: clusterKey, byteCount: 32))
    }
  }

  private let signing: LiveKey
  private let other: LiveKey?

  /// - Parameter clusterKeys: 1 or 2 keys of 32 bytes.
  package init(clusterKeys: [[UInt8]]) {
    precondition((1...Self.maximumKeyCount).contains(clusterKeys.count), "one key signs, at most one more is accepted")
    signing = LiveKey(clusterKeys[0])
    other = clusterKeys.count > 1 ? LiveKey(clusterKeys[1]) : nil
  }

  package var signingKeyID: UInt32 { signing.id }

  package func sign(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    signing.key.sign(bytes, into: tag)
  }

  package var otherKeyID: UInt32? { other?.id }

  package func signWithOther(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    guard let other else { preconditionFailure("there is no other key") }
    other.key.sign(bytes, into: tag)
  }

  package func verify(_ bytes: UnsafeRawBufferPointer, tag: UnsafeRawBufferPointer, keyID: UInt32) -> TagVerdict {
    if keyID == signing.id { return signing.key.verify(tag, of: bytes) ? .valid : .wrongTag }
    guard let other, keyID == other.id else { return .unknownKey }
    return other.key.verify(tag, of: bytes) ? .valid : .wrongTag
  }
}
