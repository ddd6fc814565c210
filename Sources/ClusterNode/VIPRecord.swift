// One VIP at this node: which step of taking, holding or giving it is under way, and its announcements.

import Election
import Membership
import Primitives

/// Where a planned handover goes and why.
struct Handover: Hashable, Sendable {
  /// Nil: let go with nobody to take it.
  var to: MemberIndex?
  var cause: TransitionCause
  /// Connections stay here, behind the shut gate.
  var keepsConnections = false
}

struct VIPRecord: Sendable {
  enum Phase: Hashable, Sendable {
    case idle
    /// Claimed; the addresses are being added.
    case acquiring
    case holding
    /// The balancer finishes what is in flight; the address still answers.
    case quietening(Handover, deadline: Instant)
    /// The address is being removed; the claim stands until it is gone, so that nobody starts to answer before. A gated VIP
    /// is silent at once and passes through here without waiting.
    case removing(Handover, deadline: Instant)
  }

  /// `StableHash` of the name; 0 for a free slot.
  var nameHash: UInt64 = 0
  /// Of a free slot: which VIP it had, until the peers are told.
  var lost: LostVIP?
  var failback = FailbackRule.never
  var isConditional = false
  var requirements = RequirementVerdict.unknown
  var announce = TimeSpan.seconds(60)
  var isGated = false
  var keepsConnections = false
  var priority: UInt16 = 0
  /// Of its own interface.
  var hasCarrier = true

  var phase = Phase.idle
  var claim = VIPClaim()
  var gainedAt = Instant(nanoseconds: 0)
  var gainedByMove = false
  /// Effects that the shell has not answered yet. Only the answer to the last one counts.
  var acquiresPending = 0
  var releasesPending = 0
  /// Ineligible until then, because the system refused the address.
  var failedUntil: Instant?
  /// How often in a row.
  var addressFailures = 0
  /// Peers that may hold it have not told of it yet: it is new by a reload, or they are heard again.
  var unheardUntil: Instant?
  /// Somebody held it while this node slept, whoever has it now.
  var wasTakenMeanwhile = false
  /// A member says that it holds it, and does not hear this node.
  var heldUnheardUntil: Instant?
  var announcements = AnnouncementSchedule()

  /// The member that named this node its successor and keeps the connections that it has.
  var keeper: MemberIndex?

  /// For status: who holds it as this node sees it, since when, why.
  var holderSeen: MemberIndex?
  var since: Instant?
  var cause = TransitionCause.none
  /// A planned handover of ours that is not confirmed yet: successor and start of the swap.
  var awaitedSuccessor: MemberIndex?
  var swapStartedAt = Instant(nanoseconds: 0)
  /// The successor that this node named last, if it did not take the VIP: no failback goes to it before it has told of the
  /// VIP again.
  var refusedBy: MemberIndex?
  /// A change is told in this many of the next heartbeats before the slot waits for its turn.
  var urgentRepeats = 0
  /// The heartbeat (`Telling.number`) that told of it last.
  var toldIn: UInt32 = 0

  /// The step's own timer: the deadline of a handover, the end of an address failure, of listening for what is new or of a word
  /// that nobody vouches for, the next announcement.
  var stepDeadline: Instant {
    var deadline = min(claim.wakeAt, announcements.next)
    switch phase {
    case .quietening(_, let end), .removing(_, let end): deadline = min(deadline, end)
    case .acquiring: deadline = min(deadline, acquireDeadline)
    case .idle, .holding: break
    }
    if let failedUntil { deadline = min(deadline, failedUntil) }
    if let unheardUntil { deadline = min(deadline, unheardUntil) }
    if let heldUnheardUntil { deadline = min(deadline, heldUnheardUntil) }
    return deadline
  }

  /// Whatever was wrong with its address may have been mended.
  mutating func forgetAddressFailures() {
    failedUntil = nil
    addressFailures = 0
  }

  /// While `acquiring`: when the address counts as refused.
  var acquireDeadline: Instant { gainedAt + ElectionLimits.acquireDeadline }

  var isConfigured: Bool { nameHash != 0 }
  /// What the node claims on the wire.
  var isClaimed: Bool { phase != .idle }
  /// Whether the node is to answer for it.
  var answers: Bool {
    switch phase {
    case .acquiring, .holding, .quietening: true
    case .idle, .removing: false
    }
  }
}

/// Gratuitous announcements: a burst after a gain and after a rival gave way, then a refresh.
struct AnnouncementSchedule: Sendable {
  private(set) var next = Instant.distantFuture
  private var burstStart = Instant(nanoseconds: 0)
  private var step = 0

  private static func offset(_ step: Int) -> TimeSpan? {
    let burst = ElectionLimits.announcementBurstMilliseconds
    switch step {
    case 0: return .milliseconds(burst.0)
    case 1: return .milliseconds(burst.1)
    case 2: return .milliseconds(burst.2)
    case 3: return .milliseconds(burst.3)
    case 4: return .milliseconds(burst.4)
    default: return nil
    }
  }

  /// More than the refresh is still to come.
  var isBursting: Bool { next != .distantFuture && Self.offset(step) != nil }

  mutating func startBurst(now: Instant) {
    burstStart = now
    step = 0
    next = now
  }

  mutating func stop() { next = .distantFuture }

  /// Call when `next` has come; sets the one after.
  mutating func announced(now: Instant, refresh: TimeSpan) {
    step += 1
    if let offset = Self.offset(step) {
      next = max(burstStart + offset, now)
    } else {
      next = now + refresh
    }
  }
}
