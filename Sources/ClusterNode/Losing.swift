// VIPs that this node's configuration has lost. The configurations of others may have them still, for good or until their
// turn of the same reload comes: they must not count on this node as a holder or as a candidate. So it tells a last line of
// each, in a few heartbeats, and of one that it held whom it names to take it.

import Election
import Membership
import Primitives

/// A VIP that was claimed when the configuration lost it, and whose address is not known to be gone.
struct LostVIP: Sendable {
  var nameHash: UInt64
  /// The peers are told when the shell has confirmed the removal of its address, or then.
  var deadline: Instant
}

/// What is told of a VIP after the configuration lost it.
struct LastLine: Sendable {
  var nameHash: UInt64
  var repeatsLeft: Int
}

extension NodeCore {
  /// Call when a slot was freed; `record` is what it was.
  mutating func lose(_ slot: Int, _ record: VIPRecord, now: Instant) {
    guard record.isClaimed else { return tellLast(record.nameHash) }
    let lost = LostVIP(nameHash: record.nameHash, deadline: now + ElectionLimits.removalDeadline)
    vips[slot].lost = lost
    // Behind the shut gate the address answers nobody: the others may know at once.
    if record.isGated { tellLost(slot, now: now) } else { lostDeadline = min(lostDeadline, lost.deadline) }
  }

  /// This node answers no more for the VIP that the slot had.
  mutating func tellLost(_ slot: Int, now: Instant) {
    guard let lost = vips[slot].lost else { return }
    vips[slot].lost = nil
    let successor = VIPClaim.successor(VIPIndex(slot), members, candidacies, now)
    candidacies.forget(vip: VIPIndex(slot))
    noteRelease(
      lost.nameHash, successor: successor, Handover(to: successor, cause: .becameIneligible(selfIndex)))
    tellLast(lost.nameHash)
  }

  mutating func tellLostDue(now: Instant) {
    lostDeadline = .distantFuture
    for slot in vips.indices {
      guard let lost = vips[slot].lost else { continue }
      if now >= lost.deadline { tellLost(slot, now: now) } else { lostDeadline = min(lostDeadline, lost.deadline) }
    }
  }

  private mutating func tellLast(_ nameHash: UInt64) {
    takeBack(nameHash)
    if lastLines.count == VIPIndex.limit { lastLines.removeFirst() }
    lastLines.append(LastLine(nameHash: nameHash, repeatsLeft: ElectionLimits.releaseRepeats))
    sendWanted = true
  }

  /// The configuration has it again.
  mutating func takeBack(_ nameHash: UInt64) { lastLines.removeAll { $0.nameHash == nameHash } }
}
