// One worker's view of a pool: which servers are up, and whose turn it is. The plan is shared and never changes; this is
// the part that does. All memory is allocated in `init`; choosing allocates nothing and counts no references.

package import Primitives

/// What a server may be given.
package enum ServerAvailability: UInt8, Sendable {
  /// Everything, if its weight is not 0.
  case up
  /// Nothing: checks say so.
  case down
  /// Checks find it healthy, but live traffic met failures: something only where there is nobody else.
  case ejected
  /// Nothing is known of it yet: something where there is nobody else, and for clients that hold its cookie.
  case unchecked
  /// Healthy; requests of clients that hold its cookie, for a while.
  case draining
  /// Nothing, by order.
  case maintenance

  @inline(__always)
  package var isLastResort: Bool {
    switch self {
    case .ejected, .unchecked: true
    case .up, .down, .draining, .maintenance: false
    }
  }
}

/// Servers that a request has been tried on.
package struct TriedServers: Sendable {
  package static let capacity = 8
  private var indexes: InlineArray<8, Int32>
  package private(set) var count: Int32 = 0

  package init() { indexes = .init(repeating: -1) }

  /// False, and nothing is remembered, when it is full: then do not try again.
  package mutating func insert(_ server: Int) -> Bool {
    if Int(count) == Self.capacity { return false }
    indexes[Int(count)] = Int32(truncatingIfNeeded: server)
    count += 1
    return true
  }

  /// The same servers by other numbers; those that have none (negative) are left out.
  package func renumbered(_ number: (Int) -> Int) -> TriedServers {
    var result = TriedServers()
    for index in 0..<Int(count) {
      let server = number(Int(indexes[index]))
      if server >= 0 { _ = result.insert(server) }
    }
    return result
  }

  @inline(__always)
  package func contains(_ server: Int) -> Bool {
    var index = 0
    while index < Int(count) {
      if Int(indexes[index]) == server { return true }
      index &+= 1
    }
    return false
  }
}

/// How a server came to be chosen, or why none was.
package enum ChoiceCause: UInt8, Sendable {
  /// The client's cookie was valid and its server takes it.
  case cookie
  /// The algorithm, or the hash of the source.
  case algorithm
  /// There was a cookie, but its server cannot take the client: another was chosen, issue a new cookie.
  case moved
  /// No server is up with a weight.
  case noneUp
  /// Those that are up have been tried.
  case noneLeft
  /// Those that are left have reached `max_connections`.
  case allFull
  /// The cookie's server takes its clients, but has reached `max_connections`.
  case cookieFull
}

package struct Choice: Equatable, Sendable {
  /// −1: none.
  package var server: Int32
  package var cause: ChoiceCause

  @inlinable package init(server: Int32, cause: ChoiceCause) {
    self.server = server
    self.cause = cause
  }
}

package struct ServerTable {
  struct Slot {
    var availability = ServerAvailability.down
    /// When it became what it is: a drain's grace and a slow start count from here.
    var since = Instant(nanoseconds: 0)
    /// Of smooth weighted round robin.
    var credit: Int64 = 0
  }

  /// Weights are kept in this many parts, so that a slow start of a weight of 1 has steps too. Ranks and shares are ratios:
  /// the scale changes no choice.
  static let weightScale: Int32 = 256

  package let plan: PoolPlan
  let slots: UnsafeMutablePointer<Slot>
  /// What each server counts for now, in parts: its weight, or less while it starts slowly.
  let weights: UnsafeMutablePointer<Int32>
  /// The servers that take new clients, in order, and the running sum of their weights. Backups only when there is no other,
  /// ejected and unchecked ones only when there is no backup.
  let eligible: UnsafeMutablePointer<Int32>
  let weightSums: UnsafeMutablePointer<Int64>
  private(set) var eligibleCount = 0
  /// Nobody is left but ejected and unchecked servers.
  private(set) var isLastResort = false
  var cursor = 0
  var random: SeededRandom
  let stickyGrace: TimeSpan
  let slowStart: TimeSpan
  /// Some server that is up has not reached its weight: call `advance` from time to time.
  package private(set) var isRamping = false

  /// All servers start as `down`. `worker`: workers with different numbers start their rounds at different servers.
  package init(
    plan: PoolPlan, stickyGrace: TimeSpan = .seconds(30), slowStart: TimeSpan = .zero, worker: Int = 0, seed: UInt64 = 0
  ) {
    self.plan = plan
    self.stickyGrace = stickyGrace
    self.slowStart = slowStart
    let count = max(1, plan.serverCount)
    slots = .allocate(capacity: count)
    slots.initialize(repeating: Slot(), count: count)
    weights = .allocate(capacity: count)
    weights.initialize(repeating: 0, count: count)
    eligible = .allocate(capacity: count)
    eligible.initialize(repeating: 0, count: count)
    weightSums = .allocate(capacity: count)
    weightSums.initialize(repeating: 0, count: count)
    random = SeededRandom(seed: StableHash.combine(seed, UInt64(worker)))
    cursor = worker
    for index in 0..<plan.serverCount {
      weights[index] = plan.weights[index] * Self.weightScale
    }
    // As if this worker had had its first turns already: server k starts ahead of the others.
    if plan.serverCount > 0 { slots[worker % plan.serverCount].credit = Int64(weights[worker % plan.serverCount]) }
  }

  package func deallocate() {
    slots.deallocate()
    weights.deallocate()
    eligible.deallocate()
    weightSums.deallocate()
  }

  package func availability(_ server: Int) -> ServerAvailability {
    precondition(server >= 0 && server < plan.serverCount)
    return slots[server].availability
  }

  /// `now`: the start of a drain's sticky grace, and of a slow start. Setting what is already set changes nothing.
  package mutating func setAvailability(_ server: Int, _ availability: ServerAvailability, now: Instant) {
    precondition(server >= 0 && server < plan.serverCount)
    if slots[server].availability == availability { return }
    slots[server].availability = availability
    slots[server].since = now
    if availability != .up { slots[server].credit = 0 }
    advance(now: now)
  }

  /// Slow starts go on. Cheap enough for several times a second, needed only while `isRamping`.
  package mutating func advance(now: Instant) {
    isRamping = false
    for index in 0..<plan.serverCount {
      let whole = plan.weights[index] &* Self.weightScale
      var share = whole
      if slots[index].availability == .up {
        share = Self.ramped(whole, since: slots[index].since, now: now, over: slowStart)
        if share < whole { isRamping = true }
      }
      weights[index] = share
    }
    rebuild()
  }

  /// Takes over what `old`, a table of the pool's earlier plan, knows of its servers. `oldPlace`: where a server was in it,
  /// −1 for a new one, which starts as `newcomer` says.
  package mutating func adopt(
    _ old: ServerTable?, now: Instant, oldPlace: (Int) -> Int, newcomer: (Int) -> ServerAvailability
  ) {
    for server in 0..<plan.serverCount {
      let place = oldPlace(server)
      if let old, place >= 0 {
        precondition(place < old.plan.serverCount)
        slots[server] = old.slots[place]
      } else {
        slots[server].availability = newcomer(server)
        slots[server].since = now
      }
    }
    if let old { cursor = old.cursor }
    advance(now: now)
  }

  /// What a server that came up at `since` counts for: from nearly nothing to all of it within `span`, in a straight line.
  package static func ramped(_ weight: Int32, since: Instant, now: Instant, over span: TimeSpan) -> Int32 {
    let elapsed = now - since
    if weight == 0 || span <= .zero || elapsed >= span { return weight }
    let share = Double(max(0, elapsed.nanoseconds)) / Double(span.nanoseconds)
    return max(1, Int32(Double(weight) * share))
  }

  /// Whether a draining server still takes requests of clients that hold its cookie: for `grace` after the drain began.
  package static func acceptsSticky(drainingSince: Instant, now: Instant, grace: TimeSpan) -> Bool {
    now < drainingSince + grace
  }

  private mutating func rebuild() {
    collect(backups: false) { $0 == .up }
    if eligibleCount == 0 { collect(backups: true) { $0 == .up } }
    isLastResort = eligibleCount == 0
    if isLastResort { collect(backups: false) { $0.isLastResort } }
    if eligibleCount == 0 { collect(backups: true) { $0.isLastResort } }
  }

  private mutating func collect(backups: Bool, _ isWanted: (ServerAvailability) -> Bool) {
    eligibleCount = 0
    var sum: Int64 = 0
    for index in 0..<plan.serverCount
    where isWanted(slots[index].availability) && weights[index] > 0 && plan.isBackup[index] == backups {
      eligible[eligibleCount] = Int32(index)
      sum += Int64(weights[index])
      weightSums[eligibleCount] = sum
      eligibleCount += 1
    }
  }

  /// The server of a tag that a client sent, −1 if it is nobody's.
  package func server(ofTag tag: UInt64) -> Int { plan.tags.server(of: tag) }
}
