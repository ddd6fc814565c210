// Reloads: another order of preference, a VIP that one node's configuration lacks for a while, and the exchange of keys on one
// node after another.

import ClusterNode
import Election
import Membership
import Primitives

extension Simulation {
  /// What its configuration file says now.
  func configuration(of host: Int) -> ClusterConfiguration {
    var configuration = configurations[host]
    // The last one, so that slots are in the order of the names on every node.
    if hosts[host].lacksLastVIP { configuration.vips.removeLast() }
    return configuration
  }

  /// Key `stage / 2` alone, or while keys are exchanged the next one first.
  func authenticator(of host: Int) -> SimulatedAuthenticator {
    let stage = hosts[host].keyStage
    let (old, next) = (key &+ UInt64(stage / 2), key &+ UInt64(stage / 2 + 1))
    return stage % 2 == 0 ? SimulatedAuthenticator(key: old) : SimulatedAuthenticator(key: next, other: old)
  }

  func configuresTwoKeys(_ host: Int) -> Bool { hosts[host].keyStage % 2 == 1 }

  /// Has a running elector take what is configured; one that does not run will start with it.
  private mutating func reload(_ host: Int) {
    totals.reloads += 1
    configurations[host].digest &+= 1
    guard hosts[host].isRunning else { return }
    let local = clocks[host].local(now)
    nodes[host].reconfigure(
      configuration(of: host), authenticator: authenticator(of: host), now: local, effects: &effects)
    carryOut(host, local)
    advance(host)
    // As the agent: what a VIP requires is told anew.
    for vip in 0..<vipCount { command(host, requirements(of: vip, at: host)) }
  }

  mutating func reloadAtRandom(_ host: Int) {
    guard !hosts[host].isPaused else { return }
    switch random.below(3) {
    case 0:
      let vip = Int(random.below(UInt64(vipCount)))
      guard let order = configurations[host].vips[vip].prefer else { return }
      configurations[host].vips[vip].prefer = order.shuffled(using: &random)
      note("n\(host + 1) reloads: another order for vip\(vip)")
      reload(host)
    case 1:
      guard vipCount > 1 else { return }
      setLacksLastVIP(host, !hosts[host].lacksLastVIP)
    default:
      // The next step only when all others have taken this one.
      let stage = hosts[host].keyStage
      guard hosts.allSatisfy({ $0.keyStage >= stage }) else { return }
      hosts[host].keyStage = stage + 1
      note("n\(host + 1) reloads: keys, stage \(stage + 1)")
      reload(host)
    }
  }

  mutating func setLacksLastVIP(_ host: Int, _ lacks: Bool) {
    guard hosts[host].lacksLastVIP != lacks else { return }
    hosts[host].lacksLastVIP = lacks
    let last = vipCount - 1
    note("n\(host + 1) reloads: \(lacks ? "without" : "with") vip\(last)")
    reload(host)
  }
}
