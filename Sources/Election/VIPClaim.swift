// Who should hold one VIP, seen from one node. `decide` is asked whenever something changed and at `wakeAt`; it answers
// what to do now and when to ask again. It performs nothing: the node's state machine does.
//
// Availability first, as VRRP: among nodes that hear each other exactly one holds. The next in line acts when the holder
// is known to be gone, each lower rank one interval later, so a rank that fails to act costs one interval.

package import Membership
package import Primitives

/// What this node is and wants, for one VIP.
package struct OwnStanding: Sendable {
  package var holding: Bool
  /// Nil if this node may take the VIP.
  package var ineligible: Ineligibility?
  package var failback: FailbackRule
  package var gainedAt: Instant
  /// An operator put it here: failback waits until a better node becomes eligible anew.
  package var gainedByMove: Bool
  /// Was named the successor lately and did not take it: no failback goes there.
  package var refusedBy: MemberIndex?

  package init(
    holding: Bool, ineligible: Ineligibility?, failback: FailbackRule, gainedAt: Instant, gainedByMove: Bool,
    refusedBy: MemberIndex? = nil
  ) {
    self.refusedBy = refusedBy
    self.holding = holding
    self.ineligible = ineligible
    self.failback = failback
    self.gainedAt = gainedAt
    self.gainedByMove = gainedByMove
  }
}

package enum Decision: Hashable, Sendable {
  case nothing
  case acquire(TransitionCause)
  /// Let go at once: a rival holds it.
  case yield(TransitionCause)
  /// Planned handover to a member that is heard both ways. `quieten`: the balancer still serves and should finish.
  case handOver(to: MemberIndex, cause: TransitionCause, quieten: Bool)
  /// Let go with nobody to take it.
  case giveUp(TransitionCause)
  /// A rival has given way: announce again.
  case announceAgain
}

/// A holder that this node does not hear, and the member that says so.
package struct UnheardHolder: Hashable, Sendable {
  package let holder: MemberIndex
  package let witness: MemberIndex
}

package struct VIPClaim: Sendable {
  /// Since when nobody alive holds it, and why; nil while somebody does.
  package private(set) var vacantSince: Instant?
  package private(set) var vacancyCause = TransitionCause.vacant
  /// The previous holder named this member to take it.
  package private(set) var reservedFor: MemberIndex?
  package private(set) var reservedUntil = Instant(nanoseconds: 0)
  package private(set) var reservationCause = TransitionCause.none
  /// Why others take it when the successor does not.
  private var reservationEnd = TransitionCause.none
  /// Since when nobody holds it and this node misses no more than what it requires.
  package private(set) var unservedSince: Instant?
  /// When this node last saw a reason not to take it all the same.
  private var deferredAt = Instant(nanoseconds: 0)
  /// Since when a rival has been heard while this node holds.
  package private(set) var contestedSince: Instant?
  package private(set) var wakeAt = Instant.distantFuture

  package init() {}

  /// Nobody holds it from now on, because of `cause`. Keeps an earlier vacancy.
  package mutating func vacate(cause: TransitionCause, now: Instant) {
    guard vacantSince == nil else { return }
    vacantSince = now
    vacancyCause = cause
  }

  /// The holder let go and named `successor`. Until `until` only the successor acts, because of `cause`; then anybody,
  /// because of `otherwise`.
  package mutating func reserve(
    for successor: MemberIndex?, cause: TransitionCause, otherwise: TransitionCause, until: Instant, now: Instant
  ) {
    vacantSince = now
    vacancyCause = otherwise
    reservedFor = successor
    reservedUntil = until
    reservationCause = cause
    reservationEnd = otherwise
  }

  /// A holder let it go by a plan, and the one that it named has time to take it.
  package func isPromised(toOtherThan member: MemberIndex? = nil, now: Instant) -> Bool {
    reservedFor != nil && reservedFor != member && reservationCause.isPlanned && now < reservedUntil
  }

  /// By a plan of `member`'s own.
  package func isPromised(by member: MemberIndex, now: Instant) -> Bool {
    isPromised(now: now) && reservationEnd == .holderReleased(member)
  }

  /// A member has ended. If it was the one that was named, the others begin to count now: their turns must not all have
  /// come already.
  package mutating func memberEnded(_ member: MemberIndex, now: Instant) {
    guard reservedFor == member else { return }
    reservedFor = nil
    vacantSince = now
  }

  /// Nothing is to be decided until something else happens.
  package mutating func rest() { wakeAt = .distantFuture }

  package mutating func decide(
    _ vip: VIPIndex, own: OwnStanding, members: borrowing MemberTable, candidacies: borrowing CandidacyTable,
    now: Instant
  ) -> Decision {
    wakeAt = .distantFuture
    return own.holding
      ? decideAsHolder(vip, own, members, candidacies, now) : decideAsOther(vip, own, members, candidacies, now)
  }

  // MARK: Holding

  private mutating func decideAsHolder(
    _ vip: VIPIndex, _ own: OwnStanding, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable,
    _ now: Instant
  ) -> Decision {
    vacantSince = nil
    unservedSince = nil
    reservedFor = nil
    if let rival = Self.bestRival(vip, members, candidacies, now) {
      let since = contestedSince ?? now
      contestedSince = since
      if candidacies.rank(vip, rival, in: members) > candidacies.rank(vip, members.selfIndex, in: members) {
        return .yield(.yielded(rival))
      }
      if members.isUnacknowledged(now: now) {
        if now >= since + members.detection { return .yield(.yieldedUnheard(rival)) }
        wakeAt = since + members.detection
      } else {
        wakeAt = now + members.interval
      }
      return .nothing
    }
    if contestedSince != nil {
      contestedSince = nil
      wakeAt = now
      return .announceAgain
    }
    if let reason = own.ineligible {
      if let successor = Self.successor(vip, members, candidacies, now) {
        return .handOver(
          to: successor, cause: Self.givingCause(reason, members.selfIndex),
          quieten: reason == .draining || reason == .leaving)
      }
      if reason == .leaving { return .giveUp(.shutdown(members.selfIndex)) }
      if reason == .requirementsUnmet(strict: true) { return .giveUp(.becameIneligible(members.selfIndex)) }
      // Somebody who is eligible may come to be heard both ways without saying anything new.
      wakeAt = now + members.interval
      return .nothing
    }
    return decideFailback(vip, own, members, candidacies, now)
  }

  private mutating func decideFailback(
    _ vip: VIPIndex, _ own: OwnStanding, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable,
    _ now: Instant
  ) -> Decision {
    let wait: TimeSpan
    switch own.failback {
    case .never: return .nothing
    case .atOnce: wait = .zero
    case .after(let span): wait = span
    }
    // A better node may come to be heard both ways without saying anything new.
    wakeAt = now + members.interval * 8
    // Names break ties where somebody must be chosen, and are no reason to move what has a holder.
    guard let better = Self.successor(vip, members, candidacies, now), better != own.refusedBy,
      candidacies[vip, better].priority > candidacies[vip, members.selfIndex].priority
    else { return .nothing }
    let eligibleSince = candidacies[vip, better].eligibleSince
    if own.gainedByMove, eligibleSince <= own.gainedAt { return .nothing }
    let due = eligibleSince + wait
    if now >= due { return .handOver(to: better, cause: .failback(better), quieten: true) }
    wakeAt = min(wakeAt, due)
    return .nothing
  }

  // MARK: Not holding

  private mutating func decideAsOther(
    _ vip: VIPIndex, _ own: OwnStanding, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable,
    _ now: Instant
  ) -> Decision {
    contestedSince = nil
    if Self.holder(vip, members, candidacies) != nil {
      vacantSince = nil
      unservedSince = nil
      // A second holder that is about to yield changes nothing of what the first has planned. Nor does the successor's claim,
      // which may be older than the plan.
      if isPromised(now: now) { wakeAt = reservedUntil } else { reservedFor = nil }
      return .nothing
    }
    vacate(cause: .vacant, now: now)
    let isLastResort = own.ineligible == .requirementsUnmet(strict: false)
    guard own.ineligible == nil || isLastResort, let since = vacantSince else {
      unservedSince = nil
      return .nothing
    }
    // By a plan also if it has come to miss something meanwhile: what fails everywhere at once must not leave the VIP to
    // nobody. Not so late that its claim and the others' could cross.
    if reservedFor == members.selfIndex, now < reservedUntil - members.interval,
      !isLastResort || reservationCause.isPlanned
    {
      return .acquire(reservationCause)
    }
    if Self.heldUnheard(vip, members, candidacies, now) != nil {
      deferredAt = now
      wakeAt = now + members.interval * 2
      return .nothing
    }
    if isLastResort { return decideAsLastResort(vip, members, candidacies, now) }
    unservedSince = nil
    // Counted from when this node could act at all, so that nodes that start together still go in order.
    var base = max(since, candidacies[vip, members.selfIndex].eligibleSince)
    if let other = reservedFor {
      // Alive by others' evidence only: its claim cannot be heard here, and it was told to take it. If it has, those who hear it
      // say so by the end of that time; if they do not, it may never have heard that it was named.
      guard
        other == members.selfIndex || !members.isAlive(other) || members.isHeardDirectly(other, now: now)
          || now >= reservedUntil + members.interval * ElectionLimits.hearsayIntervals
      else {
        wakeAt = now + members.detection
        return .nothing
      }
      base = max(base, reservedUntil)
    }
    return take(at: base + members.interval * Int64(precedence(vip, eligible: true, members, candidacies)), now)
  }

  /// This node misses what the VIP requires, and not strictly: it takes the VIP after a while if nobody alive is better.
  private mutating func decideAsLastResort(
    _ vip: VIPIndex, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable, _ now: Instant
  ) -> Decision {
    let since = unservedSince ?? now
    unservedSince = since
    if Self.isSomebodyBetter(vip, members, candidacies, now) || !Self.knowsTheOthers(members, now) {
      deferredAt = now
      // Somebody may die, end its start or be heard without saying anything new.
      wakeAt = now + members.interval * 2
      return .nothing
    }
    let turn = max(ElectionLimits.lastResortTurn, members.detection * 2)
    let base = max(since + max(ElectionLimits.lastResort, members.detection * 2), deferredAt + turn)
    return take(at: base + turn * Int64(precedence(vip, eligible: false, members, candidacies)), now)
  }

  /// This node's turn comes at `due`.
  private mutating func take(at due: Instant, _ now: Instant) -> Decision {
    if now >= due { return .acquire(vacancyCause) }
    wakeAt = due
    return .nothing
  }

  /// Somebody who is heard may take it, or may soon know.
  private static func isSomebodyBetter(
    _ vip: VIPIndex, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable, _ now: Instant
  ) -> Bool {
    for slot in 0..<members.count {
      let member = MemberIndex(slot)
      guard member != members.selfIndex, members.isAlive(member) else { continue }
      if candidacies[vip, member].eligible || members[member].starting, members.isHeardDirectly(member, now: now) {
        return true
      }
    }
    return false
  }

  /// Somebody is heard both ways, or everybody else said that it ends. A node that hears nobody may be the one that is cut
  /// off, and what it misses may be a sign of it.
  private static func knowsTheOthers(_ members: borrowing MemberTable, _ now: Instant) -> Bool {
    var allEnded = true
    for slot in 0..<members.count {
      let member = MemberIndex(slot)
      guard member != members.selfIndex, members[member].isConfigured else { continue }
      if members.isHeardBothWays(member, now: now) { return true }
      if members[member].life != .dead || members[member].boot != .none { allEnded = false }
    }
    return allEnded
  }

  /// How many members act before this node. At the very start of a cluster those that still listen count as well.
  private func precedence(
    _ vip: VIPIndex, eligible: Bool, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable
  ) -> Int {
    var own = candidacies.rank(vip, members.selfIndex, in: members)
    own.eligible = eligible
    var count = 0
    for slot in 0..<members.count {
      let member = MemberIndex(slot)
      guard member != members.selfIndex, members.isAlive(member) else { continue }
      var rank = candidacies.rank(vip, member, in: members)
      if vacancyCause == .vacant, members[member].starting { rank.eligible = true }
      if rank.eligible || !eligible, rank > own { count += 1 }
    }
    return count
  }

  // MARK: Views

  /// The best of the members that are alive and said that they hold it.
  package static func holder(_ vip: VIPIndex, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable)
    -> MemberIndex?
  {
    best(vip, members, candidacies) { member in candidacies[vip, member].position == .holder }
  }

  /// Some member that is heard here lately said that it hears a holder of whom this node knows nothing newer.
  package static func heldUnheard(
    _ vip: VIPIndex, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable, _ now: Instant
  ) -> UnheardHolder? {
    for slot in 0..<members.count {
      let witness = MemberIndex(slot)
      let said = candidacies[vip, witness]
      guard said.holderHeard != 0, witness != members.selfIndex, members.isAlive(witness),
        members.isHeardDirectly(witness, now: now),
        now - said.toldAt <= members[witness].interval * ElectionLimits.hearsayIntervals
      else { continue }
      for other in 0..<members.count {
        let holder = MemberIndex(other)
        guard holder != members.selfIndex, holder != witness, members[holder].isConfigured,
          StableHash.fold(members[holder].nameHash) == said.holderHeard
        else { continue }
        let own = candidacies[vip, holder]
        // Its own word since then is better, and who has just missed its end still says so for a detection time.
        let isHeard = members.isAlive(holder) && members.isHeardDirectly(holder, now: now)
        if isHeard, own.isUnconfigured { continue }
        let isLater = said.toldAt > own.toldAt + members[holder].interval * 2
        if isHeard, own.toldAt > own.claimEndedAt, !isLater { continue }
        if said.toldAt > own.claimEndedAt + members.detection { return UnheardHolder(holder: holder, witness: witness) }
      }
    }
    return nil
  }

  /// The best that is heard both ways, eligible or not.
  package static func bestHeard(
    _ vip: VIPIndex, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable, _ now: Instant
  ) -> MemberIndex? {
    best(vip, members, candidacies) { members.isHeardBothWays($0, now: now) }
  }

  /// As `holder`, among those whom this node hears itself: what a third party's old word says is no reason to yield.
  static func bestRival(
    _ vip: VIPIndex, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable, _ now: Instant
  ) -> MemberIndex? {
    best(vip, members, candidacies) { member in
      candidacies[vip, member].position == .holder && members.isHeardDirectly(member, now: now)
    }
  }

  /// Who should take it from this node: the best that is eligible and heard both ways. Not who was given up and has not
  /// told of the VIP since: where it holds the VIP too, and has just handed it to this node, both plans would count.
  package static func successor(
    _ vip: VIPIndex, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable, _ now: Instant
  ) -> MemberIndex? {
    best(vip, members, candidacies) { member in
      candidacies[vip, member].mayBeNamed && members.isHeardBothWays(member, now: now)
    }
  }

  private static func best(
    _ vip: VIPIndex, _ members: borrowing MemberTable, _ candidacies: borrowing CandidacyTable,
    where condition: (MemberIndex) -> Bool
  ) -> MemberIndex? {
    var best: MemberIndex?
    for slot in 0..<members.count {
      let member = MemberIndex(slot)
      guard member != members.selfIndex, members.isAlive(member), condition(member) else { continue }
      if let current = best,
        candidacies.rank(vip, current, in: members) > candidacies.rank(vip, member, in: members)
      {
        continue
      }
      best = member
    }
    return best
  }

  private static func givingCause(_ reason: Ineligibility, _ own: MemberIndex) -> TransitionCause {
    switch reason {
    case .draining: .drained(own)
    case .leaving: .shutdown(own)
    default: .becameIneligible(own)
    }
  }
}
