// What the agent tells its balancer of a pool: servers, how clients are spread over them, how their health is found out.

package import Primitives

package enum BalanceAlgorithm: Codable, Equatable, Sendable {
  case roundRobin
  case leastConnections
  case randomTwo
  case hash(HashSubject)
}

/// What a pool's hash is taken of. A request that has no such header or cookie is hashed by its source.
package enum HashSubject: Codable, Equatable, Sendable {
  case source
  case header(String)
  case cookie(String)
  /// Path and query, as they were sent.
  case uri
}

package enum Affinity: Codable, Equatable, Sendable {
  case none
  case source
  /// `maxAge` nil: a session cookie. `sameSite` is "Strict", "Lax", "None" or nil.
  case cookie(name: String, maxAge: TimeSpan?, secure: Bool, sameSite: String?)
}

package struct ServerConfiguration: Codable, Equatable, Sendable {
  package var name: String
  package var endpoint: Endpoint
  /// The host whose address the balancer looks up: `endpoint` has it, or 0.0.0.0 while there is none. Nil: `endpoint` is
  /// what the file says.
  package var hostName: String?
  /// 0 to 1,000; 0 takes no new clients.
  package var weight: Int
  package var maximumConnections: Int?
  /// Takes clients only while no other server of the pool is up.
  package var isBackup: Bool
  /// Sent as Host instead of the client's; nil: the client's.
  package var host: String?
  /// Connections to it start with a PROXY header; nil: they do not.
  package var proxyHeader: ProxyHeaderVersion?
  /// The member that runs it, when it has one: that member's drain takes the server out.
  package var member: NodeName?

  package init(
    name: String, endpoint: Endpoint, hostName: String? = nil, weight: Int = 100, maximumConnections: Int? = nil,
    isBackup: Bool = false, host: String? = nil, proxyHeader: ProxyHeaderVersion? = nil, member: NodeName? = nil
  ) {
    self.name = name
    self.endpoint = endpoint
    self.hostName = hostName
    self.weight = weight
    self.maximumConnections = maximumConnections
    self.isBackup = isBackup
    self.host = host
    self.proxyHeader = proxyHeader
    self.member = member
  }

  /// As the file says it: `app.example:8080`, `192.0.2.21:8080`.
  package var authority: String { authority(port: endpoint.port) }

  package func authority(port: UInt16) -> String {
    hostName.map { "\($0):\(port)" } ?? Endpoint(address: endpoint.address, port: port).description
  }

  /// False while its name is not known to have one.
  package var hasAddress: Bool { !endpoint.address.isUnspecified }
}

package struct HealthCheckConfiguration: Codable, Equatable, Sendable {
  package enum Kind: Codable, Equatable, Sendable {
    /// Server counts as up without a look.
    case none
    /// `send` is written first when it is not empty; with `expect` not empty the answer must contain it.
    case tcp(send: [UInt8], expect: [UInt8])
    case http(path: String, method: String, host: String?, expect: Expectation)
    /// A program, by its absolute path, that ends with status 0 while the server works.
    case script(path: String)
  }
  /// Of an answer to an HTTP check.
  package struct Expectation: Codable, Equatable, Sendable {
    package var status: [ClosedRange<Int>]
    package var bodyContains: String?
    /// A regular expression, found anywhere in the body.
    package var bodyPattern: String?

    package init(status: [ClosedRange<Int>] = [200...399], bodyContains: String? = nil, bodyPattern: String? = nil) {
      self.status = status
      self.bodyContains = bodyContains
      self.bodyPattern = bodyPattern
    }
  }
  package var kind: Kind
  /// Nil: the server's own.
  package var port: UInt16?
  package var every = TimeSpan.seconds(2)
  package var timeout = TimeSpan.seconds(1)
  package var rise = 2
  package var fall = 3
  /// While a server's state is changing.
  package var fast = TimeSpan.milliseconds(500)
  /// While it is down.
  package var down = TimeSpan.seconds(5)

  package init(kind: Kind) { self.kind = kind }
}

package struct PoolConfiguration: Codable, Equatable, Sendable {
  package struct Timeouts: Codable, Equatable, Sendable {
    package var connect = TimeSpan.seconds(3)
    package var response = TimeSpan.seconds(60)
    package var idle = TimeSpan.seconds(60)
    package init() {}
  }
  package struct Retry: Codable, Equatable, Sendable {
    /// Extra tries after the first.
    package var attempts = 1
    /// Share of the pool's requests that may be retries, in percent.
    package var budgetPercent = 20
    package var on: [Cause] = [.connect, .reusedConnection, .lostConnection]
    /// What a server may be asked a second time.
    package var methods = Retry.idempotent
    /// Answers that another server is asked after; with `methods` only.
    package var status: [Int] = []
    package init() {}

    package enum Cause: String, Codable, Sendable {
      case connect, timeout
      case reusedConnection = "reused_connection"
      case lostConnection = "lost_connection"
    }
    package static let safe = ["GET", "HEAD", "OPTIONS", "TRACE"]
    package static let idempotent = safe + ["PUT", "DELETE"]
  }
  /// Ejection of servers that fail live requests.
  package struct Passive: Codable, Equatable, Sendable {
    package var failures = 5
    package var within = TimeSpan.seconds(10)
    package var eject = TimeSpan.seconds(30)
    package var atMostPercent = 50
    package init() {}
  }
  /// Requests that wait while every server has reached `maximumConnections`.
  package struct Queue: Codable, Equatable, Sendable {
    package var size = 1_000
    package var timeout = TimeSpan.seconds(5)
    package init() {}
  }
  /// What clients get while no server is up.
  package enum WhenAllDown: Codable, Equatable, Sendable {
    /// 503 with the reason.
    case error
    /// The servers of another pool.
    case pool(String)
    /// An answer of the balancer's own.
    case respond(status: Int, body: String, fields: [FieldText])
    /// Files below the folder `root`, an absolute path, and its `index` with 503 for every path that is none of them.
    case files(root: String, index: String)

    package var isError: Bool { self == .error }
  }
  /// The servers are all addresses of a host name, which the balancer looks up.
  package struct Discovery: Codable, Equatable, Sendable {
    package var name: String
    package var port: UInt16
    /// Between two look-ups.
    package var refresh = TimeSpan.seconds(10)

    package init(name: String, port: UInt16) {
      self.name = name
      self.port = port
    }

    package func servers(_ addresses: [IPAddress]) -> [ServerConfiguration] {
      addresses.map { address in
        ServerConfiguration(name: Self.serverName(address), endpoint: Endpoint(address: address, port: port))
      }
    }

    /// `192.0.2.21`, `2001-db8--21`: names of servers have no colons.
    package static func serverName(_ address: IPAddress) -> String {
      address.description.split(separator: ":", omittingEmptySubsequences: false).joined(separator: "-")
    }

    package static func isServerName(_ text: String) -> Bool {
      IPAddress(text.split(separator: "-", omittingEmptySubsequences: false).joined(separator: ":")) != nil
    }
  }
  /// What checks, and requests without one, name as Host at a server's `port`.
  package func authority(of server: ServerConfiguration, port: UInt16) -> String {
    discovery.map { "\($0.name):\(port)" } ?? server.authority(port: port)
  }

  package var name: String
  package var balance: BalanceAlgorithm
  package var affinity: Affinity
  package var servers: [ServerConfiguration]
  /// With it the file names no servers.
  package var discovery: Discovery?
  package var check: HealthCheckConfiguration
  package var timeouts = Timeouts()
  package var retry = Retry()
  package var stickyGrace = TimeSpan.seconds(30)
  /// A server that comes up gets its full share only after this time.
  package var slowStart = TimeSpan.zero
  package var queue = Queue()
  /// Nil: no server is ejected for what its requests meet.
  package var passive: Passive? = Passive()
  package var whenAllDown = WhenAllDown.error

  package init(
    name: String, balance: BalanceAlgorithm, affinity: Affinity, servers: [ServerConfiguration],
    check: HealthCheckConfiguration
  ) {
    self.name = name
    self.balance = balance
    self.affinity = affinity
    self.servers = servers
    self.check = check
  }

  /// The pool that stands in when all servers of this one are down.
  package var standIn: String? { if case .pool(let name) = whenAllDown { name } else { nil } }
}

extension [PoolConfiguration] {
  /// The pools that clients of the pool `name` may come to: it, the one that stands in for it, and so on.
  package func standIns(behind name: String) -> [PoolConfiguration] {
    var line: [PoolConfiguration] = []
    var next: String? = name
    while let name = next, !line.contains(where: { $0.name == name }), let pool = first(where: { $0.name == name }) {
      line.append(pool)
      next = pool.standIn
    }
    return line
  }
}
