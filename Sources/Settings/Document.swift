// YAML text → a small tree with the place of every key and value. Yams (libyaml) does the parsing; this file sets limits
// (size, depth, expansion of aliases), keeps the positions, and lets repeated keys through as errors of their own, which
// Yams would report without their places and stop at.

import Yams

struct YAMLValue {
  enum Content {
    /// Nothing, `~` or `null`.
    case empty
    /// `isPlain`: written without quotes.
    case scalar(String, isPlain: Bool)
    case sequence([YAMLValue])
    case mapping([YAMLPair])
  }
  var position: Position
  var content: Content

  /// For messages: "a list".
  var kind: String {
    switch content {
    case .empty: "empty"
    case .scalar(let text, _): "\"\(text.abbreviated)\""
    case .sequence: "a list"
    case .mapping: "a map"
    }
  }
}

struct YAMLPair {
  var key: String
  var keyPosition: Position
  var value: YAMLValue
}

extension String {
  /// For messages: one line, at most 60 characters.
  var abbreviated: String {
    let line = String(unicodeScalars.map { $0.value < 32 || $0.value == 127 ? " " : Character($0) })
    return line.count <= 60 ? line : line.prefix(57) + "..."
  }
}

enum Document {
  static let maximumByteCount = 1 << 20
  static let maximumDepth = 32
  /// Values in the tree after aliases have been expanded.
  static let maximumValueCount = 50_000
  /// What aliases may blow a file up to.
  static let maximumExpansion = 100_000.0
  static let maximumDuplicates = 50

  /// The tree of the only document in `bytes`, and the problems on the way. Nil if there is nothing to go on with.
  static func parse(_ bytes: [UInt8]) -> (root: YAMLValue?, problems: [Problem]) {
    let start = Position(line: 1, column: 1)
    guard bytes.count <= maximumByteCount else {
      let what = "the file has \(bytes.count) bytes, more than 1 MiB"
      return (nil, [Problem(start, what, "a configuration is some kilobytes; is this the right file?")])
    }
    guard var text = String(validating: bytes, as: UTF8.self) else {
      return (nil, [Problem(firstInvalidByte(bytes), "the file is not UTF-8 here", "save it as UTF-8")])
    }
    if text.unicodeScalars.first == "\u{feff}" { text.unicodeScalars.removeFirst() }
    if let problem = aliasProblem(text) { return (nil, [problem]) }
    var scalars = Array(text.unicodeScalars)
    var replaced: [Unicode.Scalar: Unicode.Scalar] = [:]
    while true {
      var current = String.UnicodeScalarView()
      current.append(contentsOf: scalars)
      do {
        let parser = try Yams.Parser(yaml: String(current), resolver: .basic, encoding: .utf8)
        guard let node = try parser.singleRoot() else { return (nil, []) }
        var builder = TreeBuilder(replaced: replaced)
        let root = builder.value(node, depth: 0)
        return (builder.isCutShort ? nil : root, builder.problems)
      } catch YamlError.duplicatedKeysInMapping(let keys, let context) {
        // The mark is that of the first of the repeated keys. Give its first letter a private stand-in, so that the key
        // becomes unique, and parse again; the builder puts the letter back and reports the repetition.
        let name = keys.first ?? ""
        let mark = Position(line: context.mark.line, column: context.mark.column)
        guard replaced.count < maximumDuplicates, let index = keyIndex(of: name, at: mark, in: scalars),
          let standIn = Unicode.Scalar(UInt32(0xe000 + replaced.count))
        else {
          return (nil, [Problem(mark, "\"\(name.abbreviated)\" is there more than once", "keep one")])
        }
        replaced[standIn] = scalars[index]
        scalars[index] = standIn
      } catch {
        return (nil, [problem(of: error, text: text)])
      }
    }
  }

  /// Where the first letter of a plain or quoted key stands, or nil if the key is written in another way.
  private static func keyIndex(of key: String, at mark: Position, in scalars: [Unicode.Scalar]) -> Int? {
    var line = 1
    var index = 0
    while line < mark.line, index < scalars.count {
      if scalars[index] == "\n"
        || (scalars[index] == "\r" && !(index + 1 < scalars.count && scalars[index + 1] == "\n"))
      {
        line += 1
      }
      index += 1
    }
    index += mark.column - 1
    guard index < scalars.count else { return nil }
    if scalars[index] == "\"" || scalars[index] == "'" { index += 1 }
    let letters = Array(key.unicodeScalars)
    guard !letters.isEmpty, index + letters.count <= scalars.count,
      Array(scalars[index..<(index + letters.count)]) == letters
    else { return nil }
    return index
  }

  /// Aliases within aliased values multiply; refuses text whose aliases could expand beyond reason, before anything walks it.
  private static func aliasProblem(_ text: String) -> Problem? {
    var anchors = 0
    var aliases = 0
    var position = Position(line: 1, column: 0)
    var lastAlias = Position(line: 1, column: 1)
    var previous: Unicode.Scalar = "\n"
    var isComment = false
    for scalar in text.unicodeScalars {
      position.column += 1
      if scalar == "\n" {
        position = Position(line: position.line + 1, column: 0)
        isComment = false
      } else if !isComment {
        switch previous {
        case " ", "\t", "\n", "[", "{", ",", "-", ":", "?":
          if scalar == "&" { anchors += 1 }
          if scalar == "*" { aliases += 1; lastAlias = position }
          if scalar == "#" { isComment = true }
        default: break
        }
      }
      previous = scalar
    }
    guard anchors > 0, aliases > 0 else { return nil }
    var expansion = 1.0
    for _ in 0..<min(anchors, 64) where expansion <= maximumExpansion {
      expansion *= Double(aliases) / Double(anchors) + 1
    }
    guard expansion > maximumExpansion else { return nil }
    return Problem(
      lastAlias, "the file has too many YAML aliases", "\(aliases) aliases of \(anchors) anchors; write values out")
  }

  private static func firstInvalidByte(_ bytes: [UInt8]) -> Position {
    var position = Position(line: 1, column: 1)
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    while case .scalarValue(let scalar) = decoder.decode(&iterator) {
      position =
        scalar == "\n"
        ? Position(line: position.line + 1, column: 1)
        : Position(line: position.line, column: position.column + 1)
    }
    return position
  }

  private static func problem(of error: any Error, text: String) -> Problem {
    func located(_ mark: Mark, _ what: String, _ context: YamlError.Context?) -> Problem {
      let position = Position(line: mark.line, column: mark.column)
      if what.contains("nesting level") {
        return Problem(
          position, "the file nests deeper than \(maximumDepth) levels", "nothing here needs more than ten")
      }
      if what.contains("another document") {
        return Problem(position, "a second YAML document begins here", "a configuration is one document; remove ---")
      }
      var remedy: String?
      if what.contains("cannot start any token") {
        remedy = "indent with spaces, and quote text that starts with a special character"
      } else if what.contains("mapping values are not allowed") {
        remedy = "check the indentation, and put a space behind each colon"
      } else if what.contains("alias") || context?.text.contains("alias") == true {
        remedy = "quote text that starts with *: \"*:80\""
      } else if let context {
        remedy = "\(context.text) that starts in line \(context.mark.line)"
      }
      return Problem(position, "this is not YAML: \(what)", remedy)
    }
    switch error {
    case YamlError.scanner(let context, let problem, let mark, _),
      YamlError.parser(let context, let problem, let mark, _),
      YamlError.composer(let context, let problem, let mark, _):
      return located(mark, problem, context)
    case YamlError.reader(let problem, let offset, _, _):
      var position = Position(line: 1, column: 1)
      for character in text.prefix(offset ?? 0) {
        position =
          character.isNewline
          ? Position(line: position.line + 1, column: 1)
          : Position(line: position.line, column: position.column + character.unicodeScalars.count)
      }
      return Problem(position, "this is not YAML: \(problem)", "remove the control character")
    default:
      return Problem(Position(line: 1, column: 1), "this is not YAML: \(error)")
    }
  }
}

/// Copies Yams' nodes into our tree, within limits.
private struct TreeBuilder {
  /// Stand-in → the letter that it stands for, for keys that are repeated later.
  let replaced: [Unicode.Scalar: Unicode.Scalar]
  var problems: [Problem] = []
  var isCutShort = false
  private var count = 0

  init(replaced: [Unicode.Scalar: Unicode.Scalar]) { self.replaced = replaced }

  private func position(_ node: Node, or other: Position) -> Position {
    node.mark.map { Position(line: $0.line, column: $0.column) } ?? other
  }

  private mutating func stop(_ position: Position, _ message: String, _ remedy: String) {
    if !isCutShort { problems.append(Problem(position, message, remedy)) }
    isCutShort = true
  }

  mutating func value(_ node: Node, depth: Int) -> YAMLValue {
    let position = position(node, or: Position(line: 1, column: 1))
    var result = YAMLValue(position: position, content: .empty)
    count += 1
    if count > Document.maximumValueCount {
      stop(position, "the file has more than \(Document.maximumValueCount) values", "do aliases repeat too much?")
    }
    if depth > Document.maximumDepth {
      stop(position, "the file nests deeper than \(Document.maximumDepth) levels", "nothing here needs more than ten")
    }
    if isCutShort { return result }
    switch node {
    case .scalar(let scalar):
      if scalar.tag.description == "tag:yaml.org,2002:binary" {
        stop(position, "!!binary is not supported", "bytes of a TCP check are written as {hex: \"00d2 ff\"}")
      }
      let isPlain = scalar.style == .plain || scalar.style == .any
      if !isPlain || !["", "~", "null", "Null", "NULL"].contains(scalar.string) {
        result.content = .scalar(restored(scalar.string), isPlain: isPlain)
      }
    case .sequence(let sequence):
      var values: [YAMLValue] = []
      for element in sequence where !isCutShort { values.append(value(element, depth: depth + 1)) }
      result.content = .sequence(values)
    case .mapping(let mapping):
      result.content = .mapping(pairs(mapping, depth: depth))
    case .alias:
      stop(position, "this YAML alias leads nowhere", "define it with & before its use")
    }
    return result
  }

  private func restored(_ text: String) -> String {
    guard !replaced.isEmpty, text.unicodeScalars.contains(where: { replaced[$0] != nil }) else { return text }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: text.unicodeScalars.map { replaced[$0] ?? $0 })
    return String(view)
  }

  /// The pairs in the order of the file; of repeated keys the last counts and the others are problems.
  private mutating func pairs(_ mapping: Node.Mapping, depth: Int) -> [YAMLPair] {
    var pairs: [YAMLPair] = []
    var lines: [String: Int] = [:]
    for (keyNode, valueNode) in mapping where !isCutShort {
      let keyPosition = position(keyNode, or: Position(line: 1, column: 1))
      guard case .scalar(let scalar) = keyNode else {
        problems.append(Problem(keyPosition, "a key must be a single word", "lists and maps cannot be keys"))
        continue
      }
      let key = restored(scalar.string)
      var child = value(valueNode, depth: depth + 1)
      // An empty value has its mark behind the colon or on the next line; what the operator sees is the key.
      if case .empty = child.content { child.position = keyPosition }
      if let line = lines[key] {
        problems.append(
          Problem(keyPosition, "\"\(key.abbreviated)\" is there more than once", "it is in line \(line) too; keep one"))
        pairs.removeAll { $0.key == key }
      }
      lines[key] = keyPosition.line
      pairs.append(YAMLPair(key: key, keyPosition: keyPosition, value: child))
    }
    return pairs
  }
}
