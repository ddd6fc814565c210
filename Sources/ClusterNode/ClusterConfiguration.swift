// What a node needs to know of its cluster, as the election understands it. Built by the shell from the agent's message.

package import Election
package import Primitives

package struct ClusterConfiguration: Sendable {
  package struct Member: Sendable {
    package var name: NodeName
    /// False for witnesses and observers.
    package var mayHold: Bool

    package init(name: NodeName, mayHold: Bool = true) {
      self.name = name
      self.mayHold = mayHold
    }
  }

  package struct VIP: Sendable {
    package var name: String
    /// Preferred nodes, first is best; nil: the rendezvous order of (VIP, node).
    package var prefer: [NodeName]?
    package var failback: FailbackRule
    /// It requires something: the node may not hold it until `Command.requirements` says so.
    package var isConditional: Bool
    package var announce: TimeSpan
    /// The shell can silence this node for the VIP at once (the kernel gate): `Effect.release` does, before anything that
    /// follows it, and the address may go later.
    package var isGated: Bool
    /// A planned handover leaves TCP connections where they are: the shell can keep them behind the shut gate, and pass on
    /// what belongs to the previous holder.
    package var keepsConnections: Bool

    package init(
      name: String, prefer: [NodeName]? = nil, failback: FailbackRule = .never, isConditional: Bool = false,
      announce: TimeSpan = .seconds(60), isGated: Bool = false,
      keepsConnections: Bool = false
    ) {
      self.name = name
      self.prefer = prefer
      self.failback = failback
      self.isConditional = isConditional
      self.announce = announce
      self.isGated = isGated
      self.keepsConnections = keepsConnections
    }
  }

  /// How heartbeats travel.
  package enum Transport: Sendable {
    /// To the group, and to each member that is not heard both ways by it.
    case multicast
    /// To each member.
    case unicast
  }

  package var clusterName: String
  /// This node; one of `members`.
  package var node: NodeName
  package var heartbeat: TimeSpan
  package var deadAfter: Int
  package var aloneAfter: TimeSpan
  package var transport: Transport
  /// Interfaces of the heartbeats: 1 to `Arrival.pathLimit`.
  package var pathCount: Int
  /// At most `MemberIndex.limit`.
  package var members: [Member]
  /// At most `VIPIndex.limit`.
  package var vips: [VIP]
  package var digest: UInt64
  /// Told to the peers; cut to 32 bytes.
  package var softwareVersion: String

  package init(
    clusterName: String, node: NodeName, heartbeat: TimeSpan, deadAfter: Int = 3, aloneAfter: TimeSpan = .seconds(5),
    transport: Transport = .multicast, pathCount: Int = 1, members: [Member], vips: [VIP], digest: UInt64 = 0,
    softwareVersion: String = ""
  ) {
    self.clusterName = clusterName
    self.node = node
    self.heartbeat = heartbeat
    self.deadAfter = deadAfter
    self.aloneAfter = aloneAfter
    self.transport = transport
    self.pathCount = pathCount
    self.members = members
    self.vips = vips
    self.digest = digest
    self.softwareVersion = softwareVersion
  }

  /// How long a member may be silent before it is dead: `deadAfter` intervals and half a one, so that the last heartbeat
  /// that counts may itself be late by half an interval.
  package var detectionTime: TimeSpan { heartbeat * Int64(deadAfter) + heartbeat / 2 }
}
