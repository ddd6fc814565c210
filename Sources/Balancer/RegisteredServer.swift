// One server as the main thread knows it: configuration, health, what operators asked for, and what follows.

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
  /// Nil: live traffic has no say.
  var passive: PassiveHealth?
  /// Of the shared counter, up to which failures have been looked at.
  var failuresSeen: UInt32 = 0
  /// Why it was ejected.
  var ejectionCause = ""
  /// Ordinal of its pool in the configuration.
  var poolPlace = 0
  /// Of its name, see `NameBook.Entry`.
  var lookUpFailure = ""
  /// Its check is due, and waits until fewer scripts run.
  var waitsForTurn = false
  /// Its name has another address, which has not passed a check yet: which, and what came of its last check.
  var succession = ""
  /// It has come with many others: that its first check succeeds is not told.
  var isOneOfMany = false

  /// When its check starts, or is over time.
  var due: Instant {
    if !configuration.hasAddress || waitsForTurn { return .distantFuture }
    return probe.isRunning ? probe.deadline : health.nextCheck
  }

  // Mutating, though they change nothing, so that a server is looked at where it is: the compiler copies the whole of it out of
  // an array otherwise, and there are thousands of looks in a second.
  mutating func standing() -> (due: Instant, isChecking: Bool, isScript: Bool) {
    (due, probe.isRunning, probe.isScript)
  }
  mutating func isChecking(_ token: EventToken) -> Bool { probe.isRunning && token.isFor(generation) }

  /// Starts a check; an outcome if it failed at once.
  mutating func startCheck(_ generation: UInt32, now: Instant) -> CheckOutcome? {
    health.checkStarted(now: now, timeout: probe.timeout)
    self.generation = generation
    return probe.start(now: now)
  }

  /// Has `poller` tell under `token` when the check, which has started, has something to tell.
  mutating func watch(_ poller: borrowing Poller, _ token: EventToken) throws(SystemError) {
    try probe.watch(poller, token)
  }

  /// True if a check is on its way.
  mutating func putOff(_ span: TimeSpan) -> Bool {
    guard probe.isRunning else { return false }
    probe.putOff(span)
    return true
  }

  /// Where something else stands in for the pool, that is better than a server that fails live traffic, or of which nothing is
  /// known yet.
  var mayBeLastResort: Bool { pool.whenAllDown.isError }

  var isEjected: Bool { passive?.ejectedUntil != nil }

  /// What `status` shows, but for backups that stand by.
  var state: ServerState {
    if !configuration.hasAddress && administration == .ready { return lookUpFailure.isEmpty ? .starting : .down }
    if isEjected && administration == .ready && health.verdict == .up { return .down }
    return switch (administration, health.verdict) {
    case (.maint, _): .maint
    case (.drain, _): .drain
    case (.ready, .unknown): .starting
    case (.ready, .up): .up
    case (.ready, .down): .down
    }
  }

  /// What traffic may do. A drained server that fails its checks gets nothing.
  var availability: ServerAvailability {
    if !configuration.hasAddress && administration != .maint { return .down }
    return switch (administration, health.verdict) {
    case (.maint, _): .maintenance
    case (.ready, .unknown): mayBeLastResort ? .unchecked : .down
    case (.drain, .unknown), (_, .down): .down
    case (.drain, .up): isEjected ? .down : .draining
    case (.ready, .up): !isEjected ? .up : mayBeLastResort ? .ejected : .down
    }
  }
}

extension RegisteredServer {
  /// Of the last check, and of live traffic while that keeps it out; in words.
  func condition(now: Instant, isLastResort: Bool = false) -> String {
    if !configuration.hasAddress {
      return lookUpFailure.isEmpty ? "\(configuration.hostName ?? "its name") is being looked up" : lookUpFailure
    }
    var lastCheck = health.lastCheck + (lookUpFailure.isEmpty ? "" : " (\(lookUpFailure); the last one is kept)")
    if !succession.isEmpty { lastCheck += " (\(succession); this one is used until that works)" }
    guard let until = passive?.ejectedUntil else { return lastCheck }
    let left = max(1, (until - now).nanoseconds / 1_000_000_000)
    let use = isLastResort ? "in use as the last resort, " : ""
    return "\(use)ejected for \(left) s more, \(ejectionCause); its last check: \(lastCheck)"
  }

  /// A new configuration of the same server: what is known of it stays. With other checks, or another host that they name,
  /// the next one is due at once.
  mutating func adopt(
    _ server: ServerConfiguration, _ pool: PoolConfiguration, _ pattern: BodyPattern?, _ scripts: ScriptRuns,
    _ sockets: CheckSockets, now: Instant
  ) {
    let isNamedOtherwise = server != configuration || pool.discovery?.name != self.pool.discovery?.name
    let isSame = pool.check == self.pool.check
    let next =
      isSame && !isNamedOtherwise ? probe : HealthProbe(server, pool, pattern, scripts: scripts, sockets: sockets)
    if pool.passive != self.pool.passive { passive = PassiveHealth(pool.passive) }
    self.pool = pool
    configuration = server
    if isSame && next.request == probe.request { return }
    probe.close()
    let before = probe
    probe = next
    probe.succeed(before)
    waitsForTurn = false
    if pool.check.kind.isNone {
      health = HealthState(uncheckedSince: now)
    } else {
      health.adopt(HealthSettings(pool.check), now: now)
    }
  }
}

extension PassiveHealth {
  init?(_ passive: PoolConfiguration.Passive?) {
    guard let passive else { return nil }
    self.init(
      settings: PassiveSettings(
        failures: min(max(1, passive.failures), PassiveSettings.largestFailureCount), within: passive.within,
        eject: passive.eject, atMostPercent: min(max(0, passive.atMostPercent), 100)))
  }
}

extension HealthSettings {
  init(_ check: HealthCheckConfiguration) {
    self.init(
      every: check.every, fast: check.fast, down: check.down, rise: max(1, check.rise), fall: max(1, check.fall))
  }
}
