// The hands: the thread that may block. Adds and removes addresses, announces them, watches the interfaces, talks to the
// agent. Carries out orders in the order in which they came, and decides nothing about who holds what.

import ClusterNode
import Control
import Election
import Kernel
import Membership
import Primitives

// Unchecked: it is made on the main thread, handed over once, and from then on used by the hands thread alone.
final class Hands: @unchecked Sendable {

  /// Orders for the node that found its ring full wait here. The agent's are dropped beyond this many; answers and
  /// configurations are not, because the node counts on each of them. There are no more answers than orders fit the ring to
  /// the hands, and no more configurations than the agent sends, which waits for each.
  static let maximumBacklog = 256

  private enum Token: UInt64 { case orders = 1, agent, network, claims, neighbours }

  let shared: ElectorShared
  let netlink: NetlinkConnection
  let packets: PacketSocket
  /// Open once a VIP has an IPv6 address.
  private(set) var neighbours: NeighbourSocket?
  private let watcher: NetlinkWatcher
  private let poller: Poller
  let reporter: Reporter
  var plan: ElectorPlan
  var names: NameTable
  var interfaces: Interfaces
  /// Addresses on this node's interfaces that are not ours, as last heard.
  var otherAddresses: [InterfaceAddress]
  /// By slot: what has been put on the interfaces; nil for a VIP that is not held.
  var held: [[InterfaceAddress]?] = .init(repeating: nil, count: VIPIndex.limit)
  /// Nil without a kernel gate.
  let deadlines: GateDeadlines?
  var connections = [VIPConnections](repeating: VIPConnections(), count: VIPIndex.limit)
  /// When the connections that are kept may be counted next.
  var countConnectionsAt = Instant(nanoseconds: 0)
  /// When the lifetimes of what is held begin anew.
  var prolongAt = Instant(nanoseconds: 0)
  var prolongTurn = 0
  var lifetimes = AddressLifetimes()
  /// By interface: when the address beside its IPv6 VIPs got its lifetime last.
  var linkAddressAddedAt: [UInt32: Instant] = [:]
  /// Addresses that are not held any more and would not go.
  var owed = OwedRemovals()
  /// Addresses that others remove.
  var putBacks = PutBacks()
  /// By slot: who else claims what is held.
  var claims: [ForeignClaims] = .init(repeating: ForeignClaims(), count: VIPIndex.limit)
  /// Events of gains, kept until the VIP is announced, so that they can say how long that took.
  var gains: [(event: NodeEvent, at: Instant)?] = .init(repeating: nil, count: VIPIndex.limit)
  /// When the hands began to add a VIP's addresses.
  var acquiringSince: [Instant?] = .init(repeating: nil, count: VIPIndex.limit)
  /// Why the system last refused an address.
  var addressFaults: [String?] = .init(repeating: nil, count: VIPIndex.limit)
  /// What the agent said of VIPs with requirements, by name. A VIP of a new configuration may be judged before the node has
  /// given it a slot; it is told again then.
  var standings: [String: VIPStanding] = [:]
  var pathWatch = PathWatch()
  /// When the agent was last told who hears whom.
  var linksToldAt = Instant(nanoseconds: 0)
  /// Late wake-ups since they were last told of.
  var stalls: (count: Int, worst: TimeSpan, toldAt: Instant) = (0, .zero, Instant(nanoseconds: 0))
  private var backlog: [NodeOrder] = []
  private var agentIsThere = true
  private var hasCarrier: Bool
  /// What the node knows of the carriers of the VIPs' own interfaces; nil where that is not certain.
  private var vipCarriers = [Bool?](repeating: true, count: VIPIndex.limit)

  init(
    shared: ElectorShared, netlink: consuming NetlinkConnection, watcher: consuming NetlinkWatcher,
    packets: consuming PacketSocket, reporter: Reporter, plan: ElectorPlan, names: NameTable, interfaces: Interfaces,
    deadlines: GateDeadlines?, otherAddresses: [InterfaceAddress]
  ) throws(SystemError) {
    self.shared = shared
    self.netlink = netlink
    self.watcher = watcher
    self.packets = packets
    self.reporter = reporter
    self.plan = plan
    self.names = names
    self.interfaces = interfaces
    self.deadlines = deadlines
    self.otherAddresses = otherAddresses
    hasCarrier = plan.configuration.interfaces.contains { interfaces[$0]?.hasCarrier ?? false }
    poller = try Poller(capacity: 8)
    try poller.add(shared.handsWakeUp.descriptor.raw, .read, token: Token.orders.rawValue)
    try poller.add(reporter.rawDescriptor, .read, token: Token.agent.rawValue)
    try poller.add(self.watcher.rawDescriptor, .read, token: Token.network.rawValue)
    try poller.add(self.packets.descriptor.raw, .read, token: Token.claims.rawValue)
  }

  /// Runs until the node has ended; the process is to exit then.
  func run() {
    tellNode(.command(.carrier(up: hasCarrier)))
    tellVIPCarriers()
    watchClaims()
    while true {
      let count = poller.wait(timeout: patience)
      var readsAgent = false
      var readsNetwork = false
      var claimsHeard: [HeardClaim] = []
      for index in 0..<count {
        switch Token(rawValue: poller.token(index)) {
        case .orders: shared.handsWakeUp.clear()
        case .agent: readsAgent = true
        case .network: readsNetwork = true
        case .claims: readClaims(into: &claimsHeard)
        case .neighbours: readNeighbours(into: &claimsHeard)
        case nil: break
        }
      }
      while let order = shared.toHands.pop() {
        if case .exit = order {
          for slot in connections.indices { endKeeping(VIPIndex(slot)) }
          // Once more, whatever the time: the next elector removes what an earlier one left.
          payOwedRemovals(now: Clock.monotonic + OwedRemovals.retry)
          reporter.flush()
          return
        }
        carryOut(order)
      }
      weigh(claimsHeard)
      payOwedRemovals(now: Clock.monotonic)
      putBackWhatIsDue(now: Clock.monotonic)
      if readsNetwork { readNetwork() }
      prolongAddresses(now: Clock.monotonic)
      if readsAgent, agentIsThere { readAgent() }
      while let first = backlog.first, push(first) { backlog.removeFirst() }
      if shared.status.isOffered {
        reportStatus()
        shared.status.giveBack()
      }
      reporter.flush()
    }
  }

  /// From now on neighbour discovery of others is heard.
  func openNeighbours() throws(SystemError) {
    guard neighbours == nil else { return }
    let socket = try NeighbourSocket()
    try poller.add(socket.descriptor.raw, .read, token: Token.neighbours.rawValue)
    neighbours = consume socket
  }

  /// How long to wait when nothing happens; nil is for ever.
  private var patience: TimeSpan? {
    if !backlog.isEmpty || reporter.isWaiting { return .milliseconds(2) }
    let now = Clock.monotonic
    return [owed.wait(now: now), putBacks.wait(now: now), prolongWait(now: now)].compactMap { $0 }.min()
  }

  private func carryOut(_ order: HandsOrder) {
    switch order {
    case .acquire(let vip): acquire(vip)
    case .release(let vip): release(vip)
    case .announce(let vip): announce(vip)
    case .keepConnections(let vip, let gently): connections[vip.value].keepsGently = gently
    case .passUnknown(let vip, let member): connections[vip.value].belongTo = member
    case .handoverStarting(let vip, let member, let deadline):
      guard let to = names.members[member.value] else { return }
      reporter.report(.handoverStarting(vip: names.vip(vip), to: to, deadline: deadline))
    case .handoverCancelled(let vip): reporter.report(.handoverCancelled(vip: names.vip(vip)))
    case .moveRefused(let vip, let refusal): reporter.report(.moveRefused(vip: names.vip(vip), why: refusal.words))
    case .event(let event, let at): report(event, at: at)
    case .softwareVersion(let member, let text): reporter.softwareVersions[member.value] = text
    case .names(let table):
      endKeepingOfOthers(than: table)
      for slot in names.members.indices where names.members[slot] != table.members[slot] {
        pathWatch.forget(MemberIndex(slot))
      }
      names = table
      reconcile()
      let configured = Set(plan.configuration.vips.map(\.name))
      standings = standings.filter { configured.contains($0.key) }
      tellStandings(Array(standings.values))
      claims = .init(repeating: ForeignClaims(), count: VIPIndex.limit)
      watchClaims()
      vipCarriers = .init(repeating: nil, count: VIPIndex.limit)
      tellVIPCarriers()
    case .reconfigured(let revision): reporter.report(.reconfigured(revision: revision))
    case .exit: break
    }
  }

  // MARK: Agent

  private func readAgent() {
    while agentIsThere {
      do {
        guard let command = try reporter.receive() else { return }
        take(command)
      } catch let fault as ReporterFault {
        reporter.warn("\(fault)")
      } catch {
        // The agent is gone: hand over and leave; nobody is there to quieten the balancer.
        agentIsThere = false
        reporter.isConnected = false
        poller.remove(reporter.rawDescriptor)
        tellNode(.command(.shutdown(quieten: false)))
      }
    }
  }

  private func take(_ command: ElectorCommand) {
    switch command {
    case .configure: reporter.warn("the agent sent its first message twice")
    case .reconfigure(let configuration, let revision, let onlyCheck):
      reconfigure(configuration, revision: revision, onlyCheck: onlyCheck)
    case .gateSlots(let slots, let revision): regate(slots, revision: revision)
    case .draining(let flag): tellNode(.command(.draining(flag)))
    case .standings(let told):
      for standing in told { standings[standing.vip] = standing }
      tellStandings(told)
    case .move(let vip, let member):
      guard let slot = names.vipIndex(vip) else {
        reporter.report(.moveRefused(vip: vip, why: "no such VIP"))
        return
      }
      guard let to = names.memberIndex(member) else {
        reporter.report(.moveRefused(vip: vip, why: MoveRefusal.unknownMember.words))
        return
      }
      tellNode(.command(.move(slot, to: to)))
    case .handoverReady(let vip):
      if let slot = names.vipIndex(vip) { tellNode(.command(.handoverReady(slot))) }
    case .intentsDigest(let digest): tellNode(.command(.intentsDigest(digest)))
    case .shutdown: tellNode(.command(.shutdown(quieten: true)))
    }
  }

  private func tellStandings(_ told: [VIPStanding]) {
    for standing in told {
      guard let slot = names.vipIndex(standing.vip) else { continue }
      tellNode(.command(.requirements(slot, standing.eligible ? .met : .unmet(strict: standing.strict))))
    }
  }

  private func reconfigure(_ configuration: ElectorConfiguration, revision: UInt64, onlyCheck: Bool) {
    do throws(PlanFault) {
      let (next, kept) = try plan.reloaded(to: configuration)
      if onlyCheck { return reporter.report(.reconfigured(revision: revision)) }
      let moved = next.addresses != plan.addresses || next.configuration.transport != plan.configuration.transport
      plan = next
      if moved { for path in shared.paths { if let link = interfaces[path.interface] { join(link) } } }
      reporter.restartNeeded = kept
      tellNode(.reconfigure(next, revision: revision))
    } catch {
      reporter.report(.refused(revision: revision, why: "\(error)"))
    }
  }

  /// Other VIPs are behind the kernel gate than before.
  private func regate(_ slots: [String: Int], revision: UInt64) {
    guard let next = plan.gated(by: slots) else { return reporter.report(.reconfigured(revision: revision)) }
    plan = next
    endKeepingOfUngated()
    tellNode(.reconfigure(next, revision: revision))
  }

  func tellNode(_ order: NodeOrder) {
    if backlog.isEmpty, push(order) { return }
    guard backlog.count < Self.maximumBacklog || order.mustArrive else {
      reporter.warn("the heartbeat thread does not take its orders")
      return
    }
    backlog.append(order)
  }

  private func push(_ order: NodeOrder) -> Bool {
    guard shared.toNode.push(order) else { return false }
    shared.nodeWakeUp.signal()
    return true
  }

  // MARK: Network

  func readNetwork() {
    while let news = watcher.next() {
      switch news {
      case .link(let link): linkChanged(link)
      case .linkGone(let link): linkVanished(link)
      case .address(let address): addressAppeared(address)
      case .addressGone(let address): addressVanished(address)
      case .lost: listAgain()
      }
    }
    tellVIPCarriers()
  }

  /// A VIP on another interface than the cluster's only one is not reached while its own has no carrier.
  private func tellVIPCarriers() {
    for slot in names.vips.indices {
      guard let vip = names.vips[slot] else { continue }
      let up =
        plan.configuration.interfaces == [vip.interface] || interfaces[vip.interface]?.hasCarrier ?? false
      guard vipCarriers[slot] != up else { continue }
      vipCarriers[slot] = up
      tellNode(.command(.vipCarrier(VIPIndex(slot), up: up)))
    }
  }

  private func linkVanished(_ link: NetworkLink) {
    let before = interfaces[link.name]
    interfaces.remove(link.index)
    if plan.configuration.interfaces.contains(link.name) { carrierChanged(link.name, from: before, to: nil) }
  }

  private func linkChanged(_ link: NetworkLink) {
    let before = interfaces[link.name]
    interfaces.update(link)
    if before?.index != link.index { restoreAddresses(on: link) }
    guard plan.configuration.interfaces.contains(link.name) else { return }
    if before?.index != link.index || (link.hasCarrier && before?.hasCarrier != true) { join(link) }
    carrierChanged(link.name, from: before, to: link)
  }

  /// News of one of the heartbeats' interfaces. The node has carrier as long as one of them has.
  private func carrierChanged(_ name: String, from before: NetworkLink?, to link: NetworkLink?) {
    let any = plan.configuration.interfaces.contains { interfaces[$0]?.hasCarrier ?? false }
    if any != hasCarrier {
      hasCarrier = any
      tellNode(.command(.carrier(up: any)))
    }
    let up = link?.hasCarrier ?? false
    guard up != before?.hasCarrier ?? false else { return }
    reporter.event(
      .warning, subject: name,
      cause: up ? "carrier is back" : link == nil ? "the interface is gone" : "carrier lost")
  }

  /// Memberships of an interface that went away are gone with it.
  func join(_ link: NetworkLink) {
    guard let path = shared.paths.firstIndex(where: { $0.interface == link.name }), path < plan.addresses.count else {
      return
    }
    do throws(SystemError) {
      try shared.paths[path].socket.join(
        interface: link.index, source: plan.addresses[path], joins: plan.configuration.transport == .multicast)
    } catch { reporter.warn("\(error)") }
  }

  private func listAgain() {
    do throws(SystemError) {
      let links = try netlink.links()
      for link in interfaces.vanished(from: links) { linkVanished(link) }
      for link in links { linkChanged(link) }
      let present = try netlink.addresses()
      otherAddresses = present.filter { !$0.isOurs }
      // The own address, and with it the membership, may have gone and come.
      for path in shared.paths { if let link = interfaces[path.interface] { join(link) } }
      for slot in held.indices {
        for address in held[slot] ?? [] where !present.contains(where: { Self.same($0, address) }) {
          addressVanished(address)
        }
      }
    } catch { reporter.warn("\(error)") }
  }
}
