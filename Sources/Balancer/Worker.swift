// One worker: one thread, one poller, its own listening sockets, slabs, buffers, timers and counters. A connection never
// leaves its worker, so nothing here is locked. All state is in this one struct, a local variable of the thread, and is
// changed by mutating methods: the compiled code neither counts references nor checks exclusivity.
//
// The methods are spread over files by what they deal with: WorkerClients, WorkerServers, WorkerRequests,
// WorkerResponses, WorkerFailures, WorkerRoutes, WorkerTunnels, WorkerDeadlines, WorkerHandover.

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
  let snapshot: Snapshot
  let shared: SharedState
  let counters: WorkerCounters
  let mailbox: Mailbox
  let reports: ReportBox
  /// Listening sockets with their listeners; owned by the worker.
  let sockets: [ListeningPlace]
  let clientCapacity: Int
  let availabilities: [ServerAvailability]
}

/// A listening socket of this worker.
struct ListeningPlace {
  /// -1 once it is closed.
  var raw: Int32
  let listener: Int32
  let startsWithProxyHeader: Bool
}

struct Worker: ~Copyable {
  /// Bodies and tunnels are read this much at a time once a stream flows.
  static let largestWindow: Int32 = 256 * 1024
  /// The first read of an answer.
  static let headReadByteCount = 64 * 1024
  /// Bodies up to this are copied beside their head for one send.
  static let copiedBodyByteCount = 4 * 1024
  /// With more than this in connections' buffers, reads are as small as they can be.
  static let tightBufferByteCount = 32 * 1024 * 1024
  /// Before the bytes that are read: room for a chunk's size line.
  static let headroom = 32
  static let pathByteCount = Snapshot.largestConfigurableHead
  /// Every byte encoded, with what a configuration may add.
  static let targetByteCount = 3 * pathByteCount + 4 * 1024
  /// Reads that one stream may do in a row before others get their turn.
  static let largestBurst = 16

  let index: Int
  let snapshot: Snapshot
  let shared: SharedState
  let counters: WorkerCounters
  let mailbox: Mailbox
  let reports: ReportBox
  let poller: Poller
  var listening: UnsafeMutableBufferPointer<ListeningPlace>

  var clients: Slab<ClientConnection>
  var upstreams: Slab<ServerConnection>
  var timers: TimerWheel
  var buffers = BufferPool()
  /// Per pool.
  let tables: UnsafeMutablePointer<ServerTable>
  /// Retries that are left, in hundredths, per pool.
  let retryCredit: UnsafeMutablePointer<Int32>
  /// Idle connections per server, most recently used first; -1 ends.
  let idleHeads: UnsafeMutablePointer<Int32>
  /// `ForwardingText.byteCapacity` bytes per client.
  let forwardingTexts: UnsafeMutablePointer<UInt8>

  /// What is read lands here, after `headroom`; one for all connections.
  let receiveArea: UnsafeMutablePointer<UInt8>
  let receiveByteCount: Int
  /// Heads and re-framed bodies are put together here.
  let scratch: UnsafeMutablePointer<UInt8>
  let scratchByteCount: Int
  let headScratch: HeadScratch
  /// A path in the form in which routes match it, and a target that a route writes.
  let pathArea: UnsafeMutablePointer<UInt8>
  let targetArea: UnsafeMutablePointer<UInt8>
  let patternMatcher = PatternMatcher()
  var date = DateLine()
  var random: SeededRandom

  /// As of the last batch of events.
  var now: Instant
  var tick: Tick = 0
  let start: Instant

  /// Streams with more to read whose turn was over; gone on with after the batch.
  var deferred: [EventToken] = []
  var handover = Handover()
  /// Set once `stop` has come.
  var stopDeadline: Instant?

  init(_ seed: WorkerSeed, poller: consuming Poller) {
    index = seed.index
    snapshot = seed.snapshot
    shared = seed.shared
    counters = seed.counters
    mailbox = seed.mailbox
    reports = seed.reports
    self.poller = poller
    listening = .allocate(capacity: seed.sockets.count)
    _ = listening.initialize(from: seed.sockets)
    start = Clock.monotonic
    now = start
    random = SeededRandom(seed: UInt64(bitPattern: Clock.unixNanoseconds) ^ UInt64(seed.index) << 56)

    clients = Slab(capacity: seed.clientCapacity)
    upstreams = Slab(capacity: seed.clientCapacity * 2)
    timers = TimerWheel(capacity: seed.clientCapacity * 3)
    forwardingTexts = .allocate(capacity: seed.clientCapacity * ForwardingText.byteCapacity)
    let largestHead = max(snapshot.largestHeadByteCount, Worker.serverHeadLimits.headByteCount)
    let areaByteCount = largestHead + Int(Self.largestWindow)
    receiveByteCount = areaByteCount
    receiveArea = .allocate(capacity: Self.headroom + areaByteCount + 64)
    receiveArea.initialize(repeating: 0, count: Self.headroom + areaByteCount + 64)
    // A head with what is added to it, and a body that is re-framed beside it.
    scratchByteCount = areaByteCount * 2 + 64 * 1024
    scratch = .allocate(capacity: scratchByteCount)
    scratch.initialize(repeating: 0, count: scratchByteCount)
    pathArea = .allocate(capacity: Self.pathByteCount)
    targetArea = .allocate(capacity: Self.targetByteCount)
    headScratch = HeadScratch(fieldCount: max(snapshot.largestFieldCount, Worker.serverHeadLimits.fieldCount))

    idleHeads = .allocate(capacity: max(1, snapshot.servers.count))
    idleHeads.initialize(repeating: -1, count: max(1, snapshot.servers.count))
    tables = .allocate(capacity: max(1, snapshot.pools.count))
    retryCredit = .allocate(capacity: max(1, snapshot.pools.count))
    for (place, pool) in snapshot.pools.enumerated() {
      var table = ServerTable(plan: pool.plan, stickyGrace: pool.stickyGrace, worker: seed.index)
      for server in 0..<Int(pool.serverCount) {
        table.setAvailability(server, seed.availabilities[Int(pool.firstServer) + server], now: now)
      }
      (tables + place).initialize(to: table)
      (retryCredit + place).initialize(to: Worker.initialRetryCredit)
    }
    deferred.reserveCapacity(64)
  }

  /// Begins to accept.
  mutating func open() throws(SystemError) {
    try poller.add(mailbox.wakeUp.descriptor.raw, .read, token: EventToken(.wakeUp, index: 0).rawValue)
    for place in 0..<listening.count {
      StreamSocket.sendWithoutDelay(listening[place].raw)
      try poller.add(listening[place].raw, .read, token: EventToken(.listener, index: Int32(place)).rawValue)
    }
  }

  /// Runs until a stop is complete.
  mutating func run() {
    while true {
      let count = poller.wait(timeout: waitingTime())
      readClock()
      var position = 0
      while position < count {
        let event = poller.event(position)
        position &+= 1
        dispatch(EventToken(rawValue: event.token), event.readiness)
      }
      goOnWithDeferred()
      expireDeadlines()
      if !handover.jobs.isEmpty { advanceHandover() }
      if isStopped() { return }
    }
  }

  mutating func readClock() {
    now = Clock.monotonic
    tick = Tick(truncatingIfNeeded: (now.nanoseconds &- start.nanoseconds) / TimerWheel.tickNanoseconds)
  }

  private func waitingTime() -> TimeSpan? {
    if !deferred.isEmpty { return .zero }
    // A handover is a matter of milliseconds.
    if !handover.jobs.isEmpty { return .milliseconds(1) }
    let limit: Tick = stopDeadline == nil ? 256 : 4
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
      case .availability(let server, let availability, let since):
        setAvailability(server, availability, since)
      case .quieten(let token, let addresses, let deadline, let gentleUntil):
        beginHandover(token, addresses, deadline: deadline, gentleUntil: gentleUntil)
      case .filtered(let addresses): noteFilter(addresses)
      case .resume(let addresses): endHandover(addresses)
      case .stop(let deadline): beginStop(deadline)
      }
    }
  }

  /// How much to read at a time from `stream`, whose bytes go to another.
  @inline(__always)  // once per read of a body
  func room(for stream: borrowing ByteStream) -> Int {
    buffers.lentByteCount > Self.tightBufferByteCount ? Int(ByteStream.smallestWindow) : Int(stream.window)
  }
}
