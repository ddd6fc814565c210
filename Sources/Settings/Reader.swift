// Reading a tree with all errors at once. A `Field` is a value with the path of keys that leads to it; `Fields` is a map
// whose keys have been checked. Every method that finds something wrong adds a problem and returns nil, and the caller
// goes on with the rest.

import Primitives

struct Field {
  /// For messages: `pools.app.check`.
  var path: String
  var keyPosition: Position
  var value: YAMLValue

  var position: Position { value.position }
  var isEmpty: Bool { if case .empty = value.content { true } else { false } }
  /// The text of a scalar.
  var text: String? { if case .scalar(let text, _) = value.content { text } else { nil } }
  /// The text of a scalar that has no quotes.
  var word: String? { if case .scalar(let text, isPlain: true) = value.content { text } else { nil } }
}

struct Fields {
  let path: String
  let position: Position
  fileprivate let fields: [String: Field]

  subscript(key: String) -> Field? { fields[key] }
  var isEmpty: Bool { fields.isEmpty }
}

/// A map's keys: those that are read, and those that the contract has and this version does not.
struct Keys {
  var known: [String]
  var unsupported: [String]

  init(_ known: [String], notYet unsupported: [String] = []) {
    self.known = known
    self.unsupported = unsupported
  }
}

/// A class, so that the problems gather while readers call each other; lives for one `parse`.
final class Reader {
  private(set) var problems: [Problem]

  init(problems: [Problem]) { self.problems = problems }

  func add(_ position: Position, _ message: String, _ remedy: String? = nil) {
    problems.append(Problem(position, message, remedy))
  }

  // MARK: Maps and lists

  /// A map with these keys only; an empty value is an empty map. `shape` says what would be right for another type.
  func fields(_ field: Field, _ keys: Keys, shape: String) -> Fields? {
    let pairs: [YAMLPair]
    switch field.value.content {
    case .mapping(let found): pairs = found
    case .empty: pairs = []
    default:
      add(
        field.position, "\(field.path.isEmpty ? "the file" : field.path) must be a map, not \(field.value.kind)", shape)
      return nil
    }
    var fields: [String: Field] = [:]
    for pair in pairs {
      if keys.known.contains(pair.key) {
        fields[pair.key] = Field(path: join(field.path, pair.key), keyPosition: pair.keyPosition, value: pair.value)
      } else if keys.unsupported.contains(pair.key) {
        add(pair.keyPosition, "\"\(pair.key)\" is not supported yet", "remove it")
      } else {
        unknownKey(pair, in: field.path, keys)
      }
    }
    return Fields(path: field.path, position: field.keyPosition, fields: fields)
  }

  private func unknownKey(_ pair: YAMLPair, in path: String, _ keys: Keys) {
    let place = path.isEmpty ? "at the top level" : "in \(path)"
    let message = "unknown key \"\(pair.key.abbreviated)\" \(place)"
    if pair.key == "<<" {
      add(pair.keyPosition, message, "YAML merge keys are not supported; write the keys out")
    } else if let nearest = Spelling.nearest(to: pair.key, among: keys.known + keys.unsupported) {
      add(pair.keyPosition, message, "did you mean \"\(nearest)\"?")
    } else {
      add(pair.keyPosition, message, "known here: \(keys.known.joined(separator: ", "))")
    }
  }

  /// A map of NAME: value; `what` is a name's kind ("pool"). Entries with a wrong name are left out.
  func named(_ field: Field, _ what: String, maximum: Int, shape: String) -> [(name: String, field: Field)]? {
    let pairs: [YAMLPair]
    switch field.value.content {
    case .mapping(let found): pairs = found
    case .empty: pairs = []
    default:
      add(field.position, "\(field.path) must be a map of names, not \(field.value.kind)", shape)
      return nil
    }
    if pairs.count > maximum {
      add(pairs[maximum].keyPosition, "\(field.path) has \(pairs.count) entries", "at most \(maximum) are supported")
    }
    return pairs.compactMap { pair in
      guard NodeName.isValid(pair.key) else {
        add(
          pair.keyPosition, "\"\(pair.key.abbreviated)\" cannot name a \(what)",
          "1 to 63 letters, digits, - _ . are allowed, a letter or digit first")
        return nil
      }
      return (pair.key, Field(path: join(field.path, pair.key), keyPosition: pair.keyPosition, value: pair.value))
    }
  }

  /// A list; `orOne`: a single item may stand without its brackets. `item` shows one item.
  func list(_ field: Field, orOne: Bool = false, item: String) -> [Field]? {
    switch field.value.content {
    case .sequence(let values):
      return values.enumerated().map { index, value in
        Field(path: "\(field.path)[\(index)]", keyPosition: value.position, value: value)
      }
    case .scalar where orOne, .mapping where orOne: return [field]
    default:
      add(field.position, "\(field.path) must be a list, not \(field.value.kind)", "for instance [\(item)]")
      return nil
    }
  }

  private func join(_ path: String, _ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

  // MARK: Scalars

  /// Any text; never empty.
  func text(_ field: Field?, _ what: String, example: String) -> String? {
    guard let field else { return nil }
    guard let text = field.text, !text.isEmpty else {
      wrongType(field, what, example: example)
      return nil
    }
    return text
  }

  func wrongType(_ field: Field, _ what: String, example: String) {
    add(field.position, "\(field.path) must be \(what), not \(field.value.kind)", "for instance \(example)")
  }

  func name(_ field: Field?, _ what: String) -> String? {
    guard let field, let text = self.text(field, "the name of a \(what)", example: what) else { return nil }
    guard NodeName.isValid(text) else {
      add(
        field.position, "\(field.path): \"\(text.abbreviated)\" cannot name a \(what)",
        "1 to 63 letters, digits, - _ . are allowed, a letter or digit first")
      return nil
    }
    return text
  }

  /// `default` when absent; nil after a problem as well, so that callers write `?? default`.
  func duration(_ field: Field?, _ range: ClosedRange<TimeSpan>, example: String) -> TimeSpan? {
    guard let field else { return nil }
    guard let text = field.text, let span = Quantities.duration(text) else {
      let remedy = "write a whole number with its unit: \(example); units are ms, s, m, h"
      add(field.position, "\(field.path) must be a duration, not \(field.value.kind)", remedy)
      return nil
    }
    guard range.contains(span) else {
      outside(field, text, Quantities.text(range.lowerBound), Quantities.text(range.upperBound))
      return nil
    }
    return span
  }

  func size(_ field: Field?, _ range: ClosedRange<Int64>, example: String) -> Int64? {
    guard let field else { return nil }
    guard let text = field.text, let size = Quantities.size(text) else {
      let remedy = "write a whole number with its unit: \(example); units are B, KiB, MiB, GiB"
      add(field.position, "\(field.path) must be a size, not \(field.value.kind)", remedy)
      return nil
    }
    guard range.contains(size) else {
      outside(field, text, Quantities.text(byteCount: range.lowerBound), Quantities.text(byteCount: range.upperBound))
      return nil
    }
    return size
  }

  func percent(_ field: Field?) -> Int? {
    guard let field else { return nil }
    guard let text = field.text, let percent = Quantities.percent(text) else {
      add(field.position, "\(field.path) must be a share, not \(field.value.kind)", "from 0% to 100%, for instance 20%")
      return nil
    }
    return percent
  }

  func integer(_ field: Field?, _ range: ClosedRange<Int>) -> Int? {
    guard let field else { return nil }
    guard let text = field.word, (1...12).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }),
      let number = Int(text)
    else {
      let remedy = "from \(range.lowerBound) to \(range.upperBound), without quotes"
      add(field.position, "\(field.path) must be a whole number, not \(field.value.kind)", remedy)
      return nil
    }
    guard range.contains(number) else {
      outside(field, text, "\(range.lowerBound)", "\(range.upperBound)")
      return nil
    }
    return number
  }

  private func outside(_ field: Field, _ text: String, _ lower: String, _ upper: String) {
    add(field.position, "\(field.path) is \(text)", "it must be from \(lower) to \(upper)")
  }

  func flag(_ field: Field?) -> Bool? {
    guard let field else { return nil }
    switch field.word?.lowercased() {
    case "yes", "true", "on": return true
    case "no", "false", "off": return false
    default:
      add(field.position, "\(field.path) must be yes or no, not \(field.value.kind)")
      return nil
    }
  }

  /// One of a few words.
  /// `besides`: what could stand there too, and is read elsewhere. `meant`: what others call something, and we do not.
  func choice<Value>(
    _ field: Field?, _ choices: KeyValuePairs<String, Value>, notYet: [String] = [], besides: [String] = [],
    meant: [String: String] = [:]
  ) -> Value? {
    guard let field else { return nil }
    let all = choices.map(\.key)
    if let text = field.text {
      if let found = choices.first(where: { $0.key == text }) { return found.value }
      if let meant = meant[text] {
        let remedy = "did you mean \(meant)? there are \((all + besides).joined(separator: ", "))"
        add(field.position, "\(field.path) cannot be \"\(text.abbreviated)\"", remedy)
        return nil
      }
      if notYet.contains(text) {
        add(field.position, "\(field.path): \"\(text)\" is not supported yet", "use \(all.joined(separator: " or "))")
        return nil
      }
      if let nearest = Spelling.nearest(to: text, among: all + notYet) {
        add(field.position, "\(field.path) cannot be \"\(text.abbreviated)\"", "did you mean \"\(nearest)\"?")
        return nil
      }
    }
    let remedy = "choose from \((all + besides).joined(separator: ", "))"
    add(field.position, "\(field.path) cannot be \(field.value.kind)", remedy)
    return nil
  }

  /// An address of a single host.
  func address(_ field: Field?, _ what: String, example: String) -> IPAddress? {
    guard let field else { return nil }
    guard let text = field.text, let address = IPAddress(text) else {
      wrongType(field, what, example: example)
      return nil
    }
    guard address.isHost else {
      add(field.position, "\(field.path): \(address) is not the address of a host", "for instance \(example)")
      return nil
    }
    return address
  }

  /// ADDRESS:PORT; `wildcard`: `*` is every address.
  func endpoint(_ field: Field?, wildcard: Bool, example: String) -> Endpoint? {
    guard let field else { return nil }
    guard var text = field.text else {
      wrongType(field, "ADDRESS:PORT", example: example)
      return nil
    }
    if wildcard, text.hasPrefix("*:") { text = "0.0.0.0" + text.dropFirst() }
    if IPAddress(text)?.family == .v6 {
      add(field.position, "\(field.path): an IPv6 address and its port need brackets", "for instance [2001:db8::1]:80")
      return nil
    }
    guard let colon = text.lastIndex(of: ":") else {
      let isAddress = IPAddress(text) != nil || !wildcard && HostName.isValid(text)
      add(
        field.position, "\(field.path): \"\(text.abbreviated)\" \(isAddress ? "has no port" : "is not ADDRESS:PORT")",
        "for instance \(isAddress ? text + ":80" : example)")
      return nil
    }
    guard Endpoint.parsePort(text[text.index(after: colon)...]) != nil else {
      let remedy = "a port is a number from 1 to 65535"
      add(
        field.position, "\(field.path): \"\(text[text.index(after: colon)...].description.abbreviated)\" is not a port",
        remedy)
      return nil
    }
    guard let endpoint = Endpoint(text) else {
      let host = String(text[..<colon])
      let what = wildcard ? "an address" : "an address or the name of a host"
      add(field.position, "\(field.path): \"\(host.abbreviated)\" is not \(what)", "for instance \(example)")
      return nil
    }
    let address = endpoint.address
    let isUsable = address.isHost && !(address.family == .v6 && address.isLinkLocal)
    guard isUsable || wildcard && address.isUnspecified else {
      add(field.position, "\(field.path): \(endpoint.address) is not the address of a host", "for instance \(example)")
      return nil
    }
    return endpoint
  }
}

/// What the parts of the file know of each other while they are read: names with their places, whether or not the thing
/// behind the name is right itself, so that one error does not cause others.
struct References {
  struct Mention {
    var name: String
    var position: Position
    var path: String
  }
  var members: [String: IPAddress?] = [:]
  /// Whose each address is.
  var memberAddresses: [IPAddress: String] = [:]
  var witnesses: Set<String> = []
  var hasCluster = false
  var pools: [String] = []
  var usedPools: Set<String> = []
  /// Pools that stand in for others.
  var fallbacks: [(owner: String, mention: Mention)] = []
  var checkScripts: [Configuration.CheckScript] = []
  var hasListeners = false
  /// Names that the file gives to routes.
  var routes: Set<String> = []
}
