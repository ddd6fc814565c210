// The operators' requests themselves: drain, undrain, servers, and moves that another node carries out.

package import Control
internal import Intents
internal import Kernel
package import Primitives

extension ClusterRequests {
  package func warnings() -> [String] { link.warnings + (store.warning.map { [$0] } ?? []) }

  package func electorsRunElsewhere() -> Bool {
    let now = Clock.monotonic
    return reports.contains { node, received in
      node != plan.node && received.report.vipsHeld != nil && now - received.at <= DrainProgress.freshFor
    }
  }

  package func drains() -> [APIDrain] {
    let progress = progress()
    let now = Clock.unixNanoseconds
    return store.intents.drains.sorted { $0.key < $1.key }.map { node, intent in
      let blockers = progress.blockers(of: node)
      let late = intent.deadlineUnixNanoseconds.map { now >= $0 } ?? false
      return APIDrain(
        node: node.text, phase: blockers.isEmpty ? .drained : late ? .deadlinePassed : .draining, by: intent.by,
        reason: intent.reason, since: APITime(unixNanoseconds: intent.sinceUnixNanoseconds),
        deadline: intent.deadlineUnixNanoseconds.map { APITime(unixNanoseconds: $0) }, untilReboot: intent.untilReboot,
        blocking: blockers)
    }
  }

  package func drain(_ request: APIDrainRequest) async throws -> APIDrainAnswer {
    let node = try member(request.node)
    let intents = store.intents
    let existing = intents.drain(of: node)
    let intent = try makeIntent(request, node: node, existing: existing)
    if existing == nil, request.force != true {
      let admission = DrainAdmission(members: members, drains: intents.drains, maximumDraining: plan.maximumDraining)
      if let why = admission.refusal(of: node) { throw Refusal(409, why, override: DrainAdmission.override) }
    }
    var steps = existing == nil ? [] : ["\(node) is being drained already, since \(time(existing))"]
    steps += expectedSteps(of: node)
    if request.check == true { return APIDrainAnswer(node: node.text, recorded: false, steps: steps) }
    if intent != existing {
      steps.append(
        recorded(
          missing: try await record(.drain(of: node)) { [author = plan.node] in
            try $0.setDrain(intent, of: node, author: author)
          }))
    }
    return APIDrainAnswer(
      node: node.text, recorded: true, steps: steps, drain: drains().first { $0.node == node.text })
  }

  package func undrain(_ request: APIUndrainRequest) async throws -> APIUndrainAnswer {
    let node = try member(request.node)
    if request.rebalance == true {
      throw Refusal(
        400, "undrain --rebalance is not supported yet: undrain, then move each VIP with afloat move VIP \(node)")
    }
    guard store.intents.drain(of: node) != nil else { return APIUndrainAnswer(node: node.text, changed: false) }
    _ = try await record(.drain(of: node)) { [author = plan.node] in try $0.setDrain(nil, of: node, author: author) }
    return APIUndrainAnswer(node: node.text, changed: true)
  }

  package func forwardMove(_ request: APIMoveRequest, to holder: NodeName) async throws -> APIMoveAnswer {
    switch await self.request(.move(request), of: holder, timeout: .seconds(15)) {
    case .moved(let answer): return answer
    case .refused(let status, let error): throw Refusal(status, error.error, override: error.override)
    case .recorded, nil:
      let known = link.warnings.first { $0.hasPrefix("agent of \(holder) ") }
      throw Refusal(503, "\(holder) holds \(request.vip) and gave no answer (\(known ?? "it may still move"))")
    }
  }

  // MARK: parts of these

  private func member(_ name: String?) throws -> NodeName {
    guard let name else { return plan.node }
    guard let member = plan.cluster.members.first(where: { $0.name.text == name }) else {
      let known = plan.cluster.members.map(\.name.text).joined(separator: ", ")
      throw Refusal(404, "there is no node \(name) (members are \(known))")
    }
    return member.name
  }

  /// A repeated request keeps when the drain began, and what it does not name.
  private func makeIntent(_ request: APIDrainRequest, node: NodeName, existing: DrainIntent?) throws -> DrainIntent {
    let now = Clock.unixNanoseconds
    var intent =
      existing
      ?? DrainIntent(
        reason: "", sinceUnixNanoseconds: now, deadlineUnixNanoseconds: now + plan.drainTimeout.nanoseconds,
        by: plan.node.text)
    if existing == nil, let by = request.by, !by.isEmpty { intent.by = "\(by)@\(plan.node)" }
    if let reason = request.reason { intent.reason = reason }
    if let deadline = request.deadlineMilliseconds {
      let longest: Int64 = 366 * 24 * 3_600_000
      guard (0...longest).contains(deadline) else { throw Refusal(400, "a deadline is at most a year away") }
      intent.deadlineUnixNanoseconds = deadline == 0 ? nil : now + deadline * 1_000_000
    }
    if let action = request.onDeadline { intent.onDeadline = action == .force ? .force : .fail }
    if let untilReboot = request.untilReboot { intent.untilReboot = untilReboot }
    do {
      // Says what is wrong with the texts before anything else is done.
      var trial = Intents()
      try trial.setDrain(intent, of: node, author: plan.node)
    } catch { throw Refusal(400, "\(error)") }
    return intent
  }

  private func expectedSteps(of node: NodeName) -> [String] {
    var steps: [String] = []
    for vip in controls.view.elector?.vips ?? [] where vip.holder == node {
      steps.append("\(node) hands VIP \(vip.name) over")
    }
    for pool in plan.balancer?.pools ?? [] {
      let own = pool.servers.filter { $0.member == node }
      guard !own.isEmpty else { continue }
      steps.append(
        "\(own.map { "\(pool.name)/\($0.name)" }.joined(separator: ", ")) takes no new clients, on every node")
      if own.count == pool.servers.count { steps.append("warning: pool \(pool.name) has no other server") }
    }
    if members.contains(where: { $0.name == node && !$0.alive }) {
      steps.append("\(node) is dead: it drains itself when it comes back")
    }
    return steps
  }

  /// Writes one register here and on every member that can be reached. Returns the members that have not confirmed.
  func record(
    _ key: IntentKey, _ change: @escaping @Sendable (inout Intents) throws -> Void
  ) async throws -> [NodeName] {
    let intents: Intents
    do { intents = try await update(change) } catch { throw Refusal(503, "it could not be recorded: \(error)") }
    let written = intents.registers[key.text]
    let missing = await spread(intents.part(of: [key]))
    // A peer had a later order that this node did not know (it starts with an old disk, say): by now it has been merged
    // here. Once more, above it.
    guard store.intents.registers[key.text] != written else { return missing }
    do {
      return await spread(try await update(change).part(of: [key]))
    } catch { throw Refusal(503, "it could not be recorded: \(error)") }
  }

  private func recorded(missing: [NodeName]) -> String {
    let all = plan.cluster.members.count
    let text = "recorded on \(all - missing.count) of \(all) nodes"
    return missing.isEmpty ? text : text + " (\(missing.map(\.text).joined(separator: ", ")): as soon as reached)"
  }

  private func time(_ drain: DrainIntent?) -> String {
    drain.map { APITime(unixNanoseconds: $0.sinceUnixNanoseconds).description } ?? "-"
  }
}
