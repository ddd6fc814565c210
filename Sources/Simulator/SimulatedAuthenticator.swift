// A stand-in for HMAC-SHA256: quick, and just good enough that a changed byte is noticed.

import Primitives
package import Wire

package struct SimulatedAuthenticator: DatagramAuthenticator, Sendable {
  package let signingKeyID: UInt32
  private let key: UInt64

  package init(key: UInt64) {
    self.key = key
    signingKeyID = UInt32(truncatingIfNeeded: StableHash.mix(key))
  }

  package mutating func sign(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    let (first, second) = digest(bytes)
    tag.storeBytes(of: first, toByteOffset: 0, as: UInt64.self)
    tag.storeBytes(of: second, toByteOffset: 8, as: UInt64.self)
  }

  package mutating func verify(_ bytes: UnsafeRawBufferPointer, tag: UnsafeRawBufferPointer, keyID: UInt32)
    -> TagVerdict
  {
    guard keyID == signingKeyID else { return .unknownKey }
    let (first, second) = digest(bytes)
    let same =
      tag.loadUnaligned(fromByteOffset: 0, as: UInt64.self) == first
      && tag.loadUnaligned(fromByteOffset: 8, as: UInt64.self) == second
    return same ? .valid : .wrongTag
  }

  /// Four lanes side by side: what waits for one multiplication is done meanwhile by the others.
  private func digest(_ bytes: UnsafeRawBufferPointer) -> (UInt64, UInt64) {
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
