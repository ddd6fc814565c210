// What every member announced about every VIP, this node included: the only ground on which ranks are compared, so that
// nodes with different configurations still agree.

package import Membership
package import Primitives

/// One member's announcement for one VIP.
package struct Candidacy: Hashable, Sendable {
  /// Since when it has been eligible without a break, as this node saw it.
  package var eligibleSince = Instant(nanoseconds: 0)
  package var priority: UInt16 = 0
  package var position = VIPPosition.idle
  package var eligible = false
  /// Its gate could pass on what belongs to connections of a previous holder.
  package var passesUnknown = false
  /// The holder that it hears, by a fold of the name; 0 for none.
  package var holderHeard: UInt32 = 0
  /// Its configuration does not name the VIP.
  package var isUnconfigured = false
  /// When it last told anything of the VIP.
  package var toldAt = Instant(nanoseconds: 0)
  /// The newest of its datagrams that told of the VIP, and the newest of its releases of it. Both count from the start of its
  /// boot: datagrams may overtake each other.
  package var toldIn: UInt64 = 0
  package var releaseSerial: UInt32 = 0
  /// When a claim of it ended, by its word or without one, as this node saw it.
  package var claimEndedAt = Instant(nanoseconds: 0)
  /// It held the VIP when it fell silent, and has told nothing of it since: should it be heard again, it may hold it still.
  package var endedBySilence = false
  /// It has ended since it last told of the VIP. Should it be heard again, it may have taken the VIP meanwhile, or hold
  /// it still.
  package var isOutdated = false
  /// False until it announced anything.
  package var isKnown = false

  package init() {}

  /// It may take the VIP, as far as this node knows since it hears the member.
  package var mayBeNamed: Bool { eligible && !isOutdated }
}

/// Who comes before whom: eligible before ineligible, higher priority, then the smaller name.
package struct Rank: Comparable, Hashable, Sendable {
  package var eligible: Bool
  package var priority: UInt16
  package var nameRank: Int

  /// A smaller rank is worse.
  package static func < (left: Rank, right: Rank) -> Bool {
    if left.eligible != right.eligible { return right.eligible }
    if left.priority != right.priority { return left.priority < right.priority }
    return left.nameRank > right.nameRank
  }
}

package struct CandidacyTable: ~Copyable, Sendable {
  @usableFromInline var rows: [Candidacy]
  /// Slots that there is room for: no more than are needed, so that what is looked at together lies together.
  private var vipRoom: Int
  @usableFromInline var memberRoom: Int

  package init(vips: Int = VIPIndex.limit, members: Int = MemberIndex.limit) {
    vipRoom = vips
    memberRoom = members
    rows = [Candidacy](repeating: Candidacy(), count: vips * members)
  }

  /// Makes room for slots below `vips` and `members`, and keeps what is known. Allocates.
  package mutating func makeRoom(vips: Int, members: Int) {
    guard vips > vipRoom || members > memberRoom else { return }
    var larger = CandidacyTable(vips: max(vips, vipRoom), members: max(members, memberRoom))
    for vip in 0..<vipRoom {
      for member in 0..<memberRoom {
        larger.rows[vip * larger.memberRoom + member] = rows[vip * memberRoom + member]
      }
    }
    self = larger
  }

  @inlinable func place(_ vip: VIPIndex, _ member: MemberIndex) -> Int {
    precondition(member.value < memberRoom, "no room for the member")
    return vip.value * memberRoom + member.value
  }

  @inlinable package subscript(vip: VIPIndex, member: MemberIndex) -> Candidacy { rows[place(vip, member)] }

  /// Takes an announcement. True if anything that the election looks at changed.
  package mutating func announce(
    _ vip: VIPIndex, by member: MemberIndex, priority: UInt16, position: VIPPosition, eligible: Bool, now: Instant
  ) -> Bool {
    let index = place(vip, member)
    let before = rows[index]
    if before.isKnown, before.priority == priority, before.position == position, before.eligible == eligible {
      return false
    }
    if eligible, !before.eligible { rows[index].eligibleSince = now }
    if before.position == .holder, position != .holder { rows[index].claimEndedAt = now }
    rows[index].priority = priority
    rows[index].position = position
    rows[index].eligible = eligible
    rows[index].isKnown = true
    return true
  }

  /// Besides an announcement, and nothing that ranks depend on.
  package mutating func note(
    _ vip: VIPIndex, of member: MemberIndex, passesUnknown: Bool, isUnconfigured: Bool = false, holderHeard: UInt32,
    in sequence: UInt64, at time: Instant
  ) {
    let index = place(vip, member)
    rows[index].isUnconfigured = isUnconfigured
    rows[index].passesUnknown = passesUnknown
    rows[index].holderHeard = holderHeard
    rows[index].toldAt = time
    rows[index].toldIn = sequence
    rows[index].endedBySilence = false
    rows[index].isOutdated = false
  }

  /// The member has ended. It holds nothing any more, as far as this node knows; its priority stays known.
  package mutating func clearPosition(_ vip: VIPIndex, of member: MemberIndex, now: Instant) {
    rows[place(vip, member)].isOutdated = true
    if rows[place(vip, member)].position == .holder { rows[place(vip, member)].claimEndedAt = now }
    rows[place(vip, member)].position = .idle
  }

  /// Another claims it, and the member is not heard: which of the two is right is not known here.
  package mutating func supersede(_ vip: VIPIndex, of member: MemberIndex) {
    rows[place(vip, member)].position = .idle
  }

  /// The member held it, and is not heard any more.
  package mutating func endBySilence(_ vip: VIPIndex, of member: MemberIndex) {
    rows[place(vip, member)].endedBySilence = true
  }

  /// The member let it go, whether its claim was known here or not. False, and nothing changes, if that is known, or if it
  /// has taken it again since: `serial` and `sequence` are those of its notice and of the datagram.
  package mutating func release(
    _ vip: VIPIndex, by member: MemberIndex, serial: UInt32, in sequence: UInt64, at now: Instant
  ) -> Bool {
    let index = place(vip, member)
    guard serial > rows[index].releaseSerial else { return false }
    rows[index].releaseSerial = serial
    if rows[index].toldIn > sequence, rows[index].position == .holder { return false }
    rows[index].toldIn = max(rows[index].toldIn, sequence)
    rows[index].position = .idle
    rows[index].claimEndedAt = now
    rows[index].endedBySilence = false
    return true
  }

  /// The member does not tell of the VIP any more: it neither holds it nor may take it.
  package mutating func withdraw(_ vip: VIPIndex, by member: MemberIndex, at now: Instant) {
    let index = place(vip, member)
    let before = rows[index]
    rows[index] = Candidacy()
    rows[index].claimEndedAt = before.position == .holder ? now : before.claimEndedAt
    rows[index].toldIn = before.toldIn
    rows[index].releaseSerial = before.releaseSerial
  }

  /// The member restarted, or is none any more: nothing that it said counts.
  package mutating func forget(member: MemberIndex) {
    for vip in 0..<vipRoom {
      let index = place(VIPIndex(vip), member)
      let ended = rows[index].claimEndedAt
      rows[index] = Candidacy()
      rows[index].claimEndedAt = ended
    }
  }

  package mutating func forget(vip: VIPIndex) {
    for member in 0..<memberRoom { rows[place(vip, MemberIndex(member))] = Candidacy() }
  }

  package func rank(_ vip: VIPIndex, _ member: MemberIndex, in members: borrowing MemberTable) -> Rank {
    let candidacy = self[vip, member]
    return Rank(eligible: candidacy.eligible, priority: candidacy.priority, nameRank: members[member].nameRank)
  }
}

/// What a member announces from its own configuration.
package enum Preference {
  /// Position in `prefer` counts down from the top; nodes that are not in the list come after all that are, in rendezvous
  /// order of (VIP, node), which spreads many VIPs over the nodes by itself.
  package static func priority(vip: String, node: NodeName, prefer: [NodeName]?) -> UInt16 {
    if let prefer, let position = prefer.firstIndex(of: node) { return UInt16(max(0xffff - position, 0x8000)) }
    let hash = StableHash.combine(StableHash.hash(vip), StableHash.hash(node.text))
    return UInt16(1 + hash % 0x7fff)
  }
}
