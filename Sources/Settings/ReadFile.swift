// The top level of the file, `node`, `balancer` and `log`, and what the parts demand of each other.

import Control
import Primitives

extension Reader {
  private static let topLevel = Keys(
    ["node", "cluster", "balancer", "vips", "listeners", "pools", "log"], notYet: ["services", "api", "alerts"])

  func read(_ root: YAMLValue, into configuration: inout Configuration) {
    let file = Field(path: "", keyPosition: root.position, value: root)
    guard
      let fields = self.fields(file, Self.topLevel, shape: "the keys cluster, vips, listeners, pools at the top level")
    else {
      return
    }
    var references = References()
    if let field = fields["node"], let text = name(field, "node") {
      configuration.node = NodeName(text)
      configuration.nodePosition = field.position
    }
    if let field = fields["cluster"] {
      references.hasCluster = true
      configuration.cluster = self.cluster(field, &references)
    }
    if let field = fields["balancer"] { configuration.balancer = balancer(field) }
    if let field = fields["log"] { configuration.log = log(field) }
    if let field = fields["pools"] { configuration.pools = pools(field, &references) }
    configuration.checkScripts = references.checkScripts
    if let field = fields["listeners"] {
      configuration.listeners = listeners(
        field, pools: configuration.pools, hasPools: fields["pools"] != nil, &references)
    }
    if let field = fields["vips"] {
      if references.hasCluster {
        configuration.vips = vips(field, configuration.cluster, references)
      } else {
        add(field.keyPosition, "vips need a cluster", "add cluster: with the members, or remove vips")
      }
    }
    // `*` means the VIPs too; without one of IPv6 a host need not have IPv6 at all.
    if configuration.vips.contains(where: { $0.addresses.contains { $0.address.family == .v6 } }) {
      addIPv6(to: &configuration.listeners)
    }
    if !references.hasCluster, !references.hasListeners, problems.isEmpty {
      add(file.position, "there is nothing to do: no cluster and no listeners", "add listeners and pools, or a cluster")
    }
    if let node = configuration.node, let position = configuration.nodePosition, references.hasCluster,
      !references.members.isEmpty, references.members[node.text] == nil
    {
      add(position, "node: \"\(node)\" is not among the members", nearestMember(node.text, references))
    }
    for pool in references.pools where !references.usedPools.contains(pool) {
      configuration.warnings.append(Configuration.unusedWarning(pool))
    }
    for listener in configuration.listeners {
      configuration.warnings += sharedCookies(of: listener, configuration.pools)
      configuration.warnings += listener.warningsOfHiddenRoutes()
    }
  }

  /// Of pools between which clients go to and fro while they keep them by a cookie of the same name: each overwrites the
  /// other's. Routes of different hosts have different cookies, and of hosts that one takes altogether nothing is left for others.
  private func sharedCookies(of listener: ListenerConfiguration, _ pools: [PoolConfiguration]) -> [String] {
    var uses = listener.routes.compactMap { route -> (pool: String, hosts: Set<String>, takesAll: Bool)? in
      guard case .pool(let name) = route.action else { return nil }
      var rest = route.match
      rest.hosts = []
      return (name, Set(route.match.hosts), rest.isEmpty && route.exception.isEmpty)
    }
    uses.append((pool: listener.pool, hosts: [], takesAll: true))
    func cookie(_ pool: String) -> String? {
      if case .cookie(let name, _, _, _)? = pools.first(where: { $0.name == pool })?.affinity { name } else { nil }
    }
    for (place, use) in uses.enumerated() {
      guard let name = cookie(use.pool) else { continue }
      let other = uses[..<place].first {
        $0.pool != use.pool && cookie($0.pool) == name && !$0.takesAll
          && ($0.hosts.isEmpty || use.hosts.isEmpty || !$0.hosts.isDisjoint(with: use.hosts))
      }
      guard let other else { continue }
      return [
        "pools \"\(other.pool)\" and \"\(use.pool)\" of listener \"\(listener.name)\" keep clients by one cookie, \(name): who "
          + "goes to both loses its server each time (give one of them affinity: {cookie: {name: OTHER}})"
      ]
    }
    return []
  }

  private func addIPv6(to listeners: inout [ListenerConfiguration]) {
    var bound = Set(listeners.flatMap(\.bind))
    for index in listeners.indices {
      for endpoint in listeners[index].bind where endpoint.address == .anyV4 {
        let both = Endpoint(address: .anyV6, port: endpoint.port)
        if bound.insert(both).inserted { listeners[index].bind.append(both) }
      }
    }
  }

  /// A remedy for a name that is no member.
  func nearestMember(_ name: String, _ references: References) -> String {
    if let nearest = Spelling.nearest(to: name, among: references.members.keys.sorted()) {
      return "did you mean \"\(nearest)\"?"
    }
    return "members are \(references.members.keys.sorted().joined(separator: ", "))"
  }

  private func balancer(_ field: Field) -> Configuration.Balancer {
    var balancer = Configuration.Balancer()
    guard
      let fields = self.fields(
        field, Keys(["threads", "drain_timeout", "stop_timeout"]),
        shape: "{threads: auto, drain_timeout: 10m, stop_timeout: 5s}")
    else {
      return balancer
    }
    if let threads = fields["threads"], threads.word != "auto" { balancer.threads = integer(threads, 1...64) }
    if let span = duration(fields["drain_timeout"], .zero ... .seconds(24 * 3600), example: "10m") {
      balancer.drainTimeout = span
    }
    if let span = duration(fields["stop_timeout"], .zero ... .seconds(3600), example: "5s") {
      balancer.stopTimeout = span
    }
    return balancer
  }

  private func log(_ field: Field) -> Configuration.Log {
    var log = Configuration.Log()
    guard
      let fields = self.fields(
        field, Keys(["level", "format", "access"]), shape: "{level: info, format: text}")
    else {
      return log
    }
    let levels: KeyValuePairs<String, Configuration.Log.Level> = [
      "trace": .trace, "debug": .debug, "info": .info, "notice": .notice, "warning": .warning, "error": .error,
      "critical": .critical,
    ]
    if let level = choice(fields["level"], levels) { log.level = level }
    if let format = choice(fields["format"], ["text": Configuration.Log.Format.text, "json": .json]) {
      log.format = format
    }
    log.access = fields["access"].flatMap(accessLog)
    return log
  }

  private func accessLog(_ field: Field) -> AccessLogConfiguration? {
    let shape = "{to: /var/log/afloat/access.log, format: combined}"
    guard let fields = self.fields(field, Keys(["to", "format"]), shape: shape) else { return nil }
    let formats: KeyValuePairs<String, AccessLogConfiguration.Format> = [
      "combined": .combined, "json": .json, "hap": .hap,
    ]
    let format = choice(fields["format"], formats) ?? .combined
    guard let to = fields["to"] else {
      if !fields.isEmpty {
        add(field.keyPosition, "\(field.path) does not say where lines go", "add to: FILE, stdout, syslog or none")
      }
      return nil
    }
    switch to.text {
    case "none": return nil
    case "stdout": return AccessLogConfiguration(target: .standardOutput, format: format)
    case "syslog": return AccessLogConfiguration(target: .syslog, format: format)
    case let path? where path.hasPrefix("/") && !path.hasSuffix("/") && !path.utf8.contains(0):
      return AccessLogConfiguration(target: .file(path), format: format)
    default:
      let file = "write the whole path of a file, for instance /var/log/afloat/access.log"
      let nearest = to.text.flatMap { Spelling.nearest(to: $0, among: ["none", "stdout", "syslog"]) }
      add(
        to.position, "\(to.path) cannot be \(to.value.kind)",
        nearest.map { "did you mean \"\($0)\"?" }
          ?? "choose from none, stdout, syslog, or \(file)")
      return nil
    }
  }
}
