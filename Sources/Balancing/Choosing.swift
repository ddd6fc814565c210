// Whose request is it: a valid cookie first, then the source's hash or the pool's algorithm, always without the servers
// that were tried before and those that are full.

package import Primitives

extension ServerTable {
  /// Chooses for one request (HTTP) or connection (TCP).
  /// - `cookieServer`: `server(ofTag:)` of the client's cookie; −1 if there is none, −2 if a tag came that is nobody's.
  /// - `clientKey`: what the hash is taken of (`Rendezvous.key` of the source, or a hash of header, cookie or URI); 0 will
  ///   do if neither algorithm nor affinity hash.
  /// - `hashesSource`: affinity by source: the hash decides, whatever the algorithm.
  /// - `load`: open connections and requests of a server, over all workers; asked only where it matters.
  package mutating func choose(
    cookieServer: Int = -1, clientKey: UInt64, hashesSource: Bool = false, tried: TriedServers, now: Instant,
    load: (Int) -> Int32
  ) -> Choice {
    if cookieServer >= 0 && takesSticky(cookieServer, now) && !tried.contains(cookieServer) {
      if isFull(cookieServer, load) { return Choice(server: -1, cause: .cookieFull) }
      return Choice(server: Int32(truncatingIfNeeded: cookieServer), cause: .cookie)
    }
    let server =
      if hashesSource || plan.algorithm == .hash {
        chooseByHash(clientKey, tried, load)
      } else {
        switch plan.algorithm {
        case .roundRobin: chooseByTurn(tried, load)
        case .leastConnections: chooseLeastLoaded(tried, load)
        default: chooseOfTwo(tried, load)
        }
      }
    if server < 0 { return lastResort(isMoved: cookieServer != -1, tried, load) }
    return Choice(server: Int32(truncatingIfNeeded: server), cause: cookieServer == -1 ? .algorithm : .moved)
  }

  /// Up or not known to be down, or draining within the grace; a weight of 0 only keeps new clients away.
  @inline(__always)
  package func takesSticky(_ server: Int, _ now: Instant) -> Bool {
    precondition(server < plan.serverCount)
    switch slots[server].availability {
    case .up, .unchecked: return true
    case .draining: return Self.acceptsSticky(drainingSince: slots[server].since, now: now, grace: stickyGrace)
    case .ejected: return isLastResort
    case .down, .maintenance: return false
    }
  }

  /// A backup, or else an ejected or unchecked server, in turn, where all others have failed this request already; or why there is none.
  @inline(never)
  private mutating func lastResort(isMoved: Bool, _ tried: TriedServers, _ load: (Int) -> Int32) -> Choice {
    let cause = failure(tried)
    if cause != .noneLeft { return Choice(server: -1, cause: cause) }
    cursor = cursor &+ 1 >= plan.serverCount ? 0 : cursor &+ 1
    var server = firstOpen(tried, load) { $0 == .up }
    if server < 0 { server = firstOpen(tried, load) { $0.isLastResort } }
    if server < 0 { return Choice(server: -1, cause: cause) }
    return Choice(server: Int32(truncatingIfNeeded: server), cause: isMoved ? .moved : .algorithm)
  }

  private func firstOpen(
    _ tried: TriedServers, _ load: (Int) -> Int32, _ isWanted: (ServerAvailability) -> Bool
  ) -> Int {
    for step in 0..<plan.serverCount {
      let server = (cursor &+ step) % plan.serverCount
      if isWanted(slots[server].availability) && weights[server] > 0 && isOpen(server, tried, load) {
        return server
      }
    }
    return -1
  }

  @inline(never)
  private func failure(_ tried: TriedServers) -> ChoiceCause {
    if eligibleCount == 0 { return .noneUp }
    for position in 0..<eligibleCount where !tried.contains(Int(eligible[position])) { return .allFull }
    return .noneLeft
  }

  @inline(__always)
  private func isOpen(_ server: Int, _ tried: TriedServers, _ load: (Int) -> Int32) -> Bool {
    if tried.count > 0 && tried.contains(server) { return false }
    return !isFull(server, load)
  }

  @inline(__always)
  private func isFull(_ server: Int, _ load: (Int) -> Int32) -> Bool {
    if !plan.hasLimits { return false }
    let limit = plan.maximumConnections[server]
    return limit > 0 && load(server) >= limit
  }

  /// Smooth weighted round robin: everybody earns his weight, the richest is chosen and pays what all have earned.
  private mutating func chooseByTurn(_ tried: TriedServers, _ load: (Int) -> Int32) -> Int {
    var best = -1
    var bestCredit = Int64.min
    var total: Int64 = 0
    var position = 0
    while position < eligibleCount {
      let server = Int(eligible[position])
      position &+= 1
      if !isOpen(server, tried, load) { continue }
      let weight = Int64(weights[server])
      let credit = slots[server].credit &+ weight
      slots[server].credit = credit
      total &+= weight
      if credit > bestCredit {
        best = server
        bestCredit = credit
      }
    }
    if best >= 0 { slots[best].credit = bestCredit &- total }
    return best
  }

  /// The lowest (load + 1) / weight; equals take turns.
  private mutating func chooseLeastLoaded(_ tried: TriedServers, _ load: (Int) -> Int32) -> Int {
    if eligibleCount == 0 { return -1 }
    var best = -1
    var bestLoad: Int64 = 0
    var bestWeight: Int64 = 1
    cursor = cursor &+ 1 >= eligibleCount ? 0 : cursor &+ 1
    var position = cursor
    for _ in 0..<eligibleCount {
      let server = Int(eligible[position])
      position = position &+ 1 == eligibleCount ? 0 : position &+ 1
      if !isOpen(server, tried, load) { continue }
      let serverLoad = Int64(load(server)) &+ 1
      let weight = Int64(weights[server])
      if best < 0 || serverLoad &* bestWeight < bestLoad &* weight {
        best = server
        bestLoad = serverLoad
        bestWeight = weight
      }
    }
    return best
  }

  /// The less loaded of two that are drawn by weight. If both are closed, the least loaded of all.
  private mutating func chooseOfTwo(_ tried: TriedServers, _ load: (Int) -> Int32) -> Int {
    if eligibleCount == 0 { return -1 }
    let first = draw()
    var second = draw()
    if second == first && eligibleCount > 1 { second = draw() }
    let firstIsOpen = isOpen(first, tried, load)
    let secondIsOpen = isOpen(second, tried, load)
    if !firstIsOpen && !secondIsOpen { return chooseLeastLoaded(tried, load) }
    if !secondIsOpen { return first }
    if !firstIsOpen { return second }
    let left = (Int64(load(first)) &+ 1) &* Int64(weights[second])
    let right = (Int64(load(second)) &+ 1) &* Int64(weights[first])
    return left <= right ? first : second
  }

  /// One eligible server, by weight.
  @inline(__always)
  private mutating func draw() -> Int {
    let total = UInt64(truncatingIfNeeded: weightSums[eligibleCount &- 1])
    let point = Int64(truncatingIfNeeded: random.next().multipliedFullWidth(by: total).high)
    var low = 0
    var high = eligibleCount &- 1
    while low < high {
      let middle = (low &+ high) &>> 1
      if weightSums[middle] > point { high = middle } else { low = middle &+ 1 }
    }
    return Int(eligible[low])
  }

  /// Rendezvous over the configured servers, leaving out those that cannot take the client.
  private func chooseByHash(_ clientKey: UInt64, _ tried: TriedServers, _ load: (Int) -> Int32) -> Int {
    let key = plan.hashKey(clientKey)
    let first = plan.firstChoice(ofRow: key)
    if first >= 0 {
      let isWhole = weights[first] == plan.weights[first] &* Self.weightScale
      if slots[first].availability == .up && isWhole && isOpen(first, tried, load) { return first }
    }
    var best = RendezvousBest()
    var position = 0
    while position < eligibleCount {
      let server = Int(eligible[position])
      position &+= 1
      if !isOpen(server, tried, load) { continue }
      best.offer(server, StableHash.combine(key, plan.identities[server]), weights[server], plan.logarithms)
    }
    return best.index
  }
}
