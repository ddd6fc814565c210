// Another plan for running children. The elector is asked whether it can have it; then the balancer takes it over, or refuses;
// when all its workers go by it, it is in force, and the elector is told and says when it goes by it too. Sockets of addresses
// that are no longer listened on are closed last.

internal import Control
internal import Kernel
internal import Logging
internal import Primitives

/// A reload that somebody waits for.
struct PendingReload {
  /// How long the children may take.
  static let patience = TimeSpan.seconds(5)
  enum Step {
    /// The elector says whether it could.
    case check
    case balancer
    /// The plan is in force; the elector takes it over.
    case elector
  }

  /// Of the message that is to be answered.
  var revision: UInt64 = 0
  var step = Step.check
  let plan: SupervisorPlan
  let sockets: ListeningSockets?
  let reply: CheckedContinuation<Refusal?, any Error>
  let deadline = Clock.monotonic + PendingReload.patience

  init(plan: SupervisorPlan, sockets: ListeningSockets?, reply: CheckedContinuation<Refusal?, any Error>) {
    self.plan = plan
    self.sockets = sockets
    self.reply = reply
  }
}

extension SupervisorLoop {
  func startReload(
    _ next: SupervisorPlan, _ sockets: ListeningSockets?, _ reply: CheckedContinuation<Refusal?, any Error>
  ) {
    guard phase == .running else { return reply.resume(throwing: Refusal(503, "the agent is stopping")) }
    guard reload == nil else { return reply.resume(throwing: Refusal(503, "another reload is under way")) }
    let pending = PendingReload(plan: next, sockets: sockets, reply: reply)
    guard let configuration = next.elector, elector.isRunning else { return tellBalancer(of: pending) }
    let revision = expectAnswer(pending, .check)
    tellElector(.reconfigure(configuration, revision: revision, onlyCheck: true))
  }

  private func expectAnswer(_ pending: PendingReload, _ step: PendingReload.Step) -> UInt64 {
    lastRevision += 1
    var pending = pending
    pending.revision = lastRevision
    pending.step = step
    reload = pending
    return lastRevision
  }

  private func tellBalancer(of pending: PendingReload) {
    guard let configuration = pending.plan.balancer, let sockets = pending.sockets, balancer.isRunning else {
      return adopt(pending)
    }
    let revision = expectAnswer(pending, .balancer)
    Privileges.atNormalPriority {
      tellBalancer(
        .reconfigure(configuration, revision: revision, opened: sockets.opened.map(\.endpoint)),
        descriptors: sockets.opened.flatMap(\.raws), owner: sockets)
    }
  }

  // MARK: Answers

  func balancerTookOver(_ revision: UInt64) {
    if let reload, reload.step == .balancer, reload.revision == revision { adopt(reload) }
  }

  func balancerRefused(_ revision: UInt64, _ why: String) {
    guard let reload, reload.step == .balancer, reload.revision == revision else { return }
    refuse(reload, "the balancer refuses the configuration: \(why)")
  }

  func electorTookOver(_ revision: UInt64) {
    if let told = gateSlotsTold, told.revision == revision { supervisor.gate?.electorKnows(told.slots) }
    guard let reload, reload.revision == revision else { return }
    switch reload.step {
    case .check: tellBalancer(of: reload)
    case .elector: finish(reload)
    case .balancer: break
    }
  }

  func electorRefused(_ revision: UInt64, _ why: String) {
    logger.error("the elector refuses a configuration: \(why)")
    guard let reload, reload.revision == revision else { return }
    switch reload.step {
    case .check: refuse(reload, "the elector refuses the configuration: \(why)")
    case .elector:
      finish(reload, Refusal(503, "the configuration is in force, but the elector goes by the one before: \(why)"))
    case .balancer: break
    }
  }

  /// A child that is started anew starts with what is in force then.
  func childEnded(ofElector: Bool) {
    guard let reload else { return }
    switch reload.step {
    case .check where ofElector: tellBalancer(of: reload)
    case .balancer where !ofElector: adopt(reload)
    case .elector where ofElector: finish(reload)
    case .check, .balancer, .elector: break
    }
  }

  func expireReload(_ now: Instant) {
    guard let pending = reload, now >= pending.deadline else { return }
    let patience = "within \(PendingReload.patience.milliseconds / 1_000) s"
    switch pending.step {
    case .check: refuse(pending, "the elector has not looked at the configuration \(patience)", status: 503)
    case .balancer:
      // It may still take it over, and one that is started anew does: better one plan than two.
      adopt(pending, Refusal(503, "the balancer has not taken the configuration over \(patience)"))
    case .elector: finish(pending, Refusal(503, "the elector has not taken the configuration over \(patience)"))
    }
  }

  // MARK: Its end

  /// From here on the plan is in force.
  private func adopt(_ pending: PendingReload, _ complaint: Refusal? = nil) {
    let startsBalancer = plan.balancer == nil && pending.plan.balancer != nil
    for name in heldVIPs.keys { if let vip = vip(name) { heldVIPs[name] = vip } }
    // The one before goes, and may be large.
    Privileges.atNormalPriority { plan = pending.plan }
    supervisor.sockets = pending.sockets
    // Before the elector takes it over, so that what VIPs require anew does not count as missing for a moment.
    configureRequirements()
    if startsBalancer { startBalancer() }
    publishProcesses()
    guard var configuration = plan.elector else { return finish(pending, complaint) }
    guardian?.update(configuration)
    guard elector.isRunning else { return finish(pending, complaint) }
    let revision = expectAnswer(pending, .elector)
    configuration.gateSlots = gateSlots
    gateSlotsTold = configuration.gateSlots.map { ($0, revision) }
    tellElector(.reconfigure(configuration, revision: revision, onlyCheck: false))
    if let complaint, let reload { finish(reload, complaint) }
  }

  private func finish(_ pending: PendingReload, _ complaint: Refusal? = nil) {
    reload = nil
    pending.reply.resume(returning: complaint)
    settleGate()
  }

  func refuse(_ pending: PendingReload, _ why: String, status: Int = 409) {
    reload = nil
    pending.reply.resume(throwing: Refusal(status, why))
    settleGate()
  }

  // MARK: The kernel gate

  private func settleGate() {
    guard let configuration = plan.elector else { return }
    supervisor.gate?.settle(on: configuration)
    tellGateSlots()
  }

  /// Those of the plan's VIPs; nil where there is no gate.
  var gateSlots: [String: Int]? {
    supervisor.gate?.slots.map { slots in slots.filter { vip($0.key) != nil } }
  }

  /// What can be behind the gate has changed: the elector opens nothing that it does not know of.
  func tellGateSlots() {
    guard reload == nil, elector.isRunning, let slots = gateSlots, let told = gateSlotsTold, told.slots != slots else {
      return
    }
    lastRevision += 1
    gateSlotsTold = (slots, lastRevision)
    tellElector(.gateSlots(slots, revision: lastRevision))
  }

  func vip(_ name: String) -> VIPConfiguration? { plan.elector?.vips.first { $0.name == name } }
}
