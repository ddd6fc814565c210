// The stores of the heartbeat thread into the kernel gate's deadlines.

import ClusterNode
import Control
import Cryptography
import Election
import Kernel
import Primitives
import Testing

@testable import Elector

private func makeNode(_ vips: [String], now: Instant) -> ClusterNode<HeartbeatAuthenticator> {
  let name = NodeName("n1")!
  return ClusterNode(
    configuration: ClusterConfiguration(
      clusterName: "zone-a", node: name, heartbeat: .milliseconds(10),
      members: [.init(name: name)],
      vips: vips.map { .init(name: $0, isGated: true) }),
    authenticator: HeartbeatAuthenticator(clusterKeys: [[UInt8](repeating: 7, count: 32)]),
    bootID: BootID(high: 1, low: 1), randomSeed: 1, now: now)
}

private func makePlan(
  _ vips: [String], slots: [String: Int]?, interface: String = "eth0", address: String = "192.0.2.100/24",
  member: String = "192.0.2.11"
) throws -> ElectorPlan {
  var configuration = ElectorConfiguration(
    clusterName: "zone-a", node: NodeName("n1")!, interfaces: ["eth0"], group: Endpoint("239.255.70.76:7076")!,
    keys: [[UInt8](repeating: 7, count: 32)], heartbeat: .milliseconds(10), deadAfter: 3, aloneAfter: .seconds(5),
    members: [MemberConfiguration(name: NodeName("n1")!, addresses: [IPAddress(member)!], role: .voter)],
    vips: vips.map {
      VIPConfiguration(
        name: $0, addresses: [AddressPrefix(address)!], interface: interface, prefer: nil, failback: .never,
        requires: [], announce: .seconds(60))
    }, digest: 1)
  configuration.gateSlots = slots
  return try ElectorPlan(configuration)
}

@Suite struct GateRefreshTests {
  let start = Instant(nanoseconds: 1_000_000_000)
  let detection = TimeSpan.milliseconds(35)

  @Test("what the node answers for is open for a detection time from each heartbeat, and nothing else ever is")
  func refreshes() throws {
    let deadlines = try GateDeadlines(
      mapping: try SharedMemory(name: "gate", byteCount: GateDeadlines.wordCount * 8).descriptor.duplicate())
    let vips = ["web", "mail", "plain"]
    var node = makeNode(vips, now: start)
    var gate = GateRefresh(deadlines: deadlines, node: node, plan: try makePlan(vips, slots: ["web": 5, "mail": 6]))
    #expect(!gate.hasLapsed(at: .distantFuture - .seconds(1)), "nothing was open")
    gate.refresh(node, sentAt: start)
    #expect(deadlines.deadline(of: 5) == Instant(nanoseconds: 0), "not yet taken")
    var effects = EffectBuffer()
    node.advance(now: start, effects: &effects)
    let (web, mail) = (node.vipIndex("web")!, node.vipIndex("mail")!)
    #expect(node.answers(for: web) == true)
    gate.refresh(node, sentAt: start)
    for slot in 0..<GateDeadlines.slotCount {
      #expect(deadlines.deadline(of: slot) == (slot == 5 || slot == 6 ? start + detection : Instant(nanoseconds: 0)))
    }
    gate.refresh(node, sentAt: start + .milliseconds(10))
    #expect(deadlines.deadline(of: 5) == start + .milliseconds(10) + detection)
    #expect(!gate.hasLapsed(at: start + detection))
    #expect(gate.hasLapsed(at: start + .milliseconds(10) + detection))
    gate.shut(web)
    #expect(deadlines.deadline(of: 5) == Instant(nanoseconds: 0))
    #expect(deadlines.deadline(of: 6) != Instant(nanoseconds: 0))
    gate.shut(mail)
    #expect(!gate.hasLapsed(at: start + .seconds(60)), "nothing is open any more")
  }

  @Test("another configuration shuts what left the gate and keeps the slots of what stayed")
  func assigns() throws {
    let deadlines = try GateDeadlines(
      mapping: try SharedMemory(name: "gate", byteCount: GateDeadlines.wordCount * 8).descriptor.duplicate())
    let vips = ["web", "mail"]
    var node = makeNode(vips, now: start)
    var gate = GateRefresh(deadlines: deadlines, node: node, plan: try makePlan(vips, slots: ["web": 5, "mail": 6]))
    var effects = EffectBuffer()
    node.advance(now: start, effects: &effects)
    gate.refresh(node, sentAt: start)
    gate.assign(node, try makePlan(vips, slots: ["web": 5]))
    #expect(deadlines.deadline(of: 5) == start + detection && deadlines.deadline(of: 6) == Instant(nanoseconds: 0))
    gate.refresh(node, sentAt: start + .milliseconds(10))
    #expect(deadlines.deadline(of: 6) == Instant(nanoseconds: 0))
  }

  @Test("a VIP that is held when it gets a slot is opened by the next heartbeat, and left alone when it loses it")
  func lateSlots() throws {
    let deadlines = try GateDeadlines(
      mapping: try SharedMemory(name: "gate", byteCount: GateDeadlines.wordCount * 8).descriptor.duplicate())
    var node = makeNode(["web"], now: start)
    let plain = try makePlan(["web"], slots: [:])
    var gate = GateRefresh(deadlines: deadlines, node: node, plan: plain)
    var effects = EffectBuffer()
    node.advance(now: start, effects: &effects)
    gate.refresh(node, sentAt: start)
    #expect(plain.gated(by: [:]) == nil && plain.gated(by: ["other": 3]) == nil, "nothing changes")
    let gated = try #require(plain.gated(by: ["web": 9]))
    #expect(gated.cluster.vips[0].isGated && !plain.cluster.vips[0].isGated)
    gate.assign(node, gated)
    gate.refresh(node, sentAt: start)
    #expect(deadlines.deadline(of: 9) == start + detection)
    gate.assign(node, try #require(gated.gated(by: [:])))
    #expect(deadlines.deadline(of: 9) == Instant(nanoseconds: 0))
    gate.refresh(node, sentAt: start + .milliseconds(10))
    #expect(deadlines.deadline(of: 9) == Instant(nanoseconds: 0))
    #expect(!gate.hasLapsed(at: start + .seconds(60)))
    #expect(try makePlan(["web"], slots: nil).gated(by: ["web": 9]) == nil, "without deadlines there is no gate")
  }

  @Test("connections are kept only where members reach each other beside the VIP")
  func pathsOfConnections() throws {
    #expect(try makePlan(["web"], slots: ["web": 0]).pathOfConnections(ofVIP: "web") == 0)
    #expect(try makePlan(["web"], slots: ["web": 0]).cluster.vips[0].keepsConnections)
    #expect(try makePlan(["web"], slots: ["web": 0], interface: "eth1").pathOfConnections(ofVIP: "web") == nil)
    #expect(try !makePlan(["web"], slots: ["web": 0], interface: "eth1").cluster.vips[0].keepsConnections)
  }

  @Test("beside an IPv6 VIP a member is reached by its IPv6 address, or by a link-local one made of its IPv4 address")
  func linkAddresses() throws {
    let derived = IPAddress("fe80::af10:c000:20b")
    #expect(
      LinkAddresses(ofMember: IPAddress("192.0.2.11")!) == LinkAddresses(v4: IPAddress("192.0.2.11"), v6: derived!))
    #expect(
      LinkAddresses(ofMember: IPAddress("2001:db8::11")!) == LinkAddresses(v4: nil, v6: IPAddress("2001:db8::11")!))
    func added(_ slots: [String: Int]?, _ address: String, _ member: String = "192.0.2.11") throws -> IPAddress? {
      let plan = try makePlan(["web"], slots: slots, address: address, member: member)
      #expect(plan.cluster.vips[0].keepsConnections)
      return plan.linkAddress(beside: plan.configuration.vips[0])
    }
    #expect(try added(["web": 0], "2001:db8::100/64") == derived)
    #expect(try added(["web": 0], "192.0.2.100/24") == nil, "not needed")
    #expect(try added(["web": 0], "2001:db8::100/64", "2001:db8::11") == nil, "it has one")
    #expect(try added([:], "2001:db8::100/64") == nil, "not behind the gate")
  }

  @Test("without a gate there is nothing to store and nothing lapses")
  func absent() throws {
    var node = makeNode(["web"], now: start)
    var gate = GateRefresh(deadlines: nil, node: node, plan: try makePlan(["web"], slots: nil))
    var effects = EffectBuffer()
    node.advance(now: start, effects: &effects)
    gate.refresh(node, sentAt: start)
    #expect(!gate.hasLapsed(at: start + .seconds(60)))
  }
}
