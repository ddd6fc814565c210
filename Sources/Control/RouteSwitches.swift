// Which pool a route goes to: what the configuration says, and what operators changed of it with `afloat switch`. The
// balancer, the verdict and what VIPs require all go by the same answer.

/// A route that operators sent to another pool than the configuration does.
package struct RouteSwitch: Codable, Equatable, Sendable {
  package var route: String
  package var pool: String
  /// The identity of a route that was meant by its place, LISTENER/INDEX: the place may become another's. Nil for names.
  package var identity: UInt64?

  package init(route: String, pool: String, identity: UInt64? = nil) {
    self.route = route
    self.pool = pool
    self.identity = identity
  }

  /// What a configuration lacks for it; a switch with an obstacle is not in force, and its route goes where the
  /// configuration says.
  package func obstacle(_ listeners: [ListenerConfiguration], _ pools: [PoolConfiguration]) -> SwitchObstacle? {
    guard let listener = listeners.first(where: { $0.poolsByRoute[route] != nil }) else { return .noRoute }
    if let identity, listener.identity(of: route) != identity { return .otherRoute }
    let line = pools.standIns(behind: pool)
    return line.isEmpty ? .noPool : line.flatMap { $0.misfits(in: listener.mode) }.first.map { .misfit($0) }
  }
}

package enum SwitchObstacle: Equatable, Sendable {
  case noRoute
  /// Its place belongs to a route for other requests.
  case otherRoute
  case noPool
  case misfit(PoolMisfit)
}

/// Why the routes of a listener cannot go to a pool, and what to do about it.
package struct PoolMisfit: Equatable, Sendable {
  /// Begins with `pool "app"`.
  package var fault: String
  package var remedy: String
}

extension PoolConfiguration {
  /// Empty if routes of a listener in this mode can go to it.
  package func misfits(in mode: ProxyMode) -> [PoolMisfit] {
    guard mode == .tcp else { return [] }
    var found: [PoolMisfit] = []
    if case .hash(let subject) = balance, subject != .source {
      found.append(
        PoolMisfit(
          fault: "pool \"\(name)\" hashes what a tcp listener cannot see",
          remedy: "use balance: {hash: source}, or mode: http"))
    }
    if case .cookie = affinity {
      found.append(
        PoolMisfit(
          fault: "pool \"\(name)\" keeps clients by cookie, which a tcp listener cannot",
          remedy: "use affinity: source, or mode: http"))
    }
    switch whenAllDown {
    case .respond, .files:
      found.append(
        PoolMisfit(
          fault: "pool \"\(name)\" has a page for when all its servers are down, which is HTTP",
          remedy: "use when_all_down: {pool: NAME}, or mode: http"))
    case .error, .pool: break
    }
    return found
  }
}

extension [RouteSwitch] {
  /// The listeners with their routes going where the switches in force send them.
  package func applied(
    to listeners: [ListenerConfiguration], _ pools: [PoolConfiguration]
  ) -> [ListenerConfiguration] {
    var result = listeners
    for change in self where change.obstacle(listeners, pools) == nil {
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

  /// That of its route with this name; nil if the name is not a place, but the route's own or that of the default.
  package func identity(of route: String) -> UInt64? {
    routes.first { $0.name == route && !$0.hasOwnName }?.identity
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
