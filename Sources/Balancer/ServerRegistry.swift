// What the main thread knows about every server: its health, what operators asked for, and what follows for traffic.

internal import Balancing
internal import Control
internal import Health
internal import Kernel
internal import Primitives
internal import Synchronization

struct RegisteredServer {
  var pool: PoolConfiguration
  var configuration: ServerConfiguration
  var health: HealthState
  var probe: HealthProbe
  var administration = ServerAdministration.ready
  var generation: UInt32 = 0
  /// Nil: live traffic has no say.
  var passive: PassiveHealth?
  /// Of the shared counter, up to which failures have been looked at.
  var failuresSeen: UInt32 = 0
  /// Why it was ejected.
  var ejectionCause = ""
  /// Ordinal of its pool in the configuration.
  var poolPlace = 0

  var isEjected: Bool { passive?.ejectedUntil != nil }

  /// What `status` shows, but for backups that stand by.
  var state: ServerState {
    if isEjected && administration == .ready && health.verdict == .up { return .down }
    return switch (administration, health.verdict) {
    case (.maint, _): .maint
    case (.drain, _): .drain
    case (.ready, .unknown): .starting
    case (.ready, .up): .up
    case (.ready, .down): .down
    }
  }

  /// What traffic may do. A drained server that fails its checks gets nothing; unknown is not up.
  var availability: ServerAvailability {
    if isEjected && administration != .maint { return .down }
    return switch (administration, health.verdict) {
    case (.maint, _): .maintenance
    case (_, .unknown), (_, .down): .down
    case (.drain, .up): .draining
    case (.ready, .up): .up
    }
  }
}

extension RegisteredServer {
  /// Of the last check, and of live traffic while that keeps it out; in words.
  func condition(now: Instant) -> String {
    guard let until = passive?.ejectedUntil else { return health.lastCheck }
    let left = max(1, (until - now).nanoseconds / 1_000_000_000)
    return "ejected for \(left) s more, \(ejectionCause); its last check: \(health.lastCheck)"
  }

  /// A new configuration of the same server: what is known of it stays. With other checks the next one is due at once.
  fileprivate mutating func adopt(_ server: ServerConfiguration, _ pool: PoolConfiguration, now: Instant) {
    let isCheckedOtherwise = pool.check != self.pool.check
    if pool.passive != self.pool.passive { passive = PassiveHealth(pool.passive) }
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

extension PassiveHealth {
  fileprivate init?(_ passive: PoolConfiguration.Passive?) {
    guard let passive else { return nil }
    self.init(
      settings: PassiveSettings(
        failures: min(max(1, passive.failures), PassiveSettings.largestFailureCount), within: passive.within,
        eject: passive.eject, atMostPercent: min(max(0, passive.atMostPercent), 100)))
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
  /// Slots of each pool's servers.
  private var pools: [[Int]] = []
  /// Of the last check that was started.
  private var generation: UInt32 = 0

  /// The first checks of new servers start this far apart on average: few come at once, many do not come in one burst.
  private static let firstCheckSpacing = TimeSpan.microseconds(100)

  init(seed: UInt64) { random = SeededRandom(seed: seed) }

  /// Takes over a configuration: servers that stay keep their health and what operators asked for, removed ones are not
  /// checked any more. Returns what changed for those that stay.
  mutating func configure(_ configuration: BalancerConfiguration, _ layout: Layout, now: Instant) -> [ServerChange] {
    var changes: [ServerChange] = []
    let spread = Self.firstCheckSpacing * Int64(layout.servers.joined().count)
    var next = [RegisteredServer?](repeating: nil, count: max(servers.count, (layout.servers.joined().max() ?? -1) + 1))
    pools = layout.servers
    for (place, (pool, slots)) in zip(configuration.pools, layout.servers).enumerated() {
      for (server, slot) in zip(pool.servers, slots) {
        defer { next[slot]?.poolPlace = place }
        guard slot < servers.count, var known = servers[slot] else {
          next[slot] = newcomer(server, pool, spread, now)
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

  private mutating func newcomer(
    _ server: ServerConfiguration, _ pool: PoolConfiguration, _ spread: TimeSpan, _ now: Instant
  ) -> RegisteredServer {
    let health =
      pool.check.kind.isNone
      ? HealthState(uncheckedSince: now)
      : HealthState(
        settings: HealthSettings(pool.check), now: now, seed: random.next(), first: min(spread, pool.check.every))
    var registered = RegisteredServer(
      pool: pool, configuration: server, health: health, probe: HealthProbe(server, pool.check),
      passive: PassiveHealth(pool.passive))
    registered.administration = wanted(registered)
    return registered
  }

  private func wanted(_ server: RegisteredServer) -> ServerAdministration {
    orders.last { $0.pool == server.pool.name && $0.server == server.configuration.name }?.administration ?? .ready
  }

  /// What traffic may do, by slot.
  var availabilities: [ServerAvailability] { servers.map { $0?.availability ?? .down } }

  /// When the next ejection ends.
  private var nextReturn = Instant.distantFuture

  /// When something has to be done without being woken.
  var nextDue: Instant {
    servers.reduce(nextReturn) { nearest, server in
      guard let server else { return nearest }
      return min(nearest, server.probe.isRunning ? server.probe.deadline : server.health.nextCheck)
    }
  }

  /// Starts checks that are due and ends those that took too long.
  mutating func advance(now: Instant, poller: borrowing Poller) -> [ServerChange] {
    var changes = takeBack(now)
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
    // Checks that have seen it go down and come back know more than the failures before that.
    if change.verdict == .up { _ = servers[index]?.passive?.recover() }
    return ServerChange(index: index, cause: change.cause)
  }

  // MARK: Live traffic

  /// Looks at what the workers have counted since the last time. `requests`: given to a server so far.
  mutating func takeFailures(_ shared: SharedState, requests: (Int) -> UInt64, now: Instant) -> [ServerChange] {
    var changes: [ServerChange] = []
    for index in servers.indices where servers[index]?.passive != nil {
      let load = shared.serverLoads + index
      let failures = load.pointee.failures.load(ordering: .relaxed)
      guard let seen = servers[index]?.failuresSeen, seen != failures else { continue }
      servers[index]?.failuresSeen = failures
      servers[index]?.health.suspect(now: now)
      let words = ServerFailure(rawValue: UInt8(truncatingIfNeeded: load.pointee.lastFailure.load(ordering: .relaxed)))?
        .words
      guard
        servers[index]?.passive?.handle(failures: Int(failures &- seen), requests: requests(index), now: now) == true
      else { continue }
      if let change = eject(index, words ?? "", now) { changes.append(change) }
    }
    return changes
  }

  private mutating func eject(_ index: Int, _ last: String, _ now: Instant) -> ServerChange? {
    guard let server = servers[index], let settings = server.passive?.settings, server.availability == .up else {
      return nil
    }
    let others = pools[server.poolPlace]
    let ejected = others.count { servers[$0]?.isEjected ?? false }
    guard settings.mayEject(ejectedCount: ejected, serverCount: others.count) else { return nil }
    servers[index]?.passive?.eject(now: now)
    let cause =
      "live traffic met \(settings.failures) failures within \(settings.within.milliseconds) ms, last: \(last)"
    servers[index]?.ejectionCause = cause
    nextReturn = min(nextReturn, now + settings.eject)
    return ServerChange(index: index, cause: cause)
  }

  /// Servers whose ejection is over.
  private mutating func takeBack(_ now: Instant) -> [ServerChange] {
    if now < nextReturn { return [] }
    var changes: [ServerChange] = []
    nextReturn = .distantFuture
    for index in servers.indices {
      if servers[index]?.passive?.advance(now: now) == true {
        changes.append(ServerChange(index: index, cause: "its ejection is over"))
      }
      if let until = servers[index]?.passive?.ejectedUntil { nextReturn = min(nextReturn, until) }
    }
    return changes
  }

  /// What `status` shows of a server.
  func state(of index: Int) -> ServerState {
    guard let server = servers[index] else { return .down }
    if server.state != .up || !server.configuration.isBackup { return server.state }
    let isNeeded = !pools[server.poolPlace].contains { slot in
      guard let other = servers[slot] else { return false }
      return !other.configuration.isBackup && other.availability == .up && other.configuration.weight > 0
    }
    return isNeeded ? .up : .backup
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
