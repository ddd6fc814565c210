// How values travel between our processes: any `Codable` value as a compact, self-describing tree of bytes, without
// Foundation. A keyed container is written as a count and (key, value) pairs, so a field that one side does not know is
// skipped, and a message of a newer version can still be read during an upgrade.
//
// Shape of one value: a tag byte, then
//   0 nil · 1 false · 2 true · 3 integer (8 bytes, big-endian, two's complement) · 4 unsigned (8 bytes) · 5 double (8 bytes)
//   6 text (4-byte length, UTF-8) · 7 array (4-byte count, values) · 8 map (4-byte count, pairs of text without tag and value)

/// One decoded value.
package enum MessageValue: Equatable, Sendable {
  case null
  case bool(Bool)
  case integer(Int64)
  case unsigned(UInt64)
  case double(Double)
  case text(String)
  case array([MessageValue])
  case map([String: MessageValue])
}

/// One that is ready is taken as it is, by this coding and no other.
extension MessageValue: Codable {
  package init(from decoder: any Decoder) throws {
    throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "not a message"))
  }
  package func encode(to encoder: any Encoder) throws {
    throw EncodingError.invalidValue(self, .init(codingPath: encoder.codingPath, debugDescription: "not a message"))
  }
}

package enum MessageFault: Error, Equatable, CustomStringConvertible {
  case truncated
  case unknownTag(UInt8)
  case tooDeep
  case notText
  case trailingBytes(Int)

  package var description: String {
    switch self {
    case .truncated: "message ends in the middle of a value"
    case .unknownTag(let tag): "message holds a value of unknown kind \(tag)"
    case .tooDeep: "message nests deeper than \(MessageCoding.maximumDepth) levels"
    case .notText: "message holds text that is not UTF-8"
    case .trailingBytes(let count): "message has \(count) bytes after its value"
    }
  }
}

package enum MessageCoding {
  /// Deeper nesting is refused, so that hostile bytes cannot exhaust the stack.
  package static let maximumDepth = 64

  package static func encode(_ value: some Encodable) throws -> [UInt8] {
    var bytes: [UInt8] = []
    write(try MessageEncoding.value(of: value), into: &bytes)
    return bytes
  }

  /// Throws `MessageFault` for bytes that are no value, `DecodingError` for a value of another shape.
  package static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
    try Value(from: MessageDecoding(value: try parse(bytes), codingPath: []))
  }

  package static func parse(_ bytes: [UInt8]) throws(MessageFault) -> MessageValue {
    var reader = Reader(bytes: bytes)
    let value = try reader.value(depth: 0)
    guard reader.offset == bytes.count else { throw .trailingBytes(bytes.count - reader.offset) }
    return value
  }

  private static func write(_ value: MessageValue, into bytes: inout [UInt8]) {
    func number(_ value: UInt64, _ count: Int) {
      for index in (0..<count).reversed() { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
    }
    func text(_ text: String) {
      number(UInt64(text.utf8.count), 4)
      bytes.append(contentsOf: text.utf8)
    }
    switch value {
    case .null: bytes.append(0)
    case .bool(let flag): bytes.append(flag ? 2 : 1)
    case .integer(let integer): bytes.append(3); number(UInt64(bitPattern: integer), 8)
    case .unsigned(let integer): bytes.append(4); number(integer, 8)
    case .double(let double): bytes.append(5); number(double.bitPattern, 8)
    case .text(let string): bytes.append(6); text(string)
    case .array(let values):
      bytes.append(7)
      number(UInt64(values.count), 4)
      for value in values { write(value, into: &bytes) }
    case .map(let pairs):
      bytes.append(8)
      number(UInt64(pairs.count), 4)
      for (key, value) in pairs.sorted(by: { $0.key < $1.key }) {
        text(key)
        write(value, into: &bytes)
      }
    }
  }

  private struct Reader {
    let bytes: [UInt8]
    var offset = 0

    mutating func number(_ count: Int) throws(MessageFault) -> UInt64 {
      guard bytes.count - offset >= count else { throw .truncated }
      var value: UInt64 = 0
      for index in offset..<(offset + count) { value = value << 8 | UInt64(bytes[index]) }
      offset += count
      return value
    }

    mutating func text() throws(MessageFault) -> String {
      let count = Int(try number(4))
      guard bytes.count - offset >= count else { throw .truncated }
      guard let text = String(validating: bytes[offset..<(offset + count)], as: UTF8.self) else { throw .notText }
      offset += count
      return text
    }

    mutating func value(depth: Int) throws(MessageFault) -> MessageValue {
      guard depth < maximumDepth else { throw .tooDeep }
      let tag = UInt8(try number(1))
      switch tag {
      case 0: return .null
      case 1: return .bool(false)
      case 2: return .bool(true)
      case 3: return .integer(Int64(bitPattern: try number(8)))
      case 4: return .unsigned(try number(8))
      case 5: return .double(Double(bitPattern: try number(8)))
      case 6: return .text(try text())
      case 7:
        var values: [MessageValue] = []
        for _ in 0..<Int(try number(4)) { values.append(try value(depth: depth + 1)) }
        return .array(values)
      case 8:
        var pairs: [String: MessageValue] = [:]
        for _ in 0..<Int(try number(4)) {
          let key = try text()
          pairs[key] = try value(depth: depth + 1)
        }
        return .map(pairs)
      default: throw .unknownTag(tag)
      }
    }
  }
}
