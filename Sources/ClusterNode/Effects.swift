// What a node wants done. The shell carries effects out in order and decides nothing.

package import Election
package import Membership
package import Primitives

package struct NodeEvent: Hashable, Sendable {
  package enum Kind: Hashable, Sendable {
    /// This node took the VIP (address on its way), or lost it.
    case vipGained(VIPIndex), vipLost(VIPIndex)
    /// Another node holds the VIP now.
    case vipHeldBy(VIPIndex, MemberIndex)
    case vipAddressFailed(VIPIndex)
    /// The successor of this node's planned handover was heard as holder; `elapsed` counts from the start of the swap
    /// (after the balancer was quiet).
    case handoverDone(VIPIndex, MemberIndex)
    case memberAlive(MemberIndex), memberDead(MemberIndex)
    /// The node woke late by `elapsed`, later than ever; with the cause `stalled`, so late that it dropped its VIPs.
    case woke
  }
  package var kind: Kind
  package var cause: TransitionCause
  /// For a gain after a death: silence of the holder up to the decision. See the kinds for others; else zero.
  package var elapsed: TimeSpan

  package init(_ kind: Kind, cause: TransitionCause = .none, elapsed: TimeSpan = .zero) {
    self.kind = kind
    self.cause = cause
    self.elapsed = elapsed
  }
}

package enum MoveRefusal: Hashable, Sendable {
  case notHolder, unknownMember, alreadyThere, targetNotAlive, targetNotHeardBothWays, targetNotEligible,
    handoverUnderWay

  package var words: String {
    switch self {
    case .notHolder: "this node does not hold it"
    case .unknownMember: "no such member"
    case .alreadyThere: "that node holds it already"
    case .targetNotAlive: "that node is not alive"
    case .targetNotHeardBothWays: "that node does not hear this one"
    case .targetNotEligible: "that node is not eligible"
    case .handoverUnderWay: "a handover is under way"
    }
  }
}

package enum Effect: Hashable, Sendable {
  /// `ClusterNode.encodeDatagram` into a buffer, send it to `ClusterNode.destinations`.
  case send
  /// Add the VIP's addresses, then report `addressResult`. Announcements follow as effects of their own.
  case acquire(VIPIndex, cause: TransitionCause)
  /// Shut the kernel gate if there is one, before the next effect; remove the VIP's addresses, then report
  /// `addressRemoved`. Also for a VIP that was never quite added.
  case release(VIPIndex, cause: TransitionCause)
  /// Send one gratuitous ARP request and reply for each address of the VIP, now.
  case announce(VIPIndex)
  /// Have the balancer quieten the VIP, then report `handoverReady`; the node goes on without it after `deadline`.
  case handoverStarting(VIPIndex, to: MemberIndex, deadline: TimeSpan)
  /// Before a `release`: keep the TCP connections that there are at the VIP's addresses, and the addresses with them, until
  /// none is left or `ElectionLimits.connectionsKept` is over, or the VIP is acquired again. `gently`: have the balancer
  /// close them as soon as it may.
  case keepConnections(VIPIndex, gently: Bool)
  /// Before an `acquire`: what belongs to connections that nobody here knows is the member's, for as long.
  case passUnknown(VIPIndex, to: MemberIndex)
  /// The handover that started will not happen as planned: have the balancer resume.
  case handoverCancelled(VIPIndex)
  case moveRefused(VIPIndex, MoveRefusal)
  case event(NodeEvent)
  /// Everything is handed over or let go: leave the event loop.
  case exit
}

/// Effects of one call, in order. Storage is reserved once; a call never makes more than `limit`.
package struct EffectBuffer: Sendable {
  /// 256 VIPs with up to 8 effects each, 64 members with 2, the datagrams, and some.
  package static let limit = 256 * 8 + 64 * 2 + 2 * Telling.maximumDatagrams + 16

  package private(set) var effects: [Effect] = []
  /// Announcements among them.
  private var announcements = 0

  package init() { effects.reserveCapacity(Self.limit) }

  package var isEmpty: Bool { effects.isEmpty }
  package var count: Int { effects.count }
  package subscript(position: Int) -> Effect { effects[position] }

  package mutating func append(_ effect: Effect) {
    precondition(effects.count < Self.limit, "more effects in one call than the design allows")
    switch effect {
    case .announce: announcements += 1
    // What is let go in the same call is not announced before: the shell may be late with it.
    case .release(let vip, _) where announcements > 0:
      let before = effects.count
      effects.removeAll { $0 == .announce(vip) }
      announcements -= before - effects.count
    default: break
    }
    effects.append(effect)
  }

  /// Forgets the effects and keeps the storage.
  package mutating func removeAll() {
    effects.removeAll(keepingCapacity: true)
    announcements = 0
  }
}

/// What the shell tells a node, besides datagrams and time.
package enum Command: Hashable, Sendable {
  case draining(Bool)
  /// Whether this node meets what the VIP requires.
  case requirements(VIPIndex, RequirementVerdict)
  case move(VIPIndex, to: MemberIndex)
  /// The balancer has quietened the VIP.
  case handoverReady(VIPIndex)
  /// Carrier of the cluster's interface. A node starts with carrier.
  case carrier(up: Bool)
  /// Carrier of the VIP's own interface, where that is another one. A VIP starts with carrier.
  case vipCarrier(VIPIndex, up: Bool)
  /// The answer to one `Effect.acquire`; each gets exactly one, in order.
  case addressResult(VIPIndex, ok: Bool)
  /// The answer to one `Effect.release`.
  case addressRemoved(VIPIndex)
  case intentsDigest(UInt64)
  /// A detection time has passed without a heartbeat that was sent: the kernel gate has shut, and the peers have given this
  /// node up.
  case silenced
  /// Hand everything over, then `Effect.exit`. `quieten` false: nobody is there to quieten the balancer.
  case shutdown(quieten: Bool)
}
