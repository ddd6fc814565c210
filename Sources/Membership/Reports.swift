// What this node tells of a member: what it last heard of the boot that it believes, and of one that it does not believe yet.
// Here, where the peers are, because a peer is too large to be copied for a few of its fields.

package import Primitives

package struct HeardReport: Sendable {
  package var nameHash: UInt64
  package var bootFold: UInt64
  package var sequence: UInt64
  package var at: Instant
  /// In 1/255.
  package var loss: UInt8 = 0
  package var multicastPaths: UInt8 = 0
  package var roundTrip: TimeSpan?
}

extension MemberTable {
  /// How many reports there are of the member: 0 to 2.
  package func reportCount(of member: MemberIndex, now: Instant) -> Int {
    (isBelievedHeard(member.value) ? 1 : 0) + (isPending(member.value, now) ? 1 : 0)
  }

  package func believedReport(of member: MemberIndex, now: Instant) -> HeardReport? {
    let slot = member.value
    guard isBelievedHeard(slot), let heardAt = peers[slot].heardAt else { return nil }
    return HeardReport(
      nameHash: peers[slot].nameHash, bootFold: peers[slot].boot.fold, sequence: peers[slot].window.highest,
      at: heardAt,
      loss: peers[slot].window.loss ?? 0, multicastPaths: multicastPaths(from: member, now: now),
      roundTrip: peers[slot].roundTrip)
  }

  package func pendingReport(of member: MemberIndex, now: Instant) -> HeardReport? {
    let slot = member.value
    guard isPending(slot, now) else { return nil }
    return HeardReport(
      nameHash: peers[slot].nameHash, bootFold: peers[slot].pendingBoot.fold, sequence: peers[slot].pendingSequence,
      at: peers[slot].pendingAt)
  }

  private func isBelievedHeard(_ slot: Int) -> Bool {
    peers[slot].boot != .none && !peers[slot].window.isEmpty && peers[slot].heardAt != nil
  }

  private func isPending(_ slot: Int, _ now: Instant) -> Bool {
    peers[slot].pendingBoot != .none && now - peers[slot].pendingAt <= Self.echoFreshness
  }
}
