// Routes that no request reaches, as an earlier one takes all that they match: allowed, and hardly ever meant. Only what is
// certain is said; patterns and wildcards are not looked into.

internal import Control

extension ListenerConfiguration {
  func warningsOfHiddenRoutes() -> [String] {
    routes.enumerated().compactMap { place, route in
      let other = routes[..<place].first { $0.exception.isEmpty && $0.match.covers(route.match) }
      guard let other else { return nil }
      return "route \(route.name) is never reached: \(other.name) before it takes all of its requests (put it first)"
    }
  }
}

extension RouteConfiguration.Match {
  /// Whether every request that `other` fits is one that this fits.
  fileprivate func covers(_ other: Self) -> Bool {
    /// Each of a list's entries is an alternative: fewer of them fit less.
    func holds(_ list: [String], _ narrower: [String]) -> Bool {
      list.isEmpty || !narrower.isEmpty && narrower.allSatisfy { list.contains($0) }
    }
    func isBelow(_ path: String) -> Bool {
      pathPrefixes.contains { path == $0 || path.hasPrefix($0.hasSuffix("/") ? $0 : $0 + "/") }
    }
    let prefixesHold =
      pathPrefixes.isEmpty || !other.paths.isEmpty && other.paths.allSatisfy(isBelow)
      || !other.pathPrefixes.isEmpty && other.pathPrefixes.allSatisfy(isBelow)
    return prefixesHold && holds(hosts, other.hosts) && holds(paths, other.paths)
      && holds(pathPatterns, other.pathPatterns) && holds(methods, other.methods)
      && fields.allSatisfy { other.fields.contains($0) }
      && (sources.isEmpty || !other.sources.isEmpty && other.sources.allSatisfy { sources.contains($0) })
  }
}
