// `Encodable` → `MessageValue`: the standard library's encoder protocols over one tree.

enum MessageEncoding {
  static func value(of encodable: some Encodable, codingPath: [any CodingKey] = []) throws -> MessageValue {
    let encoder = TreeEncoder(codingPath: codingPath)
    try encodable.encode(to: encoder)
    return encoder.node.finished
  }
}

/// A tree under construction. A class, because nested containers write into their parent after it has been handed out.
private final class Node {
  enum Content { case empty, value(MessageValue), array([Node]), map([String: Node]) }
  var content = Content.empty

  var finished: MessageValue {
    switch content {
    case .empty: .map([:])
    case .value(let value): value
    case .array(let nodes): .array(nodes.map(\.finished))
    case .map(let nodes): .map(nodes.mapValues(\.finished))
    }
  }

  func append(_ node: Node) {
    guard case .array(var nodes) = content else { preconditionFailure("not an array") }
    content = .empty
    nodes.append(node)
    content = .array(nodes)
  }

  func set(_ node: Node, for key: String) {
    guard case .map(var nodes) = content else { preconditionFailure("not a map") }
    content = .empty
    nodes[key] = node
    content = .map(nodes)
  }
}

private struct TreeEncoder: Encoder {
  var codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }
  let node: Node

  init(codingPath: [any CodingKey], node: Node = Node()) {
    self.codingPath = codingPath
    self.node = node
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    if case .map = node.content {} else { node.content = .map([:]) }
    return KeyedEncodingContainer(Keyed<Key>(node: node, codingPath: codingPath))
  }
  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    node.content = .array([])
    return Unkeyed(node: node, codingPath: codingPath)
  }
  func singleValueContainer() -> any SingleValueEncodingContainer { Single(node: node, codingPath: codingPath) }
}

private func scalar<Value: Encodable>(_ value: Value) -> MessageValue? {
  switch value {
  case let flag as Bool: .bool(flag)
  case let text as String: .text(text)
  case let double as Double: .double(double)
  case let float as Float: .double(Double(float))
  case let integer as any (SignedInteger & FixedWidthInteger): .integer(Int64(integer))
  case let integer as any (UnsignedInteger & FixedWidthInteger): .unsigned(UInt64(integer))
  case let ready as MessageValue: ready
  default: nil
  }
}

private func fill<Value: Encodable>(_ node: Node, with value: Value, codingPath: [any CodingKey]) throws {
  if let scalar = scalar(value) {
    node.content = .value(scalar)
  } else {
    try value.encode(to: TreeEncoder(codingPath: codingPath, node: node))
  }
}

private struct Keyed<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let node: Node
  var codingPath: [any CodingKey]

  private func child(_ key: any CodingKey) -> Node {
    let child = Node()
    node.set(child, for: key.stringValue)
    return child
  }
  func encodeNil(forKey key: Key) { child(key).content = .value(.null) }
  func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
    try fill(child(key), with: value, codingPath: codingPath + [key])
  }
  func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) -> KeyedEncodingContainer<Nested>
  {
    TreeEncoder(codingPath: codingPath + [key], node: child(key)).container(keyedBy: type)
  }
  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
    TreeEncoder(codingPath: codingPath + [key], node: child(key)).unkeyedContainer()
  }
  func superEncoder() -> any Encoder { preconditionFailure("our messages are values, not classes") }
  func superEncoder(forKey key: Key) -> any Encoder { preconditionFailure("our messages are values, not classes") }
}

private struct Unkeyed: UnkeyedEncodingContainer {
  let node: Node
  var codingPath: [any CodingKey]
  var count: Int { if case .array(let nodes) = node.content { nodes.count } else { 0 } }

  private func child() -> Node {
    let child = Node()
    node.append(child)
    return child
  }
  func encodeNil() { child().content = .value(.null) }
  func encode<Value: Encodable>(_ value: Value) throws { try fill(child(), with: value, codingPath: codingPath) }
  func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
    TreeEncoder(codingPath: codingPath, node: child()).container(keyedBy: type)
  }
  func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
    TreeEncoder(codingPath: codingPath, node: child()).unkeyedContainer()
  }
  func superEncoder() -> any Encoder { preconditionFailure("our messages are values, not classes") }
}

private struct Single: SingleValueEncodingContainer {
  let node: Node
  var codingPath: [any CodingKey]
  func encodeNil() { node.content = .value(.null) }
  func encode<Value: Encodable>(_ value: Value) throws { try fill(node, with: value, codingPath: codingPath) }
}
