// Hashes that are the same on every node, in every process and in every version: they name things on the wire and rank
// servers. Not for hostile input: keyed tags use SipHash (see `SipHash`).

package enum StableHash {
  /// FNV-1a over the bytes, then the finaliser of MurmurHash3 (fmix64), which spreads short names well.
  package static func hash<Bytes: Sequence>(_ bytes: Bytes) -> UInt64 where Bytes.Element == UInt8 {
    var state: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes {
      state ^= UInt64(byte)
      state = state &* 0x0000_0100_0000_01b3
    }
    return mix(state)
  }

  /// The same without the detour of a generic sequence, for what is hashed with every request.
  package static func hash(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
    var state: UInt64 = 0xcbf2_9ce4_8422_2325
    for index in 0..<count {
      state ^= UInt64(bytes[index])
      state = state &* 0x0000_0100_0000_01b3
    }
    return mix(state)
  }

  package static func hash(_ text: String) -> UInt64 { hash(text.utf8) }

  /// A hash in 32 bits, never 0.
  @inlinable package static func fold(_ hash: UInt64) -> UInt32 {
    max(1, UInt32(truncatingIfNeeded: hash ^ hash >> 32))
  }

  /// One hash of two, order matters: the rank of (VIP, node) or (client, server) in rendezvous hashing.
  @inlinable package static func combine(_ left: UInt64, _ right: UInt64) -> UInt64 {
    mix(left ^ mix(right &+ 0x9e37_79b9_7f4a_7c15))
  }

  @inlinable package static func mix(_ value: UInt64) -> UInt64 {
    var x = value
    x ^= x &>> 33
    x = x &* 0xff51_afd7_ed55_8ccd
    x ^= x &>> 33
    x = x &* 0xc4ce_b9fe_1a85_ec53
    x ^= x &>> 33
    return x
  }
}

/// SipHash-2-4 (Aumasson, Bernstein 2012): a 64-bit keyed tag that nobody forges without the 128-bit key.
package enum SipHash {
  @inlinable package static func tag<Bytes: Collection>(_ bytes: Bytes, key: (UInt64, UInt64)) -> UInt64
  where Bytes.Element == UInt8 {
    var v0 = key.0 ^ 0x736f_6d65_7073_6575
    var v1 = key.1 ^ 0x646f_7261_6e64_6f6d
    var v2 = key.0 ^ 0x6c79_6765_6e65_7261
    var v3 = key.1 ^ 0x7465_6462_7974_6573

    func rotate(_ x: UInt64, _ by: UInt64) -> UInt64 { (x &<< by) | (x &>> (64 &- by)) }
    func round() {
      v0 = v0 &+ v1; v1 = rotate(v1, 13); v1 ^= v0; v0 = rotate(v0, 32)
      v2 = v2 &+ v3; v3 = rotate(v3, 16); v3 ^= v2
      v0 = v0 &+ v3; v3 = rotate(v3, 21); v3 ^= v0
      v2 = v2 &+ v1; v1 = rotate(v1, 17); v1 ^= v2; v2 = rotate(v2, 32)
    }

    var word: UInt64 = 0
    var filled: UInt64 = 0
    for byte in bytes {
      word |= UInt64(byte) &<< (filled &* 8)
      filled += 1
      if filled == 8 {
        v3 ^= word
        round(); round()
        v0 ^= word
        word = 0
        filled = 0
      }
    }
    word |= UInt64(truncatingIfNeeded: bytes.count) &<< 56
    v3 ^= word
    round(); round()
    v0 ^= word
    v2 ^= 0xff
    round(); round(); round(); round()
    return v0 ^ v1 ^ v2 ^ v3
  }
}
