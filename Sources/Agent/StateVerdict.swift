// One word for the whole, and what it rests on. CRITICAL: clients are not served. DEGRADED: they are, and something is
// missing that would be needed at the next failure.

package import Control
internal import Primitives
internal import Settings

package enum Verdict {
  /// The verdict and its reasons, worst first.
  package static func judge(_ sources: APISources) -> (APIVerdict, [String]) {
    var critical: [String] = []
    var degraded: [String] = []
    judgeVIPs(sources, &critical, &degraded)
    judgePools(sources, &critical, &degraded)
    judgeProcesses(sources, &critical, &degraded)
    judgeMembers(sources, &degraded)
    judgePaths(sources, &degraded)
    if !critical.isEmpty { return (.critical, critical + degraded) }
    return degraded.isEmpty ? (.ok, []) : (.degraded, degraded)
  }

  private static func judgeVIPs(_ sources: APISources, _ critical: inout [String], _ degraded: inout [String]) {
    guard sources.view.elector != nil else { return }
    for vip in sources.vips where vip.holder == nil {
      let why = vip.ineligible.map { ", and this node may not: \($0)" } ?? ""
      critical.append("nobody holds VIP \(vip.name)\(why)")
    }
    let voters = sources.members.filter { $0.role == "voter" }
    let allAreHere = voters.allSatisfy { $0.state == .alive || $0.state == .suspect }
    for vip in sources.vips {
      guard let holder = vip.holder else { continue }
      if let witness = vip.holderToldBy {
        degraded.append("\(holder) holds VIP \(vip.name), as \(witness) says (not heard here)")
      } else if holder == sources.node.text {
        // Kept because nobody else may have it (or until it is handed over).
        if let why = vip.ineligible {
          degraded.append("VIP \(vip.name) is kept by a node that should not hold it: \(why)")
        }
      } else if allAreHere, !vip.eligible.contains(holder) {
        degraded.append("VIP \(vip.name) is kept by \(holder), which should not hold it (afloat vips there says why)")
      }
      if let other = vip.claimedBy { degraded.append("VIP \(vip.name) is claimed by \(other) too") }
      if voters.count > 1, allAreHere, !vip.eligible.contains(where: { $0 != holder }) {
        degraded.append("no other node may take VIP \(vip.name)")
      }
    }
  }

  private static func judgePools(_ sources: APISources, _ critical: inout [String], _ degraded: inout [String]) {
    guard sources.view.balancer != nil else { return }
    let used = sources.poolsInUse
    for pool in sources.pools where used.contains(pool.name) {
      switch shortage(of: pool, sources) {
      case .none: break
      case .passing(let words)?: degraded.append(words)
      case .lasting(let words)?: critical.append(words)
      }
      for server in pool.servers where server.state == .down {
        let why = server.lastCheck.isEmpty ? "" : " (\(server.lastCheck))"
        degraded.append("server \(pool.name)/\(server.name) is down\(why)")
      }
    }
  }

  enum Shortage {
    /// It ends by itself, or another pool serves its clients.
    case passing(String)
    case lasting(String)
  }

  /// Why none of a pool's servers takes new clients; nil while one does.
  static func shortage(of pool: APIPool, _ sources: APISources) -> Shortage? {
    if pool.servers.contains(where: \.takesNewClients) { return nil }
    if sources.view.balancer?.pools.first(where: { $0.name == pool.name })?.isBeingLookedUp == true {
      return .passing("pool \(pool.name): names not looked up yet")
    }
    if pool.servers.contains(where: { $0.state == .starting }) {
      return .passing("pool \(pool.name): no server has passed its checks yet")
    }
    let why =
      if pool.servers.contains(where: { $0.state == .up || $0.state == .backup }) {
        "takes no new clients: its servers that are up have weight 0"
      } else if !pool.servers.isEmpty, pool.servers.allSatisfy({ $0.state == .drain || $0.state == .maint }) {
        "takes no new clients: all its servers are drained or in maintenance"
      } else {
        "has no server that is up"
      }
    let words = "pool \(pool.name) \(why)"
    let standIn = sources.configuration.pools.standIns(behind: pool.name).dropFirst().first { standIn in
      sources.pools.contains { $0.name == standIn.name && $0.servers.contains(where: \.takesNewClients) }
    }
    return standIn.map { .passing("\(words); pool \($0.name) stands in") } ?? .lasting(words)
  }

  private static func judgeProcesses(_ sources: APISources, _ critical: inout [String], _ degraded: inout [String]) {
    // Where no other node can serve, a child that is down is an outage.
    let alone = sources.members.count <= 1
    if !alone, sources.electorDown != nil, !sources.electorsRunElsewhere {
      critical.append("no elector is known to run, here or on another node: nobody may hold the VIPs")
    }
    for reason in [sources.electorDown, sources.balancerDown] {
      guard let reason else { continue }
      if alone { critical.append(reason) } else { degraded.append(reason) }
    }
    for process in sources.view.processes where process.state == "starting" && process.restarts == 0 {
      degraded.append("the \(process.name) is starting")
    }
  }

  private static func judgeMembers(_ sources: APISources, _ degraded: inout [String]) {
    guard sources.view.elector != nil else { return }
    let members = sources.members
    let mayServe = members.filter { $0.role == "voter" }
    var missing: [String] = []
    for member in members {
      switch member.state {
      case .dead:
        missing.append("\(member.name) is dead\(member.lastHeardMilliseconds.map { " (\(ago($0)))" } ?? "")")
      case .starting where !member.isSelf && member.lastHeardMilliseconds == nil:
        missing.append("\(member.name) has not been heard yet")
      case .starting: missing.append("\(member.name) is starting")
      case .draining: missing.append("\(member.name) is being drained")
      case .drained: missing.append("\(member.name) is drained")
      case .alive, .suspect: break
      }
    }
    guard !missing.isEmpty else { return }
    if !sources.vips.isEmpty, mayServe.count > 1 {
      let serving = mayServe.count { $0.state == .alive || $0.state == .suspect }
      let tolerated = max(0, serving - 1)
      degraded.append("tolerates \(tolerated) failure\(tolerated == 1 ? "" : "s")")
    }
    degraded += missing
  }

  /// Members that are heard, but not over every interface: the next failure may be that of the last one.
  private static func judgePaths(_ sources: APISources, _ degraded: inout [String]) {
    let heard = sources.members.filter { $0.paths.contains { $0.heard == true } }
    for interface in heard.first?.paths.map(\.interface) ?? [] {
      func path(_ member: APIMember) -> APIPath? { member.paths.first { $0.interface == interface } }
      let lost = heard.filter { path($0)?.heard == false }
      let isAll = lost.count > 1 && lost.count == heard.count
      for group in isAll ? [lost] : lost.map({ [$0] }) {
        let who = isAll ? "no member is" : "\(group[0].name) is not"
        let since = group.compactMap { path($0)?.lastHeardMilliseconds }.min().map(ago) ?? "never was"
        let left = group.map { member in member.paths.count { $0.heard == true } }.min() ?? 0
        degraded.append(
          "\(who) heard on \(interface) (\(since)): heartbeats have "
            + "\(left == 1 ? "one interface" : "\(left) interfaces") left")
      }
    }
  }

  /// `12 s`, `3 min`, `5 h`.
  package static func ago(_ milliseconds: Double) -> String {
    let seconds = Int(milliseconds / 1_000)
    switch seconds {
    case ..<1: return "\(Int(milliseconds)) ms"
    case ..<120: return "\(seconds) s"
    case ..<7_200: return "\(seconds / 60) min"
    default: return "\(seconds / 3_600) h"
    }
  }
}
