// Which pool a route goes to: what the configuration says, and what operators changed of it with `afloat switch`. The
// balancer, the verdict and what VIPs require all go by the same answer.

/// A route that operators sent to another pool than the configuration does.
package struct RouteSwitch: Codable, Equatable, Sendable {
  package var route: String
  package var pool: String

  package init(route: String, pool: String) {
    self.route = route
    self.pool = pool
  }

  /// Whether a configuration has what it names; one that does not is not in force.
  package func isInForce(_ listeners: [ListenerConfiguration], _ pools: [PoolConfiguration]) -> Bool {
    pools.contains { $0.name == pool } && listeners.contains { $0.poolsByRoute[route] != nil }
  }
}

extension [RouteSwitch] {
  /// The listeners with their routes going where the switches in force send them.
  package func applied(
    to listeners: [ListenerConfiguration], _ pools: [PoolConfiguration]
  ) -> [ListenerConfiguration] {
    var result = listeners
    for change in self where change.isInForce(listeners, pools) {
      for listener in result.indices { result[listener].send(change.route, to: change.pool) }
    }
    return result
  }

  /// Where the clients go that the configuration sends to `pool`: the pools of its routes as they are switched. Just
  /// `pool` where no route goes to it.
  package func destinations(
    of pool: String, _ listeners: [ListenerConfiguration], _ pools: [PoolConfiguration]
  ) -> Set<String> {
    if isEmpty { return [pool] }
    var found: Set<String> = []
    for (before, after) in zip(listeners, applied(to: listeners, pools)) {
      let goesTo = after.poolsByRoute
      for (route, name) in before.poolsByRoute where name == pool { found.insert(goesTo[route] ?? name) }
    }
    return found.isEmpty ? [pool] : found
  }
}

extension ListenerConfiguration {
  /// The name of the route that takes what no other does, for `switch`.
  package var defaultRoute: String { "\(name)/default" }

  /// Where each of its routes that goes to a pool goes to, by the route's name.
  package var poolsByRoute: [String: String] {
    var result: [String: String] = [:]
    for route in routes { if case .pool(let name) = route.action { result[route.name] = name } }
    if !pool.isEmpty { result[defaultRoute] = pool }
    return result
  }

  /// All that its clients may be sent to.
  package var pools: [String] {
    let usual = pool.isEmpty ? [] : [pool]
    return usual + routes.compactMap { if case .pool(let name) = $0.action { name } else { nil } }
  }

  fileprivate mutating func send(_ route: String, to name: String) {
    if route == defaultRoute && !pool.isEmpty { pool = name }
    for index in routes.indices where routes[index].name == route {
      if case .pool = routes[index].action { routes[index].action = .pool(name) }
    }
  }
}
