// TCP connections that outlive a planned handover. The previous holder keeps the addresses, behind its shut gate, until the
// connections have ended; the new one passes on what it does not know. See CGate/kernel/gate.bpf.c.

import ClusterNode
import Control
import Election
import Kernel
import Membership
import Primitives

/// What the hands know of a VIP's connections at this node and elsewhere.
struct VIPConnections {
  struct Kept {
    var addresses: [InterfaceAddress]
    var since: Instant
    /// Looks in a row that found none.
    var looksWithout = 0
    /// What the last look found.
    var count = 0
  }
  /// Said before the release that it is about: keep them, gently or not.
  var keepsGently: Bool?
  /// Said before the acquisition that it is about.
  var belongTo: MemberIndex?
  /// This node does not hold the VIP, and its connections go on here.
  var kept: Kept?
  /// Few enough that they may be looked at every time.
  var isQuicklyCounted: Bool { (kept?.count ?? 0) < 200 }
  /// This node holds the VIP, and passes on to that member what it does not know.
  var passedTo: MemberIndex?
}

extension Hands {
  /// So many looks in a row must find no connection: what closes now has ended by then.
  private static let looksWithout = 2

  private func gateSlot(_ vip: VIPIndex) -> Int? {
    names.vips[vip.value].flatMap { plan.configuration.gateSlots?[$0.name] }
  }

  /// Before the addresses of a VIP are added: it is this node's again.
  func beginConnections(_ vip: VIPIndex) {
    let before = connections[vip.value]
    connections[vip.value] = VIPConnections()
    connections[vip.value].passedTo = before.belongTo
    if before.kept != nil { reporter.report(.connectionsGone(vip: names.vip(vip))) }
  }

  /// The member is gone, its connections with it: their clients are to be told so by a reset.
  func stopPassing(to member: MemberIndex) {
    for slot in connections.indices where connections[slot].passedTo == member {
      connections[slot].passedTo = nil
      if let gate = gateSlot(VIPIndex(slot)) { deadlines?.stopPassing(gate) }
    }
  }

  /// Instead of a release, if that was ordered: the addresses stay for a while, and nobody answers for them.
  func keepConnections(_ vip: VIPIndex) -> Bool {
    guard let gently = connections[vip.value].keepsGently else { return false }
    connections[vip.value].keepsGently = nil
    guard deadlines != nil, let addresses = held[vip.value], !addresses.isEmpty else { return false }
    held[vip.value] = nil
    connections[vip.value].passedTo = nil
    connections[vip.value].kept = VIPConnections.Kept(addresses: addresses, since: Clock.monotonic)
    reporter.report(
      .connectionsStay(vip: names.vip(vip), deadline: ElectionLimits.connectionsKept, gently: gently))
    return true
  }

  /// While there are connections, the addresses and their exception from the gate live on, a few seconds at a time.
  func prolongKept(_ vip: VIPIndex, now: Instant) {
    guard let kept = connections[vip.value].kept else { return }
    let addresses = Set(kept.addresses.map(\.prefix.address))
    // What cannot be counted counts as one.
    let count = (try? ConnectionTable.openCount(addresses: addresses, ports: nil)) ?? 1
    connections[vip.value].kept?.count = count
    connections[vip.value].kept?.looksWithout = count == 0 ? kept.looksWithout + 1 : 0
    guard kept.looksWithout < Self.looksWithout, now < kept.since + ElectionLimits.connectionsKept,
      let gate = gateSlot(vip)
    else { return endKeeping(vip) }
    for address in kept.addresses {
      do throws(SystemError) { try netlink.add(address, lifetime: Self.addressLifetime) } catch {
        reporter.warn("\(error)")
      }
    }
    deadlines?.prolongConnections(gate, until: Clock.boot + GateRefresh.keptAtOnce)
  }

  func endKeeping(_ vip: VIPIndex) {
    guard let kept = connections[vip.value].kept else { return }
    connections[vip.value].kept = nil
    if let slot = gateSlot(vip) { deadlines?.prolongConnections(slot, until: Instant(nanoseconds: 0)) }
    for address in kept.addresses { removeOrOwe(address) }
    reporter.report(.connectionsGone(vip: names.vip(vip)))
  }

  /// After a reload: connections of VIPs that are gone, or have other addresses.
  func endKeepingOfOthers() {
    for slot in connections.indices {
      guard let kept = connections[slot].kept else { continue }
      let wanted = names.vips[slot]?.addresses ?? []
      if kept.addresses.contains(where: { !wanted.contains($0.prefix) }) { endKeeping(VIPIndex(slot)) }
    }
  }
}
