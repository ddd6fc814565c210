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

  private func digest(_ bytes: UnsafeRawBufferPointer) -> (UInt64, UInt64) {
    var state = key
    var offset = 0
    while offset + 8 <= bytes.count {
      state = (state ^ bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0x9e37_79b9_7f4a_7c15
      state ^= state &>> 29
      offset += 8
    }
    while offset < bytes.count {
      state = (state ^ UInt64(bytes[offset])) &* 0x9e37_79b9_7f4a_7c15
      offset += 1
    }
    return (StableHash.mix(state), StableHash.mix(state ^ key))
  }
}
