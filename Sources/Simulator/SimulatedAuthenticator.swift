// A stand-in for HMAC-SHA256: quick, and just good enough that a changed byte is noticed.

import Primitives
package import Wire

package struct SimulatedAuthenticator: DatagramAuthenticator, Sendable {
  package let signingKeyID: UInt32
  package let otherKeyID: UInt32?
  private let key: UInt64
  private let otherKey: UInt64

  /// - Parameter other: the second live key, while keys are exchanged.
  package init(key: UInt64, other: UInt64? = nil) {
    self.key = key
    otherKey = other ?? 0
    signingKeyID = Self.id(key)
    otherKeyID = other.map { Self.id($0) }
  }

  private static func id(_ key: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: StableHash.mix(key)) }

  /// One that signs with the other key.
  var other: SimulatedAuthenticator? { otherKeyID == nil ? nil : SimulatedAuthenticator(key: otherKey) }

  package mutating func sign(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    store(digest(bytes, key), into: tag)
  }

  package mutating func signWithOther(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    store(digest(bytes, otherKey), into: tag)
  }

  private func store(_ digest: (UInt64, UInt64), into tag: UnsafeMutableRawBufferPointer) {
    tag.storeBytes(of: digest.0, toByteOffset: 0, as: UInt64.self)
    tag.storeBytes(of: digest.1, toByteOffset: 8, as: UInt64.self)
  }

  package mutating func verify(_ bytes: UnsafeRawBufferPointer, tag: UnsafeRawBufferPointer, keyID: UInt32)
    -> TagVerdict
  {
    guard keyID == signingKeyID || keyID == otherKeyID else { return .unknownKey }
    let (first, second) = digest(bytes, keyID == signingKeyID ? key : otherKey)
    let same =
      tag.loadUnaligned(fromByteOffset: 0, as: UInt64.self) == first
      && tag.loadUnaligned(fromByteOffset: 8, as: UInt64.self) == second
    return same ? .valid : .wrongTag
  }

  /// Four lanes side by side: what waits for one multiplication is done meanwhile by the others.
  private func digest(_ bytes: UnsafeRawBufferPointer, _ key: UInt64) -> (UInt64, UInt64) {
    func word(_ offset: Int) -> UInt64 { bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) }
    func mixed(_ lane: UInt64, _ word: UInt64) -> UInt64 {
      let product = (lane ^ word) &* 0x9e37_79b9_7f4a_7c15
      return product ^ product &>> 29
    }
    var (a, b, c, d) = (key, ~key, key &* 3, key &* 5)
    var offset = 0
    while offset + 32 <= bytes.count {
      a = mixed(a, word(offset))
      b = mixed(b, word(offset + 8))
      c = mixed(c, word(offset + 16))
      d = mixed(d, word(offset + 24))
      offset += 32
    }
    while offset + 8 <= bytes.count {
      a = mixed(a, word(offset))
      offset += 8
    }
    while offset < bytes.count {
      b = mixed(b, UInt64(bytes[offset]))
      offset += 1
    }
    let all = mixed(mixed(a, b), mixed(c, d))
    return (StableHash.mix(all), StableHash.mix(all ^ key))
  }
}
