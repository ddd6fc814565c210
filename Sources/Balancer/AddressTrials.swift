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
  /// The server has had another address since then.
  let since: Instant
  /// Nil: it does not wait until a script may run.
  var waitingSince: Instant?
}

extension ServerRegistry {
  /// Of the events of all trials; which one is meant is told by the generation.
  static let trialIndex: Int32 = -1
  /// Of the event that scripts have ended, of trials and others.
  static let scriptsIndex: Int32 = -2

  /// Trials whose scripts wait for others to end, and since when the first does.
  var waitingTrials: (count: Int, since: Instant) {
    let times = trials.values.compactMap(\.waitingSince)
    return (times.count, times.min() ?? .distantFuture)
  }

  /// Checks these from now on, and no others: one that is on trial already goes on as it is.
  mutating func tryOut(_ wanted: [AddressTrial], now: Instant) {
    if wanted.isEmpty && trials.isEmpty { return }
    var next: [ServerKey: RunningTrial] = [:]
    for index in servers.indices { servers[index]?.succession = "" }
    for trial in wanted {
      let before = trials[trial.key]
      if let before, before.server.configuration.endpoint == trial.server.endpoint {
        var known = before
        known.slot = trial.slot
        known.server.adopt(trial.server, trial.pool, pattern(of: trial.pool), scripts, sockets, now: now)
        next[trial.key] = known
        trials[trial.key] = nil
      } else {
        let begun = newcomer(trial.server, trial.pool, .zero, now)
        next[trial.key] = RunningTrial(slot: trial.slot, server: begun, since: before?.since ?? now)
      }
    }
    for key in Array(trials.keys) { trials[key]?.server.probe.close() }
    trials = next
    for key in next.keys { describe(key) }
    nextTrial = now
    trialsWait = trials.values.contains { $0.waitingSince != nil }
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
    // Those that wait are looked at when a script has ended, which wakes this thread.
    if now < nextTrial && !(trialsWait && scripts.hasRoom) { return }
    nextTrial = .distantFuture
    let keys = trials.keys.sorted { waitingSince($0) < waitingSince($1) }
    for key in keys {
      guard let trial = trials[key]?.server else { continue }
      if now >= trial.due {
        if trial.probe.isRunning {
          finishTrial(key, trial.probe.timedOut(), now)
        } else if trial.probe.isScript && !scripts.hasRoom {
          if trials[key]?.waitingSince == nil { trials[key]?.waitingSince = now }
          continue
        } else {
          trials[key]?.waitingSince = nil
          startTrial(key, now, poller)
        }
      }
      if let due = trials[key]?.server.due { nextTrial = min(nextTrial, due) }
    }
    trialsWait = trials.values.contains { $0.waitingSince != nil }
    if trialsWait && scripts.hasRoom { nextTrial = now }
  }

  private func waitingSince(_ key: ServerKey) -> Instant { trials[key]?.waitingSince ?? .distantFuture }

  private mutating func startTrial(_ key: ServerKey, _ now: Instant, _ poller: borrowing Poller) {
    let generation = newGeneration()
    if let outcome = trials[key]?.server.startCheck(generation, now: now) { return finishTrial(key, outcome, now) }
    do throws(SystemError) {
      let token = EventToken(.server, index: Self.trialIndex, generation: generation)
      try trials[key]?.server.watch(poller, token)
    } catch {
      finishTrial(key, .notMade("the check cannot be watched: \(error.cause)"), now)
    }
  }

  /// A trial's socket is ready, or its script has something to tell.
  mutating func trialIsReady(_ token: EventToken, _ readiness: Readiness, now: Instant) {
    let meant = trials.first { $1.server.probe.isRunning && token.isFor($1.server.generation) }
    guard let key = meant?.key, let outcome = trials[key]?.server.probe.advance(readiness, now: now, memory)
    else { return }
    finishTrial(key, outcome, now)
    if let due = trials[key]?.server.due { nextTrial = min(nextTrial, due) }
  }

  private mutating func finishTrial(_ key: ServerKey, _ outcome: CheckOutcome, _ now: Instant) {
    trials[key]?.server.probe.close()
    note(outcome, now)
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
