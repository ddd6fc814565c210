// Randomness that nobody guesses: boot ids, nonces' seeds, cookie keys of a lone balancer, new cluster keys.

internal import COpenSSL

/// OpenSSL's generator, seeded by the kernel.
package struct SecureRandom: RandomNumberGenerator, Sendable {
  package init() {}

  package static func bytes(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      // It only fails where the system gives no randomness at all: nothing may go on with a guessable key.
      precondition(count == 0 || RAND_bytes(buffer.baseAddress, Int32(count)) == 1, "no randomness from the system")
      initialized = count
    }
  }

  package mutating func next() -> UInt64 {
    var word: UInt64 = 0
    let done = withUnsafeMutableBytes(of: &word) {
      RAND_bytes($0.baseAddress!.assumingMemoryBound(to: UInt8.self), Int32($0.count))
    }
    precondition(done == 1, "no randomness from the system")
    return word
  }
}
