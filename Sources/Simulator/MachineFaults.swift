// What befalls a machine rather than a link or a process: stopped clocks, a system that refuses to send, the cable of a VIP's
// own interface, hands that hang.

import ClusterNode
import Election
import Primitives

extension Simulation {
  /// How long a call to the system may hang.
  static let hang: ClosedRange<Int64> = 30_000_000...1_500_000_000

  /// As the shell does after a reload, and the agent.
  mutating func tellVIPs(_ host: Int) {
    // One after another: what is told of one may have the node decide about another, of which it has not been told.
    hosts[host].untold = .max
    for vip in 0..<vipCount { command(host, .vipCarrier(VIPIndex(vip), up: hasCarrier(host, vip))) }
    for vip in 0..<vipCount {
      let told: UInt64 = 1 << UInt64(vip)
      // With the command, not before it: it is what the command itself decides that counts.
      hosts[host].untold &= ~told
      command(host, requirements(of: vip, at: host))
    }
  }

  func hasCarrier(_ host: Int, _ vip: Int) -> Bool { hosts[host].vipCarriers >> UInt64(vip) & 1 == 1 }

  mutating func setVIPCarrier(_ host: Int, _ vip: Int, _ up: Bool) {
    guard hasCarrier(host, vip) != up else { return }
    totals.carrierLosses += up ? 0 : 1
    note("cable of n\(host + 1) for vip\(vip): \(up)")
    hosts[host].vipCarriers ^= 1 << UInt64(vip)
    command(host, .vipCarrier(VIPIndex(vip), up: up))
  }

  mutating func setRefusesSends(_ host: Int, _ refuses: Bool) {
    guard hosts[host].refusesSends != refuses else { return }
    totals.refusals += refuses ? 1 : 0
    note("n\(host + 1) may \(refuses ? "not send" : "send again")")
    hosts[host].refusesSends = refuses
    hosts[host].linkChangedAt = now
    hosts[host].runningSince = now
  }

  private func openGates(_ host: Int) -> UInt64 {
    (0..<vipCount).reduce(0) { $0 | (hosts[host].gates[$1] > now ? 1 << UInt64($1) : 0) }
  }

  /// As the shell: a gate has shut because nothing was sent.
  mutating func noteLapse(_ host: Int) {
    guard hosts[host].refusesSends, hosts[host].hasLapsed(at: now) else { return }
    note("n\(host + 1) notices that it is silent")
    nodes[host].handle(.silenced, now: clocks[host].local(now), effects: &effects)
    carryOut(host, clocks[host].local(now))
    readOff(host)
  }

  /// A machine goes on, and takes no notice: its clocks say that no time has passed, and its gates are as far open as they were.
  mutating func clocksGoOn(_ host: Int, since: Int64) {
    clocks[host].stoodStill(from: since, to: now)
    hosts[host].stoppedAt = nil
    // The other may be frozen just then, and answer until its own gate shuts.
    hosts[host].excusedUntil =
      now + atMost(nodes[host].answeringTime.nanoseconds + longestDetection()) + 2 * heartbeat.nanoseconds
      + 2 * network.delay.upperBound
    for vip in 0..<vipCount where hosts[host].gates[vip] > since { hosts[host].gates[vip] += now - since }
    // What waits in its socket says who ended, and not always who took over: that may be a boot that it has never heard.
    hosts[host].excused = .max
  }
}

extension Simulation {
  /// A node that froze for almost as long as its gate is open goes on as the holder. One whose clock is quicker has just given it
  /// up: both answer until they hear each other.
  mutating func excuseDrift(_ host: Int) {
    let drift = driftOfGate(host)
    if hosts[host].gates.contains(where: { $0 > now && $0 - now <= drift }) {
      hosts[host].excusedUntil = now + heartbeat.nanoseconds
      hosts[host].excused = openGates(host)
    }
  }
}

extension SimulatedHost {
  /// It claims to answer for a VIP whose gate is shut.
  func hasLapsed(at time: Int64) -> Bool { gates.indices.contains { liveUntil[$0] != nil && gates[$0] <= time } }
}
