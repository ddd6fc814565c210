// What agents tell each other. Values travel as `MessageCoding`: fields and cases may be added, an unknown case is skipped
// by older versions.

package import Control
package import Intents
package import Primitives

package enum ChannelMessage: Codable, Equatable, Sendable {
  /// The first message of both sides.
  case hello(ChannelHello)
  /// Intents to merge: the whole document or a part of it.
  case intents(Intents)
  /// What a node holds and serves; on changes, and at least every second.
  case report(NodeReport)
  /// Answered by `answer` with the same number.
  case command(id: UInt64, ChannelCommand)
  case answer(id: UInt64, ChannelAnswer)
  /// Nothing else was said for a while.
  case keepAlive
}

package struct ChannelHello: Codable, Equatable, Sendable {
  package var node: NodeName
  /// Software version, for people.
  package var version: String
  package var intentsDigest: UInt64

  package init(node: NodeName, version: String, intentsDigest: UInt64) {
    self.node = node
    self.version = version
    self.intentsDigest = intentsDigest
  }
}

package enum ChannelCommand: Codable, Equatable, Sendable {
  /// Merge this and put it on the disk.
  case record(Intents)
  /// Hand over a VIP that you hold.
  case move(APIMoveRequest)
}

package enum ChannelAnswer: Codable, Equatable, Sendable {
  /// On the disk; the digest of the whole document there.
  case recorded(digest: UInt64)
  case moved(APIMoveAnswer)
  /// `status` as in HTTP.
  case refused(status: Int, APIError)
}

/// What one node knows of itself that drains elsewhere wait for.
package struct NodeReport: Codable, Equatable, Sendable {
  /// A server whose member is being drained, as this node's balancer sees it.
  package struct Server: Codable, Equatable, Sendable {
    package var pool: String
    package var server: String
    package var member: NodeName
    package var state: ServerState
    package var connections: Int
    /// How long neither a connection nor a new request has been seen on it.
    package var quiet: TimeSpan

    package init(
      pool: String, server: String, member: NodeName, state: ServerState, connections: Int,
      quiet: TimeSpan = .seconds(60)
    ) {
      self.quiet = quiet
      self.pool = pool
      self.server = server
      self.member = member
      self.state = state
      self.connections = connections
    }
  }

  /// A report lists at most this many servers, those with connections first.
  package static let maximumServerCount = 256

  package var node: NodeName
  package var intentsDigest: UInt64
  /// Nodes whose drain this node has acted upon.
  package var draining: [NodeName]
  /// Nil while the elector does not report.
  package var vipsHeld: [String]?
  /// Nil while the balancer does not serve.
  package var servers: [Server]?
  /// Clients of the own balancer on the addresses of VIPs that this node holds.
  package var clientConnections: Int

  package init(
    node: NodeName, intentsDigest: UInt64, draining: [NodeName] = [], vipsHeld: [String]? = nil,
    servers: [Server]? = nil,
    clientConnections: Int = 0
  ) {
    self.node = node
    self.intentsDigest = intentsDigest
    self.draining = draining
    self.vipsHeld = vipsHeld
    self.servers = servers
    self.clientConnections = clientConnections
  }
}
