// Whom a datagram goes to. In multicast mode the group, and besides it every member with which multicasts do not get
// through in both directions: switches that snoop without a querier drop them after minutes, clouds and firewalls at once.
// Nobody waits for that to be sure: whoever misses one multicast addresses its next datagrams, so that a network that
// ceases to carry multicasts costs no evidence. A member that is not there is addressed too, since nothing else would tell
// it of this node when multicasts do not reach it: one datagram per member, path and heartbeat is the most that is added.

import Election
import Membership
import Primitives

/// Where one datagram goes, over each path.
package struct Destinations: Hashable, Sendable {
  /// To the cluster's group.
  package var group = false
  /// By path: the members, one bit per slot, to whose addresses it goes.
  package var members = SIMD4<UInt64>(repeating: 0)

  package init() {}
}

extension NodeCore {
  func addressed(now: Instant) -> Destinations {
    var destinations = Destinations()
    destinations.group = configuration.transport == .multicast
    // A goodbye is said once and must not be missed.
    let addressesAll = !destinations.group || goodbyeWanted
    for slot in 0..<memberCount {
      let member = MemberIndex(slot)
      guard members[member].isConfigured, member != selfIndex else { continue }
      let reached = addressesAll ? 0 : members.multicastPathsBothWays(member, now: now)
      for path in 0..<configuration.pathCount where reached & 1 << UInt8(path) == 0 {
        destinations.members[path] |= 1 << UInt64(slot)
      }
    }
    return destinations
  }

  /// While keys are exchanged, a member that is not heard to use the key that this node signs with may not have it: it is
  /// told everything in the other one as well. Members that are not there count too: they may come back without it.
  var wantsCopy: Bool {
    exchangesKeys && !faults.contains(.noCopyInOtherKey)
      && (0..<memberCount).contains { slot in
        let member = MemberIndex(slot)
        return members[member].isConfigured && member != selfIndex && !members[member].hasOurKey
      }
  }

  /// Somebody waits for this node's word: a member that has just come, or one that our multicasts have ceased to reach. It
  /// gets it at once; who comes within an interval of that waits for the next heartbeat.
  mutating func speakSoon(now: Instant) {
    guard now >= spokeSoonAt + interval else { return }
    spokeSoonAt = now
    sendWanted = true
  }
}
