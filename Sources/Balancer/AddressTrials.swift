// Checks of addresses that servers are about to have: run like any other, but for a server that is not in force yet.

internal import Control
internal import Health
internal import Kernel
internal import Primitives

/// A server as it would be with its new address.
struct AddressTrial {
  /// Slot of the server that is in force.
  let slot: Int
  let pool: PoolConfiguration
  /// With the new address.
  let server: ServerConfiguration

  var key: ServerKey { ServerKey(pool: pool.name, server: server.name) }
}

struct RunningTrial {
  /// Of the server that is in force.
  var slot: Int
  var server: RegisteredServer
}

extension ServerRegistry {
  /// Of the events of all trials; which one is meant is told by the generation.
  static let trialIndex: Int32 = -1
  /// A trial by script that finds too many running looks again after this.
  private static let trialWait = TimeSpan.milliseconds(100)

  /// Checks these from now on, and no others: one that is on trial already goes on as it is.
  mutating func tryOut(_ wanted: [AddressTrial], now: Instant) {
    if wanted.isEmpty && trials.isEmpty { return }
    var next: [ServerKey: RunningTrial] = [:]
    for index in servers.indices { servers[index]?.succession = "" }
    for trial in wanted {
      if var known = trials[trial.key]?.server, known.configuration.endpoint == trial.server.endpoint {
        known.adopt(trial.server, trial.pool, pattern(of: trial.pool), scripts, now: now)
        next[trial.key] = RunningTrial(slot: trial.slot, server: known)
        trials[trial.key] = nil
      } else {
        let begun = newcomer(trial.server, trial.pool, .zero, now)
        next[trial.key] = RunningTrial(slot: trial.slot, server: begun)
      }
    }
    for key in Array(trials.keys) { trials[key]?.server.probe.close() }
    trials = next
    for key in next.keys { describe(key) }
    nextTrial = now
  }

  /// Whether a check of that address has passed.
  func isProven(_ key: ServerKey, _ address: IPAddress) -> Bool {
    guard let trial = trials[key]?.server else { return false }
    return trial.configuration.endpoint.address == address && trial.health.verdict == .up
  }

  /// The health of a server that has passed its trial at this address.
  func provenHealth(_ server: ServerConfiguration, _ pool: PoolConfiguration) -> HealthState? {
    guard let trial = trials[ServerKey(pool: pool.name, server: server.name)]?.server,
      trial.configuration.endpoint == server.endpoint, trial.pool.check == pool.check, trial.health.verdict == .up
    else { return nil }
    return trial.health
  }

  /// Starts trials that are due and ends those that took too long.
  mutating func advanceTrials(now: Instant, poller: borrowing Poller) {
    if now < nextTrial { return }
    nextTrial = .distantFuture
    for key in Array(trials.keys) {
      guard let trial = trials[key]?.server else { continue }
      if now >= trial.due {
        if trial.probe.isRunning {
          finishTrial(key, trial.probe.timedOut(), now)
        } else if trial.probe.isScript && !scripts.hasRoom {
          nextTrial = min(nextTrial, now + Self.trialWait)
          continue
        } else {
          startTrial(key, now, poller)
        }
      }
      if let due = trials[key]?.server.due { nextTrial = min(nextTrial, due) }
    }
  }

  private mutating func startTrial(_ key: ServerKey, _ now: Instant, _ poller: borrowing Poller) {
    guard let timeout = trials[key]?.server.probe.timeout else { return }
    trials[key]?.server.health.checkStarted(now: now, timeout: timeout)
    let generation = newGeneration()
    trials[key]?.server.generation = generation
    if let outcome = trials[key]?.server.probe.start(now: now) { return finishTrial(key, outcome, now) }
    do throws(SystemError) {
      let token = EventToken(.server, index: Self.trialIndex, generation: generation)
      try trials[key]?.server.probe.watch(poller, token: token.rawValue)
    } catch {
      finishTrial(key, .failure("the check cannot be watched: \(error.cause)"), now)
    }
  }

  /// A trial's socket is ready, or its script has something to tell.
  mutating func trialIsReady(_ token: EventToken, now: Instant) {
    let meant = trials.first { $1.server.probe.isRunning && token.isFor($1.server.generation) }
    guard let key = meant?.key, let outcome = trials[key]?.server.probe.advance(now: now, memory) else { return }
    finishTrial(key, outcome, now)
    if let due = trials[key]?.server.due { nextTrial = min(nextTrial, due) }
  }

  private mutating func finishTrial(_ key: ServerKey, _ outcome: CheckOutcome, _ now: Instant) {
    trials[key]?.server.probe.close()
    if trials[key]?.server.health.handle(outcome, now: now)?.verdict == .up { hasProven = true }
    describe(key)
  }

  /// What is said of the server that is still in force.
  private mutating func describe(_ key: ServerKey) {
    guard let (slot, trial) = trials[key].map({ ($0.slot, $0.server) }) else { return }
    let last = trial.health.lastCheck.isEmpty ? "not checked yet" : trial.health.lastCheck
    servers[slot]?.succession =
      "\(trial.configuration.hostName ?? key.server) is \(trial.configuration.endpoint.address) now: \(last)"
  }

  /// Nobody has looked at the trials for that long.
  mutating func excuseTrials(_ span: TimeSpan) {
    for key in Array(trials.keys) where trials[key]?.server.probe.isRunning == true {
      trials[key]?.server.probe.putOff(span)
    }
  }
}
