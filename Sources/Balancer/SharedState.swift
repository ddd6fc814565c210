// What workers and the main thread share while running: atomics in fixed places, and a mailbox per worker for the rare
// things that need more than a number.

internal import Balancing
internal import Kernel
internal import Primitives
internal import Synchronization

/// One cache line per server, written by all workers.
struct ServerLoad: ~Copyable {
  /// Requests in flight and tunnels, over all workers.
  let connections = Atomic<Int32>(0)
  /// Clients that wait for this server and for no other, over all workers.
  let waiting = Atomic<Int32>(0)
  /// Failures of live traffic, ever, and what the last one was (`ServerFailure`).
  let failures = Atomic<UInt32>(0)
  let lastFailure = Atomic<UInt32>(0)
  /// Connections to it, busy ones, idle ones and those that are being opened, over all workers; checks are not counted.
  let open = Atomic<Int32>(0)
  /// Of them, those in `SharedState.idle`.
  let sharedIdle = Atomic<Int32>(0)
  private let padding: InlineArray<10, Int32> = .init(repeating: 0)
}

/// Of a pool, written by all workers while clients wait.
struct PoolQueue: ~Copyable {
  /// Clients that wait for a server of the pool, whichever.
  let waiting = Atomic<Int32>(0)
  /// Those and the ones that wait for a certain server.
  let all = Atomic<Int32>(0)
  private let padding: InlineArray<14, Int32> = .init(repeating: 0)
}

/// A counter that one worker writes and the main thread reads: no locked instruction.
struct Counter: ~Copyable {
  private let value = Atomic<UInt64>(0)

  func increase() { add(1) }
  func decrease() { add(.max) }
  @inline(__always)  // a load, an addition and a store
  func add(_ count: UInt64) { value.store(value.load(ordering: .relaxed) &+ count, ordering: .relaxed) }
  func clear() { value.store(0, ordering: .relaxed) }
  var current: UInt64 { value.load(ordering: .relaxed) }
}

struct ServerCounters: ~Copyable {
  let requests = Counter()
  let failures = Counter()
  /// Connections that the worker keeps for later requests; goes up and down.
  let idle = Counter()
}

struct ListenerCounters: ~Copyable {
  let accepted = Counter()
  let requests = Counter()
  let refused = Counter()
  /// Bytes that were passed on without being copied, both ways.
  let spliced = Counter()
}

/// What a pool's clients had to go through.
struct PoolCounters: ~Copyable {
  let queued = Counter()
  let queueFull = Counter()
  let queueLate = Counter()
  let retries = Counter()
}

struct RouteCounters: ~Copyable {
  let requests = Counter()
  let denied = Counter()
  private let informational = Counter()
  private let success = Counter()
  private let redirection = Counter()
  private let clientError = Counter()
  private let serverError = Counter()
  private let padding = Counter()

  /// By the first digit of its status, 1 to 5.
  func countResponse(_ digit: Int) {
    switch digit {
    case 1: informational.increase()
    case 2: success.increase()
    case 3: redirection.increase()
    case 4: clientError.increase()
    default: serverError.increase()
    }
  }

  var responses: [UInt64] {
    [informational.current, success.current, redirection.current, clientError.current, serverError.current]
  }
}

/// One worker's counters by slot, in memory of its own that has its full size from the start: pages are touched as slots
/// come into use.
struct WorkerCounters: @unchecked Sendable {
  // Unchecked: atomics only; the memory stays for good.
  let servers: UnsafeMutablePointer<ServerCounters>
  let listeners: UnsafeMutablePointer<ListenerCounters>
  let pools: UnsafeMutablePointer<PoolCounters>
  let routes: UnsafeMutablePointer<RouteCounters>
  /// Turns of its loop: it waits for events for seconds at most.
  let turns: UnsafeMutablePointer<Counter>
  let serverTraffic = TrafficBook(capacity: SnapshotMaker.serverCapacity)
  let listenerTraffic = TrafficBook(capacity: SnapshotMaker.listenerCapacity)

  init() {
    servers = .allocate(capacity: SnapshotMaker.serverCapacity)
    listeners = .allocate(capacity: SnapshotMaker.listenerCapacity)
    pools = .allocate(capacity: SnapshotMaker.poolCapacity)
    // A cache line of its own.
    turns = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64).bindMemory(to: Counter.self, capacity: 1)
    turns.initialize(to: Counter())
    routes = .allocate(capacity: SnapshotMaker.routeCapacity)
  }

  /// Before slots are first used, or used by another: nobody counts there now.
  func zero(server: Int) {
    (servers + server).initialize(to: ServerCounters())
    serverTraffic.prepare(server)
  }
  func zero(listener: Int) {
    (listeners + listener).initialize(to: ListenerCounters())
    listenerTraffic.prepare(listener)
  }
  func zero(pool: Int) { (pools + pool).initialize(to: PoolCounters()) }
  func zero(route: Int) { (routes + route).initialize(to: RouteCounters()) }
}

/// Shared by all workers; by slot, as `WorkerCounters`.
struct SharedState: @unchecked Sendable {
  // Unchecked: atomics only, and a table with a lock; the memory stays for good.
  let serverLoads: UnsafeMutablePointer<ServerLoad>
  /// Open client connections by listener.
  let listenerConnections: UnsafeMutablePointer<Atomic<Int>>
  let poolQueues: UnsafeMutablePointer<PoolQueue>
  /// Since when the first in each worker's queues has waited, in nanoseconds: by pool for those who wait for any server,
  /// by server for those who wait for this one, `threads` in a row each. Int64.max: nobody waits.
  let poolHeads: UnsafeMutablePointer<Atomic<Int64>>
  let serverHeads: UnsafeMutablePointer<Atomic<Int64>>
  let threads: Int
  /// A server has failed a live request since the main thread last looked.
  let hasNewFailures: UnsafeMutablePointer<Atomic<Bool>>
  let idle: SharedIdle
  let sources = SourceTable()
  let rates = RateTable(seed: (UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max)))

  init(threads: Int) {
    self.threads = threads
    poolQueues = .allocate(capacity: SnapshotMaker.poolCapacity)
    poolHeads = .allocate(capacity: SnapshotMaker.poolCapacity * threads)
    serverHeads = .allocate(capacity: SnapshotMaker.serverCapacity * threads)
    hasNewFailures = .allocate(capacity: 1)
    hasNewFailures.initialize(to: Atomic(false))
    serverLoads = .allocate(capacity: SnapshotMaker.serverCapacity)
    idle = SharedIdle(serverLoads)
    listenerConnections = .allocate(capacity: SnapshotMaker.listenerCapacity)
  }

  /// Of live traffic with a server, ever.
  func failures(server: Int) -> UInt32 { serverLoads[server].failures.load(ordering: .relaxed) }

  func zero(server: Int) {
    (serverLoads + server).initialize(to: ServerLoad())
    for worker in 0..<threads { (serverHeads + (server * threads + worker)).initialize(to: Atomic(Int64.max)) }
  }
  func zero(pool: Int) {
    (poolQueues + pool).initialize(to: PoolQueue())
    for worker in 0..<threads { (poolHeads + (pool * threads + worker)).initialize(to: Atomic(Int64.max)) }
  }
  func zero(listener: Int) { (listenerConnections + listener).initialize(to: Atomic(0)) }
}

/// Open connections by source, only used where a limit is configured. A source is an IPv4 address, or a network of 64 bits of
/// IPv6, which is what one client has.
final class SourceTable: Sendable {
  private struct Key: Hashable {
    let listener: Int32
    let source: IPAddress

    init(_ listener: Int32, _ address: IPAddress) {
      self.listener = listener
      source = address.family == .v4 ? address : IPAddress(v6High: address.high, low: 0)
    }
  }
  private let counts = Mutex<[Key: Int]>([:])

  /// Counts one more, unless `limit` is reached.
  func admit(_ address: IPAddress, listener: Int32, limit: Int) -> Bool {
    counts.withLock { counts in
      let key = Key(listener, address)
      let count = counts[key, default: 0]
      if count >= limit { return false }
      counts[key] = count + 1
      return true
    }
  }

  func release(_ address: IPAddress, listener: Int32) {
    counts.withLock { counts in
      let key = Key(listener, address)
      guard let count = counts[key] else { return }
      counts[key] = count > 1 ? count - 1 : nil
    }
  }
}

enum WorkerCommand: Sendable {
  /// `server` is a slot. `isGone`: its host has gone without a word, and connections to it wait for nothing.
  case availability(server: Int, ServerAvailability, isGone: Bool, now: Instant)
  case quieten(token: UInt64, addresses: [IPAddress], deadline: Instant, gentleUntil: Instant)
  /// The agent has put the filter there that we may not.
  case filtered([IPAddress])
  case resume([IPAddress])
  /// Accept no more, let connections finish until `deadline`, then end.
  case stop(deadline: Instant)
  case swap(WorkerSwap)
  /// A server of the pool in this slot has room, and this worker's client has waited longest.
  case serve(pool: Int32)
  /// Another worker needs their room: close that many idle connections to the server in this slot, if there are.
  case closeIdle(server: Int32, count: Int32)
  /// Say which retired slots are still used.
  case findUse(token: UInt64)
}

enum WorkerReport: Sendable {
  case tookOver(generation: UInt64)
  case inUse(SlotUse, token: UInt64)
  case quietened(token: UInt64)
  /// The kernel does not let us filter SYNs to these addresses.
  case filterRefused([IPAddress], SystemError)
  case ended
  case failed(String)
}

/// From the main thread to a worker.
final class Mailbox: Sendable {
  private let commands = Mutex<[WorkerCommand]>([])
  let wakeUp: WakeUp

  init() throws(SystemError) { wakeUp = try WakeUp() }

  func post(_ command: WorkerCommand) {
    commands.withLock { $0.append(command) }
    wakeUp.signal()
  }

  func takeAll() -> [WorkerCommand] {
    wakeUp.clear()
    return commands.withLock { commands in
      let all = commands
      commands = []
      return all
    }
  }
}

/// A worker as the others see it.
struct PeerWorker: Sendable {
  let mailbox: Mailbox
  let counters: WorkerCounters
}

/// From the workers to the main thread.
final class ReportBox: Sendable {
  private let reports = Mutex<[(worker: Int, report: WorkerReport)]>([])
  let wakeUp: WakeUp

  init() throws(SystemError) { wakeUp = try WakeUp() }

  func post(_ report: WorkerReport, from worker: Int) {
    reports.withLock { $0.append((worker, report)) }
    wakeUp.signal()
  }

  func takeAll() -> [(worker: Int, report: WorkerReport)] {
    wakeUp.clear()
    return reports.withLock { reports in
      let all = reports
      reports = []
      return all
    }
  }
}
