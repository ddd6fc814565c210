// Published vectors: RFC 4231 for the tags, RFC 5869 for derived keys.

import Testing
import Wire

@testable import Cryptography

private func hex(_ text: String) -> [UInt8] {
  var bytes: [UInt8] = []
  var digits = text.filter { $0.isHexDigit }[...]
  while !digits.isEmpty {
    bytes.append(UInt8(digits.prefix(2), radix: 16)!)
    digits = digits.dropFirst(2)
  }
  return bytes
}

struct TagVector: Sendable, CustomTestStringConvertible {
  let name: String
  let key: [UInt8]
  let data: [UInt8]
  let tag: [UInt8]
  var testDescription: String { name }
}

private let vectors = [
  TagVector(
    name: "RFC 4231 case 1", key: .init(repeating: 0x0b, count: 20), data: Array("Hi There".utf8),
    tag: hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")),
  TagVector(
    name: "case 2, a short key", key: Array("Jefe".utf8), data: Array("what do ya want for nothing?".utf8),
    tag: hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")),
  TagVector(
    name: "case 3, more than one block", key: .init(repeating: 0xaa, count: 20),
    data: .init(repeating: 0xdd, count: 50),
    tag: hex("773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe")),
  TagVector(
    name: "case 4", key: Array(1...25), data: .init(repeating: 0xcd, count: 50),
    tag: hex("82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b")),
  TagVector(
    name: "case 5, truncated", key: .init(repeating: 0x0c, count: 20), data: Array("Test With Truncation".utf8),
    tag: hex("a3b6167473100ee06e0c796c2955552b")),
  TagVector(
    name: "case 6, a key longer than a block", key: .init(repeating: 0xaa, count: 131),
    data: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
    tag: hex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")),
  TagVector(
    name: "case 7, long key and long data", key: .init(repeating: 0xaa, count: 131),
    data: Array(
      "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm."
        .utf8), tag: hex("9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2")),
]

@Suite struct CryptographyTests {
  @Test("HMAC-SHA256 gives the tags of RFC 4231", arguments: vectors)
  func publishedTags(_ vector: TagVector) {
    let key = AuthenticationKey(bytes: vector.key)
    var tag = [UInt8](repeating: 0, count: vector.tag.count)
    // Twice: a saved state that was used must not have changed.
    for _ in 0..<2 {
      vector.data.withUnsafeBytes { data in tag.withUnsafeMutableBytes { key.sign(data, into: $0) } }
      #expect(tag == vector.tag)
    }
    #expect(vector.data.withUnsafeBytes { data in tag.withUnsafeBytes { key.verify($0, of: data) } })
  }

  @Test("a tag with any one bit changed is refused, and so is a tag that is too short")
  func changedTags() {
    let key = AuthenticationKey(bytes: [UInt8](repeating: 7, count: 32))
    let data: [UInt8] = Array("a datagram".utf8)
    var tag = [UInt8](repeating: 0, count: 16)
    data.withUnsafeBytes { data in tag.withUnsafeMutableBytes { key.sign(data, into: $0) } }
    func accepted(_ tag: [UInt8], _ data: [UInt8]) -> Bool {
      data.withUnsafeBytes { data in tag.withUnsafeBytes { key.verify($0, of: data) } }
    }
    #expect(accepted(tag, data))
    for bit in 0..<128 {
      var changed = tag
      changed[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(!accepted(changed, data))
    }
    #expect(!accepted(Array(tag.prefix(15)), data))
    #expect(!accepted([], data))
    #expect(!accepted(tag, data + [0]))
  }

  @Test("HKDF gives the keys of RFC 5869")
  func publishedKeys() {
    #expect(
      KeyDerivation.hkdf(
        secret: .init(repeating: 0x0b, count: 22), salt: hex("000102030405060708090a0b0c"),
        information: hex("f0f1f2f3f4f5f6f7f8f9"), byteCount: 42)
        == hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"))
    #expect(
      KeyDerivation.hkdf(secret: .init(repeating: 0x0b, count: 22), salt: [], information: [], byteCount: 42)
        == hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"))
  }

  @Test("every purpose has a key of its own, the same on every node")
  func purposes() {
    let secret = [UInt8](0..<32)
    let keys = Set(KeyPurpose.allCases.map { KeyDerivation.derive($0, from: secret, byteCount: 32) })
    #expect(keys.count == KeyPurpose.allCases.count)
    #expect(!keys.contains(secret))
    #expect(
      KeyDerivation.derive(.cookie, from: secret, byteCount: 16)
        == Array(KeyDerivation.derive(.cookie, from: secret, byteCount: 32).prefix(16)))
  }

  @Test("random bytes do not repeat")
  func randomness() {
    #expect(SecureRandom.bytes(0).isEmpty)
    #expect(Set((0..<100).map { _ in SecureRandom.bytes(16) }).count == 100)
    var generator = SecureRandom()
    #expect(Set((0..<100).map { _ in generator.next() }).count == 100)
  }

  @Test("while two keys live, datagrams of both are accepted, and those of a third are not")
  func rotation() {
    let keys = (0..<3).map { [UInt8](repeating: $0, count: 32) }
    let new = HeartbeatAuthenticator(clusterKeys: [keys[1], keys[0]])
    let bytes: [UInt8] = Array("a datagram without its tag".utf8)
    func verdict(of signer: HeartbeatAuthenticator, alteredID: UInt32? = nil) -> TagVerdict {
      var tag = [UInt8](repeating: 0, count: 16)
      bytes.withUnsafeBytes { bytes in tag.withUnsafeMutableBytes { signer.sign(bytes, into: $0) } }
      return bytes.withUnsafeBytes { bytes in
        tag.withUnsafeBytes { new.verify(bytes, tag: $0, keyID: alteredID ?? signer.signingKeyID) }
      }
    }
    #expect(verdict(of: new) == .valid)
    #expect(verdict(of: HeartbeatAuthenticator(clusterKeys: [keys[0]])) == .valid)
    let stranger = HeartbeatAuthenticator(clusterKeys: [keys[2]])
    #expect(verdict(of: stranger) == .unknownKey)
    #expect(verdict(of: stranger, alteredID: new.signingKeyID) == .wrongTag)
  }
}
