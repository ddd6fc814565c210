// `listeners:` – where clients connect, and which pool they get.

import Control
import Primitives

extension Reader {
  static let maximumListeners = 256
  static let maximumBindsPerListener = 16
  private static let listenerKeys = Keys(
    ["bind", "mode", "pool", "routes", "served_by_header", "forwarded", "timeouts", "limits"])

  func listeners(
    _ field: Field, pools: [PoolConfiguration], hasPools: Bool, _ references: inout References
  ) -> [ListenerConfiguration] {
    let shape = "web: {bind: [\"*:80\"], pool: app}"
    guard let entries = named(field, "listener", maximum: Self.maximumListeners, shape: shape) else { return [] }
    references.hasListeners = !entries.isEmpty
    var owners: [Endpoint: String] = [:]
    var listeners: [ListenerConfiguration] = []
    for (name, entry) in entries {
      var proxyBinds: [Int] = []
      guard let fields = self.fields(entry, Self.listenerKeys, shape: "{bind: [\"*:80\"], pool: app}") else { continue }
      let mode = choice(fields["mode"], ["http": ProxyMode.http, "tcp": .tcp]) ?? .http
      let bind = required(fields, "bind", "for instance [\"*:80\"]") { binds($0, name, &owners, &proxyBinds) }
      // With routes there need not be a default.
      let pool =
        fields["routes"] != nil && fields["pool"] == nil
        ? ""
        : required(fields, "pool", "the name of the pool that serves it") { self.name($0, "pool") }
      if let pool, let field = fields["pool"] { checkPool(pool, field, mode, pools, hasPools, &references) }
      var listener = ListenerConfiguration(name: name, mode: mode, bind: bind ?? [], pool: pool ?? "")
      listener.proxyBinds = proxyBinds
      if mode == .tcp { refuseHTTPOnly(fields, ["served_by_header", "forwarded"]) }
      listener.servedByHeader = servedBy(fields["served_by_header"])
      if let forwarded = fields["forwarded"] { readForwarded(forwarded, into: &listener) }
      if let field = fields["routes"] {
        listener.routes = routes(field, listener, pools, hasPools: hasPools, &references)
      }
      if let timeouts = fields["timeouts"] { listener.timeouts = listenerTimeouts(timeouts, mode) }
      if let limits = fields["limits"] { listener.limits = listenerLimits(limits, mode) }
      if bind != nil, pool != nil { listeners.append(listener) }
    }
    return listeners
  }

  func checkPool(
    _ pool: String, _ field: Field, _ mode: ProxyMode, _ pools: [PoolConfiguration], _ hasPools: Bool,
    _ references: inout References
  ) {
    guard references.pools.contains(pool) else {
      let nearest = Spelling.nearest(to: pool, among: references.pools).map { "did you mean \"\($0)\"?" }
      let known =
        references.pools.isEmpty ? "add it under pools:" : "pools are \(references.pools.joined(separator: ", "))"
      add(field.position, "\(field.path): there is no pool \"\(pool)\"", nearest ?? known)
      return
    }
    references.usedPools.insert(pool)
    for misfit in pools.standIns(behind: pool).flatMap({ $0.misfits(in: mode) }) {
      add(field.position, "\(field.path): \(misfit.fault)", misfit.remedy)
    }
  }

  func refuseHTTPOnly(_ fields: Fields, _ keys: [String], remedy: String = "remove it, or use mode: http") {
    for key in keys {
      if let field = fields[key] {
        add(field.keyPosition, "\"\(key)\" has no meaning in a tcp listener", remedy)
      }
    }
  }

  private func binds(
    _ field: Field, _ name: String, _ owners: inout [Endpoint: String], _ proxyBinds: inout [Int]
  ) -> [Endpoint]? {
    guard let items = list(field, orOne: true, item: "\"*:80\"") else { return nil }
    guard (1...Self.maximumBindsPerListener).contains(items.count) else {
      add(field.position, "\(field.path) has \(items.count) addresses", "from 1 to \(Self.maximumBindsPerListener)")
      return nil
    }
    var endpoints: [Endpoint] = []
    for item in items {
      let found: Endpoint?
      if case .mapping = item.value.content {
        let keys = Keys(["address", "proxy_protocol"], notYet: ["tls"])
        guard let fields = self.fields(item, keys, shape: "{address: \"*:80\"}") else { continue }
        found = required(fields, "address", "for instance \"*:80\"") {
          endpoint($0, wildcard: true, example: "\"*:80\"")
        }
        if flag(fields["proxy_protocol"]) == true { proxyBinds.append(endpoints.count) }
      } else {
        found = endpoint(item, wildcard: true, example: "\"*:80\"")
      }
      guard let found else { continue }
      if let owner = owners[found] {
        let place = owner == name ? "there twice" : "bound by listener \"\(owner)\" too"
        add(item.position, "\(item.path): \(found) is \(place)", "an address and port belong to one listener")
      }
      owners[found] = name
      endpoints.append(found)
    }
    return endpoints.count == items.count ? endpoints : nil
  }

  private func servedBy(_ field: Field?) -> String? {
    guard let field else { return nil }
    if let word = field.word?.lowercased(), ["no", "none", "false", "off"].contains(word) { return nil }
    let isYes = field.word.map { ["yes", "true", "on"].contains($0.lowercased()) } ?? false
    guard let text = field.text, text.utf8.count <= 64, HTTPWords.isToken(text), !isYes else {
      add(
        field.position, "\(field.path) must be no or the name of a header, not \(isYes ? "yes" : field.value.kind)",
        "for instance X-Served-By")
      return nil
    }
    if HTTPWords.reserved.contains(text.lowercased()) {
      add(field.position, "\(field.path): \(text) has a meaning of its own in HTTP", "for instance X-Served-By")
    }
    return text
  }

  private func readForwarded(_ field: Field, into listener: inout ListenerConfiguration) {
    let shape = "{trust: [198.51.100.0/24], style: x-forwarded}"
    guard let fields = self.fields(field, Keys(["trust", "style"]), shape: shape) else { return }
    let styles: KeyValuePairs<String, ForwardedStyle> = [
      "x-forwarded": .xForwarded, "forwarded": .forwarded, "both": .both, "none": .none,
    ]
    if let style = choice(fields["style"], styles) { listener.forwardedStyle = style }
    guard let trust = fields["trust"], let items = list(trust, item: "198.51.100.0/24") else { return }
    if items.count > 256 {
      add(trust.position, "\(trust.path) has \(items.count) entries", "at most 256 are supported")
    }
    for item in items {
      if let text = item.text, let prefix = AddressPrefix(text) {
        listener.forwardedTrust.append(prefix)
      } else {
        let bare = item.text.flatMap { IPAddress($0) }
        let example = bare.map { "\($0)/\($0.bitCount)" } ?? "198.51.100.0/24"
        wrongType(item, "a network with its prefix length", example: example)
      }
    }
  }

  private func listenerTimeouts(_ field: Field, _ mode: ProxyMode) -> ListenerConfiguration.Timeouts {
    var timeouts = ListenerConfiguration.Timeouts()
    let keys = Keys(["request_head", "idle", "client_body", "tunnel"])
    guard let fields = self.fields(field, keys, shape: "{request_head: 10s, idle: 60s}") else { return timeouts }
    if mode == .tcp {
      refuseHTTPOnly(fields, ["request_head", "client_body"])
      refuseHTTPOnly(fields, ["idle"], remedy: "tunnel is the idle time-out of a connection in mode tcp")
    }
    let range = TimeSpan.milliseconds(10) ... .seconds(24 * 3600)
    if let span = duration(fields["request_head"], range, example: "10s") { timeouts.requestHead = span }
    if let span = duration(fields["idle"], range, example: "60s") { timeouts.idle = span }
    if let span = duration(fields["client_body"], range, example: "30s") { timeouts.clientBody = span }
    if let span = duration(fields["tunnel"], .milliseconds(10) ... .seconds(7 * 24 * 3600), example: "1h") {
      timeouts.tunnel = span
    }
    return timeouts
  }

  private func listenerLimits(_ field: Field, _ mode: ProxyMode) -> ListenerConfiguration.Limits {
    var limits = ListenerConfiguration.Limits()
    let keys = Keys(["connections", "head_size", "headers", "body_size", "connections_per_source"])
    guard let fields = self.fields(field, keys, shape: "{connections: 20000, head_size: 16KiB}") else { return limits }
    if mode == .tcp { refuseHTTPOnly(fields, ["head_size", "headers", "body_size"]) }
    if let count = integer(fields["connections"], 1...1_000_000) { limits.connections = count }
    if let size = self.size(fields["head_size"], 1024...(64 * 1024), example: "16KiB") {
      limits.headByteCount = Int(size)
    }
    if let count = integer(fields["headers"], 1...1000) { limits.headerCount = count }
    if let field = fields["body_size"], field.word != "none" {
      limits.bodyByteCount = size(field, 0...(1 << 40), example: "10MiB")
    }
    if let field = fields["connections_per_source"], field.word != "none" {
      limits.connectionsPerSource = integer(field, 1...1_000_000)
    }
    return limits
  }
}

/// What may stand in HTTP (RFC 9110 section 5.6.2), without reading any.
enum HTTPWords {
  /// Header names that the balancer writes or interprets itself.
  static let reserved: Set<String> = [
    "connection", "content-length", "content-type", "date", "host", "keep-alive", "location", "server", "set-cookie",
    "te",
    "trailer", "transfer-encoding", "upgrade", "via",
  ]

  /// Fields of one connection, or that frame a message: a route cannot change them.
  static let ofOneHop: Set<String> = [
    "connection", "content-length", "expect", "keep-alive", "max-forwards", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "via",
  ]

  /// Written for every file that is sent.
  static let ofFiles: Set<String> = ["accept-ranges", "content-range", "content-type", "etag", "last-modified"]

  /// Printable ASCII, with spaces and tabs only inside.
  static func isFieldValue(_ text: String) -> Bool {
    guard let first = text.utf8.first, let last = text.utf8.last else { return false }
    return first > 32 && last > 32 && text.utf8.allSatisfy { (32...126).contains($0) || $0 == 9 }
  }

  static func isToken(_ text: String) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy { byte in
        switch byte {
        case 48...57, 65...90, 97...122: true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
      }
  }

  /// Visible ASCII without white space.
  static func isVisible(_ text: String) -> Bool { !text.isEmpty && text.utf8.allSatisfy { (33...126).contains($0) } }
}
