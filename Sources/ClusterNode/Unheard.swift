// A node whose datagrams reach nobody. It hears the others, and believes none of their boots: they never echo what it says. All
// the same they are there: until anybody has echoed it since it began to listen, it does not take what one of them says it holds.
//
// Nobody vouches for such a datagram: who plays the recording of a holder that is gone keeps a node that has just started, and has
// no living peer, from taking that holder's VIPs while it is played. A node that was heard once does not listen to it.

import Election
import Membership
import Primitives
import Wire

extension NodeCore {
  /// A datagram came of a boot that is not believed.
  mutating func noteUnconfirmed(_ datagram: Datagram, _ hearing: Hearing, receivedAt: Instant) {
    guard !isEchoed, !faults.contains(.unheardClaims) else { return }
    // As what others say of a holder: it tells of its VIPs in turn.
    let word = hearing.interval * ElectionLimits.hearsayIntervals
    let until = receivedAt + max(longestDetection, min(word, ElectionLimits.longestUnheard))
    for position in 0..<datagram.vips.count {
      let report = datagram.vips[position]
      guard report.role == .holder, let slot = vipSlots.slot(of: report.vip), !vips[slot].isClaimed else { continue }
      vips[slot].heldUnheardUntil = max(vips[slot].heldUnheardUntil ?? until, until)
      noteStep(slot)
    }
  }

  /// A member is known to have heard what this node sent at that time, the first one. It tells everything from here on, in several
  /// datagrams: a node that has waited for that for longer than it listens begins again.
  mutating func noteEchoed(of sentAt: Instant, patience: TimeSpan, now: Instant) {
    guard sentAt >= listeningSince else { return }
    isEchoed = true
    evaluateAllWanted = true
    let until = now + max(detectionTime, patience)
    for slot in 0..<vipCount {
      vips[slot].heldUnheardUntil = nil
      vips[slot].unheardUntil = vips[slot].unheardUntil.map { min($0, until) }
    }
    listenUntil = listening ? max(listenUntil, until) : until
    listening = true
  }
}
