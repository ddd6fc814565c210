// `check:` of a pool – how the balancer finds out whether a server works.

import Control
import Patterns
import Primitives

extension Reader {
  private static let timing = ["every", "timeout", "rise", "fall", "fast", "down", "port"]
  private static let shortest = TimeSpan.milliseconds(10)
  /// Between two runs of a script.
  private static let shortestOfScripts = TimeSpan.milliseconds(100)
  private static let kinds = ["http", "tcp", "script"]
  private static let ofHTTP = ["method", "host", "expect"]
  private static let checkShape = "{http: /healthz}, {script: PATH}, tcp or none"
  private static let scriptExample = "/usr/local/bin/app-works"

  func check(_ field: Field) -> HealthCheckConfiguration? {
    guard case .mapping(let pairs) = field.value.content else {
      let kinds: KeyValuePairs<String, HealthCheckConfiguration.Kind> = [
        "tcp": .tcp(send: [], expect: []), "none": .none,
      ]
      if let text = field.text, ["http", "script"].contains(text) {
        let example = text == "http" ? "/healthz" : Self.scriptExample
        add(field.position, "\(field.path): \(text) needs a path", "for instance {\(text): \(example)}")
        return nil
      }
      return choice(field, kinds, notYet: ["tls"], besides: ["{http: /healthz}", "{script: PATH}"]).map {
        HealthCheckConfiguration(kind: $0)
      }
    }
    let named = Self.kinds.filter { kind in pairs.contains { $0.key == kind } }
    // Keys of the other kinds are found below, with a better message than "unknown".
    let own = named.first == "http" ? ["http"] + Self.ofHTTP : named.isEmpty ? ["tcp"] : [named[0]]
    let others = (Self.kinds + Self.ofHTTP).filter { !own.contains($0) }
    guard
      let fields = self.fields(field, Keys(own + Self.timing + others, notYet: ["tls"]), shape: Self.checkShape)
    else { return nil }
    if named.count > 1, let other = fields[named[1]] {
      add(other.keyPosition, "\(field.path) is both \(named[0]) and \(named[1])", "keep one")
    }
    if named.first != "http" {
      for key in Self.ofHTTP {
        guard let option = fields[key] else { continue }
        let remedy =
          named.isEmpty ? "add http: /healthz" : named[0] == "tcp" ? "remove it; tcp has {send, expect}" : "remove it"
        add(option.keyPosition, "\"\(key)\" has a meaning only in an http check", remedy)
      }
    }
    guard let name = named.first else {
      let isExplained = pairs.contains { $0.key == "tls" } || Self.ofHTTP.contains { fields[$0] != nil }
      if !isExplained { add(field.position, "\(field.path) does not say what to check", Self.checkShape) }
      return nil
    }
    let kind =
      switch name {
      case "http": httpCheck(fields)
      case "script": fields["script"].flatMap { scriptCheck($0) }
      default: tcpCheck(fields["tcp"])
      }
    guard let kind else { return nil }
    var check = HealthCheckConfiguration(kind: kind)
    readTiming(fields, name == "script" ? Self.shortestOfScripts : Self.shortest, into: &check)
    return check
  }

  private func scriptCheck(_ field: Field) -> HealthCheckConfiguration.Kind? {
    absolutePath(field, example: Self.scriptExample).map { .script(path: $0) }
  }

  private func readTiming(_ fields: Fields, _ shortest: TimeSpan, into check: inout HealthCheckConfiguration) {
    let range = shortest ... .seconds(3600)
    if let span = duration(fields["every"], range, example: "2s") { check.every = span }
    if let span = duration(fields["timeout"], Self.shortest ... .seconds(3600), example: "1s") { check.timeout = span }
    if let count = integer(fields["rise"], 1...100) { check.rise = count }
    if let count = integer(fields["fall"], 1...100) { check.fall = count }
    if fields["fast"] == nil {
      // "While changing" is never slower than the ordinary rhythm, unless asked for.
      check.fast = min(check.fast, check.every)
    } else if let span = duration(fields["fast"], range, example: "500ms") {
      check.fast = span
    }
    if let port = integer(fields["port"], 1...65_535) { check.port = UInt16(port) }
    if let span = duration(fields["down"], range, example: "5s") { check.down = span }
  }

  private func tcpCheck(_ field: Field?) -> HealthCheckConfiguration.Kind? {
    guard let field else { return nil }
    if let word = field.word?.lowercased(), ["yes", "true", "on"].contains(word) { return .tcp(send: [], expect: []) }
    guard
      let fields = self.fields(
        field, Keys(["send", "expect"]), shape: "{tcp: {send: PING, expect: PONG}}, or only tcp")
    else {
      return nil
    }
    return .tcp(send: bytes(fields["send"]), expect: bytes(fields["expect"]))
  }

  /// Text, or `{hex: "00d2ff"}`.
  private func bytes(_ field: Field?) -> [UInt8] {
    guard let field else { return [] }
    var bytes: [UInt8] = []
    if case .mapping = field.value.content {
      guard let fields = self.fields(field, Keys(["hex"]), shape: "{hex: \"0000 0008\"}"),
        let hex = required(fields, "hex", "for instance \"0000 0008\"", { text($0, "bytes", example: "\"0000 0008\"") })
      else { return [] }
      let digits = hex.filter { $0 != " " }
      let values = digits.compactMap { $0.isASCII ? $0.hexDigitValue : nil }
      if values.count != digits.count || values.count % 2 == 1 {
        add(field.position, "\(field.path).hex must be pairs of hexadecimal digits", "for instance \"0000 0008\"")
        return []
      }
      bytes = stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0] << 4 | values[$0 + 1]) }
    } else if let text = self.text(field, "text", example: "\"PING\\r\\n\"") {
      if !text.utf8.allSatisfy({ $0 < 128 }) {
        add(
          field.position,
          "\(field.path) has characters beyond ASCII, of which nobody knows as what bytes they are meant",
          "write bytes as {hex: \"00d2 ff\"}")
      }
      bytes = Array(text.utf8)
    }
    if bytes.count > 4096 {
      add(field.position, "\(field.path) has \(bytes.count) bytes", "at most 4096 are supported")
    }
    return bytes
  }

  private func httpCheck(_ fields: Fields) -> HealthCheckConfiguration.Kind? {
    let path = fields["http"].flatMap { checkPath($0) }
    var method = "GET"
    if let field = fields["method"], let text = self.text(field, "a method", example: "GET") {
      if HTTPWords.isToken(text), text == text.uppercased(), text != "CONNECT", text.utf8.count <= 32 {
        method = text
      } else {
        add(
          field.position, "\(field.path): \"\(text.abbreviated)\" is not a method for checks",
          "for instance GET, HEAD or OPTIONS")
      }
    }
    let host = fields["host"].flatMap { hostName($0) }
    let expected = expectation(fields["expect"])
    if method == "HEAD", let body = expected.bodyPosition {
      add(
        body, "\(fields.path): the answer to HEAD has no body to look into",
        "use method: GET, or remove what is expected of the body")
    }
    return path.map {
      .http(path: $0, method: method, host: host, expect: expected.answer)
    }
  }

  /// The value of a Host header.
  func hostName(_ field: Field) -> String? {
    guard let text = self.text(field, "a host name", example: "www.example.org") else { return nil }
    guard HTTPWords.isVisible(text), !text.contains("/"), !text.contains("@"), text.utf8.count <= 255 else {
      add(field.position, "\(field.path): \"\(text.abbreviated)\" is not a host", "for instance www.example.org")
      return nil
    }
    return text
  }

  private func checkPath(_ field: Field) -> String? {
    guard let path = text(field, "a path", example: "/healthz") else { return nil }
    guard path.hasPrefix("/"), HTTPWords.isVisible(path), !path.contains("#"), path.utf8.count <= 2048 else {
      let remedy = "it starts with / and has no spaces, for instance /healthz"
      add(field.position, "\(field.path): \"\(path.abbreviated)\" is not a path", remedy)
      return nil
    }
    return path
  }

  private func expectation(
    _ field: Field?
  ) -> (answer: HealthCheckConfiguration.Expectation, bodyPosition: Position?) {
    var answer = HealthCheckConfiguration.Expectation()
    let keys = Keys(["status", "body_contains", "body_regex"])
    guard let field, let fields = self.fields(field, keys, shape: "{status: 200-399, body_contains: ok}") else {
      return (answer, nil)
    }
    if let field = fields["status"], let items = list(field, orOne: true, item: "200, 300-399") {
      let status = items.compactMap { statusRange($0) }
      if items.isEmpty { add(field.position, "\(field.path) is empty", "for instance 200-399") }
      if !status.isEmpty { answer.status = status }
    }
    answer.bodyContains = text(fields["body_contains"], "text", example: "ok")
    if let body = answer.bodyContains, body.utf8.count > 4096, let field = fields["body_contains"] {
      add(field.position, "\(field.path) has \(body.utf8.count) bytes", "at most 4096 are supported")
    }
    answer.bodyPattern = bodyPattern(fields["body_regex"])
    return (answer, (fields["body_contains"] ?? fields["body_regex"])?.position)
  }

  private func bodyPattern(_ field: Field?) -> String? {
    guard let field, let text = self.text(field, "a regular expression", example: "'\"status\": *\"ok\"'") else {
      return nil
    }
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

  private func statusRange(_ field: Field) -> ClosedRange<Int>? {
    let parts = (field.text ?? "").split(separator: "-", omittingEmptySubsequences: false)
    let numbers = parts.compactMap {
      $0.utf8.count == 3 && $0.utf8.allSatisfy { (48...57).contains($0) } ? Int($0) : nil
    }
    guard (1...2).contains(parts.count), numbers.count == parts.count, let first = numbers.first,
      let last = numbers.last,
      first <= last, (100...599).contains(first), (100...599).contains(last)
    else {
      wrongType(field, "a status or a range of them", example: "200-399")
      return nil
    }
    return first...last
  }
}
