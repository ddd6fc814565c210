// The only randomness of pure rooms: a seed comes in, the same seed gives the same run.

/// xoshiro256** (Blackman, Vigna 2018), seeded through SplitMix64. Not for secrets.
package struct SeededRandom: RandomNumberGenerator, Sendable {
  private var s0: UInt64, s1: UInt64, s2: UInt64, s3: UInt64

  package init(seed: UInt64) {
    var state = seed
    func split() -> UInt64 {
      state = state &+ 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z &>> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z &>> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z &>> 31)
    }
    s0 = split(); s1 = split(); s2 = split(); s3 = split()
  }

  package mutating func next() -> UInt64 {
    func rotate(_ x: UInt64, _ by: UInt64) -> UInt64 { (x &<< by) | (x &>> (64 &- by)) }
    let result = rotate(s1 &* 5, 7) &* 9
    let shifted = s1 &<< 17
    s2 ^= s0; s3 ^= s1; s1 ^= s2; s0 ^= s3
    s2 ^= shifted
    s3 = rotate(s3, 45)
    return result
  }

  /// 0 ..< `bound`, by a multiplication instead of a division. The bias is at most `bound` / 2^64.
  package mutating func below(_ bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: bound).high }

  /// True with probability `numerator / denominator`.
  package mutating func chance(_ numerator: UInt64, in denominator: UInt64) -> Bool { next() % denominator < numerator }
}
