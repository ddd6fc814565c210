// The state machine behind `ClusterNode`, without the authenticator: one table of members, one of VIPs, one of what
// members announced about VIPs. All storage has its size from the configuration; after `init` only `reconfigure` and the
// look-ups by name allocate.
//
// The other files of this type: Configuring (slots), Receiving (datagrams), Timing (deadlines, stalls), Doubt (after a
// sleep), Adapting (the detection time in force), Stepping (the phases of a VIP), Commanding (the shell's word), Encoding
// (the next datagram), Addressing (whom it goes to), Showing (status).

import Election
import Membership
import Primitives
import Wire

struct NodeCore: ~Copyable {
  let boot: BootID
  let faults: PlantedFaults
  var clusterID: UInt64
  var configuration: ClusterConfiguration

  var members: MemberTable
  var memberSlots = SlotTable()
  var vipSlots = SlotTable()
  var candidacies = CandidacyTable(vips: 0, members: 0)
  var links = LinkTable()
  var vips = [VIPRecord](repeating: VIPRecord(), count: VIPIndex.limit)
  /// One past the last slot in use.
  var vipCount = 0
  var otherMemberCount = 0
  var mayHold = true
  /// Some member has heard this node since it began to listen.
  var isEchoed = false

  // Listening before anything is claimed.
  var listening = true
  var listeningSince: Instant
  var listenUntil: Instant
  var heardAnyone = false

  var draining = false
  var leaving = false
  var hasCarrier = true
  var intentsDigest: UInt64 = 0

  var stall: StallGuard
  /// Not nil from a sleep until it is known what became of this node's claims.
  var doubt: Doubt?
  /// How late this node's heartbeats were.
  var ownLateness = LatenessPeak()
  var nextAdaptationAt = Instant(nanoseconds: .min)
  /// The detection time that every peer which hears this node knows of, or a larger one: what answers counts on it.
  var gateSpan: TimeSpan
  /// The heartbeat (`Telling.number`) from which `gateSpan` is the detection time, after that has grown.
  var gateGrowsAt: UInt32?
  /// The `pace` before the interval changed.
  var paceBefore: TimeSpan
  var lastSendAt: Instant?
  var nextHeartbeatAt: Instant
  /// Not later than the earliest `stepDeadline` of any VIP.
  var earliestStep = Instant(nanoseconds: .min)
  var sendWanted = false
  var goodbyeWanted = false
  var hasExited = false
  var evaluateAllWanted = false
  /// Datagrams are being read: nothing is said and nothing is taken before all that has arrived is known.
  var isReading = false
  /// Nothing is taken before this: this node slept, or not all that had arrived could be read.
  var takeNotBefore: Instant { max(stall.takeNotBefore, stall.judgeNotBefore) }

  // Releases that are still repeated.
  var notices = [PendingNotice](repeating: PendingNotice(), count: PendingNotice.limit)
  var noticeSerial: UInt32 = 0
  /// Some notice may have `repeatsLeft`.
  var hasNotices = false
  /// How many datagrams counted of each member since a time, see `withdrawUntold`.
  var heardOf = [(count: Int, since: Instant)](
    repeating: (0, Instant(nanoseconds: .min / 2)), count: MemberIndex.limit)

  /// Two keys are live.
  var exchangesKeys = false
  /// Where the last datagram goes.
  var destinations = Destinations()
  /// When a heartbeat was last sent out of turn because somebody waited for it.
  var spokeSoonAt = Instant(nanoseconds: .min)

  // What is told, and in turn.
  var telling = Telling()
  /// Of VIPs that the configuration has lost.
  var lastLines: [LastLine] = []
  /// Not later than the earliest `LostVIP.deadline`.
  var lostDeadline = Instant.distantFuture
  /// Some VIP may have `urgentRepeats`.
  var hasNews = true
  var nextPeerToTell: Int
  var nextVIPToTell: Int
  var versionBytes = [UInt8](repeating: 0, count: Datagram.softwareVersionLimit)
  var versionByteCount = 0
  var versionsHeard = [VersionText](repeating: VersionText(), count: MemberIndex.limit)

  init(configuration: ClusterConfiguration, boot: BootID, seed: UInt64, now: Instant, faults: PlantedFaults) {
    precondition(boot != .none, "a boot id is never zero")
    self.boot = boot
    self.faults = faults
    lastLines.reserveCapacity(VIPIndex.limit)
    self.configuration = configuration
    clusterID = StableHash.hash(configuration.clusterName)
    members = MemberTable(
      ownBoot: boot, selfIndex: MemberIndex(0), interval: configuration.heartbeat,
      detection: configuration.detectionTime)
    stall = StallGuard(now: now)
    gateSpan = configuration.detectionTime
    paceBefore = configuration.heartbeat
    listeningSince = now
    listenUntil = now
    // The first heartbeat goes out at once: it is what makes the peers echo.
    nextHeartbeatAt = now
    var random = SeededRandom(seed: seed)
    nextPeerToTell = Int(random.next() % UInt64(MemberIndex.limit))
    nextVIPToTell = Int(random.next() % UInt64(VIPIndex.limit))
    var none = EffectBuffer()
    configure(configuration, now: now, effects: &none)
    beginListening(now: now)
  }

  var selfIndex: MemberIndex { members.selfIndex }
  /// One past the last slot in use.
  var memberCount: Int { members.count }
  var detectionTime: TimeSpan { members.detection }
  var interval: TimeSpan { members.interval }
  /// The most that a detection time can grow to.
  var longestDetection: TimeSpan { members.configuredDetection * DetectionTime.growthLimit }
  var nextSequence: UInt64 { members.sends.next }

  /// Why this node may not take any VIP, or this one.
  func ineligibility(_ vip: VIPIndex, now: Instant) -> Ineligibility? {
    if leaving { return .leaving }
    let record = vips[vip.value]
    // Before what waits for a successor.
    if record.isConditional, record.requirements == .unmet(strict: true) { return .requirementsUnmet(strict: true) }
    if !mayHold, !faults.contains(.witnessAcquires) { return .notVoter }
    if draining, !faults.contains(.drainingAcquires) { return .draining }
    if !hasCarrier { return .noCarrier }
    if !record.hasCarrier, !faults.contains(.vipCarrierIgnored) { return .noCarrier }
    if let failedUntil = record.failedUntil, now < failedUntil { return .addressFailed }
    if listening, !record.isClaimed { return .starting }
    if let until = record.heldUnheardUntil, now < until { return .unheard }
    if let unheardUntil = record.unheardUntil, now < unheardUntil { return .starting }
    guard record.isConditional else { return nil }
    switch record.requirements {
    case .met: return nil
    case .unknown: return .requirementsUnknown
    case .unmet(let strict): return .requirementsUnmet(strict: strict)
    }
  }

  /// Ends a call: looks at what the call changed, and asks for one datagram if anything must be told now.
  mutating func finish(now: Instant, effects: inout EffectBuffer) {
    if isReading { return }
    if evaluateAllWanted {
      evaluateAllWanted = false
      for slot in 0..<vipCount where vips[slot].isConfigured { step(VIPIndex(slot), now: now, effects: &effects) }
    }
    if leaving, !goodbyeWanted, !(0..<vipCount).contains(where: { vips[$0].isClaimed }),
      lostDeadline == .distantFuture || !vips.contains(where: { $0.lost != nil })
    {
      goodbyeWanted = true; sendWanted = true
    }
    // Not a word before it is known whether somebody took over.
    guard sendWanted, !(doubt?.isReading ?? false) else { return }
    sendWanted = false
    for _ in 0..<beginTelling(now: now) { effects.append(.send) }
    if goodbyeWanted {
      // Twice, so that one lost datagram does not cost a detection time.
      effects.append(.send)
      hasExited = true
      effects.append(.exit)
    }
  }
}

/// A release that is still told.
struct PendingNotice: Sendable {
  /// More releases at once than this overwrite the oldest; their successors then act after a detection time.
  static let limit = 64
  var notice = ReleaseNotice(vip: 0, successor: 0, serial: 0, cause: .unsaid)
  var repeatsLeft = 0
}

/// A software version in place, so that hearing one does not allocate.
struct VersionText: Sendable {
  private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
  private(set) var count = 0

  mutating func set(_ bytes: UnsafeRawBufferPointer) {
    let length = min(bytes.count, Datagram.softwareVersionLimit)
    withUnsafeMutableBytes(of: &words) { storage in
      for offset in 0..<length { storage[offset] = bytes[offset] }
    }
    count = length
  }

  var text: String? {
    guard count > 0 else { return nil }
    return withUnsafeBytes(of: words) { String(decoding: $0[..<count], as: UTF8.self) }
  }
}
