// What the agent and its balancer say to each other; framing as in ElectorMessages.swift.

package import Primitives

package enum ProxyMode: String, Codable, Sendable { case http, tcp }

package enum ForwardedStyle: String, Codable, Sendable {
  case xForwarded = "x-forwarded"
  case forwarded, both, none
}

package struct ListenerConfiguration: Codable, Equatable, Sendable {
  package struct Timeouts: Codable, Equatable, Sendable {
    package var requestHead = TimeSpan.seconds(10)
    package var idle = TimeSpan.seconds(60)
    package var clientBody = TimeSpan.seconds(30)
    package var tunnel = TimeSpan.seconds(3600)
    package init() {}
  }
  package struct Limits: Codable, Equatable, Sendable {
    package var connections = 20_000
    package var headByteCount = 16 * 1024
    package var headerCount = 100
    /// Nil: no limit.
    package var bodyByteCount: Int64?
    package var connectionsPerSource: Int?
    package init() {}
  }
  package var name: String
  package var mode: ProxyMode
  /// In the order of the file. Worker w's socket for bind b is the b × threads + w th descriptor of `listen`.
  package var bind: [Endpoint]
  /// Those of `bind`, by index, whose connections start with a PROXY header.
  package var proxyBinds: [Int] = []
  /// For what no route takes; empty: 404.
  package var pool: String
  /// The first that matches takes a request.
  package var routes: [RouteConfiguration] = []
  /// Name of the response header that names node and server; nil: none.
  package var servedByHeader: String?
  package var forwardedTrust: [AddressPrefix]
  package var forwardedStyle: ForwardedStyle
  package var timeouts: Timeouts
  package var limits: Limits

  package init(
    name: String, mode: ProxyMode, bind: [Endpoint], pool: String, servedByHeader: String? = nil,
    forwardedTrust: [AddressPrefix] = [], forwardedStyle: ForwardedStyle = .xForwarded, timeouts: Timeouts = .init(),
    limits: Limits = .init()
  ) {
    self.name = name
    self.mode = mode
    self.bind = bind
    self.pool = pool
    self.servedByHeader = servedByHeader
    self.forwardedTrust = forwardedTrust
    self.forwardedStyle = forwardedStyle
    self.timeouts = timeouts
    self.limits = limits
  }
}

package struct BalancerConfiguration: Codable, Equatable, Sendable {
  /// Named in Via and `served_by_header`.
  package var node: String
  package var threads: Int
  /// 16 bytes derived from the cluster key (or random for a lone balancer without one): the key of the affinity cookie's
  /// tags. First issues, all are accepted.
  package var cookieKeys: [[UInt8]]
  package var listeners: [ListenerConfiguration]
  package var pools: [PoolConfiguration]
  /// Nil: requests are not logged.
  package var accessLog: AccessLogConfiguration?

  package init(
    node: String, threads: Int, cookieKeys: [[UInt8]], listeners: [ListenerConfiguration],
    pools: [PoolConfiguration], accessLog: AccessLogConfiguration? = nil
  ) {
    self.node = node
    self.threads = threads
    self.cookieKeys = cookieKeys
    self.listeners = listeners
    self.pools = pools
    self.accessLog = accessLog
  }
}

/// What operators asked of a server.
package enum ServerAdministration: String, Codable, Sendable { case ready, drain, maint }

package struct ServerOrder: Codable, Equatable, Sendable {
  package var pool: String
  package var server: String
  package var administration: ServerAdministration
  /// 0 to 1,000; nil: what the configuration says.
  package var weight: Int?

  package init(pool: String, server: String, administration: ServerAdministration, weight: Int? = nil) {
    self.pool = pool
    self.server = server
    self.administration = administration
    self.weight = weight
  }
}

/// Agent → balancer.
package enum BalancerCommand: Codable, Sendable {
  /// The first message. The listening sockets come with it (SCM_RIGHTS), listener by listener, bind by bind, worker by
  /// worker; already bound and listening, non-blocking, SO_REUSEPORT.
  case start(BalancerConfiguration)
  /// Another configuration, with as many threads, to be taken over without a connection being lost. With it come the
  /// sockets of `opened`, the addresses that are new, bind by bind, worker by worker. Answered by `reconfigured`, after
  /// which the sockets of addresses that are in it no more can be closed, or by `refused`.
  case reconfigure(BalancerConfiguration, revision: UInt64, opened: [Endpoint])
  /// The whole list of orders that ask for something; replaces the one before.
  case orders([ServerOrder])
  /// The whole list of routes that go elsewhere; replaces the one before.
  case switches([RouteSwitch])
  /// These addresses are about to leave the node: close gently what is connected to them (first `Connection: close`, then
  /// new SYNs dropped while requests in flight finish). Answered by `quietened` at the latest after `deadline`.
  case quieten(token: UInt64, addresses: [IPAddress], deadline: TimeSpan)
  /// Answer to `BalancerReport.ignoreNewConnections`: from now on SYNs to these addresses are dropped.
  case newConnectionsIgnored(addresses: [IPAddress])
  /// The addresses have left, or come back: SYNs to them are accepted again.
  case resume(addresses: [IPAddress])
  /// The access log goes to the descriptor that comes with it, from the next line on.
  case accessLog
  /// Answered by `BalancerReport.figures`.
  case figures(token: UInt64)
  /// Stop accepting, let connections finish within that time, reset what is left, then exit.
  case shutdown(within: TimeSpan)
}

/// `backup`: up, and gets nothing while others are.
package enum ServerState: String, Codable, Sendable {
  case up, down, starting, drain, maint, backup

  /// Whether a server in this state has a share of new clients; one that waits as a backup would have one.
  package func takesNewClients(weight: Int) -> Bool { (self == .up || self == .backup) && weight > 0 }
}

package struct ServerStatus: Equatable, Sendable {
  package var name: String
  package var endpoint: Endpoint
  package var state: ServerState
  package var weight: Int
  /// Requests in flight (HTTP) and open connections (TCP, tunnels) on it; idle pooled connections do not count.
  package var connections: Int
  package var requests: UInt64
  package var failures: UInt64
  /// The last check's result in words, empty before the first.
  package var lastCheck: String
  package var requestsPerSecond: Double

  package init(
    name: String, endpoint: Endpoint, state: ServerState, weight: Int, connections: Int, requests: UInt64,
    failures: UInt64, lastCheck: String, requestsPerSecond: Double = 0
  ) {
    self.requestsPerSecond = requestsPerSecond
    self.name = name
    self.endpoint = endpoint
    self.state = state
    self.weight = weight
    self.connections = connections
    self.requests = requests
    self.failures = failures
    self.lastCheck = lastCheck
  }
}

extension ServerStatus {
  /// Of a server that no file names.
  package var configuration: ServerConfiguration { ServerConfiguration(name: name, endpoint: endpoint, weight: weight) }
}

package struct PoolStatus: Equatable, Sendable {
  package var name: String
  package var servers: [ServerStatus]
  /// Who they are is being looked up for the first time.
  package var isBeingLookedUp: Bool

  package init(name: String, servers: [ServerStatus], isBeingLookedUp: Bool = false) {
    self.name = name
    self.servers = servers
    self.isBeingLookedUp = isBeingLookedUp
  }
}

package struct ListenerStatus: Codable, Equatable, Sendable {
  package var name: String
  package var connections: Int
  package var accepted: UInt64
  package var requests: UInt64
  package var refused: UInt64

  package init(name: String, connections: Int, accepted: UInt64, requests: UInt64, refused: UInt64) {
    self.name = name
    self.connections = connections
    self.accepted = accepted
    self.requests = requests
    self.refused = refused
  }
}

package struct BalancerStatus: Codable, Equatable, Sendable {
  package var pools: [PoolStatus]
  package var listeners: [ListenerStatus]
  package var warnings: [String]

  package init(pools: [PoolStatus], listeners: [ListenerStatus], warnings: [String]) {
    self.pools = pools
    self.listeners = listeners
    self.warnings = warnings
  }
}

/// Balancer → agent.
package enum BalancerReport: Codable, Sendable {
  /// Accepting on every listener.
  case ready
  /// Soon after every change of a server's state, and every 250 ms; with thousands of servers, of which a status takes its
  /// time, a second after a change and every 5 s at the latest.
  case status(BalancerStatus)
  case serverChanged(pool: String, server: String, state: ServerState, cause: String)
  /// Many servers of a pool have come or gone at once.
  case poolChanged(pool: String, cause: String)
  /// Every worker has taken over the configuration of that revision.
  case reconfigured(revision: UInt64)
  /// Nothing has changed.
  case refused(revision: UInt64, why: String)
  case quietened(token: UInt64)
  case figures(BalancerFigures, token: UInt64)
  /// Asks for SYNs to these addresses, and to no others, to be dropped on all listening sockets, because some kernels let
  /// only the privileged attach a socket filter. Comes before the `quietened` that counts on it. The balancer removes the
  /// filter itself.
  case ignoreNewConnections(addresses: [IPAddress])
  case failed(String)
}
