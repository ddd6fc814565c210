// The faults of the chaos, drawn from the seed, and the heal that ends them.

import ClusterNode
import Election
import Membership
import Primitives

extension Simulation {
  private mutating func pick() -> Int { Int(random.next() % UInt64(count)) }

  mutating func injectFault() {
    let host = pick()
    switch random.next() % 17 {
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
      network.loss = random.chance(1, in: 2) ? 0 : random.next() % 300
      network.lossChangedAt = now
      network.duplication = random.chance(1, in: 2) ? 0 : random.next() % 200
      note("loss \(network.loss), duplication \(network.duplication) of 1000")
    case 7:
      let wide = random.chance(1, in: 2)
      network.delay = wide ? 50_000...(Int64(random.next() % 6_000_000) + 100_000) : Self.chaosDelay
      note("delay \(network.delay)")
      network.lossChangedAt = now
    case 8, 9: crashElector(host)
    case 10: crashHost(host)
    case 11: pause(host, for: 1_000_000 + Int64(random.next() % 100_000_000))
    case 12: setCarrier(host, up: !hosts[host].hasCarrier)
    case 13: setDraining(host, !hosts[host].draining)
    case 14:
      hosts[host].balancerReady.toggle()
      note("balancer of n\(host + 1) ready: \(hosts[host].balancerReady)")
      for vip in 0..<vipCount { command(host, requirements(of: vip, at: host)) }
    case 15: dropMulticasts(of: random.chance(1, in: 2) ? host : nil)
    default:
      if random.chance(1, in: 5) {
        note("n\(host + 1) shuts down")
        command(host, .shutdown(quieten: random.chance(1, in: 2)))
      } else if let to = hosts[host].node?.memberIndex(configurations[pick()].node) {
        let vip = VIPIndex(Int(random.next() % UInt64(vipCount)))
        command(host, .move(vip, to: to))
      }
    }
  }

  /// One way, of everything or of one kind of datagrams only.
  private mutating func cut(_ host: Int, _ other: Int) {
    let kind: SimulatedNetwork.Kind? = [nil, .multicast, .unicast][Int(random.next() % 3)]
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
    note("partition \((0..<count).map { side >> UInt64($0) & 1 })")
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
    hosts[host].runningSince = now
    command(host, .carrier(up: up))
  }

  private mutating func setDraining(_ host: Int, _ draining: Bool) {
    guard hosts[host].draining != draining, hosts[host].node != nil, !hosts[host].isPaused else { return }
    if draining { totals.drains += 1 }
    note("draining of n\(host + 1): \(draining)")
    hosts[host].draining = draining
    hosts[host].drainingSince = now
    command(host, .draining(draining))
  }

  /// Every VIP requires the balancer. Configurations do not change: slots are in their order.
  func requirements(of vip: Int, at host: Int) -> Command {
    .requirements(VIPIndex(vip), hosts[host].balancerReady ? .met : .unmet(strict: false))
  }

  /// Everything is well from now on; drains and balancers stay as they are for some, but never for all.
  mutating func heal() {
    note("heal")
    isHealed = true
    network.healAll(at: now)
    network.loss = 0
    network.lossChangedAt = now
    network.duplication = 0
    network.delay = 50_000...300_000
    let well = pick()
    for host in 0..<count {
      if hosts[host].isPaused { resume(host) }
      setCarrier(host, up: true)
      if host == well || random.chance(1, in: 2) {
        setDraining(host, false)
        hosts[host].draining = false
        hosts[host].balancerReady = true
        for vip in 0..<vipCount { command(host, requirements(of: vip, at: host)) }
      }
      if hosts[host].node == nil { start(host) }
    }
    // A failed address is tried again after its time; the rest settles in detection times.
    let retry = ElectionLimits.addressRetry.nanoseconds
    let isFailing = (0..<count).contains { host in
      guard let node = hosts[host].node else { return false }
      var status = StatusSnapshot()
      node.snapshot(into: &status, now: hosts[host].clock(now))
      return status.vips.contains { $0.isConfigured && $0.ineligible == .addressFailed }
    }
    // An answer that was lost becomes a failure after its deadline.
    let unanswered = totals.lostAnswers > 0 ? ElectionLimits.acquireDeadline.nanoseconds : 0
    let calm = now + (isFailing || unanswered > 0 ? (retry + unanswered) * 103 / 100 : 0)
    watch.singleFrom = calm + 4 * detection + 30_000_000
    watch.stillFrom = watch.singleFrom + 900_000_000
    endAt = watch.stillFrom + 1_400_000_000
  }
}
