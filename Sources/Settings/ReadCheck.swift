// `check:` of a pool – how the balancer finds out whether a server works.

import Control
import Primitives

extension Reader {
  private static let timing = ["every", "timeout", "rise", "fall", "fast", "down"]
  private static let checkShape = "{http: /healthz}, tcp or none"

  func check(_ field: Field) -> HealthCheckConfiguration? {
    guard case .mapping(let pairs) = field.value.content else {
      let kinds: KeyValuePairs<String, HealthCheckConfiguration.Kind> = [
        "tcp": .tcp(send: [], expect: []), "none": .none,
      ]
      if field.text == "http" {
        add(field.position, "\(field.path): http needs a path", "for instance {http: /healthz}")
        return nil
      }
      return choice(field, kinds, notYet: ["tls", "script"]).map { HealthCheckConfiguration(kind: $0) }
    }
    let isHTTP = pairs.contains { $0.key == "http" }
    let options = isHTTP ? ["http", "method", "host", "expect"] : ["tcp"]
    // Keys of the other kind are found below, with a better message than "unknown".
    let keys = Keys(
      options + Self.timing + (isHTTP ? ["tcp"] : ["http", "method", "host", "expect"]), notYet: ["tls", "script"])
    guard let fields = self.fields(field, keys, shape: Self.checkShape) else { return nil }
    if isHTTP, let tcp = fields["tcp"] {
      add(tcp.keyPosition, "\(field.path) is both http and tcp", "keep one")
    }
    if !isHTTP {
      for key in ["method", "host", "expect"] {
        if let option = fields[key] {
          let remedy = fields["tcp"] == nil ? "add http: /healthz" : "remove it; tcp has {send, expect}"
          add(option.keyPosition, "\"\(key)\" has a meaning only in an http check", remedy)
        }
      }
      let hasUnsupported = pairs.contains { ["tls", "script"].contains($0.key) }
      if fields["tcp"] == nil {
        let isExplained = hasUnsupported || ["method", "host", "expect"].contains { fields[$0] != nil }
        if isExplained { return nil }
        add(field.position, "\(field.path) does not say what to check", Self.checkShape)
        return nil
      }
    }
    guard let kind = isHTTP ? httpCheck(fields) : tcpCheck(fields["tcp"]) else { return nil }
    var check = HealthCheckConfiguration(kind: kind)
    readTiming(fields, into: &check)
    return check
  }

  private func readTiming(_ fields: Fields, into check: inout HealthCheckConfiguration) {
    let range = TimeSpan.milliseconds(10) ... .seconds(3600)
    if let span = duration(fields["every"], range, example: "2s") { check.every = span }
    if let span = duration(fields["timeout"], range, example: "1s") { check.timeout = span }
    if let count = integer(fields["rise"], 1...100) { check.rise = count }
    if let count = integer(fields["fall"], 1...100) { check.fall = count }
    if fields["fast"] == nil {
      // "While changing" is never slower than the ordinary rhythm, unless asked for.
      check.fast = min(check.fast, check.every)
    } else if let span = duration(fields["fast"], range, example: "500ms") {
      check.fast = span
    }
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
    func bytes(_ field: Field?) -> [UInt8] {
      guard let field, let text = self.text(field, "text", example: "\"PING\\r\\n\"") else { return [] }
      if text.utf8.count > 4096 {
        add(field.position, "\(field.path) has \(text.utf8.count) bytes", "at most 4096 are supported")
      }
      return Array(text.utf8)
    }
    return .tcp(send: bytes(fields["send"]), expect: bytes(fields["expect"]))
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
        body, "\(fields.path): the answer to HEAD has no body to look into", "use method: GET, or remove body_contains")
    }
    return path.map {
      .http(path: $0, method: method, host: host, status: expected.status, bodyContains: expected.body)
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

  private func expectation(_ field: Field?) -> (status: [ClosedRange<Int>], body: String?, bodyPosition: Position?) {
    let usual = [200...399]
    guard let field else { return (usual, nil, nil) }
    let keys = Keys(["status", "body_contains"], notYet: ["body_regex"])
    guard let fields = self.fields(field, keys, shape: "{status: 200-399, body_contains: ok}") else {
      return (usual, nil, nil)
    }
    var status: [ClosedRange<Int>] = []
    if let field = fields["status"], let items = list(field, orOne: true, item: "200, 300-399") {
      status = items.compactMap { statusRange($0) }
      if items.isEmpty { add(field.position, "\(field.path) is empty", "for instance 200-399") }
    }
    let body = text(fields["body_contains"], "text", example: "ok")
    if let body, body.utf8.count > 4096, let field = fields["body_contains"] {
      add(field.position, "\(field.path) has \(body.utf8.count) bytes", "at most 4096 are supported")
    }
    return (status.isEmpty ? usual : status, body, fields["body_contains"]?.position)
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
