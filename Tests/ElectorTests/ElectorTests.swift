// The shell's plain parts: a configuration checked and translated, interfaces and addresses, what waits for the agent. What
// it does on a network is tested in integration/elector.

import ClusterNode
import Control
import Election
import Kernel
import Primitives
import Testing
import Wire

@testable import Elector

private func name(_ text: String) -> NodeName { NodeName(text)! }

private func settings() -> ElectorConfiguration {
  ElectorConfiguration(
    clusterName: "zone-a", node: name("n1"), interfaces: ["eth0"], group: Endpoint("239.255.70.76:7076")!,
    keys: [[UInt8](repeating: 7, count: 32)], heartbeat: .milliseconds(10), deadAfter: 3, aloneAfter: .seconds(5),
    members: [
      MemberConfiguration(name: name("n1"), addresses: [IPAddress("192.0.2.11")!], role: .voter),
      MemberConfiguration(name: name("n2"), addresses: [IPAddress("192.0.2.12")!], role: .witness),
    ],
    vips: [
      VIPConfiguration(
        name: "web", addresses: [AddressPrefix("192.0.2.100/24")!, AddressPrefix("203.0.113.5/24")!],
        interface: "eth0", prefer: nil, failback: .after(.seconds(30)), requires: [Requirement(.balancer)],
        announce: .seconds(60))
    ], digest: 1)
}

private func fault(_ change: (inout ElectorConfiguration) -> Void) -> String? {
  var configuration = settings()
  change(&configuration)
  do throws(PlanFault) {
    _ = try ElectorPlan(configuration)
    return nil
  } catch { return error.description }
}

private func link(_ index: UInt32, _ name: String) -> NetworkLink {
  NetworkLink(index: index, name: name, hardwareAddress: 0x0200_0000_0001, isUp: true, hasCarrier: true)
}

private func address(_ index: UInt32, _ prefix: String, isOurs: Bool = false) -> InterfaceAddress {
  InterfaceAddress(interface: index, prefix: AddressPrefix(prefix)!, isOurs: isOurs)
}

@Suite struct ElectorTests {
  @Test("a configuration is translated: witnesses never hold, failback keeps its wait, the own address is found")
  func translation() throws {
    let plan = try ElectorPlan(settings())
    #expect(plan.addresses == [IPAddress("192.0.2.11")])
    #expect(plan.cluster.members.map(\.mayHold) == [true, false])
    #expect(plan.cluster.vips[0].failback == .after(.seconds(30)))
    #expect(plan.cluster.vips[0].isConditional)
    #expect(plan.cluster.softwareVersion == SoftwareVersion.text)
  }

  @Test("what cannot be carried out is refused in words")
  func refusals() {
    #expect(fault { _ in } == nil)
    #expect(fault { $0.node = name("n9") } == "this node, n9, is not among the members")
    #expect(fault { $0.keys = [] } == "one or two keys of 32 bytes are needed")
    #expect(fault { $0.keys = [[1]] } == "one or two keys of 32 bytes are needed")
    #expect(fault { $0.heartbeat = .zero } == "heartbeat and dead_after must be positive")
    #expect(fault { $0.vips[0].addresses = [AddressPrefix("2001:db8::1/64")!] } == nil)
    #expect(
      fault { $0.members[1].addresses = [IPAddress("2001:db8::12")!] } == "n2 has addresses of other families than n1")
    #expect(fault { $0.interfaces = ["eth0", "eth1"] } == "this node has 1 addresses for 2 interfaces")
    #expect(
      fault { configuration in
        configuration.vips = (0...256).map {
          var vip = configuration.vips[0]
          vip.name = "vip\($0)"
          return vip
        }
      } == "257 VIPs are more than the 256 that are possible")
  }

  @Test("a reload keeps what needs other sockets, and names it")
  func reload() throws {
    var next = settings()
    next.heartbeat = .milliseconds(20)
    next.group = Endpoint("239.1.2.3:7000")!
    let (plan, kept) = try ElectorPlan(settings()).reloaded(to: next)
    #expect(kept == ["group"])
    #expect(plan.configuration.group == settings().group)
    #expect(plan.cluster.heartbeat == .milliseconds(20))
    next.node = name("n2")
    #expect(throws: PlanFault.self) { try ElectorPlan(settings()).reloaded(to: next) }
  }

  @Test("a missing interface is named with those that are there")
  func missingInterface() {
    let interfaces = Interfaces([link(2, "ens3"), link(1, "lo")])
    #expect(
      interfaces.missing(for: settings())?.description
        == "interface eth0 does not exist; this machine has lo, ens3")
    #expect(Interfaces([link(2, "eth0")]).missing(for: settings()) == nil)
  }

  @Test("an interface that is renamed, or comes back under another index, is one interface")
  func interfaceChanges() {
    var interfaces = Interfaces([link(1, "lo"), link(2, "eth0")])
    interfaces.update(link(7, "eth0"))
    #expect(interfaces["eth0"]?.index == 7 && interfaces.links.count == 2)
    interfaces.update(link(7, "lan0"))
    #expect(interfaces["eth0"] == nil && interfaces["lan0"]?.index == 7 && interfaces.links.count == 2)
    interfaces.remove(7)
    #expect(interfaces.name(of: 7) == "interface 7")
  }

  @Test("interfaces that are gone from a new list are found, however they went")
  func vanished() {
    let interfaces = Interfaces([link(1, "lo"), link(2, "eth0"), link(3, "eth1")])
    #expect(interfaces.vanished(from: [link(1, "lo"), link(7, "eth0"), link(3, "lan0")]).map(\.name) == ["eth1"])
    #expect(interfaces.vanished(from: interfaces.links).isEmpty)
  }

  @Test("an address that would not go is tried every 50 ms until it is gone or wanted again")
  func owedRemovals() {
    let start = Instant(nanoseconds: 1_000_000_000)
    var owed = OwedRemovals()
    #expect(owed.wait(now: start) == nil)
    let (one, two) = (address(2, "192.0.2.100/24", isOurs: true), address(2, "203.0.113.5/24", isOurs: true))
    owed.owe(one, now: start)
    owed.owe(one, now: start)
    owed.owe(two, now: start)
    #expect(owed.addresses == [one, two])
    #expect(owed.wait(now: start) == .milliseconds(50))
    #expect(owed.pay(now: start + .milliseconds(49)) { _ in true }.isEmpty, "not yet")
    #expect(owed.pay(now: start + .milliseconds(50)) { $0 == one } == [one])
    #expect(owed.wait(now: start + .milliseconds(60)) == .milliseconds(40))
    #expect(owed.pay(now: start + .milliseconds(100)) { _ in false }.isEmpty)
    #expect(owed.addresses == [two])
    owed.forgive(two)
    #expect(owed.isEmpty && owed.wait(now: start) == nil)
  }

  @Test("an address that is removed again and again is put back at once a few times, then once a second")
  func putBacks() {
    let start = Instant(nanoseconds: 1_000_000_000)
    var putBacks = PutBacks()
    let one = address(2, "192.0.2.100/24", isOurs: true)
    for number in 1...PutBacks.atOnce {
      let (count, now) = putBacks.removed(one, now: start)
      #expect(count == number && now)
    }
    #expect(putBacks.wait(now: start) == nil)
    let (count, now) = putBacks.removed(one, now: start)
    #expect(count == PutBacks.atOnce + 1 && !now)
    _ = putBacks.removed(one, now: start + .milliseconds(500))
    #expect(putBacks.wait(now: start + .milliseconds(500)) == .milliseconds(500), "the pause is not extended")
    let early = putBacks.due(now: start + .milliseconds(999))
    #expect(early.isEmpty)
    let due = putBacks.due(now: start + PutBacks.pause)
    #expect(due == [one] && putBacks.wait(now: start) == nil)
    let later = putBacks.removed(one, now: start + PutBacks.window)
    #expect(later.count == 1 && later.now, "a new window")
    for number in 0..<(2 * PutBacks.limit) {
      _ = putBacks.removed(
        InterfaceAddress(interface: UInt32(number + 3), prefix: one.prefix, isOurs: true), now: start)
    }
    putBacks.forget(one)
    #expect(putBacks.wait(now: start) == nil)
  }

  @Test("an address that is gone expired only if its own lifetime was over, from the last time that it was added")
  func lifetimes() {
    let start = Instant(nanoseconds: 1_000_000_000)
    var lifetimes = AddressLifetimes()
    let (one, two) = (address(2, "192.0.2.100/24", isOurs: true), address(2, "2001:db8::100/64", isOurs: true))
    lifetimes.begin(one, now: start)
    lifetimes.begin(two, now: start)
    #expect(lifetimes.expired(one, now: start + .milliseconds(6_999)) == nil)
    // Both went together; the first is put back first, and that must not hide why the second went.
    let late = start + .seconds(9)
    #expect(lifetimes.expired(one, now: late) == .seconds(9))
    lifetimes.begin(one, now: late)
    #expect(lifetimes.expired(two, now: late) == .seconds(9))
    #expect(lifetimes.expired(one, now: late + .seconds(2)) == nil, "removed since it was put back")
    lifetimes.forget(one)
    #expect(lifetimes.expired(one, now: late + .seconds(60)) == nil)
    #expect(lifetimes.expired(address(3, "2001:db8::100/64", isOurs: true), now: late) == nil, "another interface")
  }

  @Test("a claim by another is answered once in ten seconds, and the others in between are counted")
  func foreignClaims() {
    let start = Instant(nanoseconds: 1_000_000_000)
    let stranger = MACAddress(0x0200_5e00_5301)
    var claims = ForeignClaims()
    #expect(!claims.isShown(now: start))
    let first = claims.note(stranger, now: start)
    #expect(first == 1 && claims.claimant == stranger)
    for milliseconds in [1, 5_000, 9_999] as [Int64] {
      let again = claims.note(stranger, now: start + .milliseconds(milliseconds))
      #expect(again == nil)
    }
    let next = claims.note(stranger, now: start + ForeignClaims.defendInterval)
    #expect(next == 4)
    #expect(claims.isShown(now: start + .seconds(39)) && !claims.isShown(now: start + .seconds(40)))
  }

  @Test("a VIP gets no route of its own where the interface's own address makes it already")
  func prefixRoutes() {
    let interfaces = Interfaces([link(2, "eth0")])
    let vip = settings().vips[0]
    func routes(_ present: [InterfaceAddress]) -> [Bool] {
      interfaces.addresses(of: vip, beside: present).map(\.noPrefixRoute)
    }
    #expect(routes([address(2, "192.0.2.11/24")]) == [true, false])
    #expect(routes([address(3, "192.0.2.11/24")]) == [false, false])
    #expect(routes([address(2, "192.0.2.11/25")]) == [false, false])
    #expect(interfaces.addresses(of: vip, beside: []).allSatisfy { $0.isOurs && $0.interface == 2 })
    #expect(Interfaces([link(2, "eth1")]).addresses(of: vip, beside: []).isEmpty)
  }

  @Test("leftovers are the VIPs' addresses and whatever carries our mark, never a member's own")
  func leftovers() {
    let interfaces = Interfaces([link(2, "eth0"), link(3, "eth1")])
    let present = [
      address(2, "192.0.2.11/24"), address(2, "192.0.2.100/32"), address(3, "192.0.2.100/24"),
      address(3, "198.51.100.9/24", isOurs: true), address(2, "192.0.2.12/24", isOurs: true),
      address(2, "192.0.2.77/24"),
    ]
    #expect(interfaces.leftovers(among: present, of: settings()) == [present[1], present[3]])
  }

  @Test("reports wait for an agent that does not read, statuses replace each other, and nothing waits without limit")
  func slowAgent() throws {
    let pair = try ControlSocket.pair()
    let reporter = Reporter(
      control: ControlSocket(owning: try pair.child.descriptor.duplicate()), warnings: [])
    try reporter.stopWaiting()
    func status(_ stall: Int64) -> ElectorReport {
      .status(
        ElectorStatus(
          vips: [], members: [], dropped: [:], worstStall: .nanoseconds(stall), detectionTime: .zero, warnings: []))
    }
    let count = 3 * Reporter.maximumWaiting
    for number in 0..<count {
      reporter.report(.moveRefused(vip: "web", why: "\(number)"))
      reporter.report(status(Int64(number)))
    }
    #expect(reporter.isWaiting)
    try pair.parent.setNonBlocking()
    var refusals: [Int] = []
    var stalls: [Int64] = []
    var idle = 0
    while idle < 2 {
      var gotOne = false
      while let packet = try pair.parent.receive() {
        gotOne = true
        switch try MessageCoding.decode(ElectorReport.self, from: packet.bytes) {
        case .moveRefused(_, let why): refusals.append(Int(why)!)
        case .status(let status): stalls.append(status.worstStall.nanoseconds)
        default: Issue.record("another report")
        }
      }
      idle = gotOne ? 0 : idle + 1
      reporter.flush()
    }
    #expect(refusals == refusals.sorted() && refusals.first == 0 && refusals.last == count - 1)
    #expect(refusals.count < count, "the oldest of those that waited were dropped")
    #expect(stalls.last == Int64(count - 1) && stalls.count < count)
    #expect(reporter.allWarnings(ShellCounters()).contains { $0.contains("reports were dropped") })
  }
}
