// What the main thread knows about every server: its health, what operators asked for, and what follows for traffic.

internal import Balancing
internal import Control
internal import Health
internal import Kernel
internal import Primitives

struct RegisteredServer {
  let pool: PoolConfiguration
  let configuration: ServerConfiguration
  var health: HealthState
  var probe: HealthProbe
  var administration = ServerAdministration.ready
  var generation: UInt32 = 0

  /// What `status` shows.
  var state: ServerState {
    switch (administration, health.verdict) {
    case (.maint, _): .maint
    case (.drain, _): .drain
    case (.ready, .unknown): .starting
    case (.ready, .up): .up
    case (.ready, .down): .down
    }
  }

  /// What traffic may do. A drained server that fails its checks gets nothing; unknown is not up.
  var availability: ServerAvailability {
    switch (administration, health.verdict) {
    case (.maint, _): .maintenance
    case (_, .unknown), (_, .down): .down
    case (.drain, .up): .draining
    case (.ready, .up): .up
    }
  }
}

/// A change that the agent is told about.
struct ServerChange {
  let index: Int
  let cause: String
}

struct ServerRegistry {
  /// In the order of the snapshot's servers.
  private(set) var servers: [RegisteredServer] = []

  init(_ configuration: BalancerConfiguration, now: Instant, seed: UInt64) {
    var random = SeededRandom(seed: seed)
    for pool in configuration.pools {
      let check = pool.check
      let settings = HealthSettings(
        every: check.every, fast: check.fast, down: check.down, rise: max(1, check.rise), fall: max(1, check.fall))
      for server in pool.servers {
        let health =
          check.kind.isNone
          ? HealthState(uncheckedSince: now) : HealthState(settings: settings, now: now, seed: random.next())
        servers.append(
          RegisteredServer(
            pool: pool, configuration: server, health: health, probe: HealthProbe(server, check)))
      }
    }
  }

  /// When something has to be done without being woken.
  var nextDue: Instant {
    servers.reduce(Instant.distantFuture) { nearest, server in
      min(nearest, server.probe.isRunning ? server.probe.deadline : server.health.nextCheck)
    }
  }

  /// Starts checks that are due and ends those that took too long.
  mutating func advance(now: Instant, poller: borrowing Poller) -> [ServerChange] {
    var changes: [ServerChange] = []
    for index in servers.indices {
      if servers[index].probe.isRunning {
        if now >= servers[index].probe.deadline {
          let outcome = servers[index].probe.timedOut()
          if let change = finish(index, outcome, now) { changes.append(change) }
        }
      } else if now >= servers[index].health.nextCheck {
        if let change = startCheck(index, now, poller) { changes.append(change) }
      }
    }
    return changes
  }

  private mutating func startCheck(_ index: Int, _ now: Instant, _ poller: borrowing Poller) -> ServerChange? {
    servers[index].health.checkStarted(now: now, timeout: servers[index].probe.timeout)
    servers[index].generation &+= 1
    if let outcome = servers[index].probe.start(now: now) { return finish(index, outcome, now) }
    let token = EventToken(.server, index: Int32(index), generation: servers[index].generation)
    do {
      try poller.add(
        servers[index].probe.descriptor, .allEdges, token: token.rawValue)
      return nil
    } catch {
      return finish(index, .failure("cannot watch the check's connection"), now)
    }
  }

  /// A check's socket is ready.
  mutating func probeIsReady(_ token: EventToken, now: Instant) -> ServerChange? {
    let index = Int(token.index)
    guard servers.indices.contains(index), servers[index].probe.isRunning, token.isFor(servers[index].generation)
    else { return nil }
    guard let outcome = servers[index].probe.advance(now: now) else { return nil }
    return finish(index, outcome, now)
  }

  private mutating func finish(_ index: Int, _ outcome: CheckOutcome, _ now: Instant) -> ServerChange? {
    servers[index].probe.close()
    guard let change = servers[index].health.handle(outcome, now: now) else { return nil }
    return ServerChange(index: index, cause: change.cause)
  }

  /// Takes the whole list of orders; servers that it does not name are ready.
  mutating func apply(_ orders: [ServerOrder]) -> [ServerChange] {
    var changes: [ServerChange] = []
    for index in servers.indices {
      let server = servers[index]
      let order = orders.last { $0.pool == server.pool.name && $0.server == server.configuration.name }
      let wanted = order?.administration ?? .ready
      if server.administration == wanted { continue }
      servers[index].administration = wanted
      let cause =
        switch wanted {
        case .ready: "an operator put it back"
        case .drain: "an operator drains it"
        case .maint: "an operator took it out"
        }
      changes.append(ServerChange(index: index, cause: cause))
    }
    return changes
  }
}

extension HealthCheckConfiguration.Kind {
  fileprivate var isNone: Bool { if case .none = self { true } else { false } }
}
