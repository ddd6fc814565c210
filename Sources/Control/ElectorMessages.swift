// What the agent and its elector say to each other, over a SOCK_SEQPACKET socketpair: one message per packet, each the
// `MessageCoding` form of one of these enums. Values longer than `maximumInlineByteCount` travel in a memory file whose
// descriptor goes with the packet (see `Kernel.ControlSocket`).

package import Primitives

/// A member of the cluster as the elector sees it.
package struct MemberConfiguration: Codable, Hashable, Sendable {
  package enum Role: String, Codable, Sendable { case voter, witness, observer }
  package var name: NodeName
  /// One for each of the cluster's interfaces, in their order.
  package var addresses: [IPAddress]
  package var role: Role

  package init(name: NodeName, addresses: [IPAddress], role: Role) {
    self.name = name
    self.addresses = addresses
    self.role = role
  }

  /// The one that other things than heartbeats use.
  package var address: IPAddress { addresses[0] }
}

/// How heartbeats travel.
package enum Transport: String, Codable, Sendable {
  /// To the group, and to each member that is not heard both ways by it.
  case multicast
  /// To each member.
  case unicast
}

/// When a VIP goes back to a node that ranks higher than its holder.
package enum Failback: Codable, Hashable, Sendable {
  case never
  case atOnce
  /// After the preferred node has been healthy for this long.
  case after(TimeSpan)
}

package struct VIPConfiguration: Codable, Hashable, Sendable {
  package var name: String
  package var addresses: [AddressPrefix]
  package var interface: String
  /// Nodes in order of preference; nil means `spread`, the rendezvous order of (VIP, node).
  package var prefer: [NodeName]?
  package var failback: Failback
  /// What a node needs to be eligible. Where there is anything, it is not until the agent says so.
  package var requires: [Requirement]
  /// Refresh of the neighbours' caches.
  package var announce: TimeSpan
  /// The agent's hook: a program that is run when the VIP comes or goes.
  package var onChange: String?

  package init(
    name: String, addresses: [AddressPrefix], interface: String, prefer: [NodeName]?, failback: Failback,
    requires: [Requirement] = [], announce: TimeSpan, onChange: String? = nil
  ) {
    self.name = name
    self.addresses = addresses
    self.interface = interface
    self.prefer = prefer
    self.failback = failback
    self.requires = requires
    self.announce = announce
    self.onChange = onChange
  }
}

/// Everything that the elector needs from the configuration file.
package struct ElectorConfiguration: Codable, Equatable, Sendable {
  package var clusterName: String
  package var node: NodeName
  /// Of the heartbeats, one or several.
  package var interfaces: [String]
  package var transport: Transport
  /// The port is that of unicast heartbeats too, and of the channel between agents.
  package var group: Endpoint
  /// 1 or 2 keys of 32 bytes; the first signs, all are accepted.
  package var keys: [[UInt8]]
  package var heartbeat: TimeSpan
  package var deadAfter: Int
  package var aloneAfter: TimeSpan
  package var members: [MemberConfiguration]
  package var vips: [VIPConfiguration]
  /// Hash of the configuration file, shown by `members`.
  package var digest: UInt64
  /// VIP → its slot in the kernel gate's deadlines, whose descriptor comes with the message; nil without a gate. A VIP that
  /// is missing here is not behind it.
  package var gateSlots: [String: Int]?

  package init(
    clusterName: String, node: NodeName, interfaces: [String], transport: Transport = .multicast, group: Endpoint,
    keys: [[UInt8]], heartbeat: TimeSpan, deadAfter: Int, aloneAfter: TimeSpan, members: [MemberConfiguration],
    vips: [VIPConfiguration], digest: UInt64
  ) {
    self.clusterName = clusterName
    self.node = node
    self.interfaces = interfaces
    self.transport = transport
    self.group = group
    self.keys = keys
    self.heartbeat = heartbeat
    self.deadAfter = deadAfter
    self.aloneAfter = aloneAfter
    self.members = members
    self.vips = vips
    self.digest = digest
  }
}

extension ElectorConfiguration {
  /// The group of one path (0 is the first interface): the configured one where the node's address there is of its family,
  /// else the other family's default, at the same port.
  package func group(ofPath path: Int) -> Endpoint {
    let own = members.first { $0.name == node }?.addresses ?? []
    guard path < own.count, own[path].family != group.address.family else { return group }
    return Endpoint(address: Endpoint.heartbeats(of: own[path].family).address, port: group.port)
  }
}

/// Agent → elector.
package enum ElectorCommand: Codable, Sendable {
  /// The first message.
  case configure(ElectorConfiguration)
  /// On reload. Answered by `reconfigured` when it is in force, or by `refused`, which changes nothing. `onlyCheck`: answered
  /// likewise, and changes nothing either way.
  case reconfigure(ElectorConfiguration, revision: UInt64, onlyCheck: Bool)
  /// Which VIPs are behind the kernel gate from now on, and in which slots. Answered by `reconfigured`.
  case gateSlots([String: Int], revision: UInt64)
  /// Operators asked this node to give everything away, and to take nothing.
  case draining(Bool)
  /// For VIPs with requirements: whether this node meets them. VIPs that are not named stay as they were.
  case standings([VIPStanding])
  /// Planned handover of a VIP that this node holds. Answered by `moveRefused`, or by the events of the handover.
  case move(vip: String, to: NodeName)
  /// The balancer has quietened the VIP: swap now (answer to `ElectorReport.handoverStarting`).
  case handoverReady(vip: String)
  /// Digest of the operators' intents, carried in the heartbeats.
  case intentsDigest(UInt64)
  /// Hand everything over, then exit.
  case shutdown
}

/// What this node is to a VIP.
package enum VIPRole: String, Codable, Sendable { case idle, candidate, holder }

package struct VIPStatus: Codable, Equatable, Sendable {
  package var name: String
  /// Who holds it in this node's eyes.
  package var holder: NodeName?
  /// Who says so, where this node does not hear the holder itself.
  package var toldBy: NodeName?
  package var role: VIPRole
  /// When the holder last changed: nanoseconds since 1970, 0 if it never did or that is not known here.
  package var sinceUnixNanoseconds: Int64
  /// Why it last changed, in words.
  package var cause: String
  /// Why this node may not hold it; nil if it may.
  package var ineligible: String?
  /// Who is alive and may hold it, as this node heard; itself among them.
  package var eligible: [NodeName]
  /// Hardware address of another machine that claimed it in the last seconds, while this node holds it.
  package var claimedBy: String?

  package init(
    name: String, holder: NodeName?, role: VIPRole, sinceUnixNanoseconds: Int64, cause: String, ineligible: String?,
    eligible: [NodeName] = [], claimedBy: String? = nil, toldBy: NodeName? = nil
  ) {
    self.name = name
    self.holder = holder
    self.toldBy = toldBy
    self.role = role
    self.sinceUnixNanoseconds = sinceUnixNanoseconds
    self.cause = cause
    self.ineligible = ineligible
    self.eligible = eligible
    self.claimedBy = claimedBy
  }
}

/// How this node hears a member over one of the heartbeats' interfaces.
package struct PathStatus: Codable, Equatable, Sendable {
  package var interface: String
  /// Nil while the member has come so lately that it may still be.
  package var isHeard: Bool?
  package var lastHeardAgo: TimeSpan?
  /// Its multicasts too, not only what it addresses to this node. Nil unless it is heard.
  package var isMulticast: Bool?

  package init(interface: String, isHeard: Bool?, lastHeardAgo: TimeSpan?, isMulticast: Bool?) {
    self.interface = interface
    self.isHeard = isHeard
    self.lastHeardAgo = lastHeardAgo
    self.isMulticast = isMulticast
  }
}

package struct MemberStatus: Codable, Equatable, Sendable {
  package enum State: String, Codable, Sendable { case alive, suspect, dead, starting }
  package var name: NodeName
  package var state: State
  package var draining: Bool
  /// Nil until measured.
  package var roundTrip: TimeSpan?
  /// Share of heartbeats lost over the last 256, 0…1; nil until measured. `lossIn`: from it to us; `lossOut`: from us to it.
  package var lossIn: Double?
  package var lossOut: Double?
  package var lastHeardAgo: TimeSpan?
  package var configurationDigest: UInt64?
  package var intentsDigest: UInt64?
  /// Software version that the member announces, as text; nil until heard.
  package var softwareVersion: String?
  /// How long it may be silent before this node takes it for dead; for this node itself, what it announces.
  package var detectionTime: TimeSpan?
  /// One for each interface of the heartbeats, in their order; none of this node itself.
  package var paths: [PathStatus]

  package init(
    name: NodeName, state: State, draining: Bool, roundTrip: TimeSpan?, lossIn: Double?, lossOut: Double?,
    lastHeardAgo: TimeSpan?, configurationDigest: UInt64?, intentsDigest: UInt64?, softwareVersion: String?,
    detectionTime: TimeSpan? = nil, paths: [PathStatus] = []
  ) {
    self.detectionTime = detectionTime
    self.paths = paths
    self.name = name
    self.state = state
    self.draining = draining
    self.roundTrip = roundTrip
    self.lossIn = lossIn
    self.lossOut = lossOut
    self.lastHeardAgo = lastHeardAgo
    self.configurationDigest = configurationDigest
    self.intentsDigest = intentsDigest
    self.softwareVersion = softwareVersion
  }
}

/// What one member hears of another, as it says itself.
package struct LinkStatus: Codable, Equatable, Sendable {
  package var hearer: NodeName
  package var other: NodeName
  /// It heard the other lately.
  package var isHeard: Bool
  /// Share of the other's last 256 heartbeats that it missed, 0…1.
  package var loss: Double?
  /// Nil as long as it is not known.
  package var roundTrip: TimeSpan?

  package init(hearer: NodeName, other: NodeName, isHeard: Bool, loss: Double?, roundTrip: TimeSpan?) {
    self.hearer = hearer
    self.other = other
    self.isHeard = isHeard
    self.loss = loss
    self.roundTrip = roundTrip
  }
}

package struct ElectorStatus: Codable, Equatable, Sendable {
  package var vips: [VIPStatus]
  package var members: [MemberStatus]
  /// Datagrams dropped before any state was touched, by reason in words ("wrong key" → count).
  package var dropped: [String: UInt64]
  package var worstStall: TimeSpan
  package var detectionTime: TimeSpan
  /// What the elector would like the operator to know ("real-time scheduling refused: …").
  package var warnings: [String]

  package init(
    vips: [VIPStatus], members: [MemberStatus], dropped: [String: UInt64], worstStall: TimeSpan,
    detectionTime: TimeSpan,
    warnings: [String]
  ) {
    self.vips = vips
    self.members = members
    self.dropped = dropped
    self.worstStall = worstStall
    self.detectionTime = detectionTime
    self.warnings = warnings
  }
}

/// One line of the event log.
package struct ElectorEvent: Codable, Equatable, Sendable {
  package enum Kind: String, Codable, Sendable {
    case vipGained, vipLost, vipAddressFailed, memberAlive, memberSuspect, memberDead, handoverDone, warning
    /// Members that are heard otherwise are not heard on the interface; they have been heard there for a while again.
    case pathLost, pathBack
  }
  package var kind: Kind
  /// VIP, member or interface.
  package var subject: String
  package var cause: String
  package var unixNanoseconds: Int64
  /// Times of the steps in words → nanoseconds ("detect", "decide", "activate"), where there were any.
  package var steps: [String: Int64]

  package init(kind: Kind, subject: String, cause: String, unixNanoseconds: Int64, steps: [String: Int64] = [:]) {
    self.kind = kind
    self.subject = subject
    self.cause = cause
    self.unixNanoseconds = unixNanoseconds
    self.steps = steps
  }
}

/// Elector → agent.
package enum ElectorReport: Codable, Sendable {
  /// Configured and listening; `privileges` in words for `status`.
  case ready(bootHigh: UInt64, bootLow: UInt64)
  /// On every change, and at least every 250 ms, with 200 VIPs every second.
  case status(ElectorStatus)
  case event(ElectorEvent)
  /// Of every two members that are alive, what one hears of the other; now and then.
  case links([LinkStatus])
  /// A planned handover begins: have the balancer quieten the VIP, then answer `handoverReady`. The elector swaps
  /// without an answer after `deadline`.
  case handoverStarting(vip: String, to: NodeName, deadline: TimeSpan)
  /// The handover will not happen and this node keeps the VIP: have the balancer resume.
  case handoverCancelled(vip: String)
  /// The VIP has been handed over and the TCP connections at its addresses go on here, for `deadline` at most. `gently`: have
  /// the balancer end them as soon as it may; nobody waits for its answer.
  case connectionsStay(vip: String, deadline: TimeSpan, gently: Bool)
  /// None is left, or their time is over.
  case connectionsGone(vip: String)
  case moveRefused(vip: String, why: String)
  /// What came under this revision is in force: the heartbeat thread goes by it.
  case reconfigured(revision: UInt64)
  case refused(revision: UInt64, why: String)
  case failed(String)
}

/// Layout of the page of memory that agent and elector share; each word is an atomic of eight bytes.
/// The guardian reads it to see that the elector lives and, when it does not, to resign in its name.
package enum ElectorPage {
  package static let byteCount = 4096
  package static let magic: UInt64 = 0x4146_4c4f_4154_0001
  package enum Word: Int { case magic, beat, bootHigh, bootLow, nextSequence, detectionNanoseconds }
}
