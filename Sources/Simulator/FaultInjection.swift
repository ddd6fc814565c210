// The faults of the chaos, drawn from the seed, and the heal that ends them.

import ClusterNode
import Election
import Membership
import Primitives

/// What may go wrong in a run. Where the network stays well, what two hosts answer at the same time has no excuse.
enum FaultMix { case all, hostsOnly }

extension Simulation {
  private mutating func pick() -> Int { Int(random.below(UInt64(count))) }

  mutating func injectFault() {
    let host = pick()
    let hostFaults: [UInt64] = [8, 9, 10, 11, 11, 12, 13, 14, 16, 17, 18, 19, 20]
    switch mix == .hostsOnly ? hostFaults[Int(random.below(13))] : random.below(22) {
    case 0, 1:
      let other = pick()
      guard other != host else { return }
      cut(host, other)
    case 2:
      // A pair that does not see each other, while others see both.
      let other = pick()
      guard other != host else { return }
      totals.cuts += 2
      note("cut n\(host + 1) <-> n\(other + 1)")
      let path = somePath()
      network.set(host, other, path: path, up: false, at: now)
      network.set(other, host, path: path, up: false, at: now)
    case 3: partition()
    case 4, 5:
      note("links heal")
      network.healAll(at: now)
    case 6:
      network.loss = random.chance(1, in: 2) ? 0 : random.below(300)
      network.lossChangedAt = now
      network.duplication = random.chance(1, in: 2) ? 0 : random.below(200)
      let (loss, duplication) = (network.loss, network.duplication)
      note("loss \(loss), duplication \(duplication) of 1000")
    case 7:
      let wide = random.chance(1, in: 2)
      network.delay = wide ? 50_000...draw(100_000...6_100_000) : Self.chaosDelay
      let delay = network.delay
      note("delay \(delay)")
      network.lossChangedAt = now
    case 8, 9: crashElector(host)
    case 10: crashHost(host)
    case 11: pause(host, for: draw(1_000_000...101_000_000) * slowness)
    case 12:
      guard mix == .all else { return pause(host, for: draw(1_000_000...301_000_000) * slowness) }
      let path = somePath()
      setCarriers(host, hosts[host].carriers ^ (path.map { 1 << UInt8($0) } ?? allPaths))
    case 13: setDraining(host, !hosts[host].draining)
    case 14:
      hosts[host].balancerReady.toggle()
      let ready = hosts[host].balancerReady
      note("balancer of n\(host + 1) ready: \(ready)")
      tellVIPs(host)
    case 15: dropMulticasts(of: random.chance(1, in: 2) ? host : nil)
    case 17, 18: reloadAtRandom(host)
    case 19:
      // Much of this leaves no time for anything else.
      guard random.chance(1, in: 3) else {
        return pause(host, for: draw(1_000_000...301_000_000) * slowness, whole: true)
      }
      totals.powerLosses += 1
      for host in 0..<count { crashHost(host) }
    case 20:
      let vip = Int(random.below(UInt64(vipCount)))
      setVIPCarrier(host, vip, !hasCarrier(host, vip))
    case 21: setRefusesSends(host, !hosts[host].refusesSends)
    default:
      if random.chance(1, in: 5) {
        note("n\(host + 1) shuts down")
        command(host, .shutdown(quieten: random.chance(1, in: 2)))
      } else {
        command(host, .move(VIPIndex(Int(random.below(UInt64(vipCount)))), to: MemberIndex(pick())))
      }
    }
  }

  private var allPaths: UInt8 { 1 << UInt8(network.pathCount) - 1 }

  /// Nil: all of them.
  private mutating func somePath() -> Int? {
    network.pathCount > 1 && random.chance(2, in: 3) ? Int(random.below(UInt64(network.pathCount))) : nil
  }

  /// One way, of everything or of one kind of datagrams only.
  private mutating func cut(_ host: Int, _ other: Int) {
    let kind: SimulatedNetwork.Kind? = [nil, .multicast, .unicast][Int(random.below(3))]
    note("cut n\(host + 1) -> n\(other + 1)\(kind.map { ", \($0) only" } ?? "")")
    if kind == nil { totals.cuts += 1 } else { totals.kindCuts += 1 }
    network.set(host, other, kind: kind, path: somePath(), up: false, at: now)
  }

  private mutating func partition() {
    totals.partitions += 1
    let side = random.next()
    let sides = (0..<count).map { side >> UInt64($0) & 1 }
    note("partition \(sides)")
    let path = somePath()
    for from in 0..<count {
      for to in 0..<count where from != to {
        network.set(
          from, to, path: path, up: side >> UInt64(from) & 1 == side >> UInt64(to) & 1, at: now)
      }
    }
  }

  /// A switch that snoops and has no querier: nothing of a host's multicasts gets through, or nobody's.
  private mutating func dropMulticasts(of host: Int?) {
    totals.kindCuts += 1
    note("no multicasts \(host.map { "of n\($0 + 1)" } ?? "at all")")
    for from in 0..<count where host == nil || from == host {
      for to in 0..<count where to != from { network.set(from, to, kind: .multicast, up: false, at: now) }
    }
  }

  /// - Parameter carriers: bit per path.
  private mutating func setCarriers(_ host: Int, _ carriers: UInt8) {
    let before = hosts[host].carriers
    guard before != carriers else { return }
    if carriers & ~before == 0 { totals.carrierLosses += 1 }
    note("cables of n\(host + 1): \(carriers)")
    hosts[host].carriers = carriers
    hosts[host].linkChangedAt = now
    hosts[host].runningSince = now
    if (before == 0) != (carriers == 0) { command(host, .carrier(up: carriers != 0)) }
  }

  private mutating func setDraining(_ host: Int, _ draining: Bool) {
    guard hosts[host].draining != draining, hosts[host].isRunning, !hosts[host].isPaused else { return }
    if draining { totals.drains += 1 }
    note("draining of n\(host + 1): \(draining)")
    hosts[host].draining = draining
    command(host, .draining(draining))
  }

  func isStrict(_ vip: Int) -> Bool { strict >> UInt64(vip) & 1 == 1 }

  /// Every VIP requires the balancer.
  func requirements(of vip: Int, at host: Int) -> Command {
    .requirements(VIPIndex(vip), hosts[host].balancerReady ? .met : .unmet(strict: isStrict(vip)))
  }

  /// Everything is well from now on. Drains stay as they are for some, but never for all; balancers and configurations that
  /// lack a VIP too, and in some rounds nobody's balancer is ready: then one that does not drain holds all the same.
  mutating func heal() {
    note("heal")
    isHealed = true
    network.healAll(at: now)
    network.loss = 0
    network.lossChangedAt = now
    network.duplication = 0
    network.delay = 50_000...300_000
    let electable = (0..<count).filter { mayHold($0) }
    let well = electable[Int(random.below(UInt64(electable.count)))]
    let nobodyReady = random.chance(1, in: 4)
    for host in 0..<count {
      if hosts[host].isPaused { resume(host) }
      setCarriers(host, allPaths)
      setRefusesSends(host, false)
      for vip in 0..<vipCount { setVIPCarrier(host, vip, true) }
      if host == well || random.chance(1, in: 2) {
        setDraining(host, false)
        hosts[host].draining = false
        hosts[host].balancerReady = true
      }
      if nobodyReady { hosts[host].balancerReady = false }
      tellVIPs(host)
      if host == well || random.chance(1, in: 2) { setLacksLastVIP(host, false) }
      if !hosts[host].isRunning { start(host) }
    }
    // What hands have been at for long the node gives up before it is done.
    if hosts.contains(where: { !$0.hands.isEmpty && now - $0.handsBusySince > 50_000_000 }) { watch.answersLost = true }
    // A failed address is tried again after its time; the rest settles in detection times.
    var retry: Int64 = 0
    for host in 0..<count where hosts[host].isRunning {
      let local = clocks[host].local(now)
      nodes[host].snapshot(into: &watch.status, now: local)
      for vip in watch.status.vips where vip.isConfigured {
        if let until = vip.failedUntil { retry = max(retry, (until - local).nanoseconds) }
        // An answer that was lost becomes a failure after its deadline.
        guard watch.answersLost else { continue }
        let failure = ElectionLimits.acquireDeadline + ElectionLimits.addressRetry(failures: vip.addressFailures)
        retry = max(retry, failure.nanoseconds)
      }
    }
    watch.vacancyLimit = atMost(longestDetection())
    let lastResort =
      nobodyReady
      ? max(ElectionLimits.lastResort.nanoseconds, 2 * watch.vacancyLimit)
        + Int64(count) * max(ElectionLimits.lastResortTurn.nanoseconds, 2 * watch.vacancyLimit) : 0
    // What somebody's configuration has lost is known by its silence at the latest.
    let untold =
      hosts.indices.contains { hosts[$0].lacksLastVIP && !isRemoved($0) }
      ? 2 * Int64(ElectionLimits.untoldHeartbeats + 1) * (heartbeat.nanoseconds + network.delay.upperBound) : 0
    // Hands that hang go on.
    let hung = max(0, watch.handsHangUntil - now)
    let calm = now + hung + atMost(retry + lastResort) + 1_000_000
    watch.singleFrom = calm + 4 * watch.vacancyLimit + 30_000_000
    // Two planned handovers one after another: to the best that has started, and to one that starts later.
    let handovers = atMost(2 * ElectionLimits.quietenDeadline.nanoseconds + 200_000_000)
    watch.lastSingleFrom = watch.singleFrom + atMost(untold)
    watch.stillFrom = watch.lastSingleFrom + handovers + 20 * heartbeat.nanoseconds
    watch.nextLookAt = watch.singleFrom
    queue.push(at: watch.stillFrom + 1_400_000_000, .rested)
  }
}
