// Addresses come and go, and are announced. Each is added for a few seconds only and prolonged while it is held: what a
// node that fell silent altogether has left behind goes away by itself. That is a janitor, not the fence: the kernel counts in
// whole seconds.

import ClusterNode
import Control
import Election
import Kernel
import Membership
import Primitives
import Wire

extension Hands {
  /// Each address is prolonged once in so many turns: every three seconds. Not all of them at once, since an order must not
  /// wait for hundreds of calls.
  static let prolongTurns = 12
  static let prolongEvery = TimeSpan.milliseconds(250)

  static func same(_ left: InterfaceAddress, _ right: InterfaceAddress) -> Bool {
    left.interface == right.interface && left.prefix == right.prefix
  }

  /// Adds all addresses of a VIP, or none.
  func acquire(_ vip: VIPIndex) {
    acquiringSince[vip.value] = Clock.monotonic
    guard let configuration = names.vips[vip.value] else {
      tellNode(.command(.addressResult(vip, ok: false)))
      return
    }
    beginConnections(vip)
    let wanted = interfaces.addresses(of: configuration, beside: otherAddresses)
    var added: [InterfaceAddress] = []
    do throws(SystemError) {
      guard !wanted.isEmpty else {
        throw SystemError("add \(configuration.addresses[0]) to \(configuration.interface)", code: SystemError.noDevice)
      }
      // Known as held before the kernel tells of them, so that a removal by another is never missed.
      held[vip.value] = wanted
      for address in wanted {
        owed.forgive(address)
        try add(address)
        added.append(address)
      }
      addressFaults[vip.value] = nil
      tellNode(.command(.addressResult(vip, ok: true)))
    } catch {
      held[vip.value] = nil
      for address in added { removeOrOwe(address) }
      var words = "cannot add the address to \(configuration.interface): \(error.cause)"
      if error.code == SystemError.permissionDenied { words += " (needs CAP_NET_ADMIN)" }
      if error.code == SystemError.accessDenied { words += " (IPv6 is disabled there: net.ipv6.conf.*.disable_ipv6)" }
      addressFaults[vip.value] = words
      tellNode(.command(.addressResult(vip, ok: false)))
    }
  }

  /// For the time of one lifetime, or for that long from now on.
  private func add(_ address: InterfaceAddress) throws(SystemError) {
    try netlink.add(address, lifetime: AddressLifetimes.span)
    lifetimes.begin(address, now: Clock.monotonic)
  }

  /// Begins the lifetimes of what is held and due anew.
  func prolongAddresses(now: Instant) {
    guard now >= prolongAt, prolongWait(now: now) != nil else { return }
    // What another program removed is noticed as such, and not put back in silence.
    readNetwork()
    prolongTurn = (prolongTurn + 1) % Self.prolongTurns
    for slot in stride(from: prolongTurn, to: VIPIndex.limit, by: Self.prolongTurns) {
      for address in held[slot] ?? [] where !putBacks.isPausing(address) {
        do throws(SystemError) { try add(address) } catch { reporter.warn("\(error)") }
      }
      if held[slot] != nil { addLinkAddress(beside: VIPIndex(slot)) }
    }
    if now >= countConnectionsAt, connections.contains(where: { $0.kept != nil }) { countKeptConnections(now: now) }
    for slot in connections.indices where connections[slot].kept != nil {
      if slot % Self.prolongTurns == prolongTurn || connections[slot].hasEnded { prolongKept(VIPIndex(slot), now: now) }
    }
    prolongAt = now + Self.prolongEvery
  }

  /// How long until then; nil while nothing is held.
  func prolongWait(now: Instant) -> TimeSpan? {
    held.contains { $0 != nil } || connections.contains { $0.kept != nil } ? max(.zero, prolongAt - now) : nil
  }

  func release(_ vip: VIPIndex) {
    if keepConnections(vip) { return tellNode(.command(.addressRemoved(vip))) }
    endKeeping(vip)
    var addresses = held[vip.value] ?? []
    if addresses.isEmpty, let configuration = names.vips[vip.value] {
      addresses = interfaces.addresses(of: configuration, beside: otherAddresses)
    }
    held[vip.value] = nil
    for address in addresses {
      putBacks.forget(address)
      removeOrOwe(address)
    }
    tellNode(.command(.addressRemoved(vip)))
  }

  /// What the system does not remove now is tried again until it is gone.
  func removeOrOwe(_ address: InterfaceAddress) {
    lifetimes.forget(address)
    do throws(SystemError) { try netlink.remove(address) } catch {
      reporter.warn("\(error); tried again until it is gone")
      owed.owe(address, now: Clock.monotonic)
    }
  }

  func payOwedRemovals(now: Instant) {
    guard !owed.isEmpty else { return }
    let gone = owed.pay(now: now) { address in (try? netlink.remove(address)) != nil }
    for address in gone {
      reporter.event(
        .warning, subject: interfaces.name(of: address.interface), cause: "\(address.prefix) is removed at last")
    }
  }

  /// For each address a gratuitous ARP, as a request and as a reply (some neighbours only heed one of them), or an
  /// unsolicited neighbour advertisement.
  func announce(_ vip: VIPIndex) {
    guard let addresses = held[vip.value] else { return }
    for address in addresses {
      guard let link = interfaces.links.first(where: { $0.index == address.interface }), link.hardwareAddress != 0
      else {
        continue
      }
      let mac = MACAddress(link.hardwareAddress)
      if let value = address.prefix.address.v4Value {
        withUnsafeTemporaryAllocation(byteCount: ARPAnnouncement.paddedByteCount, alignment: 8) { frame in
          for operation in ARPAnnouncement.Operation.allCases {
            ARPAnnouncement.encode(operation, address: value, mac: mac, into: frame)
            send(UnsafeRawBufferPointer(frame), through: link)
          }
        }
      } else {
        withUnsafeTemporaryAllocation(byteCount: NeighbourAdvertisement.byteCount, alignment: 8) { frame in
          NeighbourAdvertisement.encode(address: address.prefix.address, mac: mac, into: frame)
          send(UnsafeRawBufferPointer(frame), through: link)
        }
      }
    }
    let isFirst = gains[vip.value] != nil
    finishGain(vip, announcedAt: Clock.monotonic)
    // A handover needs it, and clients wait for the announcement.
    if isFirst { addLinkAddress(beside: vip) }
  }

  private func send(_ frame: UnsafeRawBufferPointer, through link: NetworkLink) {
    do throws(SystemError) { try packets.send(frame, interface: link.index) } catch {
      reporter.countRefusedAnnouncement(error)
    }
  }

  /// After a reload: VIPs that are held get the addresses that they have now.
  func reconcile() {
    for slot in held.indices {
      guard let present = held[slot], let configuration = names.vips[slot] else { continue }
      let wanted = interfaces.addresses(of: configuration, beside: otherAddresses)
      for address in present where !wanted.contains(where: { Self.same($0, address) }) { removeOrOwe(address) }
      held[slot] = wanted
      var grew = false
      for address in wanted where !present.contains(where: { Self.same($0, address) }) {
        owed.forgive(address)
        do throws(SystemError) {
          try add(address)
          grew = true
        } catch { reporter.warn("\(error)") }
      }
      if grew { announce(VIPIndex(slot)) }
    }
  }

  func addressAppeared(_ address: InterfaceAddress) {
    guard !address.isOurs else { return }
    let isNew = !otherAddresses.contains { Self.same($0, address) }
    otherAddresses.removeAll { Self.same($0, address) }
    otherAddresses.append(address)
    // This node's own address is back: heartbeats leave from it again. A lease that is renewed tells of it as well, and
    // changes nothing; joining again would leave the group for a moment.
    if isNew, plan.addresses.contains(address.prefix.address),
      let link = interfaces.links.first(where: { $0.index == address.interface })
    {
      join(link)
    }
  }

  /// Somebody else removed an address. One that we hold is put back, and that is said.
  func addressVanished(_ address: InterfaceAddress) {
    otherAddresses.removeAll { Self.same($0, address) }
    guard let slot = held.firstIndex(where: { $0?.contains { Self.same($0, address) } ?? false }),
      let ours = held[slot]?.first(where: { Self.same($0, address) }),
      interfaces.links.contains(where: { $0.index == address.interface })
    else { return }
    // News may be old: the address may have been removed and added again by ourselves since.
    if let present = try? netlink.addresses(), present.contains(where: { Self.same($0, address) }) { return }
    let now = Clock.monotonic
    let (count, putsBack) = putBacks.removed(ours, now: now)
    let cause =
      lifetimes.expired(ours, now: now).map {
        "\(address.prefix) expired: this host kept Afloat from running for \($0.milliseconds / 1_000) s"
      } ?? "\(address.prefix) was removed by another program"
    if putsBack {
      restore(ours, of: VIPIndex(slot), cause: "\(cause): added again")
    } else if count == PutBacks.atOnce + 1 {
      reporter.event(
        .warning, subject: names.vip(VIPIndex(slot)),
        cause: "\(cause) \(count) times within \(PutBacks.window.milliseconds / 1_000) s: added again once a second")
    }
  }

  /// Addresses in a fight, after their pause.
  func putBackWhatIsDue(now: Instant) {
    for address in putBacks.due(now: now) {
      guard let slot = held.firstIndex(where: { $0?.contains { Self.same($0, address) } ?? false }) else { continue }
      restore(address, of: VIPIndex(slot), cause: nil)
    }
  }

  /// An interface came back under another index.
  func restoreAddresses(on link: NetworkLink) {
    for slot in held.indices {
      guard held[slot] != nil, let configuration = names.vips[slot], configuration.interface == link.name else {
        continue
      }
      let wanted = interfaces.addresses(of: configuration, beside: otherAddresses)
      for address in held[slot] ?? [] { lifetimes.forget(address) }
      held[slot] = wanted
      for address in wanted {
        restore(address, of: VIPIndex(slot), cause: "\(link.name) came back: \(address.prefix) added again")
      }
    }
  }

  private func restore(_ address: InterfaceAddress, of vip: VIPIndex, cause: String?) {
    owed.forgive(address)
    do throws(SystemError) {
      try add(address)
      announce(vip)
      if let cause { reporter.event(.warning, subject: names.vip(vip), cause: cause) }
    } catch { reporter.warn("\(error)") }
  }
}
