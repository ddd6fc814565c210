// What is said of switches, and of orders to servers, that the configuration in force has no place for, and of what a reload
// does to them: a route must not change its pool, nor a server come back in maintenance, without a word.

internal import Control
internal import Settings

enum SwitchNotes {
  /// Of every switch that is kept and not in force.
  static func warnings(_ switches: [RouteSwitch], _ configuration: Configuration) -> [String] {
    switches.compactMap { change in
      change.obstacle(in: configuration).map { obstacle in
        "the switch of route \(change.route) to pool \(change.pool) is not in force: \(words(obstacle, change)) "
          + "(afloat switch \(change.route) --back forgets it)"
      }
    }
  }

  private static func words(_ obstacle: SwitchObstacle, _ change: RouteSwitch) -> String {
    switch obstacle {
    case .noRoute: "there is no such route that goes to a pool"
    case .otherRoute: "at that place is a route for other requests now"
    case .noPool: "there is no such pool"
    case .misfit(let misfit): "\(misfit.fault) (\(misfit.remedy))"
    }
  }

  /// Why a reload may not be: switches in force that would end, or whose place would become another route's. A pool or a
  /// named route that is removed is meant to be.
  static func obstacles(
    _ switches: [RouteSwitch], _ before: Configuration, _ after: Configuration
  ) -> [String] {
    switches.compactMap { change in
      // Earlier versions kept the place alone.
      var change = change
      change.identity = change.identity ?? before.identity(ofRoute: change.route)
      guard change.obstacle(in: before) == nil, before.pool(ofRoute: change.route) != change.pool,
        let obstacle = change.obstacle(in: after)
      else { return nil }
      let start = "route \(change.route) is switched to pool \(change.pool)"
      let back = "switch it back first (afloat switch \(change.route) --back)"
      switch obstacle {
      case .noPool: return nil
      case .noRoute where change.identity == nil: return nil
      case .noRoute, .otherRoute:
        return
          "\(start), and in this file that is not the route for the same requests any more: \(back), or keep its place "
          + "(routes with a name may move)"
      case .misfit(let misfit): return "\(start): \(misfit.fault) (\(misfit.remedy)): \(back)"
      }
    }
  }

  /// What a reload changes, and does not, by what operators asked before: switches that come into force or end, or hide
  /// what the file says; servers that come back.
  static func changes(
    _ switches: [RouteSwitch], _ orders: [ServerOrder], _ before: Configuration, _ after: Configuration
  ) -> [String] {
    switches.compactMap { change in
      let (was, isNow) = (change.obstacle(in: before) == nil, change.obstacle(in: after) == nil)
      if was && isNow {
        let (old, new) = (before.pool(ofRoute: change.route), after.pool(ofRoute: change.route))
        return old == new || new == change.pool
          ? nil : "route \(change.route) stays with pool \(change.pool), as an operator switched it before"
      }
      if was == isNow { return nil }
      return isNow
        ? "route \(change.route) goes to pool \(change.pool), as an operator switched it before "
          + "(afloat switch \(change.route) --back ends that)"
        : "the switch of route \(change.route) to pool \(change.pool) is no longer in force"
    } + orders.compactMap { returning($0, before, after) }
  }

  private static func returning(_ order: ServerOrder, _ before: Configuration, _ after: Configuration) -> String? {
    func has(_ configuration: Configuration) -> Bool {
      configuration.pools.contains { $0.name == order.pool && $0.servers.contains { $0.name == order.server } }
    }
    guard has(after), !has(before) else { return nil }
    let name = "\(order.pool)/\(order.server)"
    var (words, remedies): ([String], [String]) = ([], [])
    switch order.administration {
    case .ready: break
    case .drain: words.append("is drained")
    case .maint: words.append("is in maintenance")
    }
    if !words.isEmpty { remedies.append("afloat server \(name) ready") }
    if let weight = order.weight {
      words.append("has weight \(weight)")
      remedies.append("afloat server \(name) weight default")
    }
    if words.isEmpty { return nil }
    return "server \(name) \(words.joined(separator: " and ")), as an operator asked before "
      + "(\(remedies.joined(separator: ", ")) ends that)"
  }
}

extension RouteSwitch {
  fileprivate func obstacle(in configuration: Configuration) -> SwitchObstacle? {
    obstacle(configuration.listeners, configuration.pools)
  }
}

extension Configuration {
  fileprivate func identity(ofRoute route: String) -> UInt64? {
    listeners.lazy.compactMap { $0.identity(of: route) }.first
  }

  fileprivate func pool(ofRoute route: String) -> String? {
    listeners.lazy.compactMap { $0.poolsByRoute[route] }.first
  }
}
