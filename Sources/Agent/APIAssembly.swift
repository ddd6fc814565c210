// What the API shows: the configuration, merged with what elector, balancer and the operators' side report. Values in,
// values out.

package import Control
package import Primitives
package import Settings

/// Everything that an answer is made of, at one moment.
package struct APISources: Sendable {
  package var node: NodeName
  package var version: String
  package var started: APITime
  package var configuration: Configuration
  package var view: NodeView
  package var drains: [APIDrain]
  package var switches: [RouteSwitch]
  /// What should be known and changes no verdict, besides what the children say.
  package var warnings: [String]
  /// Another node's elector is known to run.
  package var electorsRunElsewhere: Bool

  package init(
    node: NodeName, version: String, started: APITime, configuration: Configuration, view: NodeView,
    drains: [APIDrain] = [], switches: [RouteSwitch] = [], warnings: [String] = [], electorsRunElsewhere: Bool = true
  ) {
    self.electorsRunElsewhere = electorsRunElsewhere
    self.node = node
    self.version = version
    self.started = started
    self.configuration = configuration
    self.view = view
    self.drains = drains
    self.switches = switches
    self.warnings = warnings
  }

  package var members: [APIMember] { configuration.cluster?.members.map(member) ?? [] }

  private func member(_ member: MemberConfiguration) -> APIMember {
    let isSelf = member.name == node
    let status = view.elector?.members.first { $0.name == member.name }
    return APIMember(
      name: member.name.text, address: member.address.description, role: member.role.rawValue,
      state: state(of: member.name, status, isSelf: isSelf), isSelf: isSelf,
      rttMilliseconds: status?.roundTrip.map(Self.milliseconds), lossIn: status?.lossIn, lossOut: status?.lossOut,
      lastHeardMilliseconds: status?.lastHeardAgo.map(Self.milliseconds),
      configuration: (isSelf ? configuration.digest : status?.configurationDigest).map(Self.hexadecimal),
      worstStallMilliseconds: isSelf ? view.elector.map { Self.milliseconds($0.worstStall) } : nil,
      detectionMilliseconds: status?.detectionTime.map(Self.milliseconds),
      version: isSelf ? version : status?.softwareVersion, links: links(of: member.name),
      paths: (status?.paths ?? []).map { path in
        APIPath(
          interface: path.interface, heard: path.isHeard,
          lastHeardMilliseconds: path.lastHeardAgo.map(Self.milliseconds), multicast: path.isMulticast)
      })
  }

  private func links(of name: NodeName) -> [APILink] {
    view.links.filter { $0.hearer == name }.map { link in
      let back = view.links.first { $0.hearer == link.other && $0.other == name }
      return APILink(
        name: link.other.text, hears: link.isHeard, isHeard: back?.isHeard, lossIn: link.loss, lossOut: back?.loss,
        rttMilliseconds: link.roundTrip.map(Self.milliseconds))
    }
  }

  private func state(of name: NodeName, _ status: MemberStatus?, isSelf: Bool) -> APIMember.State {
    let drain = drains.first { $0.node == name.text }
    // Without an elector nothing is known of the others, and this node takes no part.
    guard let status else { return .starting }
    switch status.state {
    case .dead: return .dead
    case .suspect where !isSelf: return .suspect
    case .starting: return .starting
    case .alive, .suspect:
      if drain?.phase == .drained { return .drained }
      return drain != nil || status.draining ? .draining : .alive
    }
  }

  package var vips: [APIVIP] {
    configuration.vips.map { vip in
      let status = view.elector?.vips.first { $0.name == vip.name }
      return APIVIP(
        name: vip.name, addresses: vip.addresses.map(\.description), interface: vip.interface,
        holder: status?.holder?.text,
        since: status.flatMap {
          $0.sinceUnixNanoseconds == 0 ? nil : APITime(unixNanoseconds: $0.sinceUnixNanoseconds)
        },
        cause: status?.cause ?? electorDown ?? "the elector has not reported yet",
        fence: view.gate?.fence(of: vip.name).rawValue ?? "none",
        ineligible: status == nil ? electorDown : status?.ineligible,
        eligible: status?.eligible.map(\.text) ?? [], claimedBy: status?.claimedBy,
        requires: view.requirements[vip.name] ?? [], holderToldBy: status?.toldBy?.text)
    }
  }

  package var pools: [APIPool] {
    configuration.pools.map { pool in
      let status = view.balancer?.pools.first { $0.name == pool.name }
      return APIPool(
        name: pool.name,
        // Those that the balancer has found, where the file names none.
        servers: (pool.discovery == nil ? pool.servers : status?.servers.map(\.configuration) ?? []).map { server in
          guard let seen = status?.servers.first(where: { $0.name == server.name }) else {
            return APIServer(
              name: server.name, address: server.authority, hostName: server.hostName,
              state: balancerDown == nil ? .starting : .down,
              weight: server.weight, connections: 0, requests: 0, failures: 0, lastCheck: balancerDown ?? "",
              member: server.member?.text)
          }
          return APIServer(
            name: server.name,
            address: seen.endpoint.address.isUnspecified ? server.authority : seen.endpoint.description,
            hostName: server.hostName,
            state: APIServer.State(rawValue: seen.state.rawValue) ?? .down, weight: seen.weight,
            connections: seen.connections, requests: seen.requests, failures: seen.failures, lastCheck: seen.lastCheck,
            member: server.member?.text, requestsPerSecond: (seen.requestsPerSecond * 100).rounded() / 100)
        })
    }
  }

  /// By the routes as they are switched.
  package var poolsInUse: Set<String> {
    Set(switches.applied(to: configuration.listeners, configuration.pools).flatMap(\.pools))
  }

  package var listeners: [APIListener] {
    let inForce = switches.filter { $0.obstacle(configuration.listeners, configuration.pools) == nil }
    return configuration.listeners.map { listener in
      let status = view.balancer?.listeners.first { $0.name == listener.name }
      let moved = inForce.filter { listener.poolsByRoute[$0.route] != nil }.map { ($0.route, $0.pool) }
      let switched = Dictionary(moved, uniquingKeysWith: { first, _ in first })
      return APIListener(
        name: listener.name, bind: listener.bind.map(\.description), mode: listener.mode.rawValue, pool: listener.pool,
        connections: status?.connections ?? 0, accepted: status?.accepted ?? 0, requests: status?.requests ?? 0,
        refused: status?.refused ?? 0, switched: switched)
    }
  }

  package var status: APIStatus {
    let (verdict, reasons) = Verdict.judge(self)
    return APIStatus(
      verdict: verdict, reasons: reasons, cluster: configuration.cluster?.name, node: node.text, version: version,
      started: started, members: members, vips: vips, services: [], pools: pools, listeners: listeners, drains: drains,
      processes: view.processes, warnings: allWarnings)
  }

  private var allWarnings: [String] {
    var all = configuration.warnings(besides: poolsInUse) + view.warnings + warnings
    all += SwitchNotes.warnings(switches, configuration)
    all += view.gate?.warnings ?? []
    all += view.elector?.warnings ?? []
    all += view.balancer?.warnings ?? []
    for member in view.elector?.members ?? [] where member.name != node {
      if let digest = member.configurationDigest, digest != configuration.digest {
        all.append("\(member.name) runs another configuration file")
      }
    }
    var seen: Set<String> = []
    return all.filter { seen.insert($0).inserted }
  }

  /// Why the child does not work, in words; nil while it does, is still starting for the first time, or is not needed.
  package var electorDown: String? { down("elector") }
  package var balancerDown: String? { down("balancer") }

  private func down(_ name: String) -> String? {
    guard let process = view.processes.first(where: { $0.name == name }) else { return nil }
    switch process.state {
    case "running": return nil
    case "starting": return process.restarts == 0 ? nil : "the \(name) is starting again"
    default: return "the \(name) is down: \(process.state)"
    }
  }

  static func milliseconds(_ span: TimeSpan) -> Double { Double(span.nanoseconds / 1_000) / 1_000 }

  static func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
