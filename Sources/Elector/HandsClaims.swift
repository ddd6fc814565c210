// Packets in which others claim an address that this node holds: ARP, and neighbour discovery for IPv6.

import ClusterNode
import Control
import Election
import Kernel
import Membership
import Primitives
import Wire

extension Hands {
  /// So many packets are looked at in one go; the rest waits its turn, and beyond the socket's buffer is lost.
  static let claimsAtOnce = 64

  /// At the start and after a reload: packets about these VIPs' addresses arrive from now on.
  func watchClaims() {
    let addresses = names.vips.compactMap { $0 }.flatMap { $0.addresses.map(\.address) }
    do throws(SystemError) { try packets.watchClaims(of: addresses.compactMap(\.v4Value)) } catch {
      reporter.warn("claims of VIPs by others are not seen: \(error)")
    }
    guard addresses.contains(where: { $0.family == .v6 }) else { return }
    do throws(SystemError) { try openNeighbours() } catch {
      reporter.warn("claims of IPv6 VIPs by others are not seen: \(error)")
    }
  }

  /// A claim that was read, and by which interface it came.
  struct HeardClaim {
    let claim: NeighbourClaim
    let interface: UInt32
  }

  func readClaims(into heard: inout [HeardClaim]) {
    withUnsafeTemporaryAllocation(byteCount: ARPAnnouncement.paddedByteCount, alignment: 8) { room in
      for _ in 0..<Self.claimsAtOnce {
        guard let (count, interface) = packets.receive(room) else { return }
        let frame = UnsafeRawBufferPointer(rebasing: room[..<min(count, room.count)])
        guard let packet = ARPPacket(frame: frame) else { continue }
        let claim = NeighbourClaim(address: IPAddress(v4: packet.senderAddress), claimant: packet.sender)
        heard.append(HeardClaim(claim: claim, interface: interface))
      }
    }
  }

  func readNeighbours(into heard: inout [HeardClaim]) {
    withUnsafeTemporaryAllocation(byteCount: NeighbourClaim.longestMessage, alignment: 8) { room in
      for _ in 0..<Self.claimsAtOnce {
        guard let received = neighbours?.receive(room) ?? nil else { return }
        let message = UnsafeRawBufferPointer(rebasing: room[..<min(received.byteCount, room.count)])
        guard
          let claim = NeighbourClaim(message: message, source: received.source, hopLimit: received.hopLimit)
        else { continue }
        heard.append(HeardClaim(claim: claim, interface: received.interface))
      }
    }
  }

  /// To be called when the orders that came before the claims have been carried out: who takes a VIP announces it as soon as it
  /// has been told so, and this node's release of it may still wait.
  func weigh(_ heard: [HeardClaim]) {
    for one in heard { weigh(one.claim, interface: one.interface, now: Clock.monotonic) }
  }

  private func weigh(_ claim: NeighbourClaim, interface: UInt32, now: Instant) {
    let slot = held.firstIndex { held in
      held?.contains { $0.interface == interface && $0.prefix.address == claim.address } ?? false
    }
    // A bridge or a bond may show us our own packets.
    guard let slot, !interfaces.links.contains(where: { $0.hardwareAddress == claim.claimant.value }),
      let since = acquiringSince[slot], now >= since + ForeignClaims.grace,
      let count = claims[slot].note(claim.claimant, now: now)
    else { return }
    announce(VIPIndex(slot))
    let times = count > 1 ? "\(count) times since the last announcement, " : ""
    reporter.event(
      .warning, subject: names.vip(VIPIndex(slot)),
      cause: "\(claim.address) is claimed by \(claimantWords(claim.claimant)) too: \(times)announced again")
  }

  /// `02:00:5e:00:53:01 (n2)`, where the neighbours' cache knows the member.
  private func claimantWords(_ mac: MACAddress) -> String {
    let addresses = Neighbours.addresses(of: mac.value)
    let member = plan.configuration.members.first { addresses.contains($0.address) }
    return member.map { "\(mac) (\($0.name))" } ?? "\(mac)"
  }

  /// Who claims the VIP besides us, while that is recent.
  func claimant(of slot: Int, now: Instant) -> String? {
    held[slot] != nil && claims[slot].isShown(now: now) ? claims[slot].claimant.description : nil
  }
}
