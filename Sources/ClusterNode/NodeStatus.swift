// A node as `status` shows it: plain numbers that can be copied on the heartbeat thread and put into words elsewhere.

package import Election
package import Membership
package import Primitives

package struct VIPView: Hashable, Sendable {
  /// False for a free slot; the rest means nothing then.
  package var isConfigured = false
  package var holder: MemberIndex?
  /// The member that says so, where this node does not hear the holder itself.
  package var toldBy: MemberIndex?
  package var position = VIPPosition.idle
  /// When the holder last changed, on the node's clock; nil if it never did.
  package var since: Instant?
  package var cause = TransitionCause.none
  /// Why this node may not take it.
  package var ineligible: Ineligibility?
  /// Who is alive and announced that it may hold it, this node among them: bit i for member slot i.
  package var eligibleMembers: UInt64 = 0
  package var handoverUnderWay = false
  /// Ineligible until then, because the system refused the address so many times in a row.
  package var failedUntil: Instant?
  package var addressFailures = 0

  package init() {}
}

package struct MemberView: Hashable, Sendable {
  package enum State: Hashable, Sendable {
    /// Configured, and never heard since this node started.
    case unheard
    case starting, alive, suspect, dead
  }
  package var isConfigured = false
  package var isSelf = false
  package var state = State.unheard
  package var draining = false
  package var hearsUs = false
  package var roundTrip: TimeSpan?
  /// In 1/255; nil until measured.
  package var lossIn: UInt8?
  package var lossOut: UInt8?
  package var lastHeard: Instant?
  package var configurationDigest: UInt64?
  package var intentsDigest: UInt64?
  package var detectionTime: TimeSpan?
  /// How long this node waits for it: `detectionTime`, or more where its heartbeats come unevenly.
  package var patience: TimeSpan?

  package init() {}
}

/// One of the ways by which this node may hear a member.
package struct PathView: Hashable, Sendable {
  /// When anything of the member last came there, and when a multicast did.
  package var heardAt: Instant?
  package var multicastAt: Instant?

  package init() {}
}

/// Everything of a node but the words. Arrays have their full size from the start, so that filling allocates nothing.
package struct StatusSnapshot: Sendable {
  package var takenAt = Instant(nanoseconds: 0)
  /// By slot.
  package var members = [MemberView](repeating: MemberView(), count: MemberIndex.limit)
  package var vips = [VIPView](repeating: VIPView(), count: VIPIndex.limit)
  /// What member i hears of member j, at i × `MemberIndex.limit` + j, for the slots in use.
  package var links = [LinkView](repeating: LinkView(), count: MemberIndex.limit * MemberIndex.limit)
  /// Of member i over path j, at i × `Arrival.pathLimit` + j, for the slots and paths in use.
  package var paths = [PathView](repeating: PathView(), count: MemberIndex.limit * Arrival.pathLimit)
  package var worstStall = TimeSpan.zero
  package var detectionTime = TimeSpan.zero
  /// Larger than the configured one while this node's heartbeats were late by up to `lateness` lately.
  package var configuredDetectionTime = TimeSpan.zero
  package var lateness = TimeSpan.zero
  package var nextSequence: UInt64 = 0

  package init() {}
}
