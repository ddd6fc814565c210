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
  /// It hears another member that holds the VIP.
  package var hearsHolder = false
  /// False until it announced anything.
  package var isKnown = false

  package init() {}
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

package struct CandidacyTable: Sendable {
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
    rows[index].priority = priority
    rows[index].position = position
    rows[index].eligible = eligible
    rows[index].isKnown = true
    return true
  }

  /// Besides an announcement, and nothing that ranks depend on.
  package mutating func note(_ vip: VIPIndex, of member: MemberIndex, passesUnknown: Bool, hearsHolder: Bool) {
    rows[place(vip, member)].passesUnknown = passesUnknown
    rows[place(vip, member)].hearsHolder = hearsHolder
  }

  /// A holder is gone: whom others heard until now was that one.
  package mutating func clearHearing(_ vip: VIPIndex) {
    for member in 0..<memberRoom { rows[place(vip, MemberIndex(member))].hearsHolder = false }
  }

  /// The member holds nothing any more, as far as this node knows; its priority stays known.
  package mutating func clearPosition(_ vip: VIPIndex, of member: MemberIndex) {
    rows[place(vip, member)].position = .idle
  }

  /// The member died or restarted: nothing that it said counts.
  package mutating func forget(member: MemberIndex) {
    for vip in 0..<vipRoom { rows[place(VIPIndex(vip), member)] = Candidacy() }
  }

  package mutating func forget(vip: VIPIndex) {
    for member in 0..<memberRoom { rows[place(vip, MemberIndex(member))] = Candidacy() }
  }

  package func rank(_ vip: VIPIndex, _ member: MemberIndex, in members: MemberTable) -> Rank {
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
