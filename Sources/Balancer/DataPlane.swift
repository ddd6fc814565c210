// The main thread's side of the workers' configuration: makes snapshots, hands them to the workers with the sockets that
// they listen on, and frees what no worker uses any more.

internal import Balancing
internal import Control
internal import Kernel
internal import Primitives

struct DataPlane {
  /// Configurations that not all workers have taken over. Beyond it a worker is stuck, and another one is refused.
  private static let maximumOutstanding = 16
  /// Descriptors that are not connections.
  private static let ownDescriptors = 512
  /// Between two looks for slots that are not used any more.
  private static let sweepInterval = TimeSpan.seconds(1)

  let shared: SharedState
  let counters: [WorkerCounters]
  let mailboxes: [Mailbox]
  let reports: ReportBox
  let accessLog: AccessLog
  /// In force: the agent's with the operators' adjustments.
  private(set) var configuration: BalancerConfiguration
  /// As the agent has it.
  private(set) var base: BalancerConfiguration
  private var adjustments = Adjustments()
  private var maker = SnapshotMaker()
  /// The addresses listened on, by place; nil where a socket has been closed.
  private var binds: [Endpoint?] = []
  private var generation: UInt64 = 0
  /// From the oldest that a worker may still use to the newest.
  private var owners: [(generation: UInt64, owner: SnapshotOwner)] = []
  /// What each worker has taken over.
  private var takenOver: [UInt64]
  private var preparedServerCount = 0
  private var preparedListenerCount = 0
  private var preparedPoolCount = 0
  private var preparedRouteCount = 0
  /// Figures of servers that pools had, by slot of the pool: what a pool has counted does not shrink with its servers.
  private var pastTraffic: [Int: TrafficSum] = [:]
  private var sweep: (token: UInt64, waitingFor: Set<Int>, candidates: SlotUse, used: SlotUse)?
  private var nextSweep = Instant(nanoseconds: 0)
  private var sweepToken: UInt64 = 0

  var layout: Layout { maker.layout }

  init(_ configuration: BalancerConfiguration) throws {
    self.configuration = configuration
    base = configuration
    let threads = max(1, configuration.threads)
    shared = SharedState(threads: threads)
    counters = (0..<threads).map { _ in WorkerCounters() }
    mailboxes = try (0..<threads).map { _ in try Mailbox() }
    reports = try ReportBox()
    accessLog = try AccessLog(shared: shared, rings: (0..<threads).map { _ in LogRing() })
    takenOver = Array(repeating: 0, count: threads)
  }

  /// What each worker starts with, and a warning where descriptors are few. `sockets`: one per worker for each bind of
  /// each listener, in the order of `BalancerCommand.start`.
  mutating func start(
    sockets: [Int32], descriptorLimit: Int, registry: inout ServerRegistry
  ) throws(BalancerFault) -> (seeds: [WorkerSeed], warning: String?) {
    let swaps = try prepare(
      configuration, opened: configuration.listeners.flatMap(\.bind), sockets: sockets, registry: &registry,
      now: Clock.monotonic
    ).swaps
    let wanted = configuration.listeners.reduce(0) { $0 + $1.limits.connections }
    let possible = max(64, (descriptorLimit - Self.ownDescriptors) / (2 * mailboxes.count))
    let cores = Threads.allowedCores()
    let peers = zip(mailboxes, counters).map { PeerWorker(mailbox: $0, counters: $1) }
    let seeds = mailboxes.indices.map { worker in
      WorkerSeed(
        index: worker, core: cores.isEmpty ? nil : cores[worker % cores.count], shared: shared,
        counters: counters[worker], log: accessLog, mailbox: mailboxes[worker], reports: reports,
        clientCapacity: min(max(wanted, 64), possible, 1 << 20), peers: peers, first: swaps[worker])
    }
    return (
      seeds,
      possible < wanted
        ? "each thread has descriptors for \(possible) connections, fewer than the limits of the listeners allow" : nil
    )
  }

  /// Hands another configuration to the workers. Throws, and changes nothing but that `sockets` are closed, if that
  /// cannot be. Returns its generation and what changed for servers.
  mutating func reconfigure(
    _ next: BalancerConfiguration, opened: [Endpoint], sockets: [Int32], registry: inout ServerRegistry, now: Instant
  ) throws(BalancerFault) -> (generation: UInt64, changes: [ServerChange]) {
    do throws(BalancerFault) {
      guard owners.count <= Self.maximumOutstanding else {
        throw BalancerFault(
          "a thread of the balancer has not taken over the last \(Self.maximumOutstanding) configurations")
      }
      let (swaps, changes) = try prepare(next, opened: opened, sockets: sockets, registry: &registry, now: now)
      for (mailbox, swap) in zip(mailboxes, swaps) { mailbox.post(.swap(swap)) }
      return (generation, changes)
    } catch {
      for socket in sockets { StreamSocket.close(socket) }
      throw error
    }
  }

  /// Addresses of names, from the next configuration on.
  mutating func know(_ names: NameBook, _ holds: AddressHolds) { adjustments.know(names, holds) }

  /// Addresses that are still used.
  var holds: AddressHolds { adjustments.holds }

  /// Has the workers take over what operators changed. Throws, and changes nothing, if that cannot be.
  mutating func adjust(
    registry: inout ServerRegistry, now: Instant, _ change: (inout Adjustments) -> Void
  ) throws(BalancerFault) -> [ServerChange] {
    let before = adjustments
    change(&adjustments)
    if adjustments.applied(to: base) == configuration { return [] }
    do throws(BalancerFault) {
      return try reconfigure(base, opened: [], sockets: [], registry: &registry, now: now).changes
    } catch {
      adjustments = before
      throw error
    }
  }

  private mutating func prepare(
    _ agents: BalancerConfiguration, opened: [Endpoint], sockets: [Int32], registry: inout ServerRegistry, now: Instant
  ) throws(BalancerFault) -> (swaps: [WorkerSwap], changes: [ServerChange]) {
    let next = adjustments.applied(to: agents)
    let threads = mailboxes.count
    guard max(1, next.threads) == threads else { throw BalancerFault("the number of threads cannot change") }
    guard sockets.count == opened.count * threads else {
      throw BalancerFault("\(opened.count * threads) listening sockets were due, \(sockets.count) have come")
    }
    let known = Set(binds.compactMap { $0 } + opened)
    for endpoint in next.listeners.flatMap(\.bind) where !known.contains(endpoint) {
      throw BalancerFault("there is no listening socket for \(endpoint)")
    }
    if owners.count <= 1 { for slot in maker.releaseRoutes() where slot < preparedRouteCount { zero(route: slot) } }
    let owner = try maker.make(next)
    generation += 1
    owners.append((generation, owner))
    base = agents
    configuration = next
    // What the workers say of the slots that were retired before may not hold any more.
    sweep = nil
    zeroNewSlots()
    configureLog()
    let changes = registry.configure(next, layout, failures: shared.failures, now: now)
    let availabilities = registry.availabilities
    let changed = changeBinds(opened)
    let swaps = (0..<threads).map { worker in
      WorkerSwap(
        generation: generation, snapshot: owner.snapshot, availabilities: availabilities,
        binds: changed.map { $0.change(worker: worker, threads: threads, sockets: sockets) })
    }
    return (swaps, changes)
  }

  private mutating func zeroNewSlots() {
    for slot in preparedServerCount..<max(preparedServerCount, maker.serverSlots.holders.count) { zero(server: slot) }
    for slot in preparedListenerCount..<max(preparedListenerCount, maker.listenerSlots.holders.count) {
      zero(listener: slot)
    }
    for slot in preparedPoolCount..<max(preparedPoolCount, maker.poolSlots.holders.count) {
      shared.zero(pool: slot)
      zero(pool: slot)
    }
    for slot in preparedRouteCount..<max(preparedRouteCount, maker.routeSlots.holders.count) { zero(route: slot) }
    preparedRouteCount = max(preparedRouteCount, maker.routeSlots.holders.count)
    preparedPoolCount = max(preparedPoolCount, maker.poolSlots.holders.count)
    preparedServerCount = max(preparedServerCount, maker.serverSlots.holders.count)
    preparedListenerCount = max(preparedListenerCount, maker.listenerSlots.holders.count)
  }

  private func zero(server: Int) {
    shared.zero(server: server)
    for counters in counters { counters.zero(server: server) }
  }

  private func zero(listener: Int) {
    shared.zero(listener: listener)
    for counters in counters { counters.zero(listener: listener) }
  }

  private func zero(pool: Int) { for counters in counters { counters.zero(pool: pool) } }
  private func zero(route: Int) { for counters in counters { counters.zero(route: route) } }

  private func configureLog() {
    var pools: [Int32: [Int32]] = [:]
    for (pool, servers) in maker.serversByPool { pools[Int32(pool)] = servers.map { Int32($0) } }
    accessLog.configure(
      configuration.accessLog, pools: pools, listenerCount: maker.listenerSlots.holders.count)
  }

  // MARK: Listening sockets

  private enum PlaceChange {
    /// `bind`: its place among the addresses that were opened.
    case open(place: Int, bind: Int, BindUse)
    case assign(place: Int, BindUse)
    case close(place: Int)

    func change(worker: Int, threads: Int, sockets: [Int32]) -> WorkerSwap.BindChange {
      switch self {
      case .open(let place, let bind, let use):
        .open(place: place, raw: sockets[bind * threads + worker], use)
      case .assign(let place, let use): .assign(place: place, use)
      case .close(let place): .close(place: place)
      }
    }
  }

  /// Places keep their numbers; new addresses take free ones first.
  private mutating func changeBinds(_ opened: [Endpoint]) -> [PlaceChange] {
    var uses: [Endpoint: BindUse] = [:]
    for (listener, slot) in zip(configuration.listeners, layout.listeners) {
      for (bind, endpoint) in listener.bind.enumerated() {
        uses[endpoint] = BindUse(
          listener: Int32(slot), startsWithProxyHeader: listener.proxyBinds.contains(bind))
      }
    }
    var changes: [PlaceChange] = []
    for (place, endpoint) in binds.enumerated() {
      guard let endpoint else { continue }
      if let use = uses[endpoint] {
        changes.append(.assign(place: place, use))
      } else {
        changes.append(.close(place: place))
        binds[place] = nil
      }
    }
    for (bind, endpoint) in opened.enumerated() {
      let place = binds.firstIndex(of: nil) ?? binds.count
      if place == binds.count { binds.append(endpoint) } else { binds[place] = endpoint }
      let use = uses[endpoint] ?? BindUse(listener: 0, startsWithProxyHeader: false)
      changes.append(.open(place: place, bind: bind, use))
    }
    return changes
  }

  // MARK: What is not used any more

  /// A worker has taken over a generation. Returns the newest that all workers have.
  mutating func tookOver(_ generation: UInt64, worker: Int) -> UInt64 {
    takenOver[worker] = max(takenOver[worker], generation)
    let oldest = takenOver.min() ?? 0
    owners.removeAll { $0.generation < oldest }
    return oldest
  }

  /// When `lookForUnused` should be called next.
  var nextLook: Instant {
    maker.hasRetired && sweep == nil ? nextSweep : .distantFuture
  }

  /// Asks the workers which of the retired slots they still use.
  mutating func lookForUnused(_ now: Instant) {
    guard now >= nextLook else { return }
    nextSweep = now + Self.sweepInterval
    sweepToken += 1
    sweep = (sweepToken, Set(mailboxes.indices), maker.retired, SlotUse())
    for mailbox in mailboxes { mailbox.post(.findUse(token: sweepToken)) }
  }

  /// An answer. Once all have come, slots that were retired before the question and that nobody uses are free again.
  mutating func noteUse(_ use: SlotUse, token: UInt64, worker: Int) {
    guard var current = sweep, current.token == token else { return }
    current.used.formUnion(use)
    current.waitingFor.remove(worker)
    sweep = current
    guard current.waitingFor.isEmpty else { return }
    sweep = nil
    let owners = current.candidates.servers.map { ($0, maker.pool(ofServer: $0)) }
    let poolOfServer = Dictionary(owners, uniquingKeysWith: { first, _ in first })
    let released = maker.release(current.candidates, except: current.used)
    for server in released.servers {
      if case let pool?? = poolOfServer[server] {
        pastTraffic[pool, default: TrafficSum()].add(traffic(ofServer: server))
      }
      zero(server: server)
    }
    for listener in released.listeners { zero(listener: listener) }
    for pool in released.pools {
      pastTraffic[pool] = nil
      zero(pool: pool)
    }
  }

  // MARK: Figures

  func traffic(ofServer slot: Int) -> TrafficSum {
    counters.reduce(into: TrafficSum()) { $0.add($1.serverTraffic[slot]) }
  }

  func traffic(ofListener slot: Int) -> TrafficSum {
    counters.reduce(into: TrafficSum()) { $0.add($1.listenerTraffic[slot]) }
  }

  /// By slot of the pool: of all servers that it has or had.
  var trafficByPool: [Int: TrafficSum] {
    var sums = pastTraffic
    for (pool, servers) in maker.serversByPool {
      for server in servers { sums[pool, default: TrafficSum()].add(traffic(ofServer: server)) }
    }
    return sums
  }
}
