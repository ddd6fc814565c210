// The supervisor's thread: one epoll loop over both children's control sockets, the balancer's pidfd, commands and one timer.
// It makes no call that can block: log lines and events are written elsewhere, a dead elector's addresses are the guardian's.

internal import Control
internal import Glibc
internal import Kernel
internal import Logging
internal import Primitives

final class SupervisorLoop {
  enum Phase: Equatable {
    case running
    /// VIPs go to other nodes, as for a drain: what is connected through them goes on here. Until the instant at the latest;
    /// there may be nobody to take them.
    case partingWithVIPs(Instant)
    /// The balancer finishes what is in flight, until the instant at the latest; then it is killed.
    case draining(Instant)
    /// The elector gives up what is left, until the instant at the latest; then it is killed and the guardian cleans up.
    case ending(Instant, killed: Bool)
    case stopped
  }
  private static let timeToReset = TimeSpan.seconds(2)
  private static let timeToPart = TimeSpan.seconds(1)
  private enum Token: UInt64 { case commands, timer, electorSocket, balancerSocket, balancerProcess }

  let supervisor: Supervisor
  let guardian: Guardian?
  let poller: Poller
  let timer: Timer
  var plan: SupervisorPlan
  var events: EventLog { supervisor.events }
  var logger: Logger { supervisor.logger }

  var elector: Child
  var balancer: Child
  var phase = Phase.running
  var orders: [ServerOrder] = []
  var switches: [RouteSwitch] = []
  /// As the balancer has reported them last, this one or the one before it.
  var knownPools: [PoolStatus] = []
  var draining = false
  /// 0 until it is known.
  var intentsDigest: UInt64 = 0
  var handovers = Handovers()
  var moves: [String: PendingMove] = [:]
  var requirements = RequirementBook()
  /// Made when the first hook is to be run.
  var hooks: HookRunner?
  /// VIPs that this node holds, by what the elector has said and its hooks were told, as they were configured last.
  var heldVIPs: [String: VIPConfiguration] = [:]
  /// What the elector was last told of the kernel gate, and under which revision.
  var gateSlotsTold: (slots: [String: Int], revision: UInt64)?
  /// None where nothing is required that others than the children know of.
  var requirementWatch: RequirementWatch?
  var reload: PendingReload?
  var lastRevision: UInt64 = 0
  var figures: [PendingFigures] = []
  var lastFiguresToken: UInt64 = 0
  /// What every balancer gets.
  var accessLog: OpenedLog?
  private var saidReady = false
  private let readyAtLatest: Instant
  private var nextKeepAlive: Instant

  init(supervisor: Supervisor, guardian: Guardian?) throws {
    self.supervisor = supervisor
    self.guardian = guardian
    plan = supervisor.plan
    poller = try Poller(capacity: 64)
    timer = try Timer()
    elector = Child(name: "elector", path: supervisor.plan.electorPath)
    balancer = Child(name: "balancer", path: supervisor.plan.balancerPath)
    let now = Clock.monotonic
    readyAtLatest = now + .seconds(10)
    nextKeepAlive = supervisor.manager.watchdogInterval == nil ? .distantFuture : now
  }

  func run() throws {
    // A handover must not wait behind busy processes; whoever refuses is named by the guardian's own warning.
    _ = Privileges.becomeRealTime(priority: 1)
    try poller.add(supervisor.wakeUp.descriptor.raw, .read, token: Token.commands.rawValue)
    try poller.add(timer.descriptor.raw, .read, token: Token.timer.rawValue)
    configureRequirements()
    startBalancer()
    startElector()
    publishProcesses()
    while phase != .stopped {
      timer.arm(at: nextDeadline)
      let count = poller.wait(timeout: nil)
      for index in 0..<count { handle(Token(rawValue: poller.token(index))) }
      handleTime(Clock.monotonic)
    }
    requirementWatch?.stop()
    hooks?.stop()
    for move in moves.values { move.refuse("the agent is stopping") }
    moves = [:]
    if let reload { refuse(reload, "the agent is stopping", status: 503) }
    giveUpFigures("the agent is stopping")
    for command in supervisor.takeCommands() {
      switch command {
      case .move(let request, let reply):
        PendingMove(request: request, reply: reply).refuse("the agent is stopping", status: 503)
      case .reload(_, _, let reply): reply.resume(throwing: Refusal(503, "the agent is stopping"))
      case .figures(let reply): reply.resume(throwing: Refusal(503, "the agent is stopping"))
      default: break
      }
    }
  }

  private func handle(_ token: Token?) {
    switch token {
    case .commands: for command in supervisor.takeCommands() { handle(command) }
    case .timer: timer.clear()
    case .electorSocket:
      settle(elector.flush(), ofElector: true)
      readElector()
    case .balancerSocket:
      settle(balancer.flush(), ofElector: false)
      readBalancer()
    case .balancerProcess: balancerEnded()
    case nil: break
    }
  }

  private func handle(_ command: Supervisor.Command) {
    switch command {
    case .orders(let new):
      guard new != orders else { return }
      orders = new
      tellBalancer(.orders(new))
    case .switches(let new):
      guard new != switches else { return }
      switches = new
      tellBalancer(.switches(new))
      // VIPs may require the pool that is left, or the one that is gone to.
      if balancer.isReady, let status = supervisor.board.view.balancer { poolsAre(status.pools) }
    case .draining(let new):
      guard new != draining else { return }
      draining = new
      // A stop drains the node whatever operators say.
      if phase == .running { tellElector(.draining(new)) }
    case .intentsDigest(let new):
      guard new != intentsDigest else { return }
      intentsDigest = new
      tellElector(.intentsDigest(new))
    case .move(let request, let reply): startMove(PendingMove(request: request, reply: reply))
    case .reload(let plan, let sockets, let reply): startReload(plan, sockets, reply)
    case .figures(let reply): askForFigures(reply)
    case .accessLog(let opened):
      accessLog = opened
      handAccessLog()
    case .gateChanged(let view):
      supervisor.board.update { $0.gate = view }
      tellGateSlots()
    case .electorGone(let report): electorEnded(report)
    case .warning(let text): supervisor.board.update { if !$0.warnings.contains(text) { $0.warnings.append(text) } }
    case .requirement(let kind, let answer): requirementAnswered(kind, answer)
    case .stop: beginStop()
    }
  }

  // MARK: Time

  private var nextDeadline: Instant {
    var next = min(nextKeepAlive, handovers.nextExpiry, elector.restartAt ?? .distantFuture)
    next = min(next, balancer.restartAt ?? .distantFuture)
    next = min(next, elector.killAt ?? .distantFuture, balancer.killAt ?? .distantFuture)
    next = min(next, elector.silentAt, balancer.silentAt)
    if !saidReady { next = min(next, readyAtLatest) }
    for move in moves.values { next = min(next, move.deadline) }
    if let reload { next = min(next, reload.deadline) }
    if let first = figures.first { next = min(next, first.deadline) }
    switch phase {
    case .partingWithVIPs(let deadline), .draining(let deadline), .ending(let deadline, _): next = min(next, deadline)
    case .running, .stopped: break
    }
    return next
  }

  private func handleTime(_ now: Instant) {
    if now >= nextKeepAlive, let interval = supervisor.manager.watchdogInterval {
      supervisor.manager.keepAlive()
      nextKeepAlive = now + interval
    }
    if let killAt = elector.killAt, now >= killAt { elector.kill() }
    if let killAt = balancer.killAt, now >= killAt { balancer.kill() }
    if now >= elector.silentAt { elector.giveUp(now) }
    if now >= balancer.silentAt { balancer.giveUp(now) }
    if let restartAt = balancer.restartAt, now >= restartAt { startBalancer() }
    if let restartAt = elector.restartAt, now >= restartAt { startElector() }
    for vip in handovers.expire(now) { resume(vip) }
    expireMoves(now)
    expireReload(now)
    expireFigures(now)
    sayReadyIfSo(now)
    advanceStop(now)
  }

  /// READY=1 once every child that should run is ready, or after ten seconds: the API is there to say what is wrong.
  private func sayReadyIfSo(_ now: Instant) {
    guard !saidReady, phase == .running else { return }
    let complete = (plan.elector == nil || elector.isReady) && (plan.balancer == nil || balancer.isReady)
    guard complete || now >= readyAtLatest else { return }
    saidReady = true
    supervisor.manager.ready(complete ? "serving as \(plan.node)" : "serving as \(plan.node), not everything is up")
  }

  // MARK: Stopping

  private func beginStop() {
    guard phase == .running else { return }
    supervisor.manager.stopping()
    events.record("agent_stopping", subject: plan.node.text, cause: "asked to stop")
    if let reload { refuse(reload, "the agent is stopping", status: 503) }
    elector.restartAt = nil
    balancer.restartAt = nil
    phase = .partingWithVIPs(Clock.monotonic + Self.timeToPart)
    tellElector(.draining(true))
  }

  private func advanceStop(_ now: Instant) {
    if case .partingWithVIPs(let deadline) = phase, heldVIPs.isEmpty || !elector.isRunning || now >= deadline {
      // The balancer resets what is left by then, and says so in the log: only one that hangs is killed.
      phase = .draining(now + plan.drainOnStop + Self.timeToReset)
      tellBalancer(.shutdown(within: plan.drainOnStop))
      // It closes its own: nobody is to wait at a door that nobody opens any more.
      supervisor.sockets = nil
    }
    if case .draining(let deadline) = phase {
      if balancer.isRunning && now >= deadline {
        logger.warning("the balancer did not finish in time and is killed: what is open is cut")
        balancer.kill()
      }
      if !balancer.isRunning || now >= deadline {
        phase = .ending(now + plan.handoverOnStop, killed: false)
        tellElector(.shutdown)
      }
    }
    if case .ending(let deadline, let killed) = phase {
      if !elector.isRunning || killed && now >= deadline {
        phase = .stopped
      } else if now >= deadline {
        logger.warning("the elector did not finish in time and is killed")
        elector.kill()
        phase = .ending(now + .seconds(1), killed: true)
      }
    }
  }

  // MARK: Children's descriptors

  func watch(_ raw: Int32?, electorSocket: Bool) { add(raw, electorSocket ? .electorSocket : .balancerSocket) }
  func watchBalancerProcess() { add(balancer.processDescriptor, .balancerProcess) }

  private func add(_ raw: Int32?, _ token: Token) {
    guard let raw else { return }
    do { try poller.add(raw, .read, token: token.rawValue) } catch { logger.critical("\(error)") }
  }

  /// Takes care of what a send left: wait until the child reads, or kill one that does not.
  func settle(_ result: Child.SendResult, ofElector: Bool) {
    let (raw, waits) =
      ofElector
      ? (elector.socketDescriptor, elector.hasWaiting) : (balancer.socketDescriptor, balancer.hasWaiting)
    if result == .hung {
      logger.error("the \(ofElector ? "elector" : "balancer") does not read its messages and is killed")
      if ofElector { elector.kill() } else { balancer.kill() }
    }
    guard let raw else { return }
    let token: Token = ofElector ? .electorSocket : .balancerSocket
    try? poller.modify(raw, waits ? [.read, .write] : .read, token: token.rawValue)
  }

  func tellElector(_ command: ElectorCommand) { settle(elector.send(command), ofElector: true) }
  func tellBalancer(
    _ command: BalancerCommand, descriptors: [Int32] = [], owner: (any AnyObject & Sendable)? = nil
  ) {
    settle(balancer.send(command, descriptors: descriptors, owner: owner), ofElector: false)
  }

  func handAccessLog() {
    guard let accessLog else { return }
    tellBalancer(.accessLog, descriptors: [accessLog.file.raw], owner: accessLog)
  }

  func publishProcesses() {
    var processes = [APIProcess(name: "agent", pid: getpid(), state: "running", restarts: 0)]
    if plan.elector != nil { processes.append(elector.shown) }
    if plan.balancer != nil { processes.append(balancer.shown) }
    supervisor.board.update { view in
      view.processes = processes
      view.balancerReady = processes.contains { $0.name == "balancer" && $0.state == "running" }
      if !processes.contains(where: { $0.name == "elector" && $0.state == "running" }) {
        view.elector = nil
        view.links = []
        view.keptVIPs = []
      }
      if !view.balancerReady { view.balancer = nil }
    }
  }
}
