// The main thread after the start: the control channel, the checks, the figures. It shares no lock with the workers but
// their mailboxes, so a slow check or a full channel never delays a request.

internal import Balancing
internal import Control
internal import Kernel
internal import Primitives
internal import Synchronization

struct Housekeeper: ~Copyable {
  private static let statusInterval = TimeSpan.milliseconds(250)
  /// Reports that wait for the agent to read; beyond it figures are left out, and then the agent is taken for stuck.
  private static let largestBacklog = 1_000
  /// What is in flight gets this long when the agent is gone.
  private static let drainWithoutAgent = TimeSpan.seconds(3)
  /// The gentle part of a handover, in hundredths of its deadline.
  private static let gentleShare: Int64 = 60
  /// After the deadline of a handover it is answered without the worker.
  private static let grace = TimeSpan.milliseconds(20)

  /// What the time-outs of checks are put off by when this thread was kept from them for as long.
  private static let noticedDelay = TimeSpan.milliseconds(10)
  /// A storm of failures must not keep this thread from its checks.
  private static let failureLookInterval = TimeSpan.milliseconds(5)
  /// Of its time this thread spends at most one part in so many on figures for the agent.
  private static let statusShare: Int64 = 100
  private static let longestStatusInterval = TimeSpan.seconds(5)
  /// What has changed is in a status after this at the latest.
  private static let longestChangeWait = TimeSpan.seconds(1)

  private struct Quietening {
    let token: UInt64
    let deadline: Instant
    var waitingFor: Set<Int>
  }

  private enum Source: Int32 { case control, reports, names }

  let control: ControlSocket
  let poller: Poller
  var plane: DataPlane
  var registry: ServerRegistry
  var warnings: [String]
  let resolver: NameResolver
  var names = NameBook()
  /// The workers have too many configurations to take over for another one.
  var addressesWait = false
  /// The state of some server has changed while addresses are held.
  var holdsMayEnd = false
  /// Asked for by the agent, and not taken over by all workers yet: the generation of each revision.
  private var revisions: [(revision: UInt64, generation: UInt64)] = []

  private var rates = RateBook()
  private var logLosses = LogLosses()
  private var backlog: [[UInt8]] = []
  private var quietening: [Quietening] = []
  /// What the agent was last asked to filter for us.
  private var filterAskedFor: [IPAddress] = []
  /// What the agent has confirmed of it.
  private var filterInForce: [IPAddress] = []
  private var earliestStatus = Instant(nanoseconds: 0)
  private var statusSentAt = Instant(nanoseconds: 0)
  private var nextFailureLook = Instant(nanoseconds: 0)
  /// When it was last looked for events.
  private var lastLook = Instant(nanoseconds: 0)
  var nextStatus = Instant(nanoseconds: 0)
  private var isStopping = false
  private var agentIsGone = false
  private var endedWorkers: Set<Int> = []
  private var watch: WorkerWatch

  init(
    _ plane: DataPlane, registry: ServerRegistry, warnings: [String], resolver: NameResolver,
    control: consuming ControlSocket, poller: consuming Poller
  ) {
    self.control = control
    self.poller = poller
    self.plane = plane
    watch = WorkerWatch(workerCount: plane.mailboxes.count)
    self.registry = registry
    self.warnings = warnings
    self.resolver = resolver
  }

  /// Runs until the workers have ended as they were told to; throws if one ends unasked, so that the agent starts anew.
  mutating func run() throws {
    try control.setNonBlocking()
    try poller.add(
      control.descriptor.raw, .read, token: EventToken(.listener, index: Source.control.rawValue).rawValue)
    try poller.add(
      plane.reports.wakeUp.descriptor.raw, .read, token: EventToken(.wakeUp, index: Source.reports.rawValue).rawValue)
    try poller.add(
      resolver.wakeUp.descriptor.raw, .read, token: EventToken(.wakeUp, index: Source.names.rawValue).rawValue)
    report(.ready)
    // What a balancer before this one knew came with the configuration.
    names.inherit(plane.configuration, from: plane.configuration)
    resolver.ask(names.configure(plane.configuration, now: Clock.monotonic))
    plane.know(names, AddressHolds())
    lastLook = Clock.monotonic
    while true {
      // Checks are late only by a time before which everything that has come was read: this thread may have been held up.
      let now = Clock.monotonic
      takeEvents(timeout: .zero)
      note(registry.advance(now: now, poller: poller), now)
      takeFailures(now)
      answerLate(now)
      plane.lookForUnused(now)
      if now >= watch.nextLook { try lookAtWorkers(now) }
      if now >= names.nextRound { resolver.ask(names.beginRound(now)) }
      if registry.hasProven || holdsMayEnd { useAddresses(now) }
      if now >= nextStatus {
        plane.shared.idle.sweep(now)
        sendStatus(now)
      }
      flush()
      if isStopping && endedWorkers.count == plane.mailboxes.count { return }
      if !isStopping && !endedWorkers.isEmpty {
        throw BalancerFault("a worker could not start: \(warnings.last ?? "for no known reason")")
      }

      // Counted from here on: what was done above took its time, and what became due meanwhile is not waited for.
      takeEvents(timeout: min(registry.nextDue(now), nextWake) - Clock.monotonic)
    }
  }

  /// Waits for events, and takes all that have come. Of a time-out that is over already it only looks.
  private mutating func takeEvents(timeout: TimeSpan) {
    var timeout = max(timeout, .zero)
    var isWhole = false
    while !isWhole {
      let due = Clock.monotonic + timeout
      let count = poller.wait(timeout: timeout)
      let now = Clock.monotonic
      // The time in which this thread did something else, or did not run, counts against no server.
      let heldUp = (due - timeout - lastLook) + max(now - due, .zero)
      if heldUp >= Self.noticedDelay { registry.excuse(heldUp) }
      lastLook = now
      for position in 0..<count {
        let token = EventToken(rawValue: poller.event(position).token)
        switch token.kind {
        case .client, .server: note(registry.probeIsReady(poller.event(position), now: now), now)
        case .listener: obey(now)
        case .wakeUp: if token.index == Source.names.rawValue { takeNames(now) } else { takeReports(now) }
        }
      }
      isWhole = count < poller.capacity
      timeout = .zero
    }
  }

  private var nextWake: Instant {
    let failures = plane.shared.hasNewFailures.pointee.load(ordering: .relaxed) ? nextFailureLook : .distantFuture
    let next = min(nextStatus, plane.nextLook, failures, names.nextRound, watch.nextLook)
    return quietening.reduce(next) { min($0, $1.deadline + Self.grace) }
  }

  // MARK: From the agent

  private mutating func obey(_ now: Instant) {
    while !agentIsGone {
      do {
        guard var packet = try control.receive() else { return }
        let command = try MessageCoding.decode(BalancerCommand.self, from: packet.bytes)
        if case .reconfigure(let configuration, let revision, let opened) = command {
          var sockets: [Int32] = []
          while let descriptor = packet.descriptors.takeFirst() { sockets.append(descriptor.release()) }
          reconfigure(configuration, revision, opened, sockets, now)
        } else if case .accessLog = command {
          guard let descriptor = packet.descriptors.takeFirst() else {
            report(.failed("the access log's descriptor is missing"))
            continue
          }
          plane.accessLog.use(descriptor)
        } else {
          handle(command, now)
        }
      } catch let error as SystemError {
        // Its end is closed: it has died, or wants us to end.
        if error.code != SystemError.connectionReset { Console.error("afloat-balancer: \(error)") }
        agentIsGone = true
        poller.remove(control.descriptor.raw)
        stop(now + Self.drainWithoutAgent)
      } catch {
        report(.failed("cannot read a command: \(error)"))
      }
    }
  }

  private mutating func handle(_ command: BalancerCommand, _ now: Instant) {
    switch command {
    case .start, .reconfigure, .accessLog: report(.failed("already started"))
    case .figures(let token):
      report(.figures(FiguresAssembly(plane: plane, registry: registry).figures(now: now), token: token))
    case .orders(let orders):
      note(registry.apply(orders), now)
      adjust(now) { $0.weights = orders.filter { $0.weight != nil } }
    case .switches(let switches): adjust(now) { $0.switches = switches }
    case .quieten(let token, let addresses, let span):
      let deadline = now + span
      let gentleUntil = now + TimeSpan(nanoseconds: span.nanoseconds / 100 * Self.gentleShare)
      quietening.append(Quietening(token: token, deadline: deadline, waitingFor: Set(plane.mailboxes.indices)))
      post(.quieten(token: token, addresses: addresses, deadline: deadline, gentleUntil: gentleUntil))
    case .newConnectionsIgnored(let addresses):
      guard addresses == filterAskedFor else { return }
      filterInForce = addresses
      post(.filtered(addresses))
    case .resume(let addresses):
      filterAskedFor = []
      filterInForce = []
      post(.resume(addresses))
    case .shutdown(let span): stop(now + span)
    }
  }

  /// What operators changed of the configuration is a new one for the workers.
  private mutating func adjust(_ now: Instant, _ change: (inout Adjustments) -> Void) {
    do throws(BalancerFault) {
      note(try plane.adjust(registry: &registry, now: now, change), now)
      nextStatus = now
    } catch {
      report(.failed("what operators asked for is not in force: \(error)"))
    }
  }

  private mutating func reconfigure(
    _ configuration: BalancerConfiguration, _ revision: UInt64, _ opened: [Endpoint], _ sockets: [Int32],
    _ now: Instant
  ) {
    let held = plane.holds
    do throws(BalancerFault) {
      names.inherit(configuration, from: plane.configuration)
      plane.know(names, holds(in: configuration))
      let (generation, changes) = try plane.reconfigure(
        configuration, opened: opened, sockets: sockets, registry: &registry, now: now)
      revisions.append((revision, generation))
      note(changes, now)
      resolver.ask(names.configure(configuration, now: now))
      tryAddressesOut(now)
      note(registry.apply(names.entries, news: [:]), now)
      wantStatus()
    } catch {
      plane.know(names, held)
      report(.refused(revision: revision, why: error.description))
    }
  }

  private mutating func stop(_ deadline: Instant) {
    isStopping = true
    post(.stop(deadline: deadline))
  }

  private func post(_ command: WorkerCommand) { for mailbox in plane.mailboxes { mailbox.post(command) } }

  /// Tells the workers what a server may get, and the agent what changed.
  mutating func note(_ changes: [ServerChange], _ now: Instant) {
    for change in changes {
      guard let server = registry.servers[change.index] else { continue }
      post(.availability(server: change.index, server.availability, isGone: registry.isGone(change.index), now: now))
      if !change.isTold { continue }
      report(
        .serverChanged(
          pool: server.pool.name, server: server.configuration.name, state: registry.state(of: change.index),
          cause: change.cause))
    }
    if changes.isEmpty { return }
    wantStatus()
    if !plane.holds.pools.isEmpty { holdsMayEnd = true }
  }

  // MARK: From the workers

  private mutating func lookAtWorkers(_ now: Instant) throws {
    let counters = plane.counters
    let ended = endedWorkers
    registry.markRequests(now: now) { slot in counters.reduce(0) { $0 + $1.servers[slot].requests.current } }
    if let worker = watch.stuckWorker(
      now: now, turns: { ended.contains($0) ? nil : counters[$0].turns.pointee.current })
    {
      throw BalancerFault("worker \(worker) has not come back to its connections for ten seconds")
    }
  }

  private mutating func takeFailures(_ now: Instant) {
    guard now >= nextFailureLook,
      plane.shared.hasNewFailures.pointee.exchange(false, ordering: .acquiringAndReleasing)
    else { return }
    nextFailureLook = now + Self.failureLookInterval
    let counters = plane.counters
    note(
      registry.takeFailures(
        plane.shared, requests: { slot in counters.reduce(0) { $0 + $1.servers[slot].requests.current } }, now: now),
      now)
  }

  private mutating func takeReports(_ now: Instant) {
    for (worker, report) in plane.reports.takeAll() {
      switch report {
      case .tookOver(let generation): tookOver(plane.tookOver(generation, worker: worker))
      case .inUse(let use, let token): plane.noteUse(use, token: token, worker: worker)
      case .quietened(let token): quietened(token, by: worker)
      case .filterRefused(let addresses, let error): askForFilter(addresses, error)
      case .ended: endedWorkers.insert(worker)
      case .failed(let words):
        if !warnings.contains(words) && warnings.count < 32 { warnings.append(words) }
      }
    }
    if addressesWait { useAddresses(now) }
  }

  /// All workers have this generation.
  private mutating func tookOver(_ generation: UInt64) {
    while let first = revisions.first, first.generation <= generation {
      revisions.removeFirst()
      report(.reconfigured(revision: first.revision))
    }
  }

  private mutating func quietened(_ token: UInt64, by worker: Int) {
    guard let place = quietening.firstIndex(where: { $0.token == token }) else { return }
    quietening[place].waitingFor.remove(worker)
    if quietening[place].waitingFor.isEmpty {
      quietening.remove(at: place)
      report(.quietened(token: token))
    }
  }

  /// The agent has the power that we gave up. It hears of it before it hears `quietened`.
  private mutating func askForFilter(_ addresses: [IPAddress], _ error: SystemError) {
    if error.code != SystemError.permissionDenied && !warnings.contains(error.description) {
      warnings.append(error.description)
    }
    if addresses == filterAskedFor {
      // Another worker asked before; if its answer has come, this one missed it.
      if addresses == filterInForce { post(.filtered(addresses)) }
      return
    }
    filterAskedFor = addresses
    report(.ignoreNewConnections(addresses: addresses))
  }

  /// A worker that is stuck must not hold up the cluster.
  private mutating func answerLate(_ now: Instant) {
    for late in quietening where now >= late.deadline + Self.grace { report(.quietened(token: late.token)) }
    quietening.removeAll { now >= $0.deadline + Self.grace }
  }

  // MARK: To the agent

  private mutating func wantStatus() {
    nextStatus = min(nextStatus, min(earliestStatus, statusSentAt + Self.longestChangeWait))
  }

  private mutating func sendStatus(_ now: Instant) {
    let began = Clock.monotonic
    // Old figures are worth nothing: none are sent while others wait.
    if backlog.isEmpty {
      let warnings = allWarnings(now)
      let status = StatusAssembly(plane).status(
        registry, unknownPools: names.unknownPools(now), now: now, warnings: warnings, rates: &rates)
      report(.status(status))
    }
    // Those of thousands of servers take their time.
    let cost = Clock.monotonic - began
    statusSentAt = now
    earliestStatus = now + min(cost * Self.statusShare, Self.longestStatusInterval)
    nextStatus = max(earliestStatus, now + Self.statusInterval)
  }

  private mutating func allWarnings(_ now: Instant) -> [String] {
    let lost = logLosses.warning(dropped: plane.accessLog.figures.dropped, now: now)
    return warnings + names.warnings + [plane.accessLog.failure, lost].compactMap { $0 } + registry.warnings(now: now)
  }

  mutating func report(_ report: BalancerReport) {
    if agentIsGone { return }
    guard let bytes = try? MessageCoding.encode(report) else {
      preconditionFailure("our own reports can be encoded")
    }
    if backlog.count < Self.largestBacklog { backlog.append(bytes) }
    flush()
  }

  private mutating func flush() {
    while let first = backlog.first, !agentIsGone {
      do {
        guard try control.send(first) else { return }
        backlog.removeFirst()
      } catch {
        // Its end is noticed by reading; what is left has no reader.
        backlog.removeAll()
      }
    }
  }
}
