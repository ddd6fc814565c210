// Starting the children, and what follows from what they report and from their end.

internal import Control
internal import Kernel
internal import Logging
internal import Primitives

extension SupervisorLoop {
  // MARK: Balancer

  /// Longer messages are of hundreds of servers, and reading them takes milliseconds.
  private static let quickByteCount = 16_384

  func startBalancer() {
    guard let configuration = plan.balancer, let sockets = supervisor.sockets, phase == .running else { return }
    // What a balancer that died had filtered is still filtered: the sockets are the same.
    ignoreNewConnections(to: [])
    do {
      let first = try Privileges.atNormalPriority {
        try MessageCoding.encode(BalancerCommand.start(configuration.knowing(knownPools)))
      }
      try balancer.start(
        user: plan.user, descriptors: [], first: first, firstDescriptors: sockets.raws, now: Clock.monotonic)
      watch(balancer.socketDescriptor, electorSocket: false)
      watchBalancerProcess()
      handAccessLog()
      if !orders.isEmpty { tellBalancer(.orders(orders)) }
      if !switches.isEmpty { tellBalancer(.switches(switches)) }
      balancerServes(false, "it is starting")
    } catch {
      events.record("process_failed", subject: "balancer", cause: "\(error)", level: .error)
      balancer.abandon(because: "\(error)", now: Clock.monotonic)
      balancerServes(false, "it cannot be started: \(error)")
    }
    publishProcesses()
  }

  func readBalancer() {
    while true {
      switch balancer.receive(now: Clock.monotonic) {
      case .nothing: return
      case .ended:
        // Its end is seen at the pidfd; one that only closed its socket is killed in a second.
        if let raw = balancer.socketDescriptor { poller.remove(raw) }
        if balancer.isRunning, balancer.killAt == nil {
          balancer.hasHungUp(now: Clock.monotonic)
          giveUpService()
        }
        return
      case .message(let bytes):
        do { handle(try read(bytes)) } catch {
          logger.error("the balancer sent a message that cannot be read: \(error)")
        }
      }
    }
  }

  private func read(_ message: [UInt8]) throws -> BalancerReport {
    if message.count <= Self.quickByteCount { return try MessageCoding.decode(BalancerReport.self, from: message) }
    return try Privileges.atNormalPriority { try MessageCoding.decode(BalancerReport.self, from: message) }
  }

  private func handle(_ report: BalancerReport) {
    switch report {
    case .ready:
      balancer.isReady = true
      events.record("process_ready", subject: "balancer", cause: "serving")
      publishProcesses()
      balancerServes(true, "it serves")
    case .status(let status):
      supervisor.board.update { $0.balancer = status }
      knownPools = status.pools
      if balancer.isReady { poolsAre(status.pools) }
    case .serverChanged(let pool, let server, let state, let cause):
      events.record(
        "server_\(state.rawValue)", subject: "\(pool)/\(server)", cause: cause,
        level: state == .down ? .warning : .info)
    case .poolChanged(let pool, let cause): events.record("pool_changed", subject: pool, cause: cause)
    case .figures(let figures, let token): figuresAre(figures, token)
    case .quietened(let token):
      if let vip = handovers.quietened(token) { tellElector(.handoverReady(vip: vip)) }
    case .ignoreNewConnections(let addresses):
      // An answer to a handover that is over meanwhile must not put the filter back.
      if addresses.isEmpty || !handovers.isEmpty {
        ignoreNewConnections(to: addresses)
        tellBalancer(.newConnectionsIgnored(addresses: addresses))
      }
    case .reconfigured(let revision): balancerTookOver(revision)
    case .refused(let revision, let why): balancerRefused(revision, why)
    case .failed(let why):
      balancer.complaint = why
      logger.error("balancer: \(why)")
    }
  }

  func balancerEnded() {
    readBalancer()
    guard balancer.reap(now: Clock.monotonic, restart: phase == .running) else { return }
    childEnded(ofElector: false)
    giveUpFigures("the balancer ended")
    let reason = balancer.downBecause
    if case .draining = phase { logger.info("the balancer \(reason)") }
    if phase == .running {
      events.record("process_ended", subject: "balancer", cause: reason, level: .error)
      balancerServes(false, "it ended: \(reason)")
    }
    publishProcesses()
  }

  /// The balancer closed its channel, which is the first sign of its end (its connections are closed only then).
  private func giveUpService() {
    if phase == .running, balancer.isReady {
      // Whoever connects now would wait in a queue whose address is about to leave: better that their SYN is repeated.
      ignoreNewConnections(to: addressesAboutToLeave)
      balancerServes(false, "it ended")
    }
    for vip in handovers.abandonQuietening() { tellElector(.handoverReady(vip: vip)) }
  }

  // MARK: Elector

  func startElector() {
    guard var configuration = plan.elector, let guardian, phase == .running else { return }
    do {
      let page = try guardian.newPage()
      let packets = supervisor.packetSocketDescriptor.map { [$0] } ?? []
      // Whatever an elector before this one had opened.
      supervisor.gate?.deadlines?.shutAll()
      configuration.gateSlots = gateSlots
      gateSlotsTold = configuration.gateSlots.map { ($0, 0) }
      let first = try MessageCoding.encode(ElectorCommand.configure(configuration))
      try elector.start(
        user: plan.user, descriptors: [page.memory.descriptor.raw] + packets, first: first,
        firstDescriptors: supervisor.gate?.deadlines.map { [$0.rawDescriptor] } ?? [], now: Clock.monotonic)
      if let slots = gateSlotsTold?.slots { supervisor.gate?.electorKnows(slots) }
      watch(elector.socketDescriptor, electorSocket: true)
      if let process = elector.processDescriptor { try guardian.watch(process, page: page) }
      if draining { tellElector(.draining(true)) }
      if intentsDigest != 0 { tellElector(.intentsDigest(intentsDigest)) }
      tellEveryStanding()
    } catch {
      events.record("process_failed", subject: "elector", cause: "\(error)", level: .error)
      elector.abandon(because: "\(error)", now: Clock.monotonic)
    }
    publishProcesses()
  }

  func readElector() {
    while true {
      switch elector.receive(now: Clock.monotonic) {
      case .nothing: return
      case .ended:
        if let raw = elector.socketDescriptor { poller.remove(raw) }
        if elector.isRunning { elector.hasHungUp(now: Clock.monotonic) }
        return
      case .message(let bytes):
        do { handle(try MessageCoding.decode(ElectorReport.self, from: bytes)) } catch {
          logger.error("the elector sent a message that cannot be read: \(error)")
        }
      }
    }
  }

  private func handle(_ report: ElectorReport) {
    switch report {
    case .ready:
      elector.isReady = true
      events.record("process_ready", subject: "elector", cause: "electing")
      publishProcesses()
    case .status(let status):
      supervisor.board.update { $0.elector = status }
      moveProgress(status)
    case .event(let event): handle(event)
    case .links(let links): supervisor.board.update { $0.links = links }
    case .handoverStarting(let vip, let to, let deadline): startHandover(vip: vip, to: to, deadline: deadline)
    case .handoverCancelled(let vip):
      resume(vip)
      moves.removeValue(forKey: vip)?.refuse("the handover of \(vip) was given up: the successor did not take it")
    case .connectionsStay(let vip, let deadline, let gently):
      logger.info("\(vip) is handed over; its connections go on here until they end")
      supervisor.board.update { _ = $0.keptVIPs.insert(vip) }
      if gently { partWithConnections(vip: vip, deadline: deadline) }
    case .connectionsGone(let vip):
      supervisor.board.update { _ = $0.keptVIPs.remove(vip) }
      resume(vip)
    case .moveRefused(let vip, let why): moves.removeValue(forKey: vip)?.refuse("\(vip) cannot be moved: \(why)")
    case .reconfigured(let revision): electorTookOver(revision)
    case .refused(let revision, let why): electorRefused(revision, why)
    case .failed(let why):
      elector.complaint = why
      logger.error("elector: \(why)")
    }
  }

  private func handle(_ event: ElectorEvent) {
    // Connections that stay are parted with until they are gone.
    if event.kind == .vipGained || (event.kind == .vipLost && !handovers.isParting(event.subject)) {
      resume(event.subject)
    }
    moveProgress(event)
    runHook(event)
    let kind = Self.snakeCase(event.kind.rawValue)
    let level: Logger.Level =
      switch event.kind {
      case .memberSuspect: .debug
      case .memberDead, .vipAddressFailed, .pathLost, .warning: .warning
      case .vipGained, .vipLost, .memberAlive, .pathBack, .handoverDone: .info
      }
    // Suspicions come and go with the host's load: seen in `members`, not worth a line on the disk.
    if event.kind == .memberSuspect { return logger.debug("suspect \(event.subject): \(event.cause)") }
    events.record(
      kind, subject: event.subject, cause: event.cause, unixNanoseconds: event.unixNanoseconds, steps: event.steps,
      level: level)
  }

  /// The guardian has cleaned up after the elector.
  func electorEnded(_ report: GuardianReport) {
    readElector()
    let running = phase == .running
    guard elector.reap(now: Clock.monotonic, restart: running) else { return }
    let quietened = handovers.addresses
    handovers = Handovers()
    childEnded(ofElector: true)
    var isLast = false
    if case .ending = phase { isLast = true }
    loseAllForHooks(cause: isLast ? "the agent stopped" : "the elector ended: \(elector.downBecause)")
    if !running && !isLast { logger.error("the elector ended before the balancer had: \(elector.downBecause)") }
    if running {
      events.record(
        "process_ended", subject: "elector", cause: report.describe(elector.downBecause), steps: report.steps,
        level: .error)
      for (_, move) in moves { move.refuse("the elector ended: \(elector.downBecause)") }
      moves = [:]
      // What was quietened for a handover serves again; the addresses are gone, so this only clears filters.
      if let vips = plan.elector?.vips {
        tellBalancer(.resume(addresses: Set(quietened + vips.flatMap { $0.addresses.map(\.address) }).sorted()))
      }
    }
    for failure in report.failures { logger.error("\(failure)") }
    publishProcesses()
  }

  static func snakeCase(_ camelCase: String) -> String {
    camelCase.reduce(into: "") { result, character in
      if character.isUppercase { result += "_" }
      result += character.lowercased()
    }
  }
}
