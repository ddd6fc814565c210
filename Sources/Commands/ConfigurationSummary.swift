// What `afloat check` says of a file that is right: what it means, in a few lines.

internal import Control
internal import Primitives
package import Settings

package enum ConfigurationSummary {
  package static func text(_ configuration: Configuration, file: String, warnings: [String]) -> String {
    var lines = ["\(file) is good"]
    if let cluster = configuration.cluster {
      let members = cluster.members.map { $0.role == .voter ? $0.name.text : "\($0.name) (\($0.role.rawValue))" }
      let dead = TimeSpan.nanoseconds(cluster.heartbeat.nanoseconds * Int64(cluster.deadAfter))
      let interfaces = cluster.interfaces.joined(separator: ", ")
      lines.append("cluster \(cluster.name): \(members.joined(separator: ", ")) on \(interfaces)")
      let way =
        switch cluster.transport {
        case .multicast: "group \(cluster.group)"
        case .unicast: "unicast to port \(cluster.group.port)"
        }
      lines.append(
        "  heartbeat \(Quantities.text(cluster.heartbeat)), dead after \(Quantities.text(dead)) of silence, \(way)")
    } else {
      lines.append("no cluster: a lone balancer")
    }
    for vip in configuration.vips {
      let addresses = vip.addresses.map(\.description).joined(separator: ", ")
      let preferred = vip.prefer.map { $0.map(\.text).joined(separator: ", ") } ?? "spread"
      lines.append(
        "VIP \(vip.name): \(addresses) on \(vip.interface), prefers \(preferred), failback \(words(vip.failback))")
    }
    for listener in configuration.listeners {
      let bind = listener.bind.map(\.description).joined(separator: ", ")
      let ways =
        (listener.routes.isEmpty ? [] : [Words.count(listener.routes.count, "route")])
        + (listener.pool.isEmpty ? [] : ["pool \(listener.pool)"])
      lines.append(
        "listener \(listener.name): \(listener.mode.rawValue) on \(bind) to \(ways.joined(separator: ", then "))")
    }
    for pool in configuration.pools {
      lines.append(
        "pool \(pool.name): \(servers(of: pool)), \(words(pool.balance)), \(words(pool.affinity)), \(words(pool.check))"
      )
    }
    if let access = configuration.log.access {
      lines.append("access log: \(access.format.rawValue) to \(words(access.target))")
    }
    lines += warnings.map { "warning: \($0)" }
    return lines.map { Words.printable($0) + "\n" }.joined()
  }

  private static func servers(of pool: PoolConfiguration) -> String {
    pool.discovery.map { "the addresses of \($0.name)" } ?? Words.count(pool.servers.count, "server")
  }

  private static func words(_ failback: Failback) -> String {
    switch failback {
    case .never: "never"
    case .atOnce: "at once"
    case .after(let span): "after \(Quantities.text(span))"
    }
  }

  private static func words(_ target: AccessLogConfiguration.Target) -> String {
    switch target {
    case .standardOutput: "standard output"
    case .syslog: "syslog"
    case .file(let path): path
    }
  }

  private static func words(_ balance: BalanceAlgorithm) -> String {
    switch balance {
    case .roundRobin: "round robin"
    case .leastConnections: "least connections"
    case .randomTwo: "random of two"
    case .hash(.source): "hash of the source"
    case .hash(.header(let name)): "hash of the header \(name)"
    case .hash(.cookie(let name)): "hash of the cookie \(name)"
    case .hash(.uri): "hash of the URI"
    }
  }

  private static func words(_ affinity: Affinity) -> String {
    switch affinity {
    case .none: "no affinity"
    case .source: "affinity by source"
    case .cookie(let name, _, _, _): "affinity by cookie \(name)"
    }
  }

  private static func words(_ check: HealthCheckConfiguration) -> String {
    switch check.kind {
    case .none: "not checked"
    case .tcp: "checked by tcp every \(Quantities.text(check.every))"
    case .http(let path, let method, _, _): "checked by \(method) \(path) every \(Quantities.text(check.every))"
    case .script(let path): "checked by the script \(path) every \(Quantities.text(check.every))"
    }
  }
}
