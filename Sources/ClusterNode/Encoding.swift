// What a heartbeat tells, in as many datagrams as that takes: releases, this node's news, the next few of
// the VIPs that have none, and reports of all its peers. So every peer is reported in every heartbeat and news never wait, while a calm
// cluster's datagrams stay small however many VIPs there are. The number of datagrams is settled when they are asked for;
// each goes on where the last one stopped.

import Election
import Membership
import Primitives
import Wire

/// How far the datagrams that go out together have come.
struct Telling: Sendable {
  /// More at once are not sent, what is left waits for the next heartbeat. The most that 64 members, 256 VIPs that all
  /// changed and 64 releases can take.
  static let maximumDatagrams = 12
  /// In so many heartbeats every VIP is told, news or not.
  static let heartbeatsPerRound = 16

  /// Counts heartbeats, so that a VIP is told once in each.
  var number: UInt32 = 0
  var peersLeft = 0
  var vipsLeft = 0
  /// Slots from which news and releases are still to be told.
  var newsFrom = 0
  var lastLinesFrom = 0
  var noticesFrom = 0
}

extension NodeCore {
  /// Begins what one heartbeat tells, and returns in how many datagrams.
  mutating func beginTelling(now: Instant) -> Int {
    telling.number &+= 1
    telling.peersLeft = memberCount
    telling.vipsLeft = (vipCount + Telling.heartbeatsPerRound - 1) / Telling.heartbeatsPerRound
    telling.newsFrom = hasNews ? 0 : vipCount
    telling.noticesFrom = hasNotices ? 0 : PendingNotice.limit
    if goodbyeWanted { return 1 }
    lastLines.removeAll { $0.repeatsLeft == 0 }
    telling.lastLinesFrom = 0
    var byteCount = (telling.vipsLeft + lastLines.count) * VIPReport.byteCount
    if hasNews {
      let count = (0..<vipCount).count { vips[$0].isConfigured && vips[$0].urgentRepeats > 0 }
      hasNews = count > 0
      byteCount += count * VIPReport.byteCount
    }
    if hasNotices {
      let count = notices.count { $0.repeatsLeft > 0 }
      hasNotices = count > 0
      byteCount += count * ReleaseNotice.byteCount
    }
    for slot in 0..<memberCount { byteCount += reportCount(MemberIndex(slot), now: now) * Self.reportByteCount }
    return max(1, min((byteCount + Self.roomForEntries - 1) / Self.roomForEntries, Telling.maximumDatagrams))
  }

  /// Of a datagram: what is left beside the part headers, the software version and half-used entries.
  private static let roomForEntries =
    DatagramLayout.maximumByteCount - DatagramLayout.minimumByteCount - 5 * DatagramLayout.partHeaderByteCount
    - Datagram.softwareVersionLimit - 2 * reportByteCount
  private static let reportByteCount = PeerReport.byteCount + Patience.byteCount

  /// How many reports of a peer there are: the believed boot, and one that is not believed yet.
  private func reportCount(_ member: MemberIndex, now: Instant) -> Int {
    guard member != selfIndex, members[member].isConfigured else { return 0 }
    return members.reportCount(of: member, now: now)
  }

  mutating func encode(into writer: inout DatagramWriter, keyID: UInt32, now: Instant) {
    destinations = addressed(now: now)
    var flags: HeartbeatFlags = []
    if draining { flags.insert(.draining) }
    if listening { flags.insert(.starting) }
    if now < stall.flaggedUntil { flags.insert(.stalled) }
    let sequence = members.takeSequence(at: now)
    noteSend(now: now)
    writer.header(
      HeartbeatHeader(
        flags: flags, clusterID: clusterID, keyID: keyID, sender: members[selfIndex].nameHash, boot: boot,
        sequence: sequence, sendTimeNanoseconds: now.nanoseconds,
        intervalMicroseconds: Self.microseconds(interval), detectionMicroseconds: Self.microseconds(detectionTime),
        configurationDigest: configuration.digest, intentsDigest: intentsDigest))
    if goodbyeWanted {
      // In both of its datagrams: whichever comes first must say who takes what.
      telling.noticesFrom = 0
      tellReleases(&writer)
      _ = writer.resign(.left)
      return
    }
    tellReleases(&writer)
    tellVIPs(&writer, now: now)
    tellPeers(&writer, now: now)
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
    guard telling.noticesFrom < PendingNotice.limit, writer.begin(.releases, roomFor: ReleaseNotice.byteCount) else {
      return
    }
    while telling.noticesFrom < PendingNotice.limit {
      // The oldest first: of two releases of a VIP receivers take the newer, known by its serial.
      let slot = (Int(noticeSerial) + 1 + telling.noticesFrom) % PendingNotice.limit
      if notices[slot].repeatsLeft > 0 {
        guard writer.append(notices[slot].notice) else { break }
        notices[slot].repeatsLeft -= 1
      }
      telling.noticesFrom += 1
    }
    writer.end()
  }

  private mutating func tellPeers(_ writer: inout DatagramWriter, now: Instant) {
    guard telling.peersLeft > 0, writer.begin(.peers, roomFor: 2 * Self.reportByteCount) else { return }
    let first = nextPeerToTell % memberCount
    var told = 0
    // Each with its patience, which follows in a part of its own.
    var room = writer.remaining - DatagramLayout.partHeaderByteCount
    while told < telling.peersLeft {
      let member = MemberIndex((first + told) % memberCount)
      room -= reportCount(member, now: now) * Self.reportByteCount
      guard room >= 0 else { break }
      if member != selfIndex, members[member].isConfigured { report(member, now: now, &writer) }
      told += 1
    }
    writer.end()
    if writer.begin(.patiences, roomFor: Patience.byteCount) {
      for position in 0..<told { tellPatience(with: MemberIndex((first + position) % memberCount), now: now, &writer) }
      writer.end()
    }
    telling.peersLeft -= told
    nextPeerToTell = first + told
  }

  private func report(_ member: MemberIndex, now: Instant, _ writer: inout DatagramWriter) {
    if let heard = members.believedReport(of: member, now: now) { append(heard, now: now, &writer) }
    if let heard = members.pendingReport(of: member, now: now) { append(heard, now: now, &writer) }
  }

  /// In the order of `report`.
  private func tellPatience(with member: MemberIndex, now: Instant, _ writer: inout DatagramWriter) {
    guard member != selfIndex, members[member].isConfigured else { return }
    if members.believedReport(of: member, now: now) != nil {
      _ = writer.append(Patience(microseconds: Self.microseconds(members[member].patience)))
    }
    if members.pendingReport(of: member, now: now) != nil { _ = writer.append(Patience(microseconds: 0)) }
  }

  private func append(_ heard: HeardReport, now: Instant, _ writer: inout DatagramWriter) {
    _ = writer.append(
      PeerReport(
        peer: heard.nameHash, bootFold: heard.bootFold, lastSequence: heard.sequence,
        ageMicroseconds: Self.microseconds(now - heard.at), loss: heard.loss, multicastPaths: heard.multicastPaths,
        roundTrip: Self.tensOfMicroseconds(heard.roundTrip)))
  }

  /// News, then a few of the others.
  private mutating func tellVIPs(_ writer: inout DatagramWriter, now: Instant) {
    guard vipCount > 0 || !lastLines.isEmpty, writer.begin(.vips, roomFor: VIPReport.byteCount) else { return }
    tellNews(&writer, now: now)
    if telling.newsFrom == vipCount { tellLastLines(&writer) }
    if telling.newsFrom == vipCount, telling.lastLinesFrom == lastLines.count { tellSlice(&writer, now: now) }
    writer.end()
  }

  private mutating func tellNews(_ writer: inout DatagramWriter, now: Instant) {
    while telling.newsFrom < vipCount {
      let slot = telling.newsFrom
      if vips[slot].isConfigured, vips[slot].urgentRepeats > 0 {
        guard writer.append(report(slot, now: now)) else { return }
        vips[slot].urgentRepeats -= 1
        vips[slot].toldIn = telling.number
      }
      telling.newsFrom += 1
    }
  }

  private mutating func tellLastLines(_ writer: inout DatagramWriter) {
    while telling.lastLinesFrom < lastLines.count {
      let position = telling.lastLinesFrom
      let line = VIPReport(
        vip: lastLines[position].nameHash, priority: 0, role: .idle, eligible: false, isUnconfigured: true)
      guard writer.append(line) else { return }
      lastLines[position].repeatsLeft -= 1
      telling.lastLinesFrom += 1
    }
  }

  private mutating func tellSlice(_ writer: inout DatagramWriter, now: Instant) {
    for _ in 0..<vipCount where telling.vipsLeft > 0 {
      nextVIPToTell %= vipCount
      let slot = nextVIPToTell
      if vips[slot].isConfigured, vips[slot].toldIn != telling.number {
        guard writer.append(report(slot, now: now)) else { return }
        vips[slot].toldIn = telling.number
      }
      telling.vipsLeft -= 1
      nextVIPToTell += 1
    }
  }

  private func report(_ slot: Int, now: Instant) -> VIPReport {
    let own = candidacies[VIPIndex(slot), selfIndex]
    let role: VIPReport.Role =
      switch own.position {
      case .idle: .idle
      case .candidate: .candidate
      case .holder: .holder
      }
    var holder: UInt32 = 0
    if let seen = vips[slot].holderSeen, seen != selfIndex, members.isHeardDirectly(seen, now: now) {
      holder = StableHash.fold(members[seen].nameHash)
    }
    return VIPReport(
      vip: vips[slot].nameHash, priority: vips[slot].priority, role: role, eligible: own.eligible,
      passesUnknown: vips[slot].keepsConnections, holder: holder)
  }
}
