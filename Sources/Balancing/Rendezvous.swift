// Weighted rendezvous hashing (highest random weight): every (client, server) pair draws a number, the client goes to the
// server with the best draw for its weight. No state, so every node, worker and version agrees; a lost server's clients
// spread over the others and nobody else moves.
//
// The draw is u = hash / 2⁶⁴, the rank −log2(u) / weight, lowest first, which gives each server its weight's share of the
// clients. Nodes must agree to the last bit, so the logarithm is an integer: 32 fractional bits, from a table of 1,025
// exact values with linear interpolation between them (error below 2⁻²², against ranks of the order of 2⁻¹⁰ for a
// thousand servers). Changing anything here moves clients between servers when the versions of a cluster are mixed: the
// tests hold golden values.

package import Primitives

package enum Rendezvous {
  /// log2(1 + i / 1024) for i in 0...1024 with 32 fractional bits, by repeated squaring in integers.
  static func makeLogarithms() -> UnsafeMutablePointer<UInt64> {
    let table = UnsafeMutablePointer<UInt64>.allocate(capacity: tableSize + 1)
    for index in 0...tableSize {
      // x in [1, 2] with 31 fractional bits.
      var x = UInt64(1024 + index) << 21
      var result: UInt64 = 0
      if x >= 1 << 32 {
        result = 1 << 32
      } else {
        for bit in stride(from: UInt64(31), through: 0, by: -1) {
          x = (x * x) >> 31
          if x >= 1 << 32 {
            x >>= 1
            result |= 1 << bit
          }
        }
      }
      (table + index).initialize(to: result)
    }
    return table
  }

  static let tableSize = 1024

  /// −log2(hash / 2⁶⁴) with 32 fractional bits, 0 … 64 · 2³². Falls, or stays, as `hash` rises.
  @inline(__always)
  static func cost(_ hash: UInt64, _ logarithms: UnsafePointer<UInt64>) -> UInt64 {
    let value = hash | 1
    let zeros = UInt64(truncatingIfNeeded: value.leadingZeroBitCount)
    // The bits after the leading one, left-aligned: the fraction of the mantissa.
    let fraction = (value &<< zeros) &<< 1
    let index = Int(truncatingIfNeeded: fraction &>> 54)
    let rest = (fraction &>> 22) & 0xffff_ffff
    let low = logarithms[index]
    let high = logarithms[index &+ 1]
    let logarithm = low &+ (((high &- low) &* rest) &>> 32)
    return (zeros &+ 1) &<< 32 &- logarithm
  }

  /// The identity of a server: of its pool's and its own name, not of its address or position.
  package static func identity(pool: String, server: String) -> UInt64 {
    StableHash.combine(StableHash.hash(pool), StableHash.hash(server))
  }

  /// The key of a client's address: all of an IPv4 address, the first 64 bits of an IPv6 address, which are its network;
  /// the rest changes daily on many clients.
  package static func key(of address: IPAddress) -> UInt64 {
    StableHash.combine(UInt64(address.family.rawValue), address.family == .v4 ? address.low : address.high)
  }
}
