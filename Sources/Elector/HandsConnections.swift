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
    /// In the kernel gate.
    var gate: Int
    var since: Instant
    /// Looks in a row that found none.
    var looksWithout = 0
  }
  /// Said before the release that it is about: keep them, gently or not.
  var keepsGently: Bool?
  /// Said before the acquisition that it is about.
  var belongTo: MemberIndex?
  /// This node does not hold the VIP, and its connections go on here.
  var kept: Kept?
  /// So many looks in a row must find no connection: what closes now has ended by then.
  static let looksWithout = 2
  /// None is left of those that were kept.
  var hasEnded: Bool { kept.map { $0.looksWithout >= Self.looksWithout } ?? false }
  /// This node holds the VIP, and passes on to that member what it does not know.
  var passedTo: MemberIndex?
}

extension Hands {
  /// A look takes at most one part of so many of the time.
  private static let shareOfLooks: Int64 = 50
  /// The link-local address of an interface gets a new lifetime at most this often.
  private static let linkAddressInterval = TimeSpan.seconds(2)

  private func gateSlot(_ vip: VIPIndex) -> Int? {
    names.vips[vip.value].flatMap { plan.configuration.gateSlots?[$0.name] }
  }

  /// Before the addresses of a VIP are added: it is this node's again.
  func beginConnections(_ vip: VIPIndex) {
    let before = connections[vip.value]
    connections[vip.value] = VIPConnections()
    connections[vip.value].passedTo = before.belongTo
    guard let kept = before.kept else { return }
    // The heartbeat thread has ended it already, but a prolongation may have come after that.
    deadlines?.prolongConnections(kept.gate, until: Instant(nanoseconds: 0))
    reporter.report(.connectionsGone(vip: names.vip(vip)))
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
    guard deadlines != nil, let gate = gateSlot(vip), let addresses = held[vip.value], !addresses.isEmpty else {
      return false
    }
    held[vip.value] = nil
    for address in addresses { lifetimes.forget(address) }
    connections[vip.value].passedTo = nil
    connections[vip.value].kept = VIPConnections.Kept(addresses: addresses, gate: gate, since: Clock.monotonic)
    reporter.report(
      .connectionsStay(vip: names.vip(vip), deadline: ElectionLimits.connectionsKept, gently: gently))
    return true
  }

  /// While there are connections, the addresses and their exception from the gate live on, a few seconds at a time.
  func prolongKept(_ vip: VIPIndex, now: Instant) {
    guard let kept = connections[vip.value].kept else { return }
    guard !connections[vip.value].hasEnded, now < kept.since + ElectionLimits.connectionsKept else {
      return endKeeping(vip)
    }
    for address in kept.addresses {
      do throws(SystemError) { try netlink.add(address, lifetime: AddressLifetimes.span) } catch {
        reporter.warn("\(error)")
      }
    }
    addLinkAddress(beside: vip)
    deadlines?.prolongConnections(kept.gate, until: Clock.boot + GateRefresh.keptAtOnce)
  }

  /// The link-local address by which this node is reached beside an IPv6 VIP, for the time of one lifetime: it expires when
  /// nothing needs it any more.
  func addLinkAddress(beside vip: VIPIndex) {
    guard let configuration = names.vips[vip.value], let address = plan.linkAddress(beside: configuration),
      let link = interfaces[configuration.interface], let prefix = AddressPrefix(address: address, length: 128)
    else { return }
    // One for all VIPs of the interface, however many of them are taken over at once.
    let now = Clock.monotonic
    if let addedAt = linkAddressAddedAt[link.index], now - addedAt < Self.linkAddressInterval { return }
    linkAddressAddedAt[link.index] = now
    do throws(SystemError) {
      try netlink.add(
        InterfaceAddress(interface: link.index, prefix: prefix, isOurs: true, noPrefixRoute: true),
        lifetime: AddressLifetimes.span)
    } catch { reporter.warn("connections may not outlive a handover: \(error)") }
  }

  /// One look for all that are kept. The kernel's list may be long, and the hands are a real-time thread: they spend at most
  /// a `shareOfLooks` of their time on it.
  func countKeptConnections(now: Instant) {
    let kept = connections.compactMap { $0.kept?.addresses.map(\.prefix.address) }
    let counts = try? ConnectionTable.openCounts(addresses: Set(kept.joined()))
    for slot in connections.indices {
      guard let kept = connections[slot].kept else { continue }
      // What cannot be counted is not known to be gone.
      let isGone = counts.map { counts in kept.addresses.allSatisfy { counts[$0.prefix.address] == nil } } ?? false
      connections[slot].kept?.looksWithout = isGone ? kept.looksWithout + 1 : 0
    }
    countConnectionsAt = now + max(Self.prolongEvery, (Clock.monotonic - now) * Self.shareOfLooks)
  }

  func endKeeping(_ vip: VIPIndex) {
    guard let kept = connections[vip.value].kept else { return }
    connections[vip.value].kept = nil
    deadlines?.prolongConnections(kept.gate, until: Instant(nanoseconds: 0))
    for address in kept.addresses { removeOrOwe(address) }
    reporter.report(.connectionsGone(vip: names.vip(vip)))
  }

  /// A reload: connections of VIPs that are gone, or have other addresses. `names` still has what they were.
  func endKeepingOfOthers(than table: NameTable) {
    for slot in connections.indices {
      guard let kept = connections[slot].kept else { continue }
      let wanted = table.vips[slot].flatMap { $0.name == names.vips[slot]?.name ? $0.addresses : nil } ?? []
      if kept.addresses.contains(where: { !wanted.contains($0.prefix) }) { endKeeping(VIPIndex(slot)) }
    }
  }

  /// Where there is no gate any more, what is kept would answer beside the new holder.
  func endKeepingOfUngated() {
    for slot in connections.indices {
      guard let kept = connections[slot].kept, gateSlot(VIPIndex(slot)) != kept.gate else { continue }
      endKeeping(VIPIndex(slot))
    }
  }
}
