// `routes:` of a listener – what happens to which requests. Matches are in ReadRouteMatch.swift.

import Control
import Primitives

extension Reader {
  static let maximumRoutes = 256
  private static let routeShape = "{match: {host: www.example.org}, pool: app}"
  private static let actions = ["pool", "redirect", "respond", "static"]
  private static let routeKeys = Keys(
    ["name", "match"] + actions + ["headers", "rewrite", "rate_limit"])
  /// Longest texts, in bytes.
  private static let largestValue = 1024
  private static let largestBody = 16 * 1024

  func routes(
    _ field: Field, _ listener: ListenerConfiguration, _ pools: [PoolConfiguration], hasPools: Bool,
    _ references: inout References
  ) -> [RouteConfiguration] {
    guard let items = list(field, item: Self.routeShape) else { return [] }
    if items.isEmpty { add(field.position, "\(field.path) is empty", "for instance [\(Self.routeShape)]") }
    if items.count > Self.maximumRoutes {
      add(field.position, "\(field.path) has \(items.count) entries", "at most \(Self.maximumRoutes) are supported")
    }
    var routes: [RouteConfiguration] = []
    var catchAll: Position?
    for (index, item) in items.enumerated() {
      guard let fields = self.fields(item, Self.routeKeys, shape: Self.routeShape) else { continue }
      if let catchAll {
        let remedy =
          "the one at line \(catchAll.line) has no match and takes every request; the first that matches wins"
        add(item.position, "\(item.path) is never reached", remedy)
      }
      let isTCP = listener.mode == .tcp
      if isTCP { refuseHTTPOnly(fields, ["redirect", "respond", "static", "headers", "rewrite", "rate_limit"]) }
      let name = routeName(fields["name"], default: "\(listener.name)/\(index)", &references)
      guard let action = action(item, fields, listener.mode, pools, hasPools: hasPools, &references) else { continue }
      var route = RouteConfiguration(name: name, action: action)
      let count = problems.count
      if let match = fields["match"] { readMatch(match, isTCP: isTCP, into: &route) }
      // What is wrong in a match says nothing of what it was meant to take.
      if route.match.isEmpty && route.exception.isEmpty && problems.count == count { catchAll = item.position }
      if let headers = fields["headers"] { readHeaders(headers, of: listener, into: &route) }
      if let limit = fields["rate_limit"] { route.rateLimit = rateLimit(limit) }
      if let rewrite = fields["rewrite"] {
        switch action {
        case .pool, .files: route.rewrite = self.rewrite(rewrite, of: route.match)
        case .redirect, .respond:
          add(rewrite.keyPosition, "\(rewrite.path) has no meaning for a \(key(of: action))", "remove it")
        }
      }
      routes.append(route)
    }
    return routes
  }

  private func routeName(_ field: Field?, default usual: String, _ references: inout References) -> String {
    guard let field, let name = self.name(field, "route") else { return usual }
    if !references.routes.insert(name).inserted {
      add(field.position, "\(field.path): another route is called \"\(name)\" too", "names of routes are unique")
    }
    return name
  }

  // MARK: Actions

  private func action(
    _ item: Field, _ fields: Fields, _ mode: ProxyMode, _ pools: [PoolConfiguration], hasPools: Bool,
    _ references: inout References
  ) -> RouteConfiguration.Action? {
    let found = Self.actions.filter { fields[$0] != nil }
    guard found.count == 1, let key = found.first, let field = fields[key] else {
      let words = found.isEmpty ? "does not say what to do" : "says \(found.joined(separator: " and "))"
      add(item.position, "\(item.path) \(words)", "one of \(Self.actions.joined(separator: ", "))")
      return nil
    }
    switch key {
    case "redirect": return redirect(field)
    case "respond": return respond(field, usual: 200)
    case "static": return files(field)
    default:
      guard let pool = name(field, "pool") else { return nil }
      checkPool(pool, field, mode, pools, hasPools, &references)
      return .pool(pool)
    }
  }

  private func redirect(_ field: Field) -> RouteConfiguration.Action? {
    let shape = "{to: \"https://www.{host}{uri}\"}"
    guard let fields = self.fields(field, Keys(["to", "status"]), shape: shape) else { return nil }
    let status = integer(fields["status"], 301...308) ?? 301
    if ![301, 302, 303, 307, 308].contains(status), let field = fields["status"] {
      add(field.position, "\(field.path): \(status) does not redirect", "301, 302, 303, 307 or 308")
    }
    guard let to = required(fields, "to", "for instance \"https://www.{host}{uri}\"", { redirectTarget($0) }) else {
      return nil
    }
    return .redirect(to: to, status: status)
  }

  private func redirectTarget(_ field: Field) -> String? {
    let example = "https://www.{host}{uri}"
    guard let text = self.text(field, "an address", example: example) else { return nil }
    guard HTTPWords.isVisible(text), text.utf8.count <= Self.largestValue, !text.contains("\\"), !text.contains("\"")
    else {
      add(field.position, "\(field.path): \"\(text.abbreviated)\" is not an address", "for instance \(example)")
      return nil
    }
    guard let parts = RedirectPart.parts(text) else {
      let known = RedirectPart.placeholders.map { "{\($0.key)}" }.joined(separator: ", ")
      add(field.position, "\(field.path): \"\(text.abbreviated)\" has an unknown placeholder", "there are \(known)")
      return nil
    }
    if leadsSomewhere(parts) { return text }
    add(
      field.position, "\(field.path): \"\(text.abbreviated)\" is neither an address with a host nor a path",
      "for instance \(example), https://www.example.org{uri} or /new{path}")
    return nil
  }

  /// An absolute address whose host is not left to what a client sends as its path, or a path.
  private func leadsSomewhere(_ parts: [RedirectPart]) -> Bool {
    var parts = parts[...]
    if parts.first == .uri || parts.first == .path { return true }
    if parts.first == .scheme {
      parts = parts.dropFirst()
      guard case .text(let text) = parts.first, text.hasPrefix("://") else { return false }
      return text.utf8.count > 3 || parts.dropFirst().first == .host
    }
    guard case .text(let text) = parts.first else { return false }
    for scheme in ["http://", "https://"] where text.hasPrefix(scheme) {
      return text.utf8.count > scheme.utf8.count
        ? !text.dropFirst(scheme.utf8.count).hasPrefix("/")
        : parts.dropFirst().first == .host
    }
    return text.hasPrefix("/") && !text.hasPrefix("//")
  }

  /// `usual`: the status where none is given.
  func respond(_ field: Field, usual: Int) -> RouteConfiguration.Action? {
    let keys = Keys(["status", "body", "headers"])
    guard let fields = self.fields(field, keys, shape: "{status: \(usual), body: \"pong\\n\"}") else { return nil }
    let status = integer(fields["status"], 200...599) ?? usual
    var body = ""
    if let field = fields["body"], !field.isEmpty {
      if let text = field.text { body = text } else { wrongType(field, "text", example: "\"pong\\n\"") }
      if body.utf8.count > Self.largestBody {
        add(field.position, "\(field.path) has \(body.utf8.count) bytes", "at most \(Self.largestBody) are supported")
      }
      if !body.isEmpty, [204, 205, 304].contains(status) {
        add(field.position, "\(field.path): an answer with status \(status) has no body", "remove it")
      }
    }
    let lines = fields["headers"].map { headerFields($0, isRequest: false) } ?? []
    return .respond(status: status, body: body, fields: lines)
  }

  private func key(of action: RouteConfiguration.Action) -> String {
    if case .redirect = action { "redirect" } else { "response of our own" }
  }

  func files(_ field: Field) -> RouteConfiguration.Action? {
    let shape = "{root: /srv/www, index: index.html}"
    guard let fields = self.fields(field, Keys(["root", "index"]), shape: shape),
      let root = required(fields, "root", "for instance /srv/www", { text($0, "a folder", example: "/srv/www") })
    else { return nil }
    if !root.hasPrefix("/") || root.utf8.contains(0) || root.utf8.count > 1024 {
      add(
        fields["root"]?.position ?? field.position,
        "\(field.path).root: \"\(root.abbreviated)\" is not an absolute path",
        "for instance /srv/www")
      return nil
    }
    var index = "index.html"
    if let field = fields["index"], let name = text(field, "the name of a file", example: "index.html") {
      if name.contains("/") || name.hasPrefix(".") || name.utf8.contains(0) || name.utf8.count > 255 {
        add(
          field.position, "\(field.path): \"\(name.abbreviated)\" is not the name of a file", "for instance index.html")
      }
      index = name
    }
    return .files(root: root, index: index)
  }

  // MARK: Heads

  private func readHeaders(
    _ field: Field, of listener: ListenerConfiguration, into route: inout RouteConfiguration
  ) {
    let keys = Keys(["request", "response"])
    guard let fields = self.fields(field, keys, shape: "{response: {set: {X-Frame-Options: DENY}}}") else { return }
    if let request = fields["request"] {
      route.requestFields = edits(request, isRequest: true, mayForward: listener.forwardedStyle == .none)
      switch route.action {
      case .pool: break
      case .redirect, .respond, .files:
        add(request.keyPosition, "\(request.path) has no meaning where no server gets the request", "remove it")
      }
    }
    if let response = fields["response"] {
      route.responseFields = edits(response, isRequest: false)
      let names = (route.responseFields.set + route.responseFields.add).map(\.name) + route.responseFields.remove
      for name in names {
        if name.lowercased() == listener.servedByHeader?.lowercased() {
          add(
            response.position, "\(response.path): \(name) is written by served_by_header of listener \(listener.name)",
            "remove it here or there")
        }
        if case .files = route.action, HTTPWords.ofFiles.contains(name.lowercased()) {
          add(response.position, "\(response.path): \(name) says what a file is", "it is written by static; remove it")
        }
      }
    }
  }

  /// `mayForward`: the balancer itself writes no X-Forwarded-*.
  private func edits(_ field: Field, isRequest: Bool, mayForward: Bool = false) -> FieldEdits {
    var edits = FieldEdits()
    let keys = Keys(["set", "add", "remove"])
    guard let fields = self.fields(field, keys, shape: "{set: {NAME: VALUE}, remove: [NAME]}") else { return edits }
    if let set = fields["set"] { edits.set = headerFields(set, isRequest: isRequest, mayForward: mayForward) }
    if let add = fields["add"] { edits.add = headerFields(add, isRequest: isRequest, mayForward: mayForward) }
    if let remove = fields["remove"], let items = list(remove, orOne: true, item: "Server") {
      for item in items {
        if let name = text(item, "the name of a header", example: "Server"),
          checkHeaderName(name, item.position, item.path, isRequest: isRequest, mayForward: mayForward)
        {
          edits.remove.append(name)
        }
      }
    }
    return edits
  }

  /// A map of NAME: VALUE or NAME: [VALUE, …].
  private func headerFields(_ field: Field, isRequest: Bool, mayForward: Bool = false) -> [FieldText] {
    guard case .mapping(let pairs) = field.value.content else {
      if !field.isEmpty { wrongType(field, "a map of headers", example: "{X-Frame-Options: DENY}") }
      return []
    }
    if pairs.count > 64 { add(field.position, "\(field.path) has \(pairs.count) entries", "at most 64 are supported") }
    var result: [FieldText] = []
    for pair in pairs {
      let path = "\(field.path).\(pair.key.abbreviated)"
      guard checkHeaderName(pair.key, pair.keyPosition, path, isRequest: isRequest, mayForward: mayForward) else {
        continue
      }
      let values = Field(path: path, keyPosition: pair.keyPosition, value: pair.value)
      for item in list(values, orOne: true, item: "DENY") ?? [] {
        guard let text = text(item, "the value of a header", example: "DENY") else { continue }
        guard HTTPWords.isFieldValue(text), text.utf8.count <= Self.largestValue else {
          let remedy = "printable ASCII in one line, at most \(Self.largestValue) bytes"
          add(item.position, "\(item.path): this cannot be the value of a header", remedy)
          continue
        }
        result.append(FieldText(name: pair.key, value: text))
      }
    }
    return result
  }

  private func checkHeaderName(
    _ name: String, _ position: Position, _ path: String, isRequest: Bool, mayForward: Bool
  ) -> Bool {
    guard name.utf8.count <= 64, HTTPWords.isToken(name) else {
      add(position, "\(path): \"\(name.abbreviated)\" cannot be the name of a header", "for instance X-Frame-Options")
      return false
    }
    let lower = name.lowercased()
    if HTTPWords.ofOneHop.contains(lower) {
      add(position, "\(path): \(name) belongs to one connection; the balancer writes it itself", "remove it")
    } else if isRequest, lower == "host" {
      add(position, "\(path): Host decides where a request goes", "it is passed on as the client sent it; remove it")
    } else if isRequest, lower == "forwarded" || lower.hasPrefix("x-forwarded-"), !mayForward {
      add(
        position, "\(path): \(name) is the balancer's own",
        "the listener's forwarded: says what it writes; with {style: none} that is nothing, and routes may")
    } else if !isRequest, lower == "date" {
      add(position, "\(path): Date says when the answer was made", "remove it")
    } else {
      return true
    }
    return false
  }

  private func rateLimit(_ field: Field) -> RouteConfiguration.RateLimit? {
    let keys = Keys(["per", "requests", "every", "burst"])
    let shape = "{per: source, requests: 100, every: 1s}"
    guard let fields = self.fields(field, keys, shape: shape) else { return nil }
    let requests = required(fields, "requests", "how many are taken in each period", { integer($0, 1...1_000_000) })
    let every = duration(fields["every"], .milliseconds(1) ... .seconds(24 * 3600), example: "1s") ?? .seconds(1)
    let burst = integer(fields["burst"], 1...1_000_000)
    var header: String?
    if let per = fields["per"] {
      guard let name = rateKey(per) else { return nil }
      header = name.isEmpty ? nil : name
    }
    return requests.map { .init(requests: $0, every: every, burst: burst ?? $0, field: header) }
  }

  /// Empty for `source`, else the name behind `header`.
  private func rateKey(_ field: Field) -> String? {
    let words = (field.text ?? "").split(separator: " ").map(String.init)
    if words == ["source"] { return "" }
    if words.count == 2, words[0] == "header", HTTPWords.isToken(words[1]), words[1].utf8.count <= 64 {
      return words[1]
    }
    add(
      field.position, "\(field.path) cannot be \(field.value.kind)", "source, or header and its name: header X-Api-Key")
    return nil
  }

  /// A prefix that no path of the match begins with is refused.
  private func rewrite(
    _ field: Field, of match: RouteConfiguration.Match
  ) -> RouteConfiguration.PrefixRewrite? {
    let shape = "{prefix: {from: /api, to: /}}"
    guard let fields = self.fields(field, Keys(["prefix"]), shape: shape),
      let prefix = required(fields, "prefix", "for instance {from: /api, to: /}", { $0 }),
      let parts = self.fields(prefix, Keys(["from", "to"]), shape: "{from: /api, to: /}"),
      let from = required(parts, "from", "for instance /api", { matchedPath($0) }),
      let to = required(parts, "to", "for instance /", { rewrittenPath($0) })
    else { return nil }
    let known = match.paths + match.pathPrefixes
    let isMet =
      known.contains { Self.isBelow($0, from) } || match.pathPrefixes.contains { Self.isBelow(from, $0) }
    if !known.isEmpty, !isMet, let field = parts["from"] {
      let remedy = "it matches \(known.joined(separator: ", "))"
      add(field.position, "\(field.path): no path that the route matches begins with \(from)", remedy)
    }
    return RouteConfiguration.PrefixRewrite(from: from, to: to)
  }

  /// Whether `path` is `prefix` or below it, whatever their ends.
  private static func isBelow(_ path: String, _ prefix: String) -> Bool {
    func segments(_ text: String) -> [Substring] { text.split(separator: "/") }
    return segments(path).starts(with: segments(prefix))
  }

  private func rewrittenPath(_ field: Field) -> String? {
    guard let path = matchedPath(field) else { return nil }
    guard HTTPWords.isVisible(path) else {
      add(field.position, "\(field.path): \"\(path.abbreviated)\" is not ASCII without spaces", "for instance /v2")
      return nil
    }
    return path
  }
}
