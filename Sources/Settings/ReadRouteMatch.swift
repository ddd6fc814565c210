// `match:` of a route. What can never match is refused: a route that silently takes nothing is worse than an error.

import Control
import Patterns
import Primitives

extension Reader {
  /// Alternatives of one condition.
  private static let maximumAlternatives = 256

  func readMatch(_ field: Field, isTCP: Bool, into route: inout RouteConfiguration) {
    route.match = match(field, isTCP: isTCP, mayExcept: true)
    guard case .mapping(let pairs) = field.value.content, let pair = pairs.first(where: { $0.key == "not" }) else {
      return
    }
    let exception = Field(path: "\(field.path).not", keyPosition: pair.keyPosition, value: pair.value)
    let count = problems.count
    route.exception = match(exception, isTCP: isTCP, mayExcept: false)
    if route.exception.isEmpty, problems.count == count {
      add(exception.position, "\(exception.path) is empty, so the route would take nothing", "remove it")
    }
  }

  private func match(_ field: Field, isTCP: Bool, mayExcept: Bool) -> RouteConfiguration.Match {
    var match = RouteConfiguration.Match()
    let ofHTTP = ["host", "path", "path_prefix", "path_regex", "method", "header"]
    let keys = Keys(ofHTTP + ["source"] + (mayExcept ? ["not"] : []), notYet: ["sni"])
    guard let fields = self.fields(field, keys, shape: "{host: www.example.org, path_prefix: /api}") else {
      return match
    }
    if isTCP { refuseHTTPOnly(fields, ofHTTP) }
    match.hosts = alternatives(fields["host"], item: "www.example.org") { matchedHost($0) }
    match.paths = alternatives(fields["path"], item: "/ping") { matchedPath($0) }
    match.pathPrefixes = alternatives(fields["path_prefix"], item: "/api") { matchedPath($0) }
    match.pathPatterns = alternatives(fields["path_regex"], item: "\"\\\\.png$\"") { matchedPattern($0) }
    match.methods = alternatives(fields["method"], item: "GET") { matchedMethod($0) }
    match.sources = alternatives(fields["source"], item: "198.51.100.0/24") { matchedSource($0) }
    if let header = fields["header"] { match.fields = matchedFields(header) }
    return match
  }

  /// One, or a list of them of which one has to fit.
  private func alternatives<Value>(_ field: Field?, item: String, _ read: (Field) -> Value?) -> [Value] {
    guard let field, let items = list(field, orOne: true, item: item) else { return [] }
    if items.isEmpty {
      add(field.position, "\(field.path) is empty, so it would match nothing", "for instance [\(item)]")
    }
    if items.count > Self.maximumAlternatives {
      add(
        field.position, "\(field.path) has \(items.count) entries", "at most \(Self.maximumAlternatives) are supported")
    }
    return items.compactMap(read)
  }

  private func matchedHost(_ field: Field) -> String? {
    let example = "www.example.org or \"*.example.org\""
    guard let text = self.text(field, "a host name", example: example) else { return nil }
    let bare = text.hasPrefix("*.") ? text.dropFirst(2) : text[...]
    let isAddress = bare.hasPrefix("[") && bare.hasSuffix("]") && IPAddress(bare.dropFirst().dropLast()) != nil
    let isName =
      !bare.isEmpty && !bare.hasPrefix(".")
      && bare.utf8.allSatisfy {
        switch $0 {
        case 48...57, 65...90, 97...122, 45, 46, 95: true
        default: false
        }
      }
    if isAddress || isName && !bare.hasSuffix(".") && text.utf8.count <= 255 { return text.lowercased() }
    let remedy =
      bare.hasSuffix(".")
      ? "hosts are compared without a dot at their end"
      : bare.contains(":") ? "hosts are compared without their port" : "for instance \(example)"
    add(field.position, "\(field.path): \"\(text.abbreviated)\" is not a host name", remedy)
    return nil
  }

  /// A path in the form that requests are brought into before they are compared.
  func matchedPath(_ field: Field) -> String? {
    guard let path = text(field, "a path", example: "/api") else { return nil }
    func refuse(_ message: String, _ remedy: String) -> String? {
      add(field.position, "\(field.path): \"\(path.abbreviated)\" \(message)", remedy)
      return nil
    }
    guard path.hasPrefix("/"), path.utf8.count <= 1024, !path.utf8.contains(0) else {
      return refuse("is not a path", "it starts with /, for instance /api")
    }
    if path.contains("?") || path.contains("#") {
      return refuse("is more than a path", "the query of a request is not compared")
    }
    if path.contains("%") {
      return refuse("is encoded", "paths are compared decoded: write the character itself")
    }
    let segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
    if path.contains("//") || segments.contains(".") || segments.contains("..") {
      return refuse("has empty or dot segments", "paths are compared without them, for instance /api")
    }
    return path
  }

  private func matchedPattern(_ field: Field) -> String? {
    guard let text = self.text(field, "a regular expression", example: "\"\\\\.png$\"") else { return nil }
    do throws(PatternFault) {
      try Pattern(text).deallocate()
      return text
    } catch {
      add(
        field.position, "\(field.path): \"\(text.abbreviated)\" is not a regular expression",
        "after \(error.offset) bytes: \(error.message)")
      return nil
    }
  }

  private func matchedMethod(_ field: Field) -> String? {
    guard let text = self.text(field, "a method", example: "GET") else { return nil }
    guard HTTPWords.isToken(text), text == text.uppercased(), text.utf8.count <= 32, text != "CONNECT" else {
      let upper = text.uppercased()
      let isCase = HTTPWords.isToken(text) && upper != text && upper != "CONNECT"
      let remedy = isCase ? "methods have upper case: \(upper)" : "for instance GET"
      add(field.position, "\(field.path): \"\(text.abbreviated)\" is not a method that comes here", remedy)
      return nil
    }
    return text
  }

  private func matchedSource(_ field: Field) -> AddressPrefix? {
    if let text = field.text, let prefix = AddressPrefix(text) { return prefix }
    let bare = field.text.flatMap { IPAddress($0) }
    wrongType(
      field, "a network with its prefix length", example: bare.map { "\($0)/\($0.bitCount)" } ?? "198.51.100.0/24")
    return nil
  }

  /// A map of NAME: VALUE or NAME: [VALUE, …]; "*" is any value.
  private func matchedFields(_ field: Field) -> [RouteConfiguration.Match.Field] {
    guard case .mapping(let pairs) = field.value.content, !pairs.isEmpty else {
      wrongType(field, "a map of headers", example: "{X-Version: \"2\"}")
      return []
    }
    return pairs.compactMap { pair in
      guard HTTPWords.isToken(pair.key), pair.key.utf8.count <= 64 else {
        add(
          pair.keyPosition, "\(field.path): \"\(pair.key.abbreviated)\" cannot be the name of a header",
          "for instance X-Version")
        return nil
      }
      let path = "\(field.path).\(pair.key)"
      let values = alternatives(
        Field(path: path, keyPosition: pair.keyPosition, value: pair.value), item: "\"2\""
      ) { item -> String? in
        guard let text = text(item, "the value of a header", example: "\"2\"") else { return nil }
        if HTTPWords.isFieldValue(text) { return text }
        add(item.position, "\(item.path): no header has this value", "printable ASCII without spaces at its ends")
        return nil
      }
      return .init(name: pair.key, values: values.contains("*") ? [] : values)
    }
  }
}
