// The next datagram. What must be known now comes first: releases, this node's news, reports of its peers. What does not
// fit is told in turn by the following datagrams, so that no state is too large, only slower to tell.

import Election
import Membership
import Primitives
import Wire

extension NodeCore {
  mutating func encode(into writer: inout DatagramWriter, keyID: UInt32, now: Instant) {
    destinations = addressed(now: now)
    var flags: HeartbeatFlags = []
    if draining { flags.insert(.draining) }
    if listening { flags.insert(.starting) }
    if now < stall.flaggedUntil { flags.insert(.stalled) }
    writer.header(
      HeartbeatHeader(
        flags: flags, clusterID: clusterID, keyID: keyID, sender: members[selfIndex].nameHash, boot: boot,
        sequence: members.takeSequence(at: now), sendTimeNanoseconds: now.nanoseconds,
        intervalMicroseconds: Self.microseconds(interval), detectionMicroseconds: Self.microseconds(detectionTime),
        configurationDigest: configuration.digest, intentsDigest: intentsDigest))
    if goodbyeWanted {
      tellReleases(&writer)
      _ = writer.resign(.left)
      return
    }
    tellReleases(&writer)
    tellPeers(&writer, now: now)
    tellVIPs(&writer)
    if versionByteCount > 0 {
      versionBytes.withUnsafeBytes {
        _ = writer.part(.softwareVersion, UnsafeRawBufferPointer(rebasing: $0[..<versionByteCount]))
      }
    }
  }

  static func microseconds(_ span: TimeSpan) -> UInt32 {
    UInt32(clamping: max(0, (span.nanoseconds + 999) / 1000))
  }

  private static func tensOfMicroseconds(_ span: TimeSpan?) -> UInt16 {
    guard let span, span > .zero else { return 0 }
    return UInt16(clamping: max(1, span.nanoseconds / 10_000))
  }

  private mutating func tellReleases(_ writer: inout DatagramWriter) {
    guard writer.begin(.releases, roomFor: ReleaseNotice.byteCount) else { return }
    for slot in 0..<PendingNotice.limit where notices[slot].repeatsLeft > 0 {
      guard writer.append(notices[slot].notice) else { break }
      notices[slot].repeatsLeft -= 1
    }
    writer.end()
  }

  /// At most half of the room, rotating if the cluster is larger than that.
  private mutating func tellPeers(_ writer: inout DatagramWriter, now: Instant) {
    guard memberCount > 0, writer.begin(.peers, roomFor: PeerReport.byteCount) else { return }
    let reserve = vipCount > 0 ? writer.remaining / 2 : 0
    var slot = nextPeerToTell % memberCount
    for _ in 0..<memberCount {
      let peer = members[MemberIndex(slot)]
      if peer.isConfigured, MemberIndex(slot) != selfIndex {
        guard writer.remaining - reserve >= 2 * PeerReport.byteCount else { break }
        if peer.boot != .none, !peer.window.isEmpty, let heardAt = peer.heardAt {
          _ = writer.append(
            PeerReport(
              peer: peer.nameHash, bootFold: peer.boot.fold, lastSequence: peer.window.highest,
              ageMicroseconds: Self.microseconds(now - heardAt), loss: peer.window.loss ?? 0,
              multicastPaths: members.multicastPaths(from: MemberIndex(slot), now: now),
              roundTrip: Self.tensOfMicroseconds(peer.roundTrip)))
        }
        if peer.pendingBoot != .none, now - peer.pendingAt <= MemberTable.echoFreshness {
          _ = writer.append(
            PeerReport(
              peer: peer.nameHash, bootFold: peer.pendingBoot.fold, lastSequence: peer.pendingSequence,
              ageMicroseconds: Self.microseconds(now - peer.pendingAt), loss: 0))
        }
      }
      slot = (slot + 1) % memberCount
    }
    nextPeerToTell = slot
    writer.end()
  }

  /// News first, then the others in turn.
  private mutating func tellVIPs(_ writer: inout DatagramWriter) {
    guard vipCount > 0, writer.begin(.vips, roomFor: VIPReport.byteCount) else { return }
    for slot in 0..<vipCount where vips[slot].isConfigured && vips[slot].urgentRepeats > 0 {
      guard writer.append(report(slot)) else { break }
      vips[slot].urgentRepeats -= 1
      vips[slot].toldInThisDatagram = true
    }
    var slot = nextVIPToTell % vipCount
    for _ in 0..<vipCount {
      if vips[slot].isConfigured, !vips[slot].toldInThisDatagram {
        guard writer.append(report(slot)) else { break }
      }
      slot = (slot + 1) % vipCount
    }
    nextVIPToTell = slot
    for slot in 0..<vipCount { vips[slot].toldInThisDatagram = false }
    writer.end()
  }

  private func report(_ slot: Int) -> VIPReport {
    let own = candidacies[VIPIndex(slot), selfIndex]
    let role: VIPReport.Role =
      switch own.position {
      case .idle: .idle
      case .candidate: .candidate
      case .holder: .holder
      }
    return VIPReport(
      vip: vips[slot].nameHash, priority: vips[slot].priority, role: role, eligible: own.eligible,
      passesUnknown: vips[slot].keepsConnections)
  }
}
