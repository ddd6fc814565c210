// Another plan for running children. First the balancer, which may refuse; when all its workers have taken it over, the
// elector and the guardian. Sockets of addresses that are no longer listened on are closed last.

internal import Control
internal import Kernel
internal import Logging
internal import Primitives

/// A reload that somebody waits for.
struct PendingReload {
  /// How long the balancer may take.
  static let patience = TimeSpan.seconds(5)

  let revision: UInt64
  let plan: SupervisorPlan
  let sockets: ListeningSockets?
  let reply: CheckedContinuation<Void, any Error>
  let deadline = Clock.monotonic + PendingReload.patience

  func refuse(_ why: String, status: Int = 409) { reply.resume(throwing: Refusal(status, why)) }
}

extension SupervisorLoop {
  func startReload(_ next: SupervisorPlan, _ sockets: ListeningSockets?, _ reply: CheckedContinuation<Void, any Error>)
  {
    lastRevision += 1
    let pending = PendingReload(revision: lastRevision, plan: next, sockets: sockets, reply: reply)
    guard phase == .running else { return pending.refuse("the agent is stopping", status: 503) }
    guard reload == nil else { return pending.refuse("another reload is under way", status: 503) }
    guard let configuration = next.balancer, let sockets, balancer.isRunning else { return finishReload(pending) }
    reload = pending
    tellBalancer(
      .reconfigure(configuration, revision: pending.revision, opened: sockets.opened.map(\.endpoint)),
      descriptors: sockets.opened.flatMap(\.raws), owner: sockets)
  }

  func balancerTookOver(_ revision: UInt64) {
    if let reload, reload.revision == revision { finishReload(reload) }
  }

  func balancerRefused(_ revision: UInt64, _ why: String) {
    guard let pending = reload, pending.revision == revision else { return }
    reload = nil
    pending.refuse("the balancer refuses the configuration: \(why)")
  }

  func expireReload(_ now: Instant) {
    guard let pending = reload, now >= pending.deadline else { return }
    // It may still take it over, and one that is started anew does: better one plan than two.
    adopt(pending)
    pending.refuse(
      "the balancer has not taken the configuration over within \(PendingReload.patience.milliseconds / 1_000) s",
      status: 503)
  }

  func finishReload(_ pending: PendingReload) {
    adopt(pending)
    pending.reply.resume()
  }

  private func adopt(_ pending: PendingReload) {
    reload = nil
    let startsBalancer = plan.balancer == nil && pending.plan.balancer != nil
    plan = pending.plan
    supervisor.sockets = pending.sockets
    if var configuration = plan.elector {
      guardian?.update(configuration)
      configuration.gateSlots = supervisor.gate?.slots
      tellElector(.configure(configuration))
      supervisor.gate?.settle(on: configuration)
    }
    configureRequirements()
    if startsBalancer { startBalancer() }
    publishProcesses()
  }
}
