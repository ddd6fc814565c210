// One worker: one thread, one poller, its own listening sockets, slabs, buffers, timers and counters. A connection never
// leaves its worker, so nothing here is locked. All state is in this one struct, a local variable of the thread, and is
// changed by mutating methods: the compiled code neither counts references nor checks exclusivity.
//
// The methods are spread over files by what they deal with: WorkerClients, WorkerServers, WorkerRequests,
// WorkerResponses, WorkerFailures, WorkerRoutes, WorkerTunnels, WorkerDeadlines, WorkerHandover, WorkerSwap, WorkerLog.

internal import Balancing
internal import HTTP1
internal import Kernel
internal import Patterns
internal import Primitives
internal import Synchronization

/// What a worker needs to start; moves to its thread.
struct WorkerSeed: Sendable {
  let index: Int
  let core: Int?
  let shared: SharedState
  let counters: WorkerCounters
  let log: AccessLog
  let mailbox: Mailbox
  let reports: ReportBox
  let clientCapacity: Int
  /// All workers.
  let peers: [PeerWorker]
  let first: WorkerSwap
}

/// What is listened for on an address.
struct BindUse: Sendable {
  /// Slot of the listener.
  var listener: Int32
  /// Connections start with a PROXY header.
  var startsWithProxyHeader: Bool
}

/// A listening socket of this worker.
struct ListeningPlace {
  /// -1 once it is closed.
  var raw: Int32
  var use: BindUse
}

struct Worker: ~Copyable {
  /// Bodies and tunnels are read this much at a time once a stream flows.
  static let largestWindow: Int32 = 256 * 1024
  /// The first read of an answer.
  static let headReadByteCount = 64 * 1024
  /// With more than this in connections' buffers, reads are small; with more than the other, half of that.
  static let tightBufferByteCount = 32 * 1024 * 1024
  private static let tightestBufferByteCount = 96 * 1024 * 1024
  /// Before the bytes that are read: room for what an answer's head gains, and for a chunk's size line.
  static let headroom = 4 * 1024
  static let pathByteCount = Snapshot.largestConfigurableHead
  /// Every byte encoded, with what a configuration may add.
  static let targetByteCount = 3 * pathByteCount + 4 * 1024
  /// What one stream may do in a row before others get their turn: this many heads, or reads of a body or tunnel that count
  /// for `bodyShare` each.
  static let largestTurn = 16
  static let bodyShare = 8

  let index: Int
  var snapshot = Snapshot.nothing
  let shared: SharedState
  let counters: WorkerCounters
  let log: AccessLog
  let mailbox: Mailbox
  let reports: ReportBox
  let peers: [PeerWorker]
  let poller: Poller
  var listening: [ListeningPlace] = []

  var clients: Slab<ClientConnection>
  var upstreams: Slab<ServerConnection>
  var timers: TimerWheel
  var buffers = BufferPool()
  var pipe = SplicePipe(byteCount: Worker.largestWindow)
  // By slot; as long as the snapshot's arrays, moved when those grow.
  /// Per pool.
  var tables: UnsafeMutablePointer<ServerTable>
  /// Retries that are left, in hundredths, per pool.
  var retryCredit: UnsafeMutablePointer<Int32>
  /// Idle connections per server, most recently used first; -1 ends.
  var idleHeads: UnsafeMutablePointer<Int32>
  /// Clients that wait for any server of a pool, and for one server only.
  var poolLists: UnsafeMutablePointer<WaitingList>
  var serverLists: UnsafeMutablePointer<WaitingList>
  /// `ForwardingText.byteCapacity` bytes per client.
  let forwardingTexts: UnsafeMutablePointer<UInt8>

  /// What is read lands here, after `headroom`; one for all connections.
  private(set) var receiveArea: UnsafeMutablePointer<UInt8>
  private(set) var receiveByteCount = 0
  /// Heads and re-framed bodies are put together here.
  private(set) var scratch: UnsafeMutablePointer<UInt8>
  private(set) var scratchByteCount = 0
  private(set) var headScratch: HeadScratch
  private(set) var headScratchFieldCount = 0
  /// A path in the form in which routes match it, and a target that a route writes.
  let pathArea: UnsafeMutablePointer<UInt8>
  let targetArea: UnsafeMutablePointer<UInt8>
  let patternMatcher = PatternMatcher()
  /// Files that are being sent.
  var openFileCount = 0
  var date = DateLine()
  var random: SeededRandom

  /// As of the last batch of events.
  var now: Instant
  var tick: Tick = 0
  let start: Instant

  /// Streams with more to read whose turn was over; gone on with after the batch.
  var deferred: [EventToken] = []
  /// Clients that were accepted with a whole request in this tick or the last one with any, and in the one before: not
  /// registered for events, as most short connections are over before they need one.
  var unwatched: [EventToken] = []
  var unwatchedBefore: [EventToken] = []
  var lastLateWatch: Tick = 0
  /// Clients of this worker that wait for a server, all pools.
  var waitingCount = 0
  /// Pools whose queues are looked at after the batch.
  var dueQueues: [Int32] = []
  var nextQueueLook: Tick = 0
  /// When slow starts go on; `never` while there are none.
  var nextRamp = TimerWheel.never
  var handover = Handover()
  /// Where clients connected to as a proxy before us has said, by their places.
  var proxiedTo: [Int32: Endpoint] = [:]
  /// Set once `stop` has come.
  var stopDeadline: Instant?

  init(_ seed: WorkerSeed, poller: consuming Poller) {
    index = seed.index
    shared = seed.shared
    counters = seed.counters
    log = seed.log
    mailbox = seed.mailbox
    reports = seed.reports
    peers = seed.peers
    self.poller = poller
    start = Clock.monotonic
    now = start
    random = SeededRandom(seed: UInt64(bitPattern: Clock.unixNanoseconds) ^ UInt64(seed.index) << 56)

    clients = Slab(capacity: seed.clientCapacity)
    upstreams = Slab(capacity: seed.clientCapacity * 2)
    timers = TimerWheel(capacity: seed.clientCapacity * 3)
    forwardingTexts = .allocate(capacity: seed.clientCapacity * ForwardingText.byteCapacity)
    pathArea = .allocate(capacity: Self.pathByteCount)
    targetArea = .allocate(capacity: Self.targetByteCount)
    // All of these get their size with the first snapshot.
    receiveArea = .allocate(capacity: 1)
    scratch = .allocate(capacity: 1)
    headScratch = HeadScratch(fieldCount: 1)
    idleHeads = .allocate(capacity: 1)
    tables = .allocate(capacity: 1)
    retryCredit = .allocate(capacity: 1)
    poolLists = .allocate(capacity: 1)
    serverLists = .allocate(capacity: 1)
    dueQueues.reserveCapacity(64)
    deferred.reserveCapacity(64)
    unwatched.reserveCapacity(1024)
    unwatchedBefore.reserveCapacity(1024)
  }

  /// Takes over the first configuration and begins to accept.
  mutating func open(_ first: WorkerSwap) throws(SystemError) {
    try poller.add(mailbox.wakeUp.descriptor.raw, .read, token: EventToken(.wakeUp, index: 0).rawValue)
    try takeOver(first)
  }

  /// Nothing is in these areas between two events.
  mutating func makeAreas(_ largestHeadByteCount: Int) {
    receiveArea.deallocate()
    scratch.deallocate()
    receiveByteCount = largestHeadByteCount + Int(Self.largestWindow)
    let areaByteCount = Self.headroom + receiveByteCount + 64
    receiveArea = .allocate(capacity: areaByteCount)
    receiveArea.initialize(repeating: 0, count: areaByteCount)
    // A head with what is added to it, and a body that is re-framed beside it.
    scratchByteCount = receiveByteCount * 2 + 64 * 1024
    scratch = .allocate(capacity: scratchByteCount)
    scratch.initialize(repeating: 0, count: scratchByteCount)
  }

  mutating func makeHeadScratch(_ fieldCount: Int) {
    headScratch.deallocate()
    headScratch = HeadScratch(fieldCount: fieldCount)
    headScratchFieldCount = fieldCount
  }

  /// Runs until a stop is complete.
  mutating func run() {
    while true {
      let count = poller.wait(timeout: waitingTime())
      counters.turns.pointee.increase()
      readClock()
      if count > 1 { dropSpoiledConnections(count) }
      var position = 0
      while position < count {
        let event = poller.event(position)
        position &+= 1
        dispatch(EventToken(rawValue: event.token), event.readiness)
      }
      goOnWithDeferred()
      expireDeadlines()
      if hasUnwatched { watchLate() }
      if tick >= nextRamp { advanceRamps() }
      if waitingCount > 0 && tick >= nextQueueLook { lookAtQueues() }
      if !dueQueues.isEmpty { serveDueQueues() }
      if !handover.jobs.isEmpty { advanceHandover() }
      if isStopped() { return }
    }
  }

  mutating func readClock() {
    now = Clock.monotonic
    tick = Tick(truncatingIfNeeded: (now.nanoseconds &- start.nanoseconds) / TimerWheel.tickNanoseconds)
  }

  private var hasUnwatched: Bool { !unwatched.isEmpty || !unwatchedBefore.isEmpty }

  private func waitingTime() -> TimeSpan? {
    if !deferred.isEmpty || !dueQueues.isEmpty { return .zero }
    // A handover is a matter of milliseconds.
    if !handover.jobs.isEmpty { return .milliseconds(1) }
    var limit: Tick = stopDeadline == nil ? 256 : 4
    if hasUnwatched { limit = 1 }
    if waitingCount > 0 { limit = min(limit, Self.queueLookInterval) }
    if nextRamp != TimerWheel.never { limit = min(limit, Self.rampInterval) }
    return TimeSpan(nanoseconds: Int64(timers.ticksUntilNext(tick, limit: limit)) * TimerWheel.tickNanoseconds)
  }

  @inline(__always)  // once per event
  private mutating func dispatch(_ token: EventToken, _ readiness: Readiness) {
    switch token.kind {
    case .client:
      let client = clients[token.index]
      if token.isFor(client.pointee.generation) { clientIsReady(token.index, client, readiness) }
    case .server:
      let server = upstreams[token.index]
      if token.isFor(server.pointee.generation) { serverIsReady(token.index, server, readiness) }
    case .listener: acceptClients(Int(token.index))
    case .wakeUp: obey()
    }
  }

  /// Closes idle connections to servers on which something has come, before any request of the same batch can be given one:
  /// what nobody asked for would be taken for its answer.
  @inline(__always)  // once per batch
  private mutating func dropSpoiledConnections(_ count: Int) {
    var position = 0
    while position < count {
      let event = poller.event(position)
      position &+= 1
      let token = EventToken(rawValue: event.token)
      if token.kind != .server { continue }
      let server = upstreams[token.index]
      if server.pointee.phase == .idle && token.isFor(server.pointee.generation) {
        serverIsReady(token.index, server, event.readiness)
      }
    }
  }

  /// A stream that has had its share for now.
  mutating func deferUntilAfterBatch(_ token: EventToken) { deferred.append(token) }

  private mutating func goOnWithDeferred() {
    if deferred.isEmpty { return }
    let tokens = deferred
    deferred.removeAll(keepingCapacity: true)
    for token in tokens {
      switch token.kind {
      case .client:
        let client = clients[token.index]
        guard token.isFor(client.pointee.generation) else { continue }
        client.pointee.stream.isDeferred = false
        clientIsReady(token.index, client, .read)
      case .server:
        let server = upstreams[token.index]
        guard token.isFor(server.pointee.generation) else { continue }
        server.pointee.stream.isDeferred = false
        serverIsReady(token.index, server, .read)
      case .listener: acceptClients(Int(token.index))
      case .wakeUp: break
      }
    }
  }

  private mutating func obey() {
    for command in mailbox.takeAll() {
      switch command {
      case .availability(let server, let availability, let isGone, let since):
        setAvailability(server, availability, since)
        if isGone { moveWaiting(awayFrom: Int32(server)) }
      case .quieten(let token, let addresses, let deadline, let gentleUntil):
        beginHandover(token, addresses, deadline: deadline, gentleUntil: gentleUntil)
      case .filtered(let addresses): noteFilter(addresses)
      case .resume(let addresses): endHandover(addresses)
      case .stop(let deadline): beginStop(deadline)
      case .swap(let swap):
        do throws(SystemError) { try takeOver(swap) } catch {
          reports.post(.failed("cannot listen: \(error)"), from: index)
        }
      case .serve(let pool): queueIsDue(Int(pool))
      case .closeIdle(let server, let count): closeIdle(server, atMost: count)
      case .findUse(let token): reports.post(.inUse(retiredInUse(), token: token), from: index)
      }
    }
  }

  /// How much to read at a time from `stream`, whose bytes go to another.
  @inline(__always)  // once per read of a body
  func room(for stream: borrowing ByteStream) -> Int { room(upTo: Int(stream.window)) }

  /// `most`, or less while much waits for slow readers: what is read may have to wait as well.
  @inline(__always)  // once per read
  func room(upTo most: Int) -> Int {
    let lent = buffers.lentByteCount
    if lent <= Self.tightBufferByteCount { return most }
    return Int(ByteStream.smallestWindow) / (lent <= Self.tightestBufferByteCount ? 1 : 2)
  }
}
