// What every member announced about every VIP, this node included: the only ground on which ranks are compared, so that
// nodes with different configurations still agree.

package import Membership
package import Primitives

/// One member's announcement for one VIP.
package struct Candidacy: Hashable, Sendable {
  package var priority: UInt16 = 0
  package var position = VIPPosition.idle
  package var eligible = false
  /// Its gate could pass on what belongs to connections of a previous holder.
  package var passesUnknown = false
  /// Since when it has been eligible without a break, as this node saw it.
  package var eligibleSince = Instant(nanoseconds: 0)
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
  private var rows = [Candidacy](repeating: Candidacy(), count: VIPIndex.limit * MemberIndex.limit)

  package init() {}

  package subscript(vip: VIPIndex, member: MemberIndex) -> Candidacy {
    rows[vip.value * MemberIndex.limit + member.value]
  }

  /// Takes an announcement. True if anything that the election looks at changed.
  package mutating func announce(
    _ vip: VIPIndex, by member: MemberIndex, priority: UInt16, position: VIPPosition, eligible: Bool, now: Instant
  ) -> Bool {
    let index = vip.value * MemberIndex.limit + member.value
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
  package mutating func note(_ vip: VIPIndex, of member: MemberIndex, passesUnknown: Bool) {
    rows[vip.value * MemberIndex.limit + member.value].passesUnknown = passesUnknown
  }

  /// The member holds nothing any more, as far as this node knows; its priority stays known.
  package mutating func clearPosition(_ vip: VIPIndex, of member: MemberIndex) {
    rows[vip.value * MemberIndex.limit + member.value].position = .idle
  }

  /// The member died or restarted: nothing that it said counts.
  package mutating func forget(member: MemberIndex) {
    for vip in 0..<VIPIndex.limit { rows[vip * MemberIndex.limit + member.value] = Candidacy() }
  }

  package mutating func forget(vip: VIPIndex) {
    for member in 0..<MemberIndex.limit { rows[vip.value * MemberIndex.limit + member] = Candidacy() }
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
