// HMAC-SHA256 (RFC 2104) over OpenSSL's SHA-256 states. The two states that a key begins with are computed once and
// copied for each tag: OpenSSL's own HMAC allocates twice per tag, this allocates nothing, which the heartbeat thread needs.

internal import COpenSSL

/// A key for HMAC-SHA256, ready to sign and verify. Its bytes cannot be read back.
package struct AuthenticationKey: Sendable {
  /// Length of a whole tag.
  package static let digestByteCount = 32
  /// Length of the truncated tags of datagrams and cookies (RFC 2104 section 5: not under half of the digest).
  package static let tagByteCount = 16

  // SHA-256 after the first block: the key xor 0x36… and the key xor 0x5c….
  private let inner: SHA256_CTX
  private let outer: SHA256_CTX

  /// Any length; longer than 64 bytes is hashed first, as RFC 2104 says.
  package init(bytes: some Collection<UInt8>) {
    var block = [UInt8](repeating: 0, count: 64)
    if bytes.count > 64 {
      SHA256Digest.of(Array(bytes)).withUnsafeBytes { digest in
        block.withUnsafeMutableBytes { $0.copyMemory(from: digest) }
      }
    } else {
      block.replaceSubrange(0..<bytes.count, with: bytes)
    }
    inner = Self.state(after: block, xor: 0x36)
    outer = Self.state(after: block, xor: 0x5c)
    block.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
  }

  private static func state(after block: [UInt8], xor pad: UInt8) -> SHA256_CTX {
    var state = SHA256_CTX()
    var padded = block.map { $0 ^ pad }
    SHA256_Init(&state)
    padded.withUnsafeBytes { _ = SHA256_Update(&state, $0.baseAddress, $0.count) }
    padded.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
    return state
  }

  /// The whole tag of `bytes`, 32 bytes. Allocates nothing.
  package func digest(of bytes: UnsafeRawBufferPointer) -> SHA256Digest {
    var digest = SHA256Digest()
    var state = inner
    SHA256_Update(&state, bytes.baseAddress, bytes.count)
    digest.withUnsafeMutableBytes { _ = SHA256_Final($0.baseAddress!.assumingMemoryBound(to: UInt8.self), &state) }
    state = outer
    digest.withUnsafeBytes { _ = SHA256_Update(&state, $0.baseAddress, $0.count) }
    digest.withUnsafeMutableBytes { _ = SHA256_Final($0.baseAddress!.assumingMemoryBound(to: UInt8.self), &state) }
    return digest
  }

  /// Writes the first `tag.count` (at most 32) bytes of the tag of `bytes`. Allocates nothing.
  package func sign(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    precondition(tag.count <= Self.digestByteCount, "a tag of HMAC-SHA256 has at most 32 bytes")
    digest(of: bytes).withUnsafeBytes { tag.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<tag.count])) }
  }

  /// Whether `tag` (16 to 32 bytes) is what `sign` would write. Takes the same time wherever the difference is.
  package func verify(_ tag: UnsafeRawBufferPointer, of bytes: UnsafeRawBufferPointer) -> Bool {
    guard (Self.tagByteCount...Self.digestByteCount).contains(tag.count) else { return false }
    return digest(of: bytes).withUnsafeBytes { CRYPTO_memcmp($0.baseAddress, tag.baseAddress, tag.count) == 0 }
  }
}

/// The 32 bytes of a SHA-256, kept in place.
package struct SHA256Digest: Equatable, Sendable {
  private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  package init() {}

  package static func of(_ bytes: [UInt8]) -> SHA256Digest {
    var state = SHA256_CTX()
    var digest = SHA256Digest()
    SHA256_Init(&state)
    bytes.withUnsafeBytes { _ = SHA256_Update(&state, $0.baseAddress, $0.count) }
    digest.withUnsafeMutableBytes { _ = SHA256_Final($0.baseAddress!.assumingMemoryBound(to: UInt8.self), &state) }
    return digest
  }

  package func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    Swift.withUnsafeBytes(of: words, body)
  }

  fileprivate mutating func withUnsafeMutableBytes(_ body: (UnsafeMutableRawBufferPointer) -> Void) {
    Swift.withUnsafeMutableBytes(of: &words, body)
  }

  package var bytes: [UInt8] { withUnsafeBytes { Array($0) } }

  /// In constant time.
  package static func == (left: SHA256Digest, right: SHA256Digest) -> Bool {
    left.withUnsafeBytes { left in right.withUnsafeBytes { CRYPTO_memcmp(left.baseAddress, $0.baseAddress, 32) == 0 } }
  }
}
