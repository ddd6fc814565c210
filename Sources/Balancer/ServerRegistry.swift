// What the main thread knows about every server: its health, what operators asked for, and what follows for traffic.

internal import Balancing
internal import Control
internal import Health
internal import Kernel
internal import Primitives

struct RegisteredServer {
  var pool: PoolConfiguration
  var configuration: ServerConfiguration
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

extension RegisteredServer {
  /// A new configuration of the same server: what is known of it stays. With other checks the next one is due at once.
  fileprivate mutating func adopt(_ server: ServerConfiguration, _ pool: PoolConfiguration, now: Instant) {
    let isCheckedOtherwise = pool.check != self.pool.check
    self.pool = pool
    configuration = server
    if !isCheckedOtherwise { return }
    probe.close()
    probe = HealthProbe(server, pool.check)
    if pool.check.kind.isNone {
      health = HealthState(uncheckedSince: now)
    } else {
      health.adopt(HealthSettings(pool.check), now: now)
    }
  }
}

extension HealthSettings {
  fileprivate init(_ check: HealthCheckConfiguration) {
    self.init(
      every: check.every, fast: check.fast, down: check.down, rise: max(1, check.rise), fall: max(1, check.fall))
  }
}

/// A change that the agent is told about.
struct ServerChange {
  /// Slot of the server.
  let index: Int
  let cause: String
}

struct ServerRegistry {
  /// By slot; nil where nobody is, and for servers that have been removed.
  private(set) var servers: [RegisteredServer?] = []
  private var orders: [ServerOrder] = []
  private var random: SeededRandom
  /// Of the last check that was started.
  private var generation: UInt32 = 0

  init(seed: UInt64) { random = SeededRandom(seed: seed) }

  /// Takes over a configuration: servers that stay keep their health and what operators asked for, removed ones are not
  /// checked any more. Returns what changed for those that stay.
  mutating func configure(_ configuration: BalancerConfiguration, _ layout: Layout, now: Instant) -> [ServerChange] {
    var changes: [ServerChange] = []
    var next = [RegisteredServer?](repeating: nil, count: max(servers.count, (layout.servers.joined().max() ?? -1) + 1))
    for (pool, slots) in zip(configuration.pools, layout.servers) {
      for (server, slot) in zip(pool.servers, slots) {
        guard slot < servers.count, var known = servers[slot] else {
          next[slot] = newcomer(server, pool, now)
          continue
        }
        servers[slot] = nil
        let before = known.availability
        known.adopt(server, pool, now: now)
        next[slot] = known
        if known.availability != before {
          changes.append(ServerChange(index: slot, cause: "it is not checked any more"))
        }
      }
    }
    for slot in servers.indices { servers[slot]?.probe.close() }
    servers = next
    return changes
  }

  private mutating func newcomer(_ server: ServerConfiguration, _ pool: PoolConfiguration, _ now: Instant)
    -> RegisteredServer
  {
    let health =
      pool.check.kind.isNone
      ? HealthState(uncheckedSince: now)
      : HealthState(settings: HealthSettings(pool.check), now: now, seed: random.next())
    var registered = RegisteredServer(
      pool: pool, configuration: server, health: health, probe: HealthProbe(server, pool.check))
    registered.administration = wanted(registered)
    return registered
  }

  private func wanted(_ server: RegisteredServer) -> ServerAdministration {
    orders.last { $0.pool == server.pool.name && $0.server == server.configuration.name }?.administration ?? .ready
  }

  /// What traffic may do, by slot.
  var availabilities: [ServerAvailability] { servers.map { $0?.availability ?? .down } }

  /// When something has to be done without being woken.
  var nextDue: Instant {
    servers.reduce(Instant.distantFuture) { nearest, server in
      guard let server else { return nearest }
      return min(nearest, server.probe.isRunning ? server.probe.deadline : server.health.nextCheck)
    }
  }

  /// Starts checks that are due and ends those that took too long.
  mutating func advance(now: Instant, poller: borrowing Poller) -> [ServerChange] {
    var changes: [ServerChange] = []
    for index in servers.indices {
      guard let server = servers[index] else { continue }
      if server.probe.isRunning {
        if now >= server.probe.deadline {
          if let change = finish(index, server.probe.timedOut(), now) { changes.append(change) }
        }
      } else if now >= server.health.nextCheck {
        if let change = startCheck(index, now, poller) { changes.append(change) }
      }
    }
    return changes
  }

  private mutating func startCheck(_ index: Int, _ now: Instant, _ poller: borrowing Poller) -> ServerChange? {
    guard var server = servers[index] else { return nil }
    server.health.checkStarted(now: now, timeout: server.probe.timeout)
    // Another holder of the slot may have a probe on its way: the number is never used twice.
    generation &+= 1
    server.generation = generation
    let outcome = server.probe.start(now: now)
    servers[index] = server
    if let outcome { return finish(index, outcome, now) }
    let token = EventToken(.server, index: Int32(index), generation: generation)
    do {
      try poller.add(server.probe.descriptor, .allEdges, token: token.rawValue)
      return nil
    } catch {
      return finish(index, .failure("cannot watch the check's connection"), now)
    }
  }

  /// A check's socket is ready.
  mutating func probeIsReady(_ token: EventToken, now: Instant) -> ServerChange? {
    let index = Int(token.index)
    guard servers.indices.contains(index), var server = servers[index], server.probe.isRunning,
      token.isFor(server.generation)
    else { return nil }
    let outcome = server.probe.advance(now: now)
    servers[index] = server
    return outcome.flatMap { finish(index, $0, now) }
  }

  private mutating func finish(_ index: Int, _ outcome: CheckOutcome, _ now: Instant) -> ServerChange? {
    servers[index]?.probe.close()
    guard let change = servers[index]?.health.handle(outcome, now: now) else { return nil }
    return ServerChange(index: index, cause: change.cause)
  }

  /// Takes the whole list of orders; servers that it does not name are ready.
  mutating func apply(_ orders: [ServerOrder]) -> [ServerChange] {
    self.orders = orders
    var changes: [ServerChange] = []
    for index in servers.indices {
      guard let server = servers[index] else { continue }
      let wanted = wanted(server)
      if server.administration == wanted { continue }
      servers[index]?.administration = wanted
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
