// `pools:` – the servers behind a listener, and how clients are spread over them.

import Control
import Primitives

extension Reader {
  static let maximumPools = 256
  static let maximumServersPerPool = 1024
  private static let poolKeys = Keys(
    [
      "balance", "affinity", "servers", "check", "retry", "sticky_grace", "timeouts", "slow_start", "queue",
      "when_all_down", "passive",
    ])

  func pools(_ field: Field, _ references: inout References) -> [PoolConfiguration] {
    let shape = "app: {servers: {s1: 192.0.2.21:8080}}"
    guard let entries = named(field, "pool", maximum: Self.maximumPools, shape: shape) else { return [] }
    references.pools = entries.map(\.name)
    var pools: [PoolConfiguration] = []
    for entry in entries {
      if let pool = pool(entry.name, entry.field, &references) { pools.append(pool) }
    }
    checkFallbacks(pools, &references)
    return pools
  }

  private func pool(_ name: String, _ field: Field, _ references: inout References) -> PoolConfiguration? {
    guard let fields = self.fields(field, Self.poolKeys, shape: "{servers: {s1: 192.0.2.21:8080}}") else { return nil }
    let balance = fields["balance"].flatMap { self.balance($0) } ?? .roundRobin
    let affinity = fields["affinity"].map { self.affinity($0) } ?? Affinity.none
    let remedy = "NAME: ADDRESS:PORT, or {members: yes, port: 8080}"
    var discovery: PoolConfiguration.Discovery?
    let servers = required(fields, "servers", remedy) { self.servers($0, references, &discovery) }
    // Without a word about checks, a server that refuses connections is taken out.
    let check = fields["check"].flatMap { self.check($0) } ?? HealthCheckConfiguration(kind: .tcp(send: [], expect: []))
    var pool = PoolConfiguration(name: name, balance: balance, affinity: affinity, servers: servers ?? [], check: check)
    pool.discovery = discovery
    if case .script(let path) = check.kind, let position = fields["check"]?.position {
      references.checkScripts.append(.init(pool: name, path: path, position: position))
    }
    if let retry = fields["retry"] { pool.retry = self.retry(retry) }
    if let span = duration(fields["sticky_grace"], .zero ... .seconds(24 * 3600), example: "30s") {
      pool.stickyGrace = span
    }
    if let timeouts = fields["timeouts"] { pool.timeouts = poolTimeouts(timeouts) }
    if let span = duration(fields["slow_start"], .zero ... .seconds(3600), example: "30s") { pool.slowStart = span }
    if let passive = fields["passive"] { pool.passive = self.passive(passive) }
    if let queue = fields["queue"] { pool.queue = self.queue(queue) }
    if let fallback = fields["when_all_down"] { pool.whenAllDown = whenAllDown(fallback, of: name, &references) }
    return pool
  }

  /// What other balancers call them.
  private static let balanceElsewhere = [
    "leastconn": "least_connections", "least_conn": "least_connections", "random": "random_two",
    "hash": "{hash: source}", "source": "{hash: source}", "ip_hash": "{hash: source}", "uri": "{hash: uri}",
  ]

  private func balance(_ field: Field) -> BalanceAlgorithm? {
    guard case .mapping = field.value.content else {
      return choice(
        field,
        ["round_robin": .roundRobin, "least_connections": .leastConnections, "random_two": .randomTwo],
        besides: ["{hash: source | header NAME | cookie NAME | uri}"], meant: Self.balanceElsewhere)
    }
    guard let fields = self.fields(field, Keys(["hash"]), shape: "hash: source"), let hash = fields["hash"] else {
      return nil
    }
    return hashSubject(hash).map { .hash($0) }
  }

  /// `source`, `uri`, `header NAME`, `cookie NAME`, or the same as a map.
  private func hashSubject(_ field: Field) -> HashSubject? {
    let shape = "source, uri, {header: NAME} or {cookie: NAME}"
    if case .mapping(let pairs) = field.value.content {
      guard let fields = self.fields(field, Keys(["source", "uri", "header", "cookie"]), shape: shape) else {
        return nil
      }
      guard pairs.count == 1 else {
        add(field.position, "\(field.path) needs one thing to hash, not \(pairs.count)", shape)
        return nil
      }
      if let header = fields["header"] { return hashName(header, header.text, "header").map { .header($0) } }
      if let cookie = fields["cookie"] { return hashName(cookie, cookie.text, "cookie").map { .cookie($0) } }
      guard let word = fields["source"] ?? fields["uri"] else { return nil }
      guard word.isEmpty || flag(word) == true else {
        add(word.position, "\(field.path) needs something to hash", "write hash: source")
        return nil
      }
      return fields["source"] == nil ? .uri : .source
    }
    let words = (field.text ?? "").split(separator: " ").map(String.init)
    if words.count == 2, words[0] == "header" { return hashName(field, words[1], "header").map { .header($0) } }
    if words.count == 2, words[0] == "cookie" { return hashName(field, words[1], "cookie").map { .cookie($0) } }
    if field.text == "header" || field.text == "cookie" {
      add(field.position, "\(field.path): \(words[0]) needs a name", "for instance {\(words[0]): NAME}")
      return nil
    }
    return choice(field, ["source": HashSubject.source, "uri": .uri], besides: ["header NAME", "cookie NAME"])
  }

  private func hashName(_ field: Field, _ name: String?, _ what: String) -> String? {
    guard let name, HTTPWords.isToken(name), name.utf8.count <= 64 else {
      add(
        field.position, "\(field.path) must be the name of a \(what), not \(field.value.kind)",
        what == "header" ? "for instance header: X-User" : "for instance cookie: SID")
      return nil
    }
    return name
  }

  // MARK: What happens when there is no server to give

  private func queue(_ field: Field) -> PoolConfiguration.Queue {
    var queue = PoolConfiguration.Queue()
    guard let fields = self.fields(field, Keys(["size", "timeout"]), shape: "{size: 1000, timeout: 5s}") else {
      return queue
    }
    if let size = integer(fields["size"], 0...100_000) { queue.size = size }
    if let span = duration(fields["timeout"], .milliseconds(10) ... .seconds(3600), example: "5s") {
      queue.timeout = span
    }
    return queue
  }

  private func whenAllDown(
    _ field: Field, of owner: String, _ references: inout References
  ) -> PoolConfiguration.WhenAllDown {
    let shape = "error 503, {pool: NAME}, {static: {root: DIR}} or {respond: {body: TEXT}}"
    if case .mapping(let pairs) = field.value.content {
      let keys = ["pool", "static", "respond"]
      guard let fields = self.fields(field, Keys(keys), shape: shape) else { return .error }
      let found = keys.filter { fields[$0] != nil }
      guard found.count == 1 else {
        if pairs.isEmpty { add(field.position, "\(field.path) is empty", shape) }
        if found.count > 1 {
          add(field.position, "\(field.path) says \(found.joined(separator: " and "))", "keep one of them")
        }
        return .error
      }
      return fields["pool"].map { fallback($0, of: owner, &references) } ?? sorrySite(fields)
    }
    if field.text != "error 503" && field.text != "error" {
      add(field.position, "\(field.path) cannot be \(field.value.kind)", shape)
    }
    return .error
  }

  private func fallback(
    _ field: Field, of owner: String, _ references: inout References
  ) -> PoolConfiguration.WhenAllDown {
    guard let name = self.name(field, "pool") else { return .error }
    references.fallbacks.append(
      (owner: owner, References.Mention(name: name, position: field.position, path: field.path)))
    return .pool(name)
  }

  private func sorrySite(_ fields: Fields) -> PoolConfiguration.WhenAllDown {
    switch fields["static"].map({ files($0) }) ?? fields["respond"].flatMap({ respond($0, usual: 503) }) {
    case .files(let root, let index)?: .files(root: root, index: index)
    case .respond(let status, let body, let lines)?: .respond(status: status, body: body, fields: lines)
    case .pool?, .redirect?, nil: .error
    }
  }

  /// Every pool that stands in for another exists, and no chain of them comes back to its start.
  private func checkFallbacks(_ pools: [PoolConfiguration], _ references: inout References) {
    for (owner, mention) in references.fallbacks {
      guard references.pools.contains(mention.name) else {
        let nearest = Spelling.nearest(to: mention.name, among: references.pools).map { "did you mean \"\($0)\"?" }
        add(
          mention.position, "\(mention.path): there is no pool \"\(mention.name)\"",
          nearest ?? "pools are \(references.pools.joined(separator: ", "))")
        continue
      }
      references.usedPools.insert(mention.name)
      // Along the chain; back at the owner it is a ring, which is said once, at the first of its pools.
      var ring = [owner]
      var next: String? = mention.name
      while let name = next, name != owner, !ring.contains(name) {
        ring.append(name)
        next = pools.first { $0.name == name }?.standIn
      }
      if next == owner, references.pools.first(where: ring.contains) == owner {
        add(
          mention.position, "\(mention.path): the pools stand in for each other in a ring", "let one answer error 503")
      }
    }
  }

  private func affinity(_ field: Field) -> Affinity {
    guard case .mapping = field.value.content else {
      let cookie = Affinity.cookie(name: "AFLOAT", maxAge: nil, secure: false, sameSite: nil)
      return choice(field, ["none": Affinity.none, "source": .source, "cookie": cookie]) ?? .none
    }
    guard let fields = self.fields(field, Keys(["cookie"]), shape: "none, source or {cookie: {name: AFLOAT}}") else {
      return .none
    }
    guard let cookie = fields["cookie"] else {
      if hasNoPairs(field) { add(field.position, "\(field.path) is empty", "choose from none, source, cookie") }
      return .none
    }
    let keys = Keys(["name", "max_age", "secure", "same_site"])
    guard let options = self.fields(cookie, keys, shape: "{name: AFLOAT}") else { return .none }
    var name = "AFLOAT"
    if let field = options["name"], let text = self.text(field, "the name of a cookie", example: "AFLOAT") {
      if HTTPWords.isToken(text), text.utf8.count <= 64 {
        name = text
      } else {
        let remedy = "1 to 64 letters, digits and - _ . are fine"
        add(field.position, "\(field.path): \"\(text.abbreviated)\" cannot name a cookie", remedy)
      }
    }
    let maxAge = duration(options["max_age"], .seconds(1) ... .seconds(9999 * 3600), example: "24h")
    let secure = flag(options["secure"]) ?? false
    let sites: KeyValuePairs<String, String> = [
      "strict": "Strict", "lax": "Lax", "none": "None", "Strict": "Strict", "Lax": "Lax", "None": "None",
    ]
    let sameSite = choice(options["same_site"], sites)
    if sameSite == "None", !secure, let field = options["same_site"] {
      add(field.position, "\(field.path): browsers refuse same_site: none without secure", "add secure: yes")
    }
    let prefix = ["__host-", "__secure-"].first { name.lowercased().hasPrefix($0) }
    if let prefix, !secure, let field = options["name"] {
      let what = "\(field.path): browsers refuse a cookie whose name begins with \(name.prefix(prefix.utf8.count))"
      add(field.position, "\(what) without secure", "add secure: yes")
    }
    return .cookie(name: name, maxAge: maxAge, secure: secure, sameSite: sameSite)
  }

  private func hasNoPairs(_ field: Field) -> Bool {
    if case .mapping(let pairs) = field.value.content { pairs.isEmpty } else { true }
  }

  private func poolTimeouts(_ field: Field) -> PoolConfiguration.Timeouts {
    var timeouts = PoolConfiguration.Timeouts()
    guard let fields = self.fields(field, Keys(["connect", "response", "idle"]), shape: "{connect: 3s, response: 60s}")
    else {
      return timeouts
    }
    let range = TimeSpan.milliseconds(10) ... .seconds(24 * 3600)
    if let span = duration(fields["connect"], range, example: "3s") { timeouts.connect = span }
    if let span = duration(fields["response"], range, example: "60s") { timeouts.response = span }
    if let span = duration(fields["idle"], range, example: "60s") { timeouts.idle = span }
    return timeouts
  }

  // MARK: Servers

  /// {members: yes, port}, {dns: NAME, port}, or NAME: ADDRESS:PORT, or NAME: {address, weight, max_connections}.
  private func servers(
    _ field: Field, _ references: References, _ discovery: inout PoolConfiguration.Discovery?
  ) -> [ServerConfiguration]? {
    let shape = "s1: 192.0.2.21:8080, one line for each server, or {members: yes, port: 8080}"
    guard case .mapping(let pairs) = field.value.content else {
      add(field.position, "\(field.path) must be a map of names, not \(field.value.kind)", shape)
      return nil
    }
    func isScalar(_ key: String) -> Bool {
      guard let pair = pairs.first(where: { $0.key == key }) else { return false }
      if case .scalar(let text, _) = pair.value.content { return !text.contains(":") }
      return false
    }
    if isScalar("members") { return memberServers(field, references) }
    if isScalar("dns") {
      discovery = self.discovery(field)
      return discovery.map { _ in [] }
    }
    guard let entries = named(field, "server", maximum: Self.maximumServersPerPool, shape: shape) else { return nil }
    guard !entries.isEmpty else {
      if pairs.isEmpty { add(field.position, "\(field.path) is empty", shape) }
      return nil
    }
    var owners: [String: String] = [:]
    return entries.compactMap { (name, entry) -> ServerConfiguration? in
      guard var server = self.server(name, entry) else { return nil }
      if let owner = owners[server.authority] {
        add(entry.position, "\(entry.path): \(server.authority) is the address of server \"\(owner)\" too", "keep one")
      }
      owners[server.authority] = name
      // A server on a member's address leaves every pool when that member is drained.
      server.member = references.members.first { $0.value == server.endpoint.address }.flatMap { NodeName($0.key) }
      return server
    }
  }

  private func discovery(_ field: Field) -> PoolConfiguration.Discovery? {
    let shape = "{dns: app.example, port: 8080}"
    guard let fields = self.fields(field, Keys(["dns", "port", "refresh"]), shape: shape) else { return nil }
    let port = required(fields, "port", "the port of the application at every address") { integer($0, 1...65_535) }
    let name = required(fields, "dns", "the name whose addresses are the servers") { field -> String? in
      guard let text = self.text(field, "the name of a host", example: "app.example") else { return nil }
      if HostName.isValid(text) { return text.lowercased() }
      let remedy = "for instance app.example"
      add(field.position, "\(field.path): \"\(text.abbreviated)\" is not the name of a host", remedy)
      return nil
    }
    let refresh = duration(fields["refresh"], .seconds(1) ... .seconds(3600), example: "10s")
    guard let name, let port else { return nil }
    var discovery = PoolConfiguration.Discovery(name: name, port: UInt16(port))
    if let refresh { discovery.refresh = refresh }
    return discovery
  }

  private func memberServers(_ field: Field, _ references: References) -> [ServerConfiguration]? {
    guard let fields = self.fields(field, Keys(["members", "port"]), shape: "{members: yes, port: 8080}") else {
      return nil
    }
    let port = required(fields, "port", "the port of the application on every member") { integer($0, 1...65_535) }
    guard let members = fields["members"], let isOn = flag(members) else { return nil }
    guard isOn else {
      add(members.position, "\(field.path): members: no leaves no server", "write members: yes, or NAME: ADDRESS:PORT")
      return nil
    }
    guard references.hasCluster else {
      add(
        members.keyPosition, "\(field.path): there are no members without a cluster",
        "write NAME: ADDRESS:PORT for each server")
      return nil
    }
    guard let port else { return nil }
    return references.members.keys.sorted().compactMap { text in
      guard !references.witnesses.contains(text), let name = NodeName(text),
        let address = references.members[text] ?? nil
      else {
        return nil
      }
      return ServerConfiguration(name: text, endpoint: Endpoint(address: address, port: UInt16(port)), member: name)
    }
  }

  /// ADDRESS:PORT, or NAME:PORT: then the name is told, and the balancer looks its address up.
  private func serverAddress(_ field: Field, _ example: String) -> (Endpoint, String?)? {
    if let text = field.text, let colon = text.lastIndex(of: ":"), HostName.isValid(text[..<colon]),
      let port = Endpoint.parsePort(text[text.index(after: colon)...])
    {
      return (Endpoint(address: .anyV4, port: port), text[..<colon].lowercased())
    }
    return endpoint(field, wildcard: false, example: example).map { ($0, nil) }
  }

  private func server(_ name: String, _ field: Field) -> ServerConfiguration? {
    let example = "192.0.2.21:8080"
    guard case .mapping = field.value.content else {
      return serverAddress(field, example).map { ServerConfiguration(name: name, endpoint: $0, hostName: $1) }
    }
    let keys = Keys(
      ["address", "weight", "max_connections", "backup", "host", "proxy_protocol"], notYet: ["tls"])
    guard let fields = self.fields(field, keys, shape: "{address: 192.0.2.21:8080, weight: 100}") else { return nil }
    let address = required(fields, "address", "for instance \(example)") { serverAddress($0, example) }
    let weight = integer(fields["weight"], 0...1000) ?? 100
    let maximum = integer(fields["max_connections"], 1...1_000_000)
    let isBackup = flag(fields["backup"]) ?? false
    let host = fields["host"].flatMap { hostName($0) }
    let versions: KeyValuePairs<String, ProxyHeaderVersion?> = ["no": nil, "v1": .v1, "v2": .v2]
    let proxyHeader = choice(fields["proxy_protocol"], versions) ?? nil
    return address.map {
      ServerConfiguration(
        name: name, endpoint: $0, hostName: $1, weight: weight, maximumConnections: maximum, isBackup: isBackup,
        host: host, proxyHeader: proxyHeader)
    }
  }
}
