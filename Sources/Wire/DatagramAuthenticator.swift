// The seam between the datagram and its cryptography: this room lays bytes out, somebody else signs and verifies them.
// The real one is HMAC-SHA256 cut to 128 bits; the simulator uses a cheap stand-in.

/// What an authenticator says about a tag.
package enum TagVerdict: Sendable {
  case valid
  /// No live key has that id.
  case unknownKey
  case wrongTag
}

/// Signs and verifies datagrams. Two live keys allow rotation: the first signs, all verify.
/// Neither call may allocate; both run on the heartbeat thread.
package protocol DatagramAuthenticator {
  /// The id of the key that `sign` uses, as it stands in the header. Not secret; derived from the key.
  var signingKeyID: UInt32 { get }

  /// Writes the tag over `bytes` into `tag`, which has `DatagramLayout.tagByteCount` bytes.
  mutating func sign(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer)

  /// The id of the other live key, while keys are exchanged.
  var otherKeyID: UInt32? { get }

  /// As `sign`, with the other key. Precondition: there is one.
  mutating func signWithOther(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer)

  /// Compares in constant time: the time taken tells nothing of how many bytes were right.
  mutating func verify(_ bytes: UnsafeRawBufferPointer, tag: UnsafeRawBufferPointer, keyID: UInt32) -> TagVerdict
}

/// One key.
extension DatagramAuthenticator {
  package var otherKeyID: UInt32? { nil }

  package mutating func signWithOther(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    preconditionFailure("there is no other key")
  }
}
