// The agent's configuration, checked and translated for the election.

import ClusterNode
import Control
import Cryptography
import Election
import Kernel
import Membership
import Primitives

/// Why a configuration cannot be carried out, in words.
struct PlanFault: Error, Equatable, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// A configuration that the elector can carry out.
struct ElectorPlan: Sendable {
  let configuration: ElectorConfiguration
  let cluster: ClusterConfiguration
  let authenticator: HeartbeatAuthenticator
  /// This node's addresses, by path: from these heartbeats are sent.
  let addresses: [IPAddress]

  init(_ configuration: ElectorConfiguration) throws(PlanFault) {
    self.configuration = configuration
    guard let own = configuration.members.first(where: { $0.name == configuration.node }) else {
      throw PlanFault("this node, \(configuration.node), is not among the members")
    }
    addresses = own.addresses
    guard configuration.members.count <= MemberIndex.limit else {
      throw PlanFault("\(configuration.members.count) members are more than the \(MemberIndex.limit) that are possible")
    }
    guard configuration.vips.count <= VIPIndex.limit else {
      throw PlanFault("\(configuration.vips.count) VIPs are more than the \(VIPIndex.limit) that are possible")
    }
    guard (1...HeartbeatAuthenticator.maximumKeyCount).contains(configuration.keys.count),
      configuration.keys.allSatisfy({ $0.count == 32 })
    else { throw PlanFault("one or two keys of 32 bytes are needed") }
    guard configuration.heartbeat > .zero, configuration.deadAfter > 0 else {
      throw PlanFault("heartbeat and dead_after must be positive")
    }
    guard (1...Arrival.pathLimit).contains(configuration.interfaces.count) else {
      throw PlanFault("heartbeats use 1 to \(Arrival.pathLimit) interfaces, not \(configuration.interfaces.count)")
    }
    guard own.addresses.count == configuration.interfaces.count else {
      throw PlanFault("this node has \(own.addresses.count) addresses for \(configuration.interfaces.count) interfaces")
    }
    for member in configuration.members where member.addresses.map(\.family) != own.addresses.map(\.family) {
      throw PlanFault("\(member.name) has addresses of other families than \(own.name)")
    }
    authenticator = HeartbeatAuthenticator(clusterKeys: configuration.keys)
    cluster = ClusterConfiguration(
      clusterName: configuration.clusterName, node: configuration.node, heartbeat: configuration.heartbeat,
      deadAfter: configuration.deadAfter, aloneAfter: configuration.aloneAfter,
      transport: configuration.transport == .unicast ? .unicast : .multicast, pathCount: configuration.interfaces.count,
      members: configuration.members.map {
        .init(name: $0.name, mayHold: $0.role == .voter)
      },
      vips: configuration.vips.map {
        .init(
          name: $0.name, prefer: $0.prefer, failback: FailbackRule($0.failback), isConditional: !$0.requires.isEmpty,
          announce: $0.announce, isGated: configuration.gateSlots?[$0.name] != nil,
          keepsConnections: Self.pathOfConnections(of: $0, configuration) != nil)
      }, digest: configuration.digest, softwareVersion: SoftwareVersion.text)
  }

  /// The path whose interface is the VIP's: there members reach each other beside it, and its connections can be kept. Nil
  /// where it has none.
  func pathOfConnections(ofVIP name: String) -> Int? {
    configuration.vips.first { $0.name == name }.flatMap { Self.pathOfConnections(of: $0, configuration) }
  }

  private static func pathOfConnections(of vip: VIPConfiguration, _ configuration: ElectorConfiguration) -> Int? {
    guard let path = configuration.interfaces.firstIndex(of: vip.interface), path < Arrival.pathLimit,
      configuration.members.allSatisfy({ path < $0.addresses.count })
    else { return nil }
    return path
  }

  /// The link-local address by which this node is reached beside an IPv6 VIP, where members have IPv4 addresses; nil where it
  /// needs none.
  func linkAddress(beside vip: VIPConfiguration) -> IPAddress? {
    guard configuration.gateSlots?[vip.name] != nil, vip.addresses.contains(where: { $0.address.family == .v6 }),
      let path = Self.pathOfConnections(of: vip, configuration), addresses[path].family == .v4
    else { return nil }
    return LinkAddresses(ofMember: addresses[path]).v6
  }

  /// A reload of `self` to `next`: what may change in place changes, what needs other sockets stays as it is and is named.
  func reloaded(to next: ElectorConfiguration) throws(PlanFault) -> (plan: ElectorPlan, kept: [String]) {
    var applied = next
    var kept: [String] = []
    if next.node != configuration.node { throw PlanFault("the node's own name cannot change while it runs") }
    if next.clusterName != configuration.clusterName { kept.append("cluster name") }
    func families(_ one: ElectorConfiguration) -> [IPAddress.Family] {
      one.members.first { $0.name == one.node }?.addresses.map(\.family) ?? []
    }
    guard families(next) == families(configuration) else {
      throw PlanFault(
        "how many interfaces carry heartbeats, and by IPv4 or IPv6, changes with a restart of the agent only")
    }
    if next.interfaces != configuration.interfaces { kept.append("interface") }
    if next.group != configuration.group { kept.append("group") }
    applied.clusterName = configuration.clusterName
    applied.interfaces = configuration.interfaces
    applied.group = configuration.group
    // The deadlines came with the first message, or never.
    if configuration.gateSlots == nil { applied.gateSlots = nil }
    return (try ElectorPlan(applied), kept)
  }

  /// The same with other VIPs behind the kernel gate; nil if nothing changes.
  func gated(by slots: [String: Int]) -> ElectorPlan? {
    guard let present = configuration.gateSlots,
      configuration.vips.contains(where: { present[$0.name] != slots[$0.name] })
    else { return nil }
    var changed = configuration
    changed.gateSlots = slots
    do { return try ElectorPlan(changed) } catch { preconditionFailure("a plan that was good: \(error)") }
  }
}

extension LinkAddresses {
  /// Of a member on the interface where its heartbeats have this address. One of IPv4 has a link-local IPv6 address that every
  /// member can work out from it, unique as it is: fe80::af10:c000:20b for 192.0.2.11. It has it while it holds an IPv6 VIP
  /// or keeps its connections.
  init(ofMember address: IPAddress) {
    guard let value = address.v4Value else {
      self.init(v4: nil, v6: address)
      return
    }
    self.init(v4: address, v6: IPAddress(v6High: 0xfe80 << 48, low: 0xaf10 << 32 | UInt64(value)))
  }
}

extension FailbackRule {
  fileprivate init(_ failback: Failback) {
    switch failback {
    case .never: self = .never
    case .atOnce: self = .atOnce
    case .after(let span): self = .after(span)
    }
  }
}
