// The validated configuration: what `parse` returns has no dangling name, no contradiction, and every default filled in.

package import Control
package import Primitives

package struct Configuration: Equatable, Sendable {
  package struct Cluster: Equatable, Sendable {
    package var name: String
    /// Of the heartbeats; the first is the VIPs' where they name none.
    package var interfaces: [String]
    /// Paths as written, relative to the configuration file's folder; the first key signs, all are accepted. One or two.
    package var keyFiles: [KeyFile]
    package var transport: Transport
    package var group: Endpoint
    package var heartbeat: TimeSpan
    package var deadAfter: Int
    package var aloneAfter: TimeSpan
    /// How many nodes may be drained at once without `--force`.
    package var maximumDraining: Int
    /// In the order of the file.
    package var members: [MemberConfiguration]
  }

  package struct KeyFile: Equatable, Sendable, CustomStringConvertible {
    package var path: String
    package var position: Position
    package var description: String { path }
  }

  /// A script that checks the servers of a pool, and where the file says so.
  package struct CheckScript: Equatable, Sendable {
    package var pool: String
    package var path: String
    package var position: Position
  }

  package struct Balancer: Equatable, Sendable {
    /// Nil: one per core.
    package var threads: Int?
    /// Of `afloat drain`.
    package var drainTimeout = TimeSpan.seconds(600)
    /// What is in flight when the agent is stopped has this long to finish.
    package var stopTimeout = TimeSpan.seconds(5)
  }

  package struct Log: Equatable, Sendable {
    package enum Level: String, Sendable { case trace, debug, info, notice, warning, error, critical }
    package enum Format: String, Sendable { case text, json }
    package var level = Level.info
    package var format = Format.text
    /// Nil: requests are not logged.
    package var access: AccessLogConfiguration?
  }

  /// `node:`, where the file says it.
  package var node: NodeName?
  package var nodePosition: Position?
  /// Nil: a lone balancer.
  package var cluster: Cluster?
  /// All in the order of the file.
  package var vips: [VIPConfiguration] = []
  package var balancer = Balancer()
  package var listeners: [ListenerConfiguration] = []
  package var pools: [PoolConfiguration] = []
  package var checkScripts: [CheckScript] = []
  package var log = Log()
  /// Hash of the file's bytes.
  package var digest: UInt64
  /// What is allowed and probably not meant: `pool "old" is not used by any listener`.
  package var warnings: [String] = []

  /// The warnings without those of pools that are in use all the same, by a switch.
  package func warnings(besides inUse: Set<String>) -> [String] {
    let used = Set(inUse.map(Self.unusedWarning))
    return warnings.filter { !used.contains($0) }
  }

  static func unusedWarning(_ pool: String) -> String { "pool \"\(pool)\" is not used by any listener" }

  /// Longer files are refused.
  package static let maximumByteCount = Document.maximumByteCount

  /// Reads and validates. `file` is its name for messages. Throws all errors at once.
  package static func parse(_ bytes: [UInt8], file: String) throws(SettingsError) -> Configuration {
    let document = Document.parse(bytes)
    let reader = Reader(problems: document.problems)
    var configuration = Configuration(digest: StableHash.hash(bytes))
    let start = Position(line: 1, column: 1)
    if let root = document.root {
      if case .empty = root.content {
        reader.add(start, "the file is empty", "a minimal file has listeners and pools, and for a VIP cluster and vips")
      } else {
        reader.read(root, into: &configuration)
      }
    } else if document.problems.isEmpty {
      reader.add(start, "the file is empty", "a minimal file has listeners and pools, and for a VIP cluster and vips")
    }
    guard reader.problems.isEmpty else { throw SettingsError(file: file, problems: reader.problems) }
    return configuration
  }

  /// Throws where a script that checks a pool cannot be run on this machine; `file` is the configuration's name.
  package func refuseUnusableScripts(file: String, _ fault: (String) -> String?) throws(SettingsError) {
    let problems = scriptProblems(fault)
    if !problems.isEmpty { throw SettingsError(file: file, problems: problems) }
  }

  /// The name of this node: `option` (--node), else `node:`, else the host's name or its part before the first dot.
  /// Throws `NodeNameFault` if that is no member, or no name at all.
  package func nodeName(option: String?, hostname: String) throws(NodeNameFault) -> NodeName {
    func checked(_ text: String, _ source: String) throws(NodeNameFault) -> NodeName {
      guard let name = NodeName(text) else { throw NodeNameFault(name: text, source: source, members: nil) }
      guard let cluster, !cluster.members.contains(where: { $0.name == name }) else { return name }
      throw NodeNameFault(name: text, source: source, members: cluster.members.map(\.name.text))
    }
    if let option { return try checked(option, "--node") }
    if let node { return try checked(node.text, "node:") }
    if let name = NodeName(hostname), cluster?.members.contains(where: { $0.name == name }) ?? true { return name }
    return try checked(String(hostname.prefix { $0 != "." }), "the host's name")
  }

  /// What is wrong with the scripts that check pools, on this machine: without one all servers of its pool would be down.
  /// `fault` says what is wrong with one.
  package func scriptProblems(_ fault: (String) -> String?) -> [Problem] {
    checkScripts.compactMap { script in
      fault(script.path).map {
        Problem(
          script.position, "pool \(script.pool) is checked by \(script.path), which every node must have: \($0)")
      }
    }
  }

  /// What is wrong with the programs that the file names, on this machine; `fault` says what is wrong with one.
  package func programWarnings(_ fault: (String) -> String?) -> [String] {
    scriptProblems(fault).map(\.message)
      + vips.flatMap { vip in
        let hook = vip.onChange.flatMap { path in
          fault(path).map { "on_change of VIP \(vip.name), \(path): \($0)" }
        }
        return vip.requires.compactMap { requirement -> String? in
          guard case .script(let check) = requirement.kind, let fault = fault(check.path) else { return nil }
          return "VIP \(vip.name) requires the script \(check.path): \(fault)"
        } + [hook].compactMap { $0 }
      }
  }

  /// What the elector of `node` needs; nil for a lone balancer. `keys`: contents of `keyFiles`, in their order.
  package func elector(node: NodeName, keys: [[UInt8]]) -> ElectorConfiguration? {
    guard let cluster else { return nil }
    return ElectorConfiguration(
      clusterName: cluster.name, node: node, interfaces: cluster.interfaces, transport: cluster.transport,
      group: cluster.group, keys: keys,
      heartbeat: cluster.heartbeat, deadAfter: cluster.deadAfter, aloneAfter: cluster.aloneAfter,
      members: cluster.members, vips: vips, digest: digest)
  }

  /// What the balancer of `node` needs. `cores`: how many threads `auto` means. `cookieKeys`: derived from the cluster's
  /// keys, in their order.
  package func balancer(node: NodeName, cores: Int, cookieKeys: [[UInt8]]) -> BalancerConfiguration {
    BalancerConfiguration(
      node: node.text, threads: balancer.threads ?? max(1, cores), cookieKeys: cookieKeys,
      listeners: listeners, pools: pools, accessLog: log.access)
  }
}

/// This node's name does not fit the configuration.
package struct NodeNameFault: Error, Equatable, Sendable, CustomStringConvertible {
  package var name: String
  /// Where the name comes from.
  package var source: String
  /// Nil: it is no valid name at all.
  package var members: [String]?

  package var description: String {
    guard let members else {
      return "\"\(name)\" (\(source)) cannot name a node (1 to 63 letters, digits, - _ . are allowed; use --node NAME)"
    }
    let nearest = Spelling.nearest(to: name, among: members).map { "did you mean \($0)? " } ?? ""
    return
      "this node is called \"\(name)\" (\(source)), which is not among the members \(members.joined(separator: ", ")) "
      + "(\(nearest)use --node NAME, or add it to cluster.members)"
  }
}
