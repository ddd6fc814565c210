// What VIPs require at this node and what is run when they come and go: the supervisor's side. Balancer and pools are known here, the rest comes from
// `RequirementWatch`; the elector hears of each VIP whether this node may hold it.

internal import Control
internal import Kernel
internal import Logging
internal import Primitives

extension SupervisorLoop {
  /// At the start, and when the configuration has changed.
  func configureRequirements() {
    requirements.configure(plan.elector?.vips ?? [])
    let outside = requirements.outside
    if requirementWatch == nil, !outside.isEmpty {
      do {
        requirementWatch = try RequirementWatch(environment: plan.programEnvironment) { [supervisor] kind, answer in
          supervisor.post(.requirement(kind, answer))
        }
      } catch {
        for kind in outside { _ = requirements.note(kind, RequirementAnswer(met: false, cause: "\(error)")) }
      }
    }
    requirementWatch?.watch(outside)
    // What the balancer reports of pools comes by itself.
    if !balancer.isReady { _ = requirements.note(pools: nil, why: requirements.balancerCause) }
    tellStandings(isNews: true)
  }

  func requirementAnswered(_ kind: Requirement.Kind, _ answer: RequirementAnswer) {
    tellStandings(isNews: requirements.note(kind, answer))
  }

  /// The balancer serves, or why it does not.
  func balancerServes(_ serves: Bool, _ cause: String) {
    var isNews = requirements.note(.balancer, RequirementAnswer(met: serves, cause: cause))
    if !serves, requirements.note(pools: nil, why: cause) { isNews = true }
    tellStandings(isNews: isNews)
  }

  func poolsAre(_ pools: [PoolStatus]) {
    let isNews = requirements.note(pools: pools) { name in
      guard let balancer = plan.balancer else { return [name] }
      return switches.destinations(of: name, balancer.listeners, balancer.pools)
    }
    tellStandings(isNews: isNews)
  }

  /// A new elector knows nothing.
  func tellEveryStanding() {
    requirements.forgetTold()
    tellStandings(isNews: true)
  }

  private func tellStandings(isNews: Bool) {
    guard isNews else { return }
    let changes = requirements.changes()
    if !changes.isEmpty { tellElector(.standings(changes)) }
    let shown = requirements.shown
    supervisor.board.update { $0.requirements = shown }
  }
}

// Hooks.
extension SupervisorLoop {
  func runHook(_ event: ElectorEvent) {
    switch event.kind {
    case .vipGained:
      heldVIPs[event.subject] = vip(event.subject)
      runHook(vip(event.subject), .gained, event.cause)
    case .vipLost:
      // One that a reload has removed is known from before.
      let held = heldVIPs.removeValue(forKey: event.subject)
      runHook(vip(event.subject) ?? held, .lost, event.cause)
    case .vipAddressFailed: runHook(vip(event.subject), .failed, event.cause)
    case .memberAlive, .memberSuspect, .memberDead, .pathLost, .pathBack, .handoverDone, .warning: break
    }
  }

  /// The elector could not say itself what it lost.
  func loseAllForHooks(cause: String) {
    for (name, held) in heldVIPs.sorted(by: { $0.key < $1.key }) { runHook(vip(name) ?? held, .lost, cause) }
    heldVIPs = [:]
  }

  private func runHook(_ vip: VIPConfiguration?, _ kind: HookEvent.Kind, _ cause: String) {
    guard let vip, let path = vip.onChange else { return }
    do {
      let runner = try hooks ?? HookRunner(environment: plan.programEnvironment, events: events, logger: logger)
      hooks = runner
      runner.post(
        HookEvent(
          vip: vip.name, kind: kind, cause: cause, path: path,
          addresses: vip.addresses.map(\.description).joined(separator: " "), interface: vip.interface))
    } catch { logger.error("the hook of VIP \(vip.name) is not run: \(error)") }
  }
}
