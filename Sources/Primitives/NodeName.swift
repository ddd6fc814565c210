// Names that operators give to members, VIPs, listeners, pools and servers.

/// A member's name: 1 to 63 of `a–z A–Z 0–9 - _ .`, starting with a letter or digit (RFC 1123 label, plus `_` and `.`).
/// Ordered by its UTF-8 bytes, which is the order that breaks ties in the election.
package struct NodeName: Hashable, Comparable, Codable, Sendable, CustomStringConvertible {
  package static let maximumByteCount = 63
  package let text: String

  /// Nil unless `text` follows the rule above.
  package init?(_ text: String) {
    guard Self.isValid(text) else { return nil }
    self.text = text
  }

  package static func isValid(_ text: String) -> Bool {
    let bytes = text.utf8
    guard let first = bytes.first, bytes.count <= maximumByteCount, isAlphanumeric(first) else { return false }
    return bytes.allSatisfy {
      isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
    }
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let name = NodeName(text) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "not a node name: \(text)"))
    }
    self = name
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  package static func < (left: NodeName, right: NodeName) -> Bool {
    left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
  }
  package var description: String { text }
}
