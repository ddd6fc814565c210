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
    // The last ones, so that slots are in the order of the names on every node.
    if hosts[host].lacksLastVIP { configuration.vips.removeLast() }
    if hosts[host].memberStage % 2 == 1 {
      let gone = configuration.members.removeLast().name
      for vip in configuration.vips.indices { configuration.vips[vip].prefer?.removeAll { $0 == gone } }
    }
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
    // As the agent and the hands: what a VIP requires, and whether its interface has carrier, is told anew.
    tellVIPs(host)
  }

  mutating func reloadAtRandom(_ host: Int) {
    guard !hosts[host].isPaused else { return }
    switch random.below(5) {
    case 0:
      let vip = Int(random.below(UInt64(vipCount)))
      guard let order = configurations[host].vips[vip].prefer else { return }
      configurations[host].vips[vip].prefer = order.shuffled(using: &random)
      note("n\(host + 1) reloads: another order for vip\(vip)")
      reload(host)
    case 1:
      guard vipCount > 1 else { return }
      setLacksLastVIP(host, !hosts[host].lacksLastVIP)
    case 2: changeInterval(host)
    case 3: changeMembers(host)
    default:
      // The next step only when all others have taken this one.
      let stage = hosts[host].keyStage
      guard hosts.allSatisfy({ $0.keyStage >= stage }) else { return }
      hosts[host].keyStage = stage + 1
      note("n\(host + 1) reloads: keys, stage \(stage + 1)")
      reload(host)
    }
  }

  /// One node after another takes another interval.
  private mutating func changeInterval(_ host: Int) {
    let stage = hosts[host].intervalStage
    guard setup.heartbeat == nil, hosts.allSatisfy({ $0.intervalStage >= stage }) else { return }
    if stage + 1 == intervals.count {
      let first = intervals[0].nanoseconds / 1_000_000
      intervals.append(.milliseconds(draw(max(first / 2, 2)...min(first * 2, 100))))
    }
    hosts[host].intervalStage = stage + 1
    let interval = intervals[stage + 1]
    configurations[host].heartbeat = interval
    hosts[host].quickestInterval = min(hosts[host].quickestInterval, interval)
    note("n\(host + 1) reloads: every \(interval)")
    reload(host)
  }

  /// The last host leaves the cluster, or comes back. As operators are told to: it ends before the others forget it, and starts
  /// when all know it again.
  private mutating func changeMembers(_ drawn: Int) {
    let stage = hosts.map(\.memberStage).min() ?? 0
    guard count > 2 else { return }
    let waiting = hosts.indices.filter { hosts[$0].memberStage == stage && !hosts[$0].isPaused }
    let isLeaving = stage % 2 == 0
    let last = count - 1
    var host = drawn
    if isLeaving && waiting.contains(last) { host = last }
    if !isLeaving && host == last { host = waiting.first { $0 != last } ?? last }
    // One that is paused has not reloaded yet.
    let othersAreDone = hosts.indices.allSatisfy { $0 == last || hosts[$0].memberStage > stage }
    let isItsTurn =
      isLeaving ? host == last || hosts[last].memberStage > stage : host != last || othersAreDone
    guard waiting.contains(host), isItsTurn else { return }
    hosts[host].memberStage = stage + 1
    note("n\(host + 1) reloads: \(isLeaving ? "without" : "with") n\(last + 1)")
    if host != last { return reload(host) }
    if isLeaving {
      if random.chance(1, in: 2) { crashHost(host) } else { crashElector(host) }
    } else {
      start(host)
    }
  }

  /// It has left the cluster.
  func isRemoved(_ host: Int) -> Bool { host == count - 1 && hosts[host].memberStage % 2 == 1 }

  /// A member that may hold VIPs.
  func mayHold(_ host: Int) -> Bool { host != witness && !isRemoved(host) }

  mutating func setLacksLastVIP(_ host: Int, _ lacks: Bool) {
    guard hosts[host].lacksLastVIP != lacks else { return }
    hosts[host].lacksLastVIP = lacks
    let last = vipCount - 1
    note("n\(host + 1) reloads: \(lacks ? "without" : "with") vip\(last)")
    reload(host)
  }
}
