// Live traffic's say about servers: what the workers counted is judged here, on the main thread, within the pool's share.

internal import Balancing
internal import Health
internal import Primitives
internal import Synchronization

extension ServerRegistry {
  /// Looks at what the workers have counted since the last time. `requests`: given to a server so far.
  mutating func takeFailures(_ shared: SharedState, requests: (Int) -> UInt64, now: Instant) -> [ServerChange] {
    var changes: [ServerChange] = []
    for index in servers.indices where servers[index]?.passive != nil {
      let load = shared.serverLoads + index
      let failures = load.pointee.failures.load(ordering: .relaxed)
      guard let seen = servers[index]?.failuresSeen, seen != failures else { continue }
      servers[index]?.failuresSeen = failures
      servers[index]?.health.suspect(now: now)
      schedule(index)
      let words = ServerFailure(rawValue: UInt8(truncatingIfNeeded: load.pointee.lastFailure.load(ordering: .relaxed)))?
        .words
      guard
        servers[index]?.passive?.handle(failures: Int(failures &- seen), requests: requests(index), now: now) == true
      else { continue }
      if let change = eject(index, words ?? "", now) { changes.append(change) }
    }
    return changes
  }

  /// What servers have been given by now, once a second: failures are measured by it.
  mutating func markRequests(now: Instant, requests: (Int) -> UInt64) {
    for index in servers.indices where servers[index]?.passive != nil {
      servers[index]?.passive?.mark(requests: requests(index), now: now)
    }
  }

  private mutating func eject(_ index: Int, _ last: String, _ now: Instant) -> ServerChange? {
    guard let server = servers[index], let settings = server.passive?.settings, server.availability == .up else {
      return nil
    }
    let others = pools[server.poolPlace]
    let ejected = others.count { servers[$0]?.isEjected ?? false }
    // A few requests that always fail must not take the last one away from all others.
    if !hasOther(index, orBackup: true) { return nil }
    guard settings.mayEject(ejectedCount: ejected, serverCount: others.count) else { return nil }
    servers[index]?.passive?.eject(now: now)
    let cause =
      "live traffic met \(settings.failures) failures within \(settings.within.milliseconds) ms, last: \(last)"
    servers[index]?.ejectionCause = cause
    nextReturn = min(nextReturn, now + settings.eject)
    return ServerChange(index: index, cause: cause)
  }

  /// Servers whose ejection is over.
  mutating func takeBack(_ now: Instant) -> [ServerChange] {
    if now < nextReturn { return [] }
    var changes: [ServerChange] = []
    nextReturn = .distantFuture
    for index in servers.indices {
      if servers[index]?.passive?.advance(now: now) == true {
        changes.append(ServerChange(index: index, cause: "its ejection is over"))
      }
      if let until = servers[index]?.passive?.ejectedUntil { nextReturn = min(nextReturn, until) }
    }
    return changes
  }
}
