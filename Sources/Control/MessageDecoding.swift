// `MessageValue` → `Decodable`: the standard library's decoder protocols over one tree.

struct MessageDecoding: Decoder {
  let value: MessageValue
  var codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    guard case .map(let pairs) = value else { throw mismatch([String: Any].self, "a map") }
    return KeyedDecodingContainer(Keyed<Key>(pairs: pairs, codingPath: codingPath))
  }
  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    guard case .array(let values) = value else { throw mismatch([Any].self, "an array") }
    return Unkeyed(values: values, codingPath: codingPath)
  }
  func singleValueContainer() -> any SingleValueDecodingContainer { Single(value: value, codingPath: codingPath) }

  private func mismatch(_ type: Any.Type, _ expected: String) -> DecodingError {
    .typeMismatch(type, .init(codingPath: codingPath, debugDescription: "expected \(expected)"))
  }
}

private func unwrap<Value: Decodable>(_ type: Value.Type, _ value: MessageValue, _ path: [any CodingKey]) throws
  -> Value
{
  func fault(_ what: String) -> DecodingError {
    .typeMismatch(type, .init(codingPath: path, debugDescription: "expected \(what)"))
  }
  func integer<Integer: FixedWidthInteger>(_ type: Integer.Type) throws -> Integer {
    let exact: Integer? =
      switch value {
      case .integer(let number): Integer(exactly: number)
      case .unsigned(let number): Integer(exactly: number)
      default: nil
      }
    guard let exact else { throw fault("a number that fits \(type)") }
    return exact
  }
  switch type {
  case is MessageValue.Type: return value as! Value
  case is Bool.Type:
    guard case .bool(let flag) = value else { throw fault("true or false") }
    return flag as! Value
  case is String.Type:
    guard case .text(let text) = value else { throw fault("text") }
    return text as! Value
  case is Double.Type, is Float.Type:
    guard case .double(let double) = value else { throw fault("a floating-point number") }
    return type == Float.self ? Float(double) as! Value : double as! Value
  default:
    if let integerType = type as? any FixedWidthInteger.Type { return try integer(integerType) as! Value }
    return try Value(from: MessageDecoding(value: value, codingPath: path))
  }
}

private struct Keyed<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let pairs: [String: MessageValue]
  var codingPath: [any CodingKey]
  var allKeys: [Key] { pairs.keys.compactMap { Key(stringValue: $0) } }

  func contains(_ key: Key) -> Bool { pairs[key.stringValue] != nil }
  private func value(_ key: Key) throws -> MessageValue {
    guard let value = pairs[key.stringValue] else {
      throw DecodingError.keyNotFound(key, .init(codingPath: codingPath, debugDescription: "missing"))
    }
    return value
  }
  func decodeNil(forKey key: Key) throws -> Bool { try value(key) == .null }
  func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
    try unwrap(type, try value(key), codingPath + [key])
  }
  func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) throws -> KeyedDecodingContainer<
    Nested
  > {
    try MessageDecoding(value: try value(key), codingPath: codingPath + [key]).container(keyedBy: type)
  }
  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
    try MessageDecoding(value: try value(key), codingPath: codingPath + [key]).unkeyedContainer()
  }
  func superDecoder() throws -> any Decoder { preconditionFailure("our messages are values, not classes") }
  func superDecoder(forKey key: Key) throws -> any Decoder {
    preconditionFailure("our messages are values, not classes")
  }
}

private struct Unkeyed: UnkeyedDecodingContainer {
  let values: [MessageValue]
  var codingPath: [any CodingKey]
  var count: Int? { values.count }
  var isAtEnd: Bool { currentIndex >= values.count }
  var currentIndex = 0

  init(values: [MessageValue], codingPath: [any CodingKey]) {
    self.values = values
    self.codingPath = codingPath
  }

  private mutating func next() throws -> MessageValue {
    guard !isAtEnd else {
      throw DecodingError.valueNotFound(Any.self, .init(codingPath: codingPath, debugDescription: "array is too short"))
    }
    currentIndex += 1
    return values[currentIndex - 1]
  }
  mutating func decodeNil() throws -> Bool {
    guard !isAtEnd, values[currentIndex] == .null else { return false }
    currentIndex += 1
    return true
  }
  mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
    try unwrap(type, try next(), codingPath)
  }
  mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws -> KeyedDecodingContainer<Nested> {
    try MessageDecoding(value: try next(), codingPath: codingPath).container(keyedBy: type)
  }
  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
    try MessageDecoding(value: try next(), codingPath: codingPath).unkeyedContainer()
  }
  mutating func superDecoder() throws -> any Decoder { preconditionFailure("our messages are values, not classes") }
}

private struct Single: SingleValueDecodingContainer {
  let value: MessageValue
  var codingPath: [any CodingKey]
  func decodeNil() -> Bool { value == .null }
  func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try unwrap(type, value, codingPath) }
}
