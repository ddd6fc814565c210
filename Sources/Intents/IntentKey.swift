// Names and values of registers. A key is a kind and names (`drain/n1`, `server/app/n2`), a value is a list of
// `name=text` fields. Both are bounded printable ASCII; free text is percent-escaped. Unknown kinds and unknown fields are
// kept as they are.

package import Primitives

/// Two to four valid names joined by `/`; the first is the kind of intent.
package struct IntentKey: Hashable, Sendable {
  package static let maximumByteCount = 200
  package let text: String

  package init(_ text: String) throws(IntentsFault) {
    let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard text.utf8.count <= Self.maximumByteCount, (2...4).contains(parts.count),
      parts.allSatisfy({ NodeName.isValid(String(Substring($0))) })
    else { throw .invalidKey(text) }
    self.text = text
  }

  package var parts: [String] { text.split(separator: "/").map(String.init) }

  package static func drain(of node: NodeName) -> IntentKey { IntentKey(trusted: "drain/\(node)") }

  /// Throws if `pool` or `server` is not a name.
  package static func server(_ server: String, of pool: String) throws(IntentsFault) -> IntentKey {
    let text = "server/\(pool)/\(server)"
    guard NodeName.isValid(pool), NodeName.isValid(server) else { throw .invalidKey(text) }
    return try IntentKey(text)
  }

  /// Throws if `pool` or `server` is not a name.
  package static func weight(of server: String, of pool: String) throws(IntentsFault) -> IntentKey {
    let text = "weight/\(pool)/\(server)"
    guard NodeName.isValid(pool), NodeName.isValid(server) else { throw .invalidKey(text) }
    return try IntentKey(text)
  }

  /// `route`: NAME, or LISTENER/INDEX or LISTENER/default for one without a name.
  package static func route(_ route: String) throws(IntentsFault) -> IntentKey { try IntentKey("route/\(route)") }

  private init(trusted text: String) { self.text = text }
}

/// Fields in the order of their names, as text `name=value name=value` (values escaped).
package struct IntentValue: Hashable, Sendable {
  package static let maximumByteCount = 1024
  package let text: String

  /// Fields with `nil` are left out. Throws if a name is invalid or the text grows too long.
  package init(_ fields: [String: String?], key: IntentKey) throws(IntentsFault) {
    var words: [String] = []
    for (name, value) in fields.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
      guard let value else { continue }
      guard NodeName.isValid(name) else { throw .invalidValue(key: key.text, why: "not a field: \(name)") }
      words.append("\(name)=\(Self.escape(value))")
    }
    text = words.joined(separator: " ")
    guard !words.isEmpty, text.utf8.count <= Self.maximumByteCount else {
      throw .invalidValue(key: key.text, why: "a value has 1 to \(Self.maximumByteCount) bytes, not \(text.utf8.count)")
    }
  }

  /// Reads the text form; only the exact form that `init(_:key:)` writes is accepted.
  init(text: String, key: IntentKey) throws(IntentsFault) {
    guard text.utf8.count <= Self.maximumByteCount else {
      throw .invalidValue(key: key.text, why: "longer than \(Self.maximumByteCount) bytes")
    }
    guard let fields = Self.parse(text) else { throw .invalidValue(key: key.text, why: "not a list of fields") }
    self = try IntentValue(fields, key: key)
    guard self.text == text else { throw .invalidValue(key: key.text, why: "not in canonical form") }
  }

  package subscript(name: String) -> String? { Self.parse(text)?[name] ?? nil }

  private static func parse(_ text: String) -> [String: String?]? {
    var fields: [String: String?] = [:]
    for word in text.split(separator: " ", omittingEmptySubsequences: false) {
      guard let equals = word.firstIndex(of: "="), let value = unescape(word[word.index(after: equals)...]) else {
        return nil
      }
      fields[String(word[..<equals])] = .some(value)
    }
    return fields
  }

  private static func escape(_ text: String) -> String {
    var result: [UInt8] = []
    let digits = Array("0123456789ABCDEF".utf8)
    for byte in text.utf8 {
      if byte > 0x20, byte < 0x7f, byte != UInt8(ascii: "%") {
        result.append(byte)
      } else {
        result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: result, as: UTF8.self)
  }

  private static func unescape(_ text: Substring) -> String? {
    func digit(_ byte: UInt8) -> UInt8? {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
      case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
      default: nil
      }
    }
    var result: [UInt8] = []
    var bytes = text.utf8.makeIterator()
    while let byte = bytes.next() {
      guard byte == UInt8(ascii: "%") else {
        result.append(byte)
        continue
      }
      guard let first = bytes.next().flatMap(digit), let second = bytes.next().flatMap(digit) else { return nil }
      result.append(first << 4 | second)
    }
    return String(validating: result, as: UTF8.self)
  }
}
