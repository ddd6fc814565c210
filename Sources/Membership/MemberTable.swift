// Who is there, by the evidence of all: a member is alive as long as somebody whom we hear both ways heard it lately.
//
// Evidence is counted in sequences, not in arrivals: a report moves a member's evidence only if it names a newer sequence
// than any known, so late, repeated and reordered datagrams prove nothing. Of what did not come here itself a member's other
// hearers extend the time by their reports, each of which names something that this node sent lately. A new boot is
// believed when one of its signed datagrams echoes a sequence that this node sent after the previous boot was last believed;
// nothing recorded earlier can contain that.

package import Primitives

/// Not copyable, so that the compiler cannot copy it for a look at one of its fields.
package struct MemberTable: ~Copyable, Sendable {
  /// How old the echoed send may be when a new boot is believed, and how long a pending boot is reported.
  package static let echoFreshness = TimeSpan.seconds(2)

  package internal(set) var peers: [Peer]
  /// One past the last slot in use.
  package private(set) var count = 0
  /// `Arrival.routeLimit` for each slot. Beside the peers, because those are copied.
  var routes = [Route](repeating: Route(), count: MemberIndex.limit * Arrival.routeLimit)
  package internal(set) var sends = SendRing()
  package let ownBoot: BootID
  package var selfIndex: MemberIndex
  package var interval: TimeSpan
  /// In force, and announced: at least `configuredDetection`.
  package var detection: TimeSpan
  package var configuredDetection: TimeSpan
  /// Interfaces in use, 1 to `Arrival.pathLimit`.
  package var pathCount = 1

  package init(ownBoot: BootID, selfIndex: MemberIndex, interval: TimeSpan, detection: TimeSpan) {
    self.ownBoot = ownBoot
    self.selfIndex = selfIndex
    self.interval = interval
    self.detection = detection
    configuredDetection = detection
    peers = Array(repeating: Peer(), count: MemberIndex.limit)
  }

  /// Read in place: a peer is too large to be copied with each look.
  @inlinable package subscript(member: MemberIndex) -> Peer { _read { yield peers[member.value] } }

  /// A slot gets a member; what was known of the slot is forgotten.
  package mutating func configure(_ member: MemberIndex, nameHash: UInt64) {
    peers[member.value] = Peer()
    peers[member.value].nameHash = nameHash
    forgetRoutes(of: member.value)
    count = max(count, member.value + 1)
  }
  package mutating func setNameRank(_ member: MemberIndex, _ rank: Int) { peers[member.value].nameRank = rank }
  package mutating func remove(_ member: MemberIndex) {
    peers[member.value] = Peer()
    while count > 0, !peers[count - 1].isConfigured { count -= 1 }
  }

  package mutating func takeSequence(at now: Instant) -> UInt64 { sends.send(at: now) }

  package func isAlive(_ member: MemberIndex) -> Bool { peers[member.value].life == .alive }

  /// This node itself heard the member within its patience with it.
  package func isHeardDirectly(_ member: MemberIndex, now: Instant) -> Bool {
    guard let heardAt = peers[member.value].heardAt else { return false }
    return now - heardAt <= peers[member.value].patience
  }

  /// The member heard something that this node sent within the detection time and one interval of the member's.
  package func hearsUs(_ member: MemberIndex, now: Instant) -> Bool {
    guard let sentAt = peers[member.value].acknowledgedAt else { return false }
    return now - sentAt <= detection + peers[member.value].interval
  }

  package func isHeardBothWays(_ member: MemberIndex, now: Instant) -> Bool {
    isAlive(member) && isHeardDirectly(member, now: now) && hearsUs(member, now: now)
  }

  /// Nobody who is alive acknowledges this node.
  package func isUnacknowledged(now: Instant) -> Bool {
    for slot in 0..<count where peers[slot].life == .alive && hearsUs(MemberIndex(slot), now: now) {
      return false
    }
    return true
  }

  /// Later than `suspect` time without evidence: shown, nothing is done about it.
  package func isSuspect(_ member: MemberIndex, now: Instant) -> Bool {
    let peer = peers[member.value]
    return peer.life == .alive && now - peer.evidenceAt > peer.interval + peer.interval / 2
  }

  /// When the next member is dead unless something is heard of it.
  package var nextDeadline: Instant {
    var earliest = Instant.distantFuture
    for slot in 0..<count where peers[slot].life == .alive {
      earliest = min(earliest, peers[slot].aliveUntil)
    }
    return earliest
  }

  /// Judges: the next member whose time is over is dead now. Nil when there is none left.
  package mutating func nextDead(now: Instant) -> MemberIndex? {
    for slot in 0..<count where peers[slot].life == .alive {
      if now >= peers[slot].aliveUntil {
        peers[slot].life = .dead
        return MemberIndex(slot)
      }
    }
    return nil
  }
}
