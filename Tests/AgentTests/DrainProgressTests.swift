// What is drained and what is not, what is refused, and what the balancer is told.

import Agent
import Control
import Intents
import Kernel
import Primitives
import Testing

private let n1 = NodeName("n1")!
private let n2 = NodeName("n2")!
private let n3 = NodeName("n3")!

private func report(_ node: NodeName, draining: [NodeName] = [n1], at: Instant = Instant(nanoseconds: 0)) -> NodeReport
{
  NodeReport(
    node: node, intentsDigest: 0, draining: draining, vipsHeld: [],
    servers: [.init(pool: "app", server: "n1", member: n1, state: .drain, connections: 0)])
}

private func progress(_ change: (inout DrainProgress) -> Void = { _ in }) -> DrainProgress {
  let now = Instant(nanoseconds: 10_000_000_000)
  var progress = DrainProgress(
    members: [n1, n2, n3].map { .init(name: $0, alive: true, mayHold: true) },
    reports: Dictionary(uniqueKeysWithValues: [n1, n2, n3].map { ($0, .init(report: report($0), at: now)) }), now: now)
  change(&progress)
  return progress
}

@Suite struct `A drain` {
  @Test func `is done when every node says freshly that nothing is left`() {
    #expect(progress().blockers(of: n1) == [])
  }

  @Test func `waits for a node that says nothing, unless it is dead`() {
    let silent = progress { $0.reports[n3] = nil }
    #expect(silent.blockers(of: n1).map(\.node) == ["n3"])
    #expect(silent.blockers(of: n1).map(\.detail) == ["no news from its agent"])
    let stale = progress { $0.now = $0.now + .milliseconds(3_001) }
    #expect(stale.blockers(of: n1).count == 3)
    let dead = progress {
      $0.reports[n3] = nil
      $0.members[2].alive = false
    }
    #expect(dead.blockers(of: n1) == [])
  }

  @Test func `believes no elector that calls a node dead while its agent speaks, and never its own silence`() {
    let unheard = progress {
      $0.members[1].alive = false
      $0.reports[n2]!.report.servers = [.init(pool: "app", server: "n1", member: n1, state: .drain, connections: 3)]
    }
    #expect(unheard.blockers(of: n1).map(\.detail) == ["3 connections"])
    let gone = progress {
      $0.members[0].alive = false
      $0.reports[n1] = nil
    }
    #expect(gone.blockers(of: n1).map(\.detail) == ["no news from its agent"])
  }

  @Test func `waits for a node that has not heard of it`() {
    let late = progress { $0.reports[n2]!.report.draining = [n3] }
    #expect(late.blockers(of: n1).map(\.detail) == ["has not heard of the drain yet"])
  }

  @Test func `waits for VIPs, servers and clients, and says where`() {
    let busy = progress {
      $0.reports[n1]!.report.vipsHeld = ["web"]
      $0.reports[n1]!.report.clientConnections = 1
      $0.reports[n2]!.report.servers = [.init(pool: "app", server: "n1", member: n1, state: .drain, connections: 3)]
      $0.reports[n3]!.report.servers = [.init(pool: "app", server: "n1", member: n1, state: .up, connections: 0)]
      // Another member's connections and VIPs are no business of this drain.
      $0.reports[n2]!.report.vipsHeld = ["other"]
      $0.reports[n2]!.report.clientConnections = 9
      $0.reports[n2]!.report.servers!.append(
        .init(pool: "app", server: "n2", member: n2, state: .drain, connections: 7))
    }
    #expect(
      busy.blockers(of: n1) == [
        APIBlocker(kind: .vip, name: "web", node: "n1", connections: 0, detail: "still held"),
        APIBlocker(kind: .listener, name: "VIP addresses", node: "n1", connections: 1, detail: "1 client connection"),
        APIBlocker(kind: .server, name: "app/n1", node: "n2", connections: 3, detail: "3 connections"),
        APIBlocker(kind: .server, name: "app/n1", node: "n3", connections: 0, detail: "not out of the pool yet"),
      ])
  }

  @Test func `waits until nobody has used a server for a while`() {
    let used = progress {
      $0.reports[n2]!.report.servers = [
        .init(pool: "app", server: "n1", member: n1, state: .drain, connections: 0, quiet: .milliseconds(1_500))
      ]
    }
    #expect(used.blockers(of: n1).map(\.detail) == ["used a moment ago"])
    let quiet = progress {
      $0.reports[n2]!.report.servers = [
        .init(pool: "app", server: "n1", member: n1, state: .drain, connections: 0, quiet: .seconds(2))
      ]
    }
    #expect(quiet.blockers(of: n1).isEmpty)
  }

  @Test func `is not done while an elector or a balancer does not report`() {
    let blind = progress {
      $0.reports[n1]!.report.vipsHeld = nil
      $0.reports[n2]!.report.servers = nil
    }
    #expect(blind.blockers(of: n1).map(\.detail) == ["its elector does not report", "its balancer does not report"])
  }

  @Test func `says when nobody else can take a VIP`() {
    let stuck = progress {
      $0.reports[n1]!.report.vipsHeld = ["web"]
      $0.members[1].alive = false
      $0.members[2].mayHold = false
    }
    #expect(stuck.blockers(of: n1).first?.detail == "no other node can take it")
  }
}

@Suite struct `A request to drain` {
  private let drain = DrainIntent(reason: "", sinceUnixNanoseconds: 1, by: "root")
  private func members(alive: [Bool] = [true, true, true], mayHold: [Bool] = [true, true, true]) -> [DrainProgress
    .Member]
  {
    [n1, n2, n3].enumerated().map { .init(name: $1, alive: alive[$0], mayHold: mayHold[$0]) }
  }

  @Test func `is accepted while others can serve`() {
    #expect(DrainAdmission(members: members(), drains: [:], maximumDraining: 1).refusal(of: n1) == nil)
  }

  @Test func `is refused beside another drain, with the override named`() {
    let admission = DrainAdmission(members: members(), drains: [n2: drain], maximumDraining: 1)
    #expect(
      admission.refusal(of: n1)
        == "cannot drain n1: n2 is draining or drained already, and cluster.max_draining is 1 (undrain n2 first, or override with --force --yes)"
    )
    #expect(admission.refusal(of: n2) == nil)
    #expect(DrainAdmission(members: members(), drains: [n2: drain], maximumDraining: 2).refusal(of: n1) == nil)
    let gone = DrainAdmission(members: members(), drains: [NodeName("n9")!: drain], maximumDraining: 1)
    #expect(gone.refusal(of: n1) == nil)
  }

  @Test func `is refused for the last node that can serve`() {
    for members in [
      members(alive: [true, false, false]), members(alive: [true, false, true], mayHold: [true, true, false]),
    ] {
      let admission = DrainAdmission(members: members, drains: [:], maximumDraining: 1)
      #expect(admission.refusal(of: n1)?.hasPrefix("cannot drain n1: no other node is alive") == true)
    }
  }
}

@Suite struct `Orders to the balancer` {
  private let pools = ["app", "db"].map { pool in
    PoolConfiguration(
      name: pool, balance: .roundRobin, affinity: .none,
      servers: [n1, n2].map {
        ServerConfiguration(name: $0.text, endpoint: Endpoint("192.0.2.1:80")!, member: pool == "db" ? nil : $0)
      }, check: HealthCheckConfiguration(kind: .none))
  }

  @Test func `follow drains of members and what was asked of servers, the stricter wins`() throws {
    var intents = Intents()
    #expect(DrainOrders.orders(intents, pools: pools, unixNow: 5) == [])
    try intents.setDrain(DrainIntent(reason: "", sinceUnixNanoseconds: 1, by: "a"), of: n1, author: n1)
    try intents.setServer(.ready, "n1", of: "app", author: n1)
    try intents.setServer(.maint, "n2", of: "app", author: n1)
    try intents.setServer(.drain, "n1", of: "db", author: n1)
    try intents.setServer(.drain, "gone", of: "db", author: n1)
    #expect(
      DrainOrders.orders(intents, pools: pools, unixNow: 5) == [
        ServerOrder(pool: "app", server: "n1", administration: .drain),
        ServerOrder(pool: "app", server: "n2", administration: .maint),
        ServerOrder(pool: "db", server: "n1", administration: .drain),
      ])
  }

  @Test func `turn to maint when the deadline of a forced drain has passed`() throws {
    for (action, expected) in [(DrainIntent.OnDeadline.fail, ServerAdministration.drain), (.force, .maint)] {
      var intents = Intents()
      let drain = DrainIntent(
        reason: "", sinceUnixNanoseconds: 1, deadlineUnixNanoseconds: 10, onDeadline: action, by: "a")
      try intents.setDrain(drain, of: n1, author: n1)
      #expect(DrainOrders.orders(intents, pools: pools, unixNow: 9).map(\.administration) == [.drain])
      #expect(DrainOrders.orders(intents, pools: pools, unixNow: 10).map(\.administration) == [expected])
    }
  }
}

@Suite struct `A drain until reboot` {
  private func drain(since: Int64, untilReboot: Bool = true) -> DrainIntent {
    DrainIntent(reason: "", sinceUnixNanoseconds: since, by: "root@n1", untilReboot: untilReboot)
  }

  @Test func `ends with another start of the machine, whatever the clock says`() throws {
    let directory = "/tmp/afloat-drain-boot-\(UInt64.random(in: 0...UInt64.max))"
    try Files.makeDirectories(directory, mode: 0o700)
    let (first, second) = (DrainBoot(directory: directory, boot: "a"), DrainBoot(directory: directory, boot: "b"))
    let drain = drain(since: 1_000)
    // Not heard of before: by the clock.
    #expect(!first.isOver(drain, bootedUnixNanoseconds: 999) && first.isOver(drain, bootedUnixNanoseconds: 1_001))
    try first.note(drain)
    #expect(!first.isOver(drain, bootedUnixNanoseconds: 5_000), "the clock was set forward, an agent restarted")
    #expect(second.isOver(drain, bootedUnixNanoseconds: 1), "the clock was set back before the restart")
    #expect(!second.isOver(self.drain(since: 1_000, untilReboot: false), bootedUnixNanoseconds: 5_000))
    // Another drain.
    #expect(!second.isOver(self.drain(since: 2_000), bootedUnixNanoseconds: 1))
  }
}
