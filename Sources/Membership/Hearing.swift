// What a datagram does to the member table. Called after its tag was found right.

package import Primitives

/// The part of a heartbeat that concerns membership.
package struct Hearing: Sendable {
  package var boot: BootID
  package var sequence: UInt64
  /// By the sender's clock.
  package var sentAt: Instant
  package var echo: Echo?
  package var interval: TimeSpan
  /// Zero is read as ours.
  package var detection: TimeSpan
  package var starting: Bool
  package var draining: Bool
  package var configurationDigest: UInt64
  package var intentsDigest: UInt64

  package init(
    boot: BootID, sequence: UInt64, sentAt: Instant, echo: Echo?, interval: TimeSpan,
    detection: TimeSpan, starting: Bool, draining: Bool, configurationDigest: UInt64, intentsDigest: UInt64
  ) {
    self.boot = boot
    self.sequence = sequence
    self.sentAt = sentAt
    self.echo = echo
    self.interval = interval
    self.detection = detection
    self.starting = starting
    self.draining = draining
    self.configurationDigest = configurationDigest
    self.intentsDigest = intentsDigest
  }
}

/// What a sender reports of us.
package struct Echo: Hashable, Sendable {
  /// The last of our sequences that it heard under our present boot.
  package var sequence: UInt64
  /// How long before sending it was heard.
  package var age: TimeSpan
  /// Our loss as it sees it, in 1/255.
  package var loss: UInt8
  /// Bit per path: it lately heard our multicasts there.
  package var multicastPaths: UInt8

  package init(sequence: UInt64, age: TimeSpan = .zero, loss: UInt8 = 0, multicastPaths: UInt8 = 0) {
    self.sequence = sequence
    self.age = age
    self.loss = loss
    self.multicastPaths = multicastPaths
  }
}

package enum Heard: Hashable, Sendable {
  case replayed
  /// The first copy by its route of what came by another before.
  case duplicate
  case unconfirmed
  /// `newest`: nothing newer of this boot was heard before. `revived`: it was not alive before.
  /// `deafened`: our multicasts no longer reach it over some path, as it says for the first time.
  case accepted(newest: Bool, newBoot: Bool, revived: Bool, deafened: Bool = false)
}

extension MemberTable {
  /// - Parameter believeAnyBoot: a planted fault of the simulator; false everywhere else.
  package mutating func hear(
    _ hearing: Hearing, from member: MemberIndex, over arrival: Arrival = Arrival(), receivedAt: Instant, now: Instant,
    believeAnyBoot: Bool = false
  ) -> Heard {
    let slot = member.value
    var newBoot = false
    if hearing.boot != peers[slot].boot || hearing.boot == .none {
      guard believeAnyBoot || confirms(hearing, slot: slot, now: now) else {
        notePending(hearing, slot: slot, receivedAt: receivedAt)
        return .unconfirmed
      }
      begin(hearing.boot, slot: slot)
      newBoot = true
    }
    let previous = peers[slot].window.highest
    let verdict = withPeer(slot) { $0.window.accept(hearing.sequence) }
    let isFirstByRoute = noteArrival(of: hearing.sequence, from: slot, over: arrival, at: receivedAt)
    // Of a datagram and its copy one is in our key, whichever of the two comes first.
    if !arrival.isByOtherKey {
      peers[slot].hasOurKey = true
    } else if verdict == .newest {
      peers[slot].hasOurKey = false
    }
    if verdict == .replayed { return isFirstByRoute ? .duplicate : .replayed }
    noteEcho(hearing, slot: slot, receivedAt: receivedAt)
    guard verdict == .newest else { return .accepted(newest: false, newBoot: newBoot, revived: false) }
    let heardBefore = peers[slot].hearsOurMulticasts
    if let echo = hearing.echo { peers[slot].hearsOurMulticasts = echo.multicastPaths }
    let deafened = heardBefore & ~peers[slot].hearsOurMulticasts != 0
    let ownDetection = detection
    let configured = configuredDetection
    let revived = withPeer(slot) { peer in
      peer.noteGap(hearing, receivedAt: receivedAt, previous: previous, configured: configured)
      let isInARow = hearing.sequence == previous + 1 && hearing.sentAt > peer.heardSentAt
      if hearing.sequence > previous + 1 { peer.gapSentAt = hearing.sentAt }
      peer.heardAt = receivedAt
      peer.heardSentAt = hearing.sentAt
      peer.interval = hearing.interval
      peer.detection = hearing.detection > .zero ? hearing.detection : ownDetection
      peer.patience = max(
        peer.detection,
        DetectionTime.needed(interval: peer.interval, peak: peer.gaps.value(now: receivedAt), configured: configured))
      peer.starting = hearing.starting
      peer.draining = hearing.draining
      peer.configurationDigest = hearing.configurationDigest
      peer.intentsDigest = hearing.intentsDigest
      if hearing.sequence > peer.newestKnown {
        peer.newestKnown = hearing.sequence
        peer.evidenceAt = newBoot ? receivedAt : max(peer.evidenceAt, receivedAt)
      }
      // Whom others reported meanwhile it is judged by its own patience again once nothing of it is missed here.
      let until = peer.evidenceAt + peer.patience
      peer.aliveUntil = newBoot || isInARow ? until : max(peer.aliveUntil, until)
      // News that was old when it was read does not bring the dead back.
      let revived = peer.life != .alive && now < until
      if revived { peer.life = .alive }
      return revived
    }
    return .accepted(newest: true, newBoot: newBoot, revived: revived, deafened: deafened)
  }

  /// Call before `hear`. False if a datagram may be missing that the member sent together with this one.
  package func isNext(_ hearing: Hearing, from member: MemberIndex) -> Bool {
    let highest = peers[member.value].window.highest
    return hearing.sequence == highest &+ 1 && hearing.sentAt != peers[member.value].gapSentAt
  }

  /// When a datagram that a newer one has overtaken would have come if it had taken no longer than that: what it says of
  /// anybody is as old as that at least, however long it was on its way. An hour is old enough.
  package func arrival(ofOvertaken hearing: Hearing, from member: MemberIndex, receivedAt: Instant) -> Instant {
    guard let heardAt = peers[member.value].heardAt else { return receivedAt }
    let sentBefore = max(peers[member.value].heardSentAt - hearing.sentAt, .zero)
    return min(receivedAt, heardAt - min(sentBefore, .seconds(3600)))
  }

  /// A peer that is heard both ways reports what it heard of `member`, and how long the next report may take. True if that
  /// brings the member back to life.
  package mutating func report(
    of member: MemberIndex, bootFold: UInt64, sequence: UInt64, age: TimeSpan, patience: TimeSpan, receivedAt: Instant,
    now: Instant
  ) -> Bool {
    withPeer(member.value) { peer in
      guard peer.boot != .none, peer.boot.fold == bootFold, sequence > peer.window.highest else { return false }
      let heardAt = receivedAt - max(age, .zero)
      guard sequence > peer.newestKnown else {
        // Who repeats what is known may have been longer on its way.
        peer.aliveUntil = max(peer.aliveUntil, min(heardAt, peer.evidenceAt) + patience)
        return false
      }
      peer.newestKnown = sequence
      peer.evidenceAt = max(peer.evidenceAt, heardAt)
      peer.aliveUntil = max(peer.aliveUntil, heardAt + patience)
      guard peer.life == .dead, now < min(peer.evidenceAt + peer.patience, peer.aliveUntil) else { return false }
      peer.life = .alive
      return true
    }
  }

  /// A boot ends. False, and nothing changes, unless it is the one that is believed and the sequence is new.
  package mutating func resign(_ boot: BootID, sequence: UInt64, from member: MemberIndex) -> Bool {
    let floor = sends.next
    return withPeer(member.value) { peer in
      guard peer.boot == boot, boot != .none, peer.window.accept(sequence) != .replayed else { return false }
      peer.noteEnd(of: boot)
      peer.boot = .none
      peer.echoFloor = floor
      peer.life = .dead
      peer.heardAt = nil
      peer.acknowledgedAt = nil
      return true
    }
  }

  private mutating func withPeer<Result>(_ slot: Int, _ body: (inout Peer) -> Result) -> Result { body(&peers[slot]) }

  /// The datagram can only have been made after this node sent a sequence that no earlier boot has heard.
  private func confirms(_ hearing: Hearing, slot: Int, now: Instant) -> Bool {
    guard hearing.boot != .none, hearing.sequence > 0, let echo = hearing.echo,
      echo.sequence >= peers[slot].echoFloor, let sentAt = sends.time(of: echo.sequence)
    else { return false }
    return now - sentAt <= max(Self.echoFreshness, interval * 4)
  }

  /// One pending boot is reported at a time. Somebody who replays datagrams of old boots must not keep the new one from
  /// being reported, at whatever rate: among all that speak between two sends of ours, a boot that is known to have ended
  /// comes last, and a draw that each send makes anew decides between the others. A living boot that speaks in each
  /// interval is thus reported after k + 1 sends on average, where k unknown old boots are replayed.
  private mutating func notePending(_ hearing: Hearing, slot: Int, receivedAt: Instant) {
    guard hearing.boot != .none else { return }
    let send = sends.next
    let salt = StableHash.combine(ownBoot.fold, send)
    withPeer(slot) { peer in
      if peer.pendingBoot == hearing.boot {
        guard hearing.sequence > peer.pendingSequence else { return }
      } else if peer.pendingBoot != .none, peer.pendingForSend == send {
        let (ended, pendingEnded) = (peer.hasEnded(hearing.boot), peer.hasEnded(peer.pendingBoot))
        guard
          ended != pendingEnded
            ? pendingEnded
            : StableHash.mix(hearing.boot.fold ^ salt) < StableHash.mix(peer.pendingBoot.fold ^ salt)
        else { return }
      }
      peer.pendingBoot = hearing.boot
      peer.pendingSequence = hearing.sequence
      peer.pendingAt = receivedAt
      peer.pendingForSend = send
    }
  }

  private mutating func begin(_ boot: BootID, slot: Int) {
    let floor = sends.next
    forgetRoutes(of: slot)
    withPeer(slot) { peer in
      peer.noteEnd(of: peer.boot)
      peer.boot = boot
      peer.window = ReplayWindow()
      peer.newestKnown = 0
      peer.aliveUntil = Instant(nanoseconds: 0)
      peer.gapSentAt = nil
      peer.heardAt = nil
      peer.acknowledgedAt = nil
      peer.acknowledgedSequence = 0
      peer.echoFloor = floor
      peer.life = peer.life == .unheard ? .unheard : .dead
      peer.roundTrip = nil
      peer.lossOut = nil
      peer.hearsOurMulticasts = 0
      peer.hasOurKey = false
      if peer.pendingBoot == boot { peer.pendingBoot = .none }
    }
  }

  private mutating func noteEcho(_ hearing: Hearing, slot: Int, receivedAt: Instant) {
    guard let echo = hearing.echo, let sentAt = sends.time(of: echo.sequence) else { return }
    withPeer(slot) { peer in
      peer.lossOut = echo.loss
      guard echo.sequence > peer.acknowledgedSequence else { return }
      peer.acknowledgedSequence = echo.sequence
      peer.acknowledgedAt = max(peer.acknowledgedAt ?? sentAt, sentAt)
      let sample = receivedAt - sentAt - echo.age
      guard sample > .zero else { return }
      peer.roundTrip = peer.roundTrip.map { $0 + (sample - $0) / 8 } ?? sample
    }
  }
}
