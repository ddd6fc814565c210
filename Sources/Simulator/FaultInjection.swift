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
    let hostFaults: [UInt64] = [8, 9, 10, 11, 11, 12, 13, 14, 16]
    switch mix == .hostsOnly ? hostFaults[Int(random.below(9))] : random.below(17) {
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
      network.set(host, other, up: false, at: now)
      network.set(other, host, up: false, at: now)
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
      setCarrier(host, up: !hosts[host].hasCarrier)
    case 13: setDraining(host, !hosts[host].draining)
    case 14:
      hosts[host].balancerReady.toggle()
      let ready = hosts[host].balancerReady
      note("balancer of n\(host + 1) ready: \(ready)")
      for vip in 0..<vipCount { command(host, requirements(of: vip, at: host)) }
    case 15: dropMulticasts(of: random.chance(1, in: 2) ? host : nil)
    default:
      if random.chance(1, in: 5) {
        note("n\(host + 1) shuts down")
        command(host, .shutdown(quieten: random.chance(1, in: 2)))
      } else {
        command(host, .move(VIPIndex(Int(random.below(UInt64(vipCount)))), to: MemberIndex(pick())))
      }
    }
  }

  /// One way, of everything or of one kind of datagrams only.
  private mutating func cut(_ host: Int, _ other: Int) {
    let kind: SimulatedNetwork.Kind? = [nil, .multicast, .unicast][Int(random.below(3))]
    note("cut n\(host + 1) -> n\(other + 1)\(kind.map { ", \($0) only" } ?? "")")
    if let kind {
      totals.kindCuts += 1
      network.set(kind, host, other, up: false, at: now)
    } else {
      totals.cuts += 1
      network.set(host, other, up: false, at: now)
    }
  }

  private mutating func partition() {
    totals.partitions += 1
    let side = random.next()
    let sides = (0..<count).map { side >> UInt64($0) & 1 }
    note("partition \(sides)")
    for from in 0..<count {
      for to in 0..<count where from != to {
        network.set(from, to, up: side >> UInt64(from) & 1 == side >> UInt64(to) & 1, at: now)
      }
    }
  }

  /// A switch that snoops and has no querier: nothing of a host's multicasts gets through, or nobody's.
  private mutating func dropMulticasts(of host: Int?) {
    totals.kindCuts += 1
    note("no multicasts \(host.map { "of n\($0 + 1)" } ?? "at all")")
    for from in 0..<count where host == nil || from == host {
      for to in 0..<count where to != from { network.set(.multicast, from, to, up: false, at: now) }
    }
  }

  private mutating func setCarrier(_ host: Int, up: Bool) {
    guard hosts[host].hasCarrier != up else { return }
    if !up { totals.carrierLosses += 1 }
    note("cable of n\(host + 1): \(up)")
    hosts[host].hasCarrier = up
    network.touch(at: now)
    hosts[host].runningSince = now
    command(host, .carrier(up: up))
  }

  private mutating func setDraining(_ host: Int, _ draining: Bool) {
    guard hosts[host].draining != draining, hosts[host].isRunning, !hosts[host].isPaused else { return }
    if draining { totals.drains += 1 }
    note("draining of n\(host + 1): \(draining)")
    hosts[host].draining = draining
    command(host, .draining(draining))
  }

  /// Every VIP requires the balancer. Configurations do not change: slots are in their order.
  func requirements(of vip: Int, at host: Int) -> Command {
    .requirements(VIPIndex(vip), hosts[host].balancerReady ? .met : .unmet(strict: false))
  }

  /// Everything is well from now on. Drains stay as they are for some, but never for all; balancers too, and in some
  /// rounds nobody's is ready: then one that does not drain holds all the same.
  mutating func heal() {
    note("heal")
    isHealed = true
    network.healAll(at: now)
    network.loss = 0
    network.lossChangedAt = now
    network.duplication = 0
    network.delay = 50_000...300_000
    let well = pick()
    let nobodyReady = random.chance(1, in: 4)
    for host in 0..<count {
      if hosts[host].isPaused { resume(host) }
      setCarrier(host, up: true)
      if host == well || random.chance(1, in: 2) {
        setDraining(host, false)
        hosts[host].draining = false
        hosts[host].balancerReady = true
      }
      if nobodyReady { hosts[host].balancerReady = false }
      for vip in 0..<vipCount { command(host, requirements(of: vip, at: host)) }
      if !hosts[host].isRunning { start(host) }
    }
    // A failed address is tried again after its time; the rest settles in detection times.
    let retry = ElectionLimits.addressRetry.nanoseconds
    var isFailing = false
    for host in 0..<count where hosts[host].isRunning {
      nodes[host].snapshot(into: &watch.status, now: clocks[host].local(now))
      isFailing = isFailing || watch.status.vips.contains { $0.isConfigured && $0.ineligible == .addressFailed }
    }
    // An answer that was lost becomes a failure after its deadline.
    let unanswered = watch.answersLost ? ElectionLimits.acquireDeadline.nanoseconds : 0
    watch.vacancyLimit = longestDetection()
    let lastResort =
      nobodyReady
      ? max(ElectionLimits.lastResort.nanoseconds, 2 * watch.vacancyLimit)
        + Int64(count) * max(ElectionLimits.lastResortTurn.nanoseconds, 2 * watch.vacancyLimit) : 0
    let calm = now + ((isFailing || unanswered > 0 ? retry + unanswered : 0) + lastResort) * 103 / 100
    watch.singleFrom = calm + 4 * watch.vacancyLimit + 30_000_000
    // Two planned handovers one after another: to the best that has started, and to one that starts later.
    let handovers = 2 * ElectionLimits.quietenDeadline.nanoseconds + 200_000_000
    watch.stillFrom = watch.singleFrom + handovers + 20 * heartbeat.nanoseconds
    watch.nextLookAt = watch.singleFrom
    queue.push(at: watch.stillFrom + 1_400_000_000, .rested)
  }
}
