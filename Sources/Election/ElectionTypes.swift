// The vocabulary of the election: VIPs by slot, who may hold them, why they move. Small values that can be copied on the
// heartbeat thread; words are made from them by whoever shows them.

package import Membership
package import Primitives

/// A slot in a node's VIP table, stable as long as the VIP stays configured. Never on the wire.
package struct VIPIndex: Hashable, Sendable {
  /// The most VIPs a cluster may have.
  package static let limit = 256
  package let rawValue: UInt16

  @inlinable package init(_ value: Int) { rawValue = UInt16(value) }
  @inlinable package static func == (left: VIPIndex, right: VIPIndex) -> Bool { left.rawValue == right.rawValue }
  @inlinable package var value: Int { Int(rawValue) }
}

/// When a VIP goes back to a node that ranks higher than its holder.
package enum FailbackRule: Hashable, Sendable {
  case never
  case atOnce
  /// After the preferred node has been eligible for this long without a break.
  case after(TimeSpan)
}

/// Whether this node meets what a VIP requires, as its agent judges. `strict`: give the VIP up otherwise even if nobody else
/// may hold it.
package enum RequirementVerdict: Hashable, Sendable {
  /// The agent has not told yet.
  case unknown
  case met
  case unmet(strict: Bool)
}

/// Why this node may not take a VIP.
package enum Ineligibility: Hashable, Sendable {
  /// Witness or observer.
  case notVoter
  /// Listens first.
  case starting
  /// Somebody holds it who does not hear this node, nor does anybody else.
  case unheard
  case draining
  /// Leaves the cluster.
  case leaving
  case noCarrier
  case requirementsUnknown
  case requirementsUnmet(strict: Bool)
  /// The system refused the address lately; tried again after `ElectionLimits.addressRetry`.
  case addressFailed

  package var words: String {
    switch self {
    case .notVoter: "this member never holds VIPs"
    case .starting: "listening before it claims anything"
    case .unheard: "a member holds it that does not hear this node, and no other does"
    case .draining: "draining"
    case .leaving: "shutting down"
    case .noCarrier: "no carrier on the interface"
    case .requirementsUnknown: "what it requires has not been looked at yet"
    case .requirementsUnmet: "something that it requires is missing"
    case .addressFailed: "the address could not be added"
    }
  }
}

/// Why a VIP changed hands, or why a node acts.
package enum TransitionCause: Hashable, Sendable {
  case none
  /// Nobody held it.
  case vacant
  /// The holder fell silent for its detection time.
  case holderDead(MemberIndex)
  /// The holder's agent said that its elector ended.
  case holderResigned(MemberIndex)
  /// The holder left in order.
  case holderLeft(MemberIndex)
  /// The holder let it go without naming this node in time.
  case holderReleased(MemberIndex)
  /// Planned: an operator's move from or to that member.
  case moved(MemberIndex)
  /// Planned: the member that gives is being drained.
  case drained(MemberIndex)
  /// Planned: back to the member that ranks higher.
  case failback(MemberIndex)
  /// Planned: the member that gives shuts down.
  case shutdown(MemberIndex)
  /// Planned: the member that gives may not hold it any more.
  case becameIneligible(MemberIndex)
  /// Two held it; the lower rank gave way.
  case yielded(MemberIndex)
  /// This node held it, nobody acknowledged it, and a rival was heard.
  case yieldedUnheard(MemberIndex)
  case noCarrier
  case addressFailed
  /// This node slept longer than its detection time.
  case stalled
  case unconfigured
  /// Seen in another's heartbeat, cause not known here.
  case observed(MemberIndex)

  /// A holder let it go by a plan, to a member of its choice.
  package var isPlanned: Bool {
    switch self {
    case .moved, .drained, .failback, .shutdown, .becameIneligible: true
    default: false
    }
  }

  /// The member let it go by an operator's plan that named this node, and serves on.
  package func isPlanned(by member: MemberIndex) -> Bool {
    switch self {
    case .moved(member), .drained(member), .failback(member): true
    default: false
    }
  }

  /// In plain words. `name` translates a member slot.
  package func words(_ name: (MemberIndex) -> String) -> String {
    switch self {
    case .none: "never held"
    case .vacant: "nobody held it"
    case .holderDead(let member): "\(name(member)) fell silent"
    case .holderResigned(let member): "the elector of \(name(member)) ended"
    case .holderLeft(let member): "\(name(member)) left"
    case .holderReleased(let member): "\(name(member)) let it go"
    case .moved(let member): "moved by an operator (\(name(member)))"
    case .drained(let member): "\(name(member)) is drained"
    case .failback(let member): "failback (\(name(member)))"
    case .shutdown(let member): "\(name(member)) shuts down"
    case .becameIneligible(let member): "\(name(member)) is not eligible any more"
    case .yielded(let member): "two holders: \(name(member)) ranks higher"
    case .yieldedUnheard(let member): "nobody hears this node, \(name(member)) holds it"
    case .noCarrier: "no carrier on the interface"
    case .addressFailed: "the address could not be added"
    case .stalled: "this node slept longer than its detection time"
    case .unconfigured: "removed from the configuration"
    case .observed(let member): "\(name(member)) holds it"
    }
  }
}

/// What a node is to a VIP.
package enum VIPPosition: Hashable, Sendable { case idle, candidate, holder }

/// Named limits and waits of the election.
package enum ElectionLimits {
  /// How long connections may stay with the previous holder after a planned handover.
  package static let connectionsKept = TimeSpan.seconds(600)
  /// How long a planned handover waits for the balancer to quieten.
  package static let quietenDeadline = TimeSpan.milliseconds(500)
  /// How long a planned handover waits for the address to be gone before it names the successor anyway.
  package static let removalDeadline = TimeSpan.milliseconds(50)
  /// How long a node claims a VIP whose address is not there yet: what never answers counts as a refusal.
  package static let acquireDeadline = TimeSpan.seconds(1)
  /// How long a VIP stays without a holder before a node takes it that misses something it requires, because nobody alive is
  /// better; twice the detection time where that is longer. At a start every node's first checks have that long to succeed.
  package static let lastResort = TimeSpan.seconds(1)
  /// How much longer each lower rank waits, or two detection times: nodes learn from different heartbeats that nobody is left,
  /// and clocks differ.
  package static let lastResortTurn = TimeSpan.milliseconds(100)
  /// In how many of its intervals a member's word of a holder that it hears grows old: twice as many as it needs to tell all.
  package static let hearsayIntervals: Int64 = 32
  /// The longest that the word of somebody who does not hear this node counts.
  package static let longestUnheard = TimeSpan.seconds(5)
  /// How long a node stays ineligible for a VIP whose address the system refused for the first time. Each further refusal
  /// doubles it: a node that ranks first would take the VIP from a holder that serves, again and again.
  package static let addressRetry = TimeSpan.seconds(5)
  package static let longestAddressRetry = TimeSpan.seconds(60)
  /// - Parameter failures: how often the system refused the address before, since it last took it.
  package static func addressRetry(failures: Int) -> TimeSpan {
    min(addressRetry * (1 << Int64(min(max(failures, 0), 8))), longestAddressRetry)
  }
  /// What a member told of a VIP and did not tell again in this many of its datagrams that were heard, and as many
  /// of its intervals, it does not know any more: every VIP is told in each 16 heartbeats.
  package static let untoldHeartbeats = 256
  /// A release is repeated in this many datagrams, so that one lost datagram costs an interval, not a detection time.
  package static let releaseRepeats = 5
  /// In how many heartbeats everything is told to a member that came.
  package static let newcomerRepeats = 3
  /// Announcements after a gain: at these times, then every `announce`.
  package static let announcementBurstMilliseconds: (Int64, Int64, Int64, Int64, Int64) = (0, 10, 50, 200, 1000)
}
