// What the main thread knows about every server: its health, what operators asked for, and what follows for traffic.

internal import Balancing
internal import Control
internal import Health
internal import Kernel
internal import Primitives

/// A change that the agent is told about.
struct ServerChange {
  /// Slot of the server.
  let index: Int
  let cause: String
  /// In the events, not only to the workers.
  var isTold = true
}

struct ServerRegistry {
  /// By slot; nil where nobody is, and for servers that have been removed.
  var servers: [RegisteredServer?] = []
  private var orders: [ServerOrder] = []
  private var random: SeededRandom
  /// Slots of each pool's servers.
  private(set) var pools: [[Int]] = []
  /// When a check of each pool's servers succeeded last.
  private var answeredAt: [Instant] = []
  /// When the next ejection ends.
  var nextReturn = Instant.distantFuture
  /// When each server's check starts or is over time: thousands of servers are not looked at one by one.
  private var wheel = TimerWheel(capacity: 64)
  /// Of the wheel's ticks.
  private let origin: Instant
  let memory = ProbeMemory()
  let scripts = ScriptRuns()
  let sockets = CheckSockets()
  private(set) var turns = ScriptTurns()
  /// The last thing that this node lacked for a check, and when that was.
  var shortage: (words: String, at: Instant)?
  /// Pools that keep addresses which their names have no more, since when.
  var heldPools: [String: Instant] = [:]
  /// New addresses of servers, by their servers.
  var trials: [ServerKey: RunningTrial] = [:]
  /// When one of them has to be looked at.
  var nextTrial = Instant.distantFuture
  /// Scripts of theirs wait until others have ended.
  var trialsWait = false
  /// One of them has passed since somebody asked.
  var hasProven = false
  private var patterns: [String: BodyPattern] = [:]
  /// Of the last check that was started.
  private var generation: UInt32 = 0

  /// The first checks of new servers start this far apart on average: few come at once, many do not come in one burst.
  private static let firstCheckSpacing = TimeSpan.microseconds(100)

  init(now: Instant, seed: UInt64) {
    origin = now
    random = SeededRandom(seed: seed)
  }

  /// Takes over a configuration: servers that stay keep their health and what operators asked for, removed ones are not
  /// checked any more. `failures`: what live traffic has counted against a slot so far, which is not held against a server
  /// that comes now. Returns what changed for those that stay.
  mutating func configure(
    _ configuration: BalancerConfiguration, _ layout: Layout, failures: (Int) -> UInt32, now: Instant
  ) -> [ServerChange] {
    var changes: [ServerChange] = []
    let spread = Self.firstCheckSpacing * Int64(layout.servers.joined().count)
    var next = [RegisteredServer?](repeating: nil, count: max(servers.count, (layout.servers.joined().max() ?? -1) + 1))
    pools = layout.servers
    answeredAt = Array(repeating: Instant(nanoseconds: .min), count: pools.count)
    patterns = [:]
    for case .http(_, _, _, let expected) in configuration.pools.map(\.check.kind) {
      if let text = expected.bodyPattern, patterns[text] == nil { patterns[text] = BodyPattern(text) }
    }
    for (place, (pool, slots)) in zip(configuration.pools, layout.servers).enumerated() {
      for (server, slot) in zip(pool.servers, slots) {
        defer { next[slot]?.poolPlace = place }
        guard slot < servers.count, var known = servers[slot] else {
          next[slot] = newcomer(server, pool, spread, now)
          next[slot]?.failuresSeen = failures(slot)
          continue
        }
        servers[slot] = nil
        let (before, stateBefore) = (known.availability, known.state)
        if known.passive == nil { known.failuresSeen = failures(slot) }
        known.adopt(server, pool, pattern(of: pool), scripts, sockets, now: now)
        next[slot] = known
        if known.availability != before {
          // An ejected or unchecked one may have become the last resort, or have ceased to be.
          let isTold = !known.isEjected && known.state != stateBefore
          changes.append(ServerChange(index: slot, cause: "it is not checked any more", isTold: isTold))
        }
      }
    }
    for slot in servers.indices { servers[slot]?.probe.close() }
    servers = next
    turns.keep { servers[$0]?.waitsForTurn == true }
    scheduleAll()
    return changes
  }

  func pattern(of pool: PoolConfiguration) -> BodyPattern? {
    guard case .http(_, _, _, let expected) = pool.check.kind else { return nil }
    return expected.bodyPattern.flatMap { patterns[$0] }
  }

  // MARK: Times

  private mutating func scheduleAll() {
    var capacity = 64
    while capacity < servers.count { capacity *= 2 }
    wheel.deallocate()
    wheel = TimerWheel(capacity: capacity)
    for index in servers.indices { schedule(index) }
  }

  private func tick(_ instant: Instant) -> Tick {
    Tick(clamping: max(0, (instant.nanoseconds - origin.nanoseconds) / TimerWheel.tickNanoseconds))
  }

  /// After anything that may have moved the server's next time.
  mutating func schedule(_ index: Int) {
    guard let due = servers[index]?.standing().due, due != .distantFuture else {
      wheel.cancel(Int32(index))
      return
    }
    wheel.set(Int32(index), tick(due) &+ 1)
  }

  mutating func newcomer(
    _ server: ServerConfiguration, _ pool: PoolConfiguration, _ spread: TimeSpan, _ now: Instant
  ) -> RegisteredServer {
    let health =
      pool.check.kind.isNone
      ? HealthState(uncheckedSince: now)
      : provenHealth(server, pool)
        ?? HealthState(
          settings: HealthSettings(pool.check), now: now, seed: random.next(), first: min(spread, pool.check.every))
    var registered = RegisteredServer(
      pool: pool, configuration: server, health: health,
      probe: HealthProbe(server, pool, pattern(of: pool), scripts: scripts, sockets: sockets),
      passive: PassiveHealth(pool.passive))
    registered.administration = wanted(registered)
    return registered
  }

  private func wanted(_ server: RegisteredServer) -> ServerAdministration {
    orders.last { $0.pool == server.pool.name && $0.server == server.configuration.name }?.administration ?? .ready
  }

  /// What traffic may do, by slot.
  var availabilities: [ServerAvailability] { servers.map { $0?.availability ?? .down } }

  /// When something has to be done without being woken.
  func nextDue(_ now: Instant) -> Instant {
    let ticks = wheel.ticksUntilNext(tick(now), limit: 256)
    let boundary = origin + TimerWheel.span * Int64(tick(now) &+ ticks)
    return min(nextReturn, nextTrial, max(boundary, now))
  }

  /// Starts checks that are due and ends those that took too long.
  mutating func advance(now: Instant, poller: borrowing Poller) -> [ServerChange] {
    var changes = takeBack(now)
    scripts.reap()
    let current = tick(now)
    while true {
      let index = Int(wheel.nextExpired(current))
      if index < 0 { break }
      guard let standing = servers[index]?.standing() else { continue }
      if now < standing.due {
        schedule(index)
      } else if standing.isChecking {
        guard let outcome = servers[index]?.probe.timedOut() else { continue }
        if let change = finish(index, outcome, now) { changes.append(change) }
      } else if standing.isScript, mustWait(index, now) {
        schedule(index)
      } else if let change = startCheck(index, now, poller) {
        changes.append(change)
      }
    }
    // Those come and go, and servers wait for what comes of them: they go first.
    advanceTrials(now: now, poller: poller)
    while scripts.hasRoom, let index = turns.next() {
      guard servers[index]?.waitsForTurn == true else { continue }
      servers[index]?.waitsForTurn = false
      if let change = startCheck(index, now, poller) { changes.append(change) }
    }
    return changes
  }

  /// Another holder of a slot may have a probe on its way: the number is never used twice.
  mutating func newGeneration() -> UInt32 {
    generation &+= 1
    return generation
  }

  /// Whether a check that is due is a script that has to wait for its turn, behind those that do already.
  private mutating func mustWait(_ index: Int, _ now: Instant) -> Bool {
    guard !scripts.hasRoom || turns.count > 0 || trialsWait else { return false }
    servers[index]?.waitsForTurn = true
    turns.append(index, now)
    return true
  }

  private mutating func startCheck(_ index: Int, _ now: Instant, _ poller: borrowing Poller) -> ServerChange? {
    let generation = newGeneration()
    if let outcome = servers[index]?.startCheck(generation, now: now) { return finish(index, outcome, now) }
    schedule(index)
    let token = EventToken(.server, index: Int32(index), generation: generation)
    do throws(SystemError) {
      try servers[index]?.watch(poller, token)
      return nil
    } catch {
      return finish(index, .notMade("the check cannot be watched: \(error.cause)"), now)
    }
  }

  /// Ends all checks, and what they have started.
  mutating func close() {
    for index in servers.indices { servers[index]?.probe.close() }
    tryOut([], now: Clock.monotonic)
    scripts.waitForEnds()
  }

  /// Nobody has looked at the checks for that long: those on their way get as much more time.
  mutating func excuse(_ span: TimeSpan) {
    for index in servers.indices where servers[index]?.putOff(span) == true { schedule(index) }
    excuseTrials(span)
  }

  /// A check's socket is ready, or scripts have ended.
  mutating func probeIsReady(_ event: PolledEvent, now: Instant) -> [ServerChange] {
    let token = EventToken(rawValue: event.token)
    if token.kind == .client {
      return sockets.owner(of: token).flatMap { advanceCheck($0, event.readiness, now) }.map { [$0] } ?? []
    }
    return scripts.takeAll().compactMap { advanceCheck(EventToken(rawValue: $0), .read, now) }
  }

  private mutating func advanceCheck(_ token: EventToken, _ readiness: Readiness, _ now: Instant) -> ServerChange? {
    if token.index == Self.trialIndex {
      trialIsReady(token, readiness, now: now)
      return nil
    }
    let index = Int(token.index)
    guard servers.indices.contains(index), servers[index]?.isChecking(token) == true,
      let outcome = servers[index]?.probe.advance(readiness, now: now, memory)
    else { return nil }
    return finish(index, outcome, now)
  }

  private mutating func finish(_ index: Int, _ outcome: CheckOutcome, _ now: Instant) -> ServerChange? {
    servers[index]?.probe.close()
    note(outcome, now)
    if case .success = outcome, let place = servers[index]?.poolPlace { answeredAt[place] = now }
    defer { schedule(index) }
    guard let change = servers[index]?.health.handle(outcome, now: now) else {
      // Who waits for it may have somewhere to go by now.
      guard case .silence = outcome, isGone(index) else { return nil }
      return ServerChange(index: index, cause: "it stays silent", isTold: false)
    }
    // Checks that have seen it go down and come back know more than the failures before that.
    if change.verdict == .up { _ = servers[index]?.passive?.recover() }
    defer { servers[index]?.isOneOfMany = false }
    let isTold = change.verdict != .up || servers[index]?.isOneOfMany != true
    return ServerChange(index: index, cause: change.cause, isTold: isTold)
  }

  /// These have come together.
  mutating func tellLess(_ indices: [Int]) { for index in indices { servers[index]?.isOneOfMany = true } }

  /// What the look-ups have said. `news`: words for the servers of a name.
  mutating func apply(_ entries: [String: NameBook.Entry], news: [String: String]) -> [ServerChange] {
    var changes: [ServerChange] = []
    for index in servers.indices {
      guard let name = servers[index]?.configuration.hostName else { continue }
      servers[index]?.lookUpFailure = entries[name]?.failure ?? ""
      guard var words = news[name] else { continue }
      if let server = servers[index], !server.succession.isEmpty {
        words += "; \(server.configuration.endpoint.address) is used until a check of the new one succeeds"
      }
      changes.append(ServerChange(index: index, cause: words))
    }
    return changes
  }

  /// What `status` shows of a server.
  func state(of index: Int) -> ServerState {
    guard let server = servers[index] else { return .down }
    if server.state != .up || !server.configuration.isBackup { return server.state }
    return hasOther(index, orBackup: false) ? .backup : .up
  }

  /// Whether another server of the pool takes new clients; `orBackup`: a backup counts.
  func hasOther(_ index: Int, orBackup: Bool) -> Bool {
    guard let server = servers[index] else { return false }
    return pools[server.poolPlace].contains { slot in
      guard slot != index, let other = servers[slot], orBackup || !other.configuration.isBackup else { return false }
      return other.availability == .up && other.configuration.weight > 0
    }
  }

  /// Whether an ejected or unchecked server gets all there is, as there is nobody else.
  func isLastResort(_ index: Int) -> Bool {
    guard let server = servers[index] else { return false }
    return server.availability.isLastResort && server.configuration.weight > 0 && !hasOther(index, orBackup: true)
  }

  /// Whether the host of a server has gone, as far as checks can tell: it is down because nothing comes back, and another
  /// server of the pool has answered since that began, so that it is not this node that is cut off.
  func isGone(_ index: Int) -> Bool {
    guard let server = servers[index], server.health.verdict == .down, server.health.isSilent else { return false }
    return answeredAt[server.poolPlace] > server.health.silentSince
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
