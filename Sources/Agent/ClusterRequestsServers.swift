// Orders to servers and routes: recorded as intents, on every node.

package import Control
internal import Intents
internal import Kernel
internal import Primitives

extension ClusterRequests {
  package func setServer(_ request: APIServerRequest) async throws -> APIServerAnswer {
    var missing: Set<NodeName> = []
    let (pool, server, author) = (request.pool, request.server, plan.node)
    if let state = request.state {
      let asked: ServerIntent =
        switch state {
        case .ready: .ready
        case .drain: .drain
        case .maint: .maint
        }
      missing.formUnion(
        try await record(try key { () throws(IntentsFault) in try .server(server, of: pool) }) {
          try $0.setServer(asked, server, of: pool, author: author)
        })
    }
    if let weight = request.weight {
      missing.formUnion(
        try await record(try key { () throws(IntentsFault) in try .weight(of: server, of: pool) }) {
          try $0.setWeight(weight < 0 ? nil : weight, of: server, of: pool, author: author)
        })
    }
    controls.record("server_ordered", subject: "\(pool)/\(server)", cause: request.words)
    return APIServerAnswer(request, pending: missing.sorted().map(\.text))
  }

  package func switchRoute(_ route: String, to change: RouteSwitch?, by: String?) async throws -> APISwitchAnswer {
    let intent = change.map { RouteIntent(pool: $0.pool, identity: $0.identity) }
    let missing = try await record(try key { () throws(IntentsFault) in try .route(route) }) { [author = plan.node] in
      try $0.setRoute(route, to: intent, author: author)
    }
    controls.record("route_switched", subject: route, cause: RouteSwitch.words(to: change?.pool, by: by))
    return APISwitchAnswer(
      route: route, pool: change?.pool ?? "", configured: change == nil, pending: missing.sorted().map(\.text))
  }

  package func switches() -> [RouteSwitch] { DrainOrders.switches(store.intents) }
  package func serverOrders() -> [ServerOrder] { DrainOrders.serverOrders(store.intents) }

  private func key(_ make: () throws(IntentsFault) -> IntentKey) throws -> IntentKey {
    do { return try make() } catch { throw Refusal(400, "\(error)") }
  }
}

extension APIServerRequest {
  /// For the record.
  var words: String {
    var words = state?.rawValue ?? ""
    if let weight { words += weight < 0 ? "weight as configured" : "weight \(weight)" }
    return words + (by.map { " by \($0)" } ?? "")
  }
}

extension RouteSwitch {
  static func words(to pool: String?, by: String?) -> String {
    (pool.map { "to pool \($0)" } ?? "back to the pool of the configuration") + (by.map { " by \($0)" } ?? "")
  }
}
