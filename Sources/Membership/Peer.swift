// What a node knows of one other member.

package import Primitives

package struct Peer: Sendable {
  package enum Life: Hashable, Sendable {
    /// Configured, never believed since this node started.
    case unheard
    case alive
    /// Silent for its detection time, or ended by a resign.
    case dead
  }

  /// `StableHash` of the name; 0 for a free slot.
  package var nameHash: UInt64 = 0
  /// Position of the name among the sorted names: breaks ties.
  package var nameRank = 0
  package var life = Life.unheard

  /// The boot that is believed; `.none` before the first and after a resign.
  package var boot = BootID.none
  package var window = ReplayWindow()
  /// The newest sequence that anybody is known to have heard.
  package var newestKnown: UInt64 = 0
  /// When the newest news of this member was heard, by whomever.
  package var evidenceAt = Instant(nanoseconds: 0)
  /// When this node itself last heard it (newest sequence only).
  package var heardAt: Instant?
  /// When that was sent, by its own clock.
  package var heardSentAt = Instant(nanoseconds: 0)
  /// When the last one was sent before which one was missing.
  var gapSentAt: Instant?
  /// The newest of our sends that it is known to have heard was sent at this time.
  package var acknowledgedAt: Instant?
  package var acknowledgedSequence: UInt64 = 0
  /// A new boot must echo one of our sequences from here on.
  package var echoFloor: UInt64 = 1

  /// A boot that spoke, signed, and has not yet echoed us. It is reported to it, so that it can be believed.
  package var pendingBoot = BootID.none
  package var pendingSequence: UInt64 = 0
  package var pendingAt = Instant(nanoseconds: 0)
  /// The send of ours that will report it: until then others may take its place, see `MemberTable.notePending`.
  package var pendingForSend: UInt64 = 0
  /// Folds of the last boots that ended (replaced or resigned), newest first.
  package private(set) var endedBoots = SIMD4<UInt64>(repeating: 0)

  package var interval = TimeSpan.zero
  /// As it announces it.
  package var detection = TimeSpan.zero
  /// How late its heartbeats came, by this node's own hearing.
  package var gaps = LatenessPeak()
  /// How long it may be silent to this node: its own detection time, or more where its heartbeats come too unevenly.
  package internal(set) var patience = TimeSpan.zero
  /// Dead from then on, unless something is heard of it. Where others report what did not come here, that is as long as they
  /// would wait for it, or as their next report may take.
  var aliveUntil = Instant(nanoseconds: 0)
  package var starting = false
  package var draining = false
  package var configurationDigest: UInt64 = 0
  package var intentsDigest: UInt64 = 0
  package var roundTrip: TimeSpan?
  /// Share of our heartbeats that it misses, as it says, in 1/255.
  package var lossOut: UInt8?
  /// Its last datagram, or the copy of it, was signed with the key that we sign with: it has that key, first or other.
  package var hasOurKey = false
  /// Bit per path: it lately heard our multicasts there, as its last report of us says.
  package var hearsOurMulticasts: UInt8 = 0

  package init() {}

  /// Two heartbeats in a row, none lost between them, say how late the second was. A silence that is no jitter says
  /// nothing about the next heartbeat.
  mutating func noteGap(_ hearing: Hearing, receivedAt: Instant, previous: UInt64, configured: TimeSpan) {
    guard let heardAt, hearing.sequence == previous + 1 else { return }
    let late = receivedAt - heardAt - interval
    if DetectionTime.isJitter(late, configured: configured) { gaps.note(late, now: receivedAt) }
  }

  mutating func noteEnd(of boot: BootID) {
    guard boot != .none else { return }
    endedBoots = SIMD4(boot.fold, endedBoots[0], endedBoots[1], endedBoots[2])
  }

  func hasEnded(_ boot: BootID) -> Bool { endedBoots.indices.contains { endedBoots[$0] == boot.fold } }

  package var isConfigured: Bool { nameHash != 0 }
}
