// What GET /v1/… answers and `--json` prints. The field names are the contract with operators' scripts: fields may be
// added, never renamed or removed. Numbers of time say their unit in the name.

/// How a member and another one hear each other, as both say.
package struct APILink: Codable, Equatable, Sendable {
  /// The other one.
  package var name: String
  /// Whether the member hears the other, and the other the member; null where that is not known.
  @OrNull package var hears: Bool?
  @OrNull package var isHeard: Bool?
  /// Share of the other's heartbeats that the member misses, 0…1, and the other way.
  @OrNull package var lossIn: Double?
  @OrNull package var lossOut: Double?
  /// As the member measures it.
  @OrNull package var rttMilliseconds: Double?

  package init(
    name: String, hears: Bool?, isHeard: Bool?, lossIn: Double? = nil, lossOut: Double? = nil,
    rttMilliseconds: Double? = nil
  ) {
    self.name = name
    self.hears = hears
    self.isHeard = isHeard
    self.lossIn = lossIn
    self.lossOut = lossOut
    self.rttMilliseconds = rttMilliseconds
  }

  enum CodingKeys: String, CodingKey {
    case name, hears
    case isHeard = "heard"
    case rttMilliseconds = "rtt_ms"
    case lossIn = "loss_in"
    case lossOut = "loss_out"
  }
}

/// How the node that answers hears a member over one of the heartbeats' interfaces.
package struct APIPath: Codable, Equatable, Sendable {
  package var interface: String
  /// Null while the member has come so lately that it may still be.
  @OrNull package var heard: Bool?
  @OrNull package var lastHeardMilliseconds: Double?
  /// Its multicasts too, not only what it addresses to the node; null unless it is heard.
  @OrNull package var multicast: Bool?

  package init(interface: String, heard: Bool?, lastHeardMilliseconds: Double? = nil, multicast: Bool? = nil) {
    self.interface = interface
    self.heard = heard
    self.lastHeardMilliseconds = lastHeardMilliseconds
    self.multicast = multicast
  }

  enum CodingKeys: String, CodingKey {
    case interface, heard, multicast
    case lastHeardMilliseconds = "last_heard_ms"
  }
}

/// GET /v1/members: an array of these.
package struct APIMember: Codable, Equatable, Sendable {
  package enum State: String, Codable, Sendable { case alive, suspect, dead, draining, drained, starting }

  package var name: String
  package var address: String
  /// voter, witness or observer.
  package var role: String
  package var state: State
  /// True for the node that answers.
  package var isSelf: Bool
  @OrNull package var rttMilliseconds: Double?
  /// Share of heartbeats lost, 0…1; `lossIn`: from it to the node that answers, `lossOut`: the other way.
  @OrNull package var lossIn: Double?
  @OrNull package var lossOut: Double?
  @OrNull package var lastHeardMilliseconds: Double?
  /// Hash of its configuration file, 16 hex digits: members with different ones run different files.
  @OrNull package var configuration: String?
  /// Longest time that its elector was kept from running.
  @OrNull package var worstStallMilliseconds: Double?
  /// How long it may be silent before the node that answers takes it for dead.
  @OrNull package var detectionMilliseconds: Double?
  @OrNull package var version: String?
  /// With every other member that is alive.
  @OrEmpty package var links: [APILink]
  /// One for each interface of the heartbeats, in their order; none of the node that answers.
  @OrEmpty package var paths: [APIPath]

  package init(
    name: String, address: String, role: String, state: State, isSelf: Bool = false, rttMilliseconds: Double? = nil,
    lossIn: Double? = nil, lossOut: Double? = nil, lastHeardMilliseconds: Double? = nil, configuration: String? = nil,
    worstStallMilliseconds: Double? = nil, detectionMilliseconds: Double? = nil, version: String? = nil,
    links: [APILink] = [], paths: [APIPath] = []
  ) {
    self.name = name
    self.address = address
    self.role = role
    self.state = state
    self.isSelf = isSelf
    self.rttMilliseconds = rttMilliseconds
    self.lossIn = lossIn
    self.lossOut = lossOut
    self.lastHeardMilliseconds = lastHeardMilliseconds
    self.configuration = configuration
    self.worstStallMilliseconds = worstStallMilliseconds
    self.detectionMilliseconds = detectionMilliseconds
    self.version = version
    self.links = links
    self.paths = paths
  }

  enum CodingKeys: String, CodingKey {
    case name, address, role, state, configuration, version, links, paths
    case isSelf = "self"
    case rttMilliseconds = "rtt_ms"
    case lossIn = "loss_in"
    case lossOut = "loss_out"
    case lastHeardMilliseconds = "last_heard_ms"
    case worstStallMilliseconds = "worst_stall_ms"
    case detectionMilliseconds = "detection_ms"
  }
}

/// Something that a VIP requires of the node that answers.
package struct APIRequirement: Codable, Equatable, Sendable {
  /// `script /usr/local/bin/uplink`.
  package var requirement: String
  package var met: Bool
  /// The VIP is given up without it even if nobody else may hold it.
  package var strict: Bool
  /// What was seen, in words.
  package var cause: String

  package init(requirement: String, met: Bool, strict: Bool, cause: String) {
    self.requirement = requirement
    self.met = met
    self.strict = strict
    self.cause = cause
  }
}

/// GET /v1/vips: an array of these.
package struct APIVIP: Codable, Equatable, Sendable {
  package var name: String
  /// With their prefix length: `192.0.2.100/24`.
  package var addresses: [String]
  package var interface: String
  /// Null while nobody holds it.
  @OrNull package var holder: String?
  /// The member that says so, where the node that answers does not hear the holder itself; else null.
  @OrNull package var holderToldBy: String?
  /// When the holder last changed; null where that is not known.
  @OrNull package var since: APITime?
  /// Why it last changed, in words.
  package var cause: String
  /// none or majority.
  package var quorum: String
  /// For a majority VIP.
  @OrNull package var term: UInt64?
  /// none, address-lifetime or kernel-gate.
  package var fence: String
  /// Why the node that answers may not hold it; null if it may.
  @OrNull package var ineligible: String?
  /// Members that said that they may hold it, as the node that answers heard, the holder among them.
  @OrEmpty package var eligible: [String]
  /// Hardware address of another machine that claims it as well; null unless the node that answers holds it and saw that.
  @OrNull package var claimedBy: String?
  @OrEmpty package var requires: [APIRequirement]

  package init(
    name: String, addresses: [String], interface: String, holder: String?, since: APITime?, cause: String,
    quorum: String = "none", term: UInt64? = nil, fence: String = "none", ineligible: String? = nil,
    eligible: [String] = [], claimedBy: String? = nil, requires: [APIRequirement] = [], holderToldBy: String? = nil
  ) {
    self.name = name
    self.addresses = addresses
    self.interface = interface
    self.holder = holder
    self.holderToldBy = holderToldBy
    self.since = since
    self.cause = cause
    self.quorum = quorum
    self.term = term
    self.fence = fence
    self.ineligible = ineligible
    self.eligible = eligible
    self.claimedBy = claimedBy
    self.requires = requires
  }

  enum CodingKeys: String, CodingKey {
    case name, addresses, interface, holder, since, cause, quorum, term, fence, ineligible, eligible, requires
    case claimedBy = "claimed_by"
    case holderToldBy = "holder_told_by"
  }
}

/// GET /v1/services: an array of these.
package struct APIService: Codable, Equatable, Sendable {
  package var name: String
  @OrNull package var leader: String?
  @OrNull package var term: UInt64?
  @OrNull package var leaseMilliseconds: Double?
  package var state: String

  package init(name: String, leader: String?, term: UInt64?, leaseMilliseconds: Double?, state: String) {
    self.name = name
    self.leader = leader
    self.term = term
    self.leaseMilliseconds = leaseMilliseconds
    self.state = state
  }

  enum CodingKeys: String, CodingKey {
    case name, leader, term, state
    case leaseMilliseconds = "lease_ms"
  }
}

/// A server of a pool, as the balancer of the node that answers sees it.
package struct APIServer: Codable, Equatable, Sendable {
  package enum State: String, Codable, Sendable { case up, down, starting, drain, maint, backup }

  package var name: String
  /// `192.0.2.21:8080`; `app.example:8080` while that name has no address.
  package var address: String
  /// The name whose address that is, where the configuration has one.
  @OrNull package var hostName: String?
  package var state: State
  package var weight: Int
  package var connections: Int
  package var requests: UInt64
  package var failures: UInt64
  /// The last check's result in words; empty before the first.
  package var lastCheck: String
  /// The member that runs it.
  @OrNull package var member: String?
  /// Smoothed over some seconds; null where the balancer has not said.
  @OrNull package var requestsPerSecond: Double?

  package init(
    name: String, address: String, hostName: String? = nil, state: State, weight: Int, connections: Int,
    requests: UInt64, failures: UInt64,
    lastCheck: String, member: String? = nil, requestsPerSecond: Double? = nil
  ) {
    self.requestsPerSecond = requestsPerSecond
    self.name = name
    self.address = address
    self.hostName = hostName
    self.state = state
    self.weight = weight
    self.connections = connections
    self.requests = requests
    self.failures = failures
    self.lastCheck = lastCheck
    self.member = member
  }

  enum CodingKeys: String, CodingKey {
    case name, address, state, weight, connections, requests, failures, member
    case hostName = "host_name"
    case lastCheck = "last_check"
    case requestsPerSecond = "requests_per_s"
  }

  package var takesNewClients: Bool { (state == .up || state == .backup) && weight > 0 }
}

/// GET /v1/pools: an array of these.
package struct APIPool: Codable, Equatable, Sendable {
  package var name: String
  package var servers: [APIServer]

  package init(name: String, servers: [APIServer]) {
    self.name = name
    self.servers = servers
  }
}

/// GET /v1/listeners: an array of these.
package struct APIListener: Codable, Equatable, Sendable {
  package var name: String
  /// `0.0.0.0:80`.
  package var bind: [String]
  /// http or tcp.
  package var mode: String
  package var pool: String
  package var connections: Int
  package var accepted: UInt64
  package var requests: UInt64
  package var refused: UInt64
  /// Routes that operators sent to other pools than the configuration does (`afloat switch`): pool by route.
  package var switched: [String: String]

  package init(
    name: String, bind: [String], mode: String, pool: String, connections: Int = 0, accepted: UInt64 = 0,
    requests: UInt64 = 0, refused: UInt64 = 0, switched: [String: String] = [:]
  ) {
    self.switched = switched
    self.name = name
    self.bind = bind
    self.mode = mode
    self.pool = pool
    self.connections = connections
    self.accepted = accepted
    self.requests = requests
    self.refused = refused
  }
}

/// One line of the durable log; GET /v1/events: an array of these, oldest first.
package struct APIEvent: Codable, Equatable, Sendable {
  package var time: APITime
  /// The node that saw it.
  package var node: String
  /// For instance vip_gained, vip_lost, member_dead, server_down, drained.
  package var kind: String
  /// The VIP, member, server (`POOL/SERVER`) or process.
  package var subject: String
  package var cause: String
  /// Times of the steps, where there were any: detect, decide, activate.
  package var stepsMilliseconds: [String: Double]

  package init(
    time: APITime, node: String, kind: String, subject: String, cause: String, stepsMilliseconds: [String: Double] = [:]
  ) {
    self.time = time
    self.node = node
    self.kind = kind
    self.subject = subject
    self.cause = cause
    self.stepsMilliseconds = stepsMilliseconds
  }

  enum CodingKeys: String, CodingKey {
    case time, node, kind, subject, cause
    case stepsMilliseconds = "steps_ms"
  }
}

/// A child of the agent, or the agent itself.
package struct APIProcess: Codable, Equatable, Sendable {
  package var name: String
  @OrNull package var pid: Int32?
  /// running, starting, stopped, or why it does not run.
  package var state: String
  package var restarts: Int

  package init(name: String, pid: Int32?, state: String, restarts: Int) {
    self.name = name
    self.pid = pid
    self.state = state
    self.restarts = restarts
  }
}

/// GET /v1/status.
package struct APIStatus: Codable, Equatable, Sendable {
  package var verdict: APIVerdict
  /// What the verdict rests on, worst first; printed behind it, separated by semicolons.
  package var reasons: [String]
  /// Null for a lone balancer.
  @OrNull package var cluster: String?
  package var node: String
  package var version: String
  /// When the agent started.
  @OrNull package var started: APITime?
  package var members: [APIMember]
  package var vips: [APIVIP]
  package var services: [APIService]
  package var pools: [APIPool]
  package var listeners: [APIListener]
  package var drains: [APIDrain]
  package var processes: [APIProcess]
  /// What does not change the verdict and is worth knowing ("real-time scheduling refused: …").
  package var warnings: [String]

  package init(
    verdict: APIVerdict, reasons: [String], cluster: String?, node: String, version: String, started: APITime? = nil,
    members: [APIMember] = [], vips: [APIVIP] = [], services: [APIService] = [], pools: [APIPool] = [],
    listeners: [APIListener] = [], drains: [APIDrain] = [], processes: [APIProcess] = [], warnings: [String] = []
  ) {
    self.verdict = verdict
    self.reasons = reasons
    self.cluster = cluster
    self.node = node
    self.version = version
    self.started = started
    self.members = members
    self.vips = vips
    self.services = services
    self.pools = pools
    self.listeners = listeners
    self.drains = drains
    self.processes = processes
    self.warnings = warnings
  }
}
