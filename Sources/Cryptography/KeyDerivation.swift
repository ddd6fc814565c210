// Keys from keys. The cluster's one secret never signs anything itself: every use has a key of its own, derived by name
// (HKDF-SHA256, RFC 5869), so that what leaks from one use (a cookie's key in the balancer) opens no other.

/// What the 32 bytes of a cluster key are used for. The names are part of the wire protocol: nodes must agree on them.
package enum KeyPurpose: String, CaseIterable, Sendable {
  /// Tags of the electors' datagrams.
  case heartbeat = "afloat heartbeat 1"
  /// The id that names the heartbeat key in a datagram's header.
  case heartbeatKeyID = "afloat heartbeat key id 1"
  /// Tags of the balancer's affinity cookies.
  case cookie = "afloat cookie 1"
  /// The pre-shared key of the channel between agents.
  case channel = "afloat channel 1"
}

package enum KeyDerivation {
  /// `byteCount` (at most 255 × 32) bytes for one purpose of a cluster key.
  package static func derive(_ purpose: KeyPurpose, from clusterKey: [UInt8], byteCount: Int) -> [UInt8] {
    hkdf(secret: clusterKey, salt: [], information: Array(purpose.rawValue.utf8), byteCount: byteCount)
  }

  /// HKDF-SHA256, RFC 5869 section 2.
  package static func hkdf(secret: [UInt8], salt: [UInt8], information: [UInt8], byteCount: Int) -> [UInt8] {
    precondition(byteCount <= 255 * AuthenticationKey.digestByteCount, "HKDF gives at most 8,160 bytes")
    let extracted = secret.withUnsafeBytes { AuthenticationKey(bytes: salt).digest(of: $0) }
    let key = AuthenticationKey(bytes: extracted.bytes)
    var output: [UInt8] = []
    var previous: [UInt8] = []
    var counter: UInt8 = 1
    while output.count < byteCount {
      previous = (previous + information + [counter]).withUnsafeBytes { key.digest(of: $0).bytes }
      output += previous
      counter &+= 1
    }
    return Array(output.prefix(byteCount))
  }
}
