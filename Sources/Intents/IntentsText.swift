// The canonical text of a document: what is kept on disk, sent to peers and hashed. One line per register in the order of
// the keys' bytes, so equal documents have equal text and equal digests on every node:
//
//   afloat-intents 1
//   drain/n1 7 n2 by=root@n2 on-deadline=fail reason=kernel%20update since=1795219200000000000
//   drain/n2 3 n1 -
//   server/app/n3 2 n1 state=drain
//   end 3 5b0c33f0a1d2e4f7
//
// The last line holds the count of registers and the digest, so a torn file is recognised.

import Primitives

extension Intents {
  /// Longer texts are refused unread: 4,096 registers with average names and reasons fit.
  package static let maximumTextByteCount = 4 * 1024 * 1024
  private static let header = "afloat-intents 1\n"

  /// Equal for equal documents, on every node and version.
  package var digest: UInt64 { StableHash.hash(body.utf8) }

  package var text: String {
    let body = body
    return body + "end \(registers.count) \(Self.hexadecimal(StableHash.hash(body.utf8)))\n"
  }

  private var body: String {
    var body = Self.header
    for (key, register) in sortedRegisters { body += Self.line(key, register) }
    return body
  }

  var sortedRegisters: [(key: String, value: IntentRegister)] {
    registers.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
  }

  private static func line(_ key: String, _ register: IntentRegister) -> String {
    "\(key) \(register.stamp.counter) \(register.stamp.author) \(register.value?.text ?? "-")\n"
  }

  private static func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }

  /// Reads a text; accepts exactly what `text` writes, refuses everything else without a guess.
  package init(text: String) throws(IntentsFault) {
    guard text.utf8.count <= Self.maximumTextByteCount else {
      throw .damaged(why: "longer than \(Self.maximumTextByteCount) bytes")
    }
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    guard lines.count >= 3, lines[0] + "\n" == Self.header, lines[lines.count - 1].isEmpty else {
      throw .damaged(why: "it does not start with `\(Self.header.dropLast())` or ends in mid-line")
    }
    self.init()
    for index in 1..<(lines.count - 2) {
      let (key, register) = try Self.parse(lines[index], number: index + 1)
      guard registers[key.text] == nil else { throw .malformed(line: index + 1, why: "\(key.text) comes twice") }
      try check(register, at: key)
      try insert(register, at: key)
    }
    guard self.text == text else { throw .damaged(why: "its digest or count is wrong, or it is not in canonical form") }
  }

  private static func parse(_ line: Substring, number: Int) throws(IntentsFault) -> (IntentKey, IntentRegister) {
    let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
    guard words.count == 4 else { throw .malformed(line: number, why: "four words were expected") }
    let key = try IntentKey(String(words[0]))
    guard let counter = UInt64(words[1]), let author = NodeName(String(words[2])) else {
      throw .malformed(line: number, why: "a counter and a node were expected")
    }
    let value = words[3] == "-" ? nil : try IntentValue(text: String(words[3]), key: key)
    return (key, IntentRegister(stamp: IntentStamp(counter: counter, author: author), value: value))
  }

  /// A document of these registers only: what changed, to be merged elsewhere.
  package func part(of keys: some Sequence<IntentKey>) -> Intents {
    var part: [String: IntentRegister] = [:]
    for key in keys { part[key.text] = registers[key.text] }
    return Intents(checked: part)
  }

  /// The document in pieces whose texts are at most `maximumByteCount` (at least 2 KiB) long: each is a document of its own,
  /// merged like a whole one. An empty document is one empty part.
  package func parts(maximumByteCount: Int) -> [Intents] {
    precondition(maximumByteCount >= 2048, "a part holds at least one register")
    var parts: [Intents] = []
    var current: [String: IntentRegister] = [:]
    var byteCount = 64  // first and last line
    for (key, register) in sortedRegisters {
      let length = Self.line(key, register).utf8.count
      if byteCount + length > maximumByteCount {
        parts.append(Intents(checked: current))
        current = [:]
        byteCount = 64
      }
      current[key] = register
      byteCount += length
    }
    return parts + [Intents(checked: current)]
  }
}

extension Intents: Codable {
  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    do {
      try self.init(text: text)
    } catch {
      throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: error.description))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
}
