// A node that slept for longer than its detection time has been given up by its peers, unless they slept as well (a host
// that pauses pauses them all). It does not know which, so it doubts its own claims: nothing of what it holds may answer
// until it knows.
//
// First everything that waits in its socket is read, and nothing is said meanwhile: a peer that took a VIP over says so
// there, and then the VIP is let go, whatever the ranks, and whoever has it by now. What nobody else claims is claimed on,
// and is live again as soon as every living peer has echoed a heartbeat that was sent after the sleep: such a peer cannot be
// about to take over. A rival that is believed only then (it started during the sleep) has until the end of the doubt to
// give way.

import Election
import Membership
import Primitives

struct Doubt: Sendable {
  /// When the node woke.
  var since: Instant
  /// Peers that do not echo are gone: from here on what nobody else claims is live.
  var until: Instant
  /// A boot was believed since, which started during the sleep and may not have told yet of all that it took.
  var hasNewcomer: Bool
  /// What waited during the sleep is still being read.
  var isReading = true
}

extension NodeCore {
  mutating func beginDoubt(now: Instant, lateness: TimeSpan, effects: inout EffectBuffer) {
    effects.append(.event(NodeEvent(.woke, cause: .stalled, elapsed: lateness)))
    guard !faults.contains(.sleepsWithoutDoubt) else { return }
    doubt = Doubt(since: now, until: now + detectionTime, hasNewcomer: doubt?.hasNewcomer ?? false)
    // What it does not hold it takes only after it has listened; it knew its peers, so it need not wait to hear one.
    let wasEchoed = isEchoed
    beginListening(now: now)
    (heardAnyone, isEchoed) = (true, wasEchoed)
    listenUntil = now + longestDetection
  }

  /// Call when the socket has been read. `heardAll`: nothing is left in it.
  mutating func settleDoubt(now: Instant, heardAll: Bool, effects: inout EffectBuffer) {
    guard var current = doubt else { return }
    if current.isReading {
      guard heardAll || now >= current.until else { return }
      current.isReading = false
      doubt = current
      for slot in 0..<vipCount {
        let isLost = vips[slot].wasTakenMeanwhile || isContested(VIPIndex(slot))
        vips[slot].wasTakenMeanwhile = false
        guard isLost, vips[slot].isClaimed else { continue }
        if case .removing = vips[slot].phase { continue }
        drop(VIPIndex(slot), cause: .stalled, now: now, effects: &effects)
      }
      evaluateAllWanted = true
      // Whoever gave this node up has forgotten what it claims.
      tellEverything(now: now)
      sendWanted = true
    }
    let isSettled =
      !current.hasNewcomer && allHaveAnswered(since: current.since)
      && !(0..<vipCount).contains { isContested(VIPIndex($0)) }
    guard now >= current.until || isSettled else { return }
    doubt = nil
    // The gate opens with a heartbeat.
    sendWanted = true
    for slot in 0..<vipCount where vips[slot].announcements.next != .distantFuture {
      vips[slot].announcements.startBurst(now: now)
      noteStep(slot)
    }
  }

  /// Claimed here and by another.
  private func isContested(_ vip: VIPIndex) -> Bool {
    vips[vip.value].isClaimed
      && (0..<memberCount).contains { slot in
        MemberIndex(slot) != selfIndex && candidacies[vip, MemberIndex(slot)].position == .holder
      }
  }

  /// At least one peer lives, each that lives has echoed something newer than the sleep, and no boot waits to be believed:
  /// it may have taken over while this node slept.
  private func allHaveAnswered(since: Instant) -> Bool {
    var answers = 0
    for slot in 0..<memberCount where MemberIndex(slot) != selfIndex {
      let peer = members[MemberIndex(slot)]
      if peer.pendingBoot != .none, peer.pendingAt >= since - MemberTable.echoFreshness { return false }
      guard peer.life == .alive else { continue }
      guard let sentAt = peer.acknowledgedAt, sentAt >= since else { return false }
      answers += 1
    }
    return answers > 0
  }

  /// Until when this node may answer for the VIP, on its own clock: what it sent last, and the detection time that its
  /// peers are sure to know of. Nil: not at all, from now on.
  func liveUntil(_ vip: VIPIndex) -> Instant? {
    guard doubt == nil, vips[vip.value].answers, let lastSendAt else { return nil }
    return lastSendAt + gateSpan
  }
}
