// What a drain still waits for, from the reports of all nodes: a pure function, so that "drained" can be tested. A node is
// drained only when that was observed: every living node has said freshly that it follows the drain and that nothing is
// left, and the node itself that it holds no VIP and serves nobody behind one.

package import Control
package import Intents
package import Primitives

package struct DrainProgress: Sendable {
  /// A report older than this proves nothing. Reports come at least every second.
  package static let freshFor = TimeSpan.seconds(3)
  /// A server without an open connection may get the next request of a sticky client a moment later; only one that nobody
  /// has used for this long counts as empty. (After `sticky_grace` sticky clients go elsewhere, so this comes to its end.)
  package static let quietFor = TimeSpan.seconds(2)

  package struct Member: Equatable, Sendable {
    package var name: NodeName
    /// False only where the elector says that it is dead.
    package var alive: Bool
    /// Voters may hold VIPs; witnesses and observers never do.
    package var mayHold: Bool

    package init(name: NodeName, alive: Bool, mayHold: Bool) {
      self.name = name
      self.alive = alive
      self.mayHold = mayHold
    }
  }

  package struct Received: Equatable, Sendable {
    package var report: NodeReport
    package var at: Instant

    package init(report: NodeReport, at: Instant) {
      self.report = report
      self.at = at
    }
  }

  package var members: [Member]
  package var reports: [NodeName: Received]
  package var now: Instant

  package init(members: [Member], reports: [NodeName: Received], now: Instant) {
    self.members = members
    self.reports = reports
    self.now = now
  }

  /// Empty: `node` is drained.
  package func blockers(of node: NodeName) -> [APIBlocker] {
    var blockers: [APIBlocker] = []
    for member in members {
      // Death is believed only of a member whose agent is silent too, and never of the node itself: drained means observed.
      let isFresh = reports[member.name].map { now - $0.at <= Self.freshFor } ?? false
      guard member.alive || isFresh || member.name == node else { continue }
      func block(_ kind: APIBlocker.Kind, _ name: String, _ connections: Int, _ detail: String) {
        blockers.append(
          APIBlocker(kind: kind, name: name, node: member.name.text, connections: connections, detail: detail))
      }
      guard let received = reports[member.name], now - received.at <= Self.freshFor else {
        block(.node, member.name.text, 0, "no news from its agent")
        continue
      }
      let report = received.report
      if !report.draining.contains(node) { block(.node, member.name.text, 0, "has not heard of the drain yet") }
      if let servers = report.servers {
        for server in servers where server.member == node {
          let name = "\(server.pool)/\(server.server)"
          if server.state == .up || server.state == .starting {
            block(.server, name, server.connections, "not out of the pool yet")
          } else if server.connections > 0 {
            block(.server, name, server.connections, Self.count(server.connections, "connection"))
          } else if server.quiet < Self.quietFor {
            block(.server, name, 0, "used a moment ago")
          }
        }
      } else {
        block(.node, member.name.text, 0, "its balancer does not report")
      }
      guard member.name == node else { continue }
      if let held = report.vipsHeld {
        for vip in held { block(.vip, vip, 0, hasSuccessor(to: node) ? "still held" : "no other node can take it") }
      } else {
        block(.node, member.name.text, 0, "its elector does not report")
      }
      if report.clientConnections > 0 {
        block(
          .listener, "VIP addresses", report.clientConnections,
          Self.count(report.clientConnections, "client connection"))
      }
    }
    return blockers
  }

  private func hasSuccessor(to node: NodeName) -> Bool {
    members.contains { $0.name != node && $0.alive && $0.mayHold && !isDraining($0.name) }
  }

  private func isDraining(_ node: NodeName) -> Bool { reports[node]?.report.draining.contains(node) ?? false }

  package static func count(_ count: Int, _ what: String) -> String { "\(count) \(what)\(count == 1 ? "" : "s")" }
}

/// What is asked of an operator's drain before it is recorded. Best effort: it judges by what this node knows now, so two
/// nodes that are asked at the same moment may both say yes.
package struct DrainAdmission: Sendable {
  package var members: [DrainProgress.Member]
  package var drains: [NodeName: DrainIntent]
  package var maximumDraining: Int

  package init(members: [DrainProgress.Member], drains: [NodeName: DrainIntent], maximumDraining: Int) {
    self.members = members
    self.drains = drains
    self.maximumDraining = maximumDraining
  }

  /// The option that overrides a refusal.
  package static let override = "--force --yes"

  /// Why draining `node` is refused; nil if it is not.
  package func refusal(of node: NodeName) -> String? {
    let others = drains.keys.filter { $0 != node && members.map(\.name).contains($0) }.sorted()
    if others.count >= maximumDraining {
      let list = others.map(\.text).joined(separator: ", ")
      return "cannot drain \(node): \(list) \(others.count == 1 ? "is" : "are") draining or drained already, and "
        + "cluster.max_draining is \(maximumDraining) (undrain \(others[0]) first, or override with \(Self.override))"
    }
    let left = members.filter { $0.name != node && $0.alive && $0.mayHold && drains[$0.name] == nil }
    if left.isEmpty {
      return "cannot drain \(node): no other node is alive and may hold its VIPs "
        + "(override with \(Self.override), clients are then not served)"
    }
    return nil
  }
}

/// What every node does about the intents: pure, so that it is the same everywhere.
package enum DrainOrders {
  /// The balancer's orders: what was asked of single servers, and `drain` for servers of draining members (`maint`, which
  /// waits for nobody, once the deadline of a forced drain has passed). Sorted; the stricter of two wins.
  package static func orders(_ intents: Intents, pools: [PoolConfiguration], unixNow: Int64) -> [ServerOrder] {
    let asked = intents.servers
    let drains = intents.drains
    let weights = intents.weights
    var orders: [ServerOrder] = []
    for pool in pools {
      for server in pool.servers {
        var administration = ServerAdministration.ready
        if let drain = server.member.flatMap({ drains[$0] }) {
          administration = isForced(drain, unixNow) ? .maint : .drain
        }
        switch asked[ServerName(pool: pool.name, server: server.name)] {
        case .maint: administration = .maint
        case .drain: if administration == .ready { administration = .drain }
        case .ready, nil: break
        }
        let weight = weights[ServerName(pool: pool.name, server: server.name)]
        if administration != .ready || weight != nil {
          orders.append(
            ServerOrder(pool: pool.name, server: server.name, administration: administration, weight: weight))
        }
      }
    }
    return orders.sorted { ($0.pool, $0.server) < ($1.pool, $1.server) }
  }

  /// Sorted by route.
  package static func switches(_ intents: Intents) -> [RouteSwitch] {
    intents.switches.sorted { $0.key < $1.key }.map {
      RouteSwitch(route: $0.key, pool: $0.value.pool, identity: $0.value.identity)
    }
  }

  /// What operators asked of single servers, wherever those are: what is to become of servers that come back.
  package static func serverOrders(_ intents: Intents) -> [ServerOrder] {
    let (states, weights) = (intents.servers, intents.weights)
    return Set(states.keys).union(weights.keys).sorted().map { name in
      let administration: ServerAdministration =
        switch states[name] {
        case .maint: .maint
        case .drain: .drain
        case .ready, nil: .ready
        }
      return ServerOrder(
        pool: name.pool, server: name.server, administration: administration, weight: weights[name])
    }
  }

  package static func isForced(_ drain: DrainIntent, _ unixNow: Int64) -> Bool {
    drain.onDeadline == .force && drain.deadlineUnixNanoseconds.map { unixNow >= $0 } ?? false
  }
}
