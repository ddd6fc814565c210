// The configuration as the workers read it: plain records in arrays by slot, texts ready to be copied. Shared by all
// workers, never written again; a change of configuration makes a new one (SnapshotMaker), which the workers take over
// at the top of their loops. What a connection remembers are slots, so it goes on with the new one.

internal import Balancing
internal import HTTP1
internal import Kernel
internal import Patterns
internal import Primitives

typealias Text = UnsafeBufferPointer<UInt8>

extension Text {
  static var empty: Text { Text(start: nil, count: 0) }
}

struct ListenerRecord {
  var isHTTP = false
  /// Removed from the configuration: its connections end with their next answer.
  var isRetired = false
  /// Slot of the pool for what no route takes; -1: 404.
  var pool: Int32 = 0
  var routes = UnsafeBufferPointer<RouteRecord>(start: nil, count: 0)
  var requestOptions = RequestOptions()
  var headLimits = HeadLimits()
  /// Ticks.
  var requestHead: Tick = 1
  var idle: Tick = 1
  var clientBody: Tick = 1
  var tunnel: Tick = 1
  var maximumConnections = 0
  /// Int64.max: no limit.
  var maximumBodyByteCount = Int64.max
  /// 0: no limit.
  var maximumConnectionsPerSource = 0
  /// Believed to say who their clients are.
  var trusted = UnsafeBufferPointer<AddressPrefix>(start: nil, count: 0)
  /// Which of a server's `servedBy` lines goes into answers; -1 without `served_by_header`.
  var servedBy: Int32 = -1
  /// The name of that header in lower case, alone; empty without one.
  var servedByName = UnsafeBufferPointer<Text>(start: nil, count: 0)
  var name = Text.empty
}

struct PoolRecord {
  var plan: PoolPlan
  var stickyGrace: TimeSpan
  /// The servers' slots by their places in the plan.
  var servers: UnsafeBufferPointer<Int32>
  var hashesSource: Bool
  var cookieName: CookieName?
  /// Ticks.
  var connect: Tick
  var response: Tick
  var idle: Tick
  var retryAttempts: Int
  var retryBudgetPercent: Int32
  var terms: PoolTerms
  /// "no server of pool app is up" and its likes.
  var noneUp: Text
  var noneLeft: Text
  var cookieFull: Text
  var allFull: Text
  var name: Text
}

struct ServerRecord {
  var address = SocketAddress()
  /// Slot of the pool.
  var pool: Int32 = -1
  /// In the pool's plan; -1 for a server that the pool has no more.
  var place: Int32 = -1
  /// Removed from the configuration, alone or with its pool: it finishes what it has.
  var isRetired = false
  /// The affinity cookie's whole line; empty without one.
  var setCookie = Text.empty
  /// The address as a Host field would have it.
  var host = Text.empty
  /// Sent as Host instead of the client's; empty: the client's.
  var ownHost = Text.empty
  /// Requests and connections at a time; 0: no limit.
  var limit: Int32 = 0
  /// Connections to it start with a PROXY header, so they belong to one client.
  var proxyHeader: ProxyHeaderVersion?
  /// Lines that name node and server, one for each header that listeners use for it.
  var servedBy = UnsafeBufferPointer<Text>(start: nil, count: 0)
  var name = Text.empty
}

/// Its memory belongs to a `SnapshotOwner`. Slots that nobody has are filled with records that nothing leads to.
struct Snapshot: @unchecked Sendable {
  // Unchecked: the memory behind the pointers is written before the snapshot is handed to anyone, and never again.
  let listeners: UnsafeBufferPointer<ListenerRecord>
  let pools: UnsafeBufferPointer<PoolRecord>
  let servers: UnsafeBufferPointer<ServerRecord>
  let via: Text
  /// The most that a head of a request may take.
  let largestHeadByteCount: Int
  /// Field lines that any listener accepts.
  let largestFieldCount: Int
  /// Some server has a Host of its own.
  let hasOwnHosts: Bool
  /// What is captured of requests for the access log.
  var logDetail = LogDetail.nothing

  static let largestConfigurableHead = 128 * 1024

  /// Before the first configuration.
  static var nothing: Snapshot {
    Snapshot(
      listeners: .init(start: nil, count: 0), pools: .init(start: nil, count: 0), servers: .init(start: nil, count: 0),
      via: .empty, largestHeadByteCount: 0, largestFieldCount: 0, hasOwnHosts: false)
  }

  /// At least one, at most a year.
  static func ticks(_ span: TimeSpan) -> Tick {
    Tick(clamping: min(max(1, span.nanoseconds / TimerWheel.tickNanoseconds + 1), 1 << 31))
  }
}

/// Keeps a snapshot's memory: dropped when no worker uses it any more. On the main thread only.
final class SnapshotOwner {
  let snapshot: Snapshot
  /// Of records and texts that are this snapshot's own.
  private let memory: RecordMemory
  /// What is shared with other snapshots: pools and listeners that did not change.
  private let parts: [AnyObject]

  init(_ snapshot: Snapshot, memory: RecordMemory, parts: [AnyObject]) {
    self.snapshot = snapshot
    self.memory = memory
    self.parts = parts
  }
}

/// Blocks of plain values, and patterns, that are freed together.
final class RecordMemory {
  private var blocks: [UnsafeMutableRawPointer] = []
  private var patterns: [Pattern] = []

  func keep<Value>(_ values: [Value]) -> UnsafeBufferPointer<Value> {
    precondition(_isPOD(Value.self), "nothing is released value by value")
    if values.isEmpty { return UnsafeBufferPointer(start: nil, count: 0) }
    let memory = UnsafeMutableBufferPointer<Value>.allocate(capacity: values.count)
    _ = memory.initialize(from: values)
    blocks.append(UnsafeMutableRawPointer(memory.baseAddress!))
    return UnsafeBufferPointer(memory)
  }

  func text(_ text: String) -> Text { keep(Array(text.utf8)) }

  /// With a zero behind it, which its count leaves out.
  func terminated(_ text: String) -> Text { Text(rebasing: self.text(text + "\0")[..<text.utf8.count]) }

  func pattern(_ pattern: Pattern) -> Pattern {
    patterns.append(pattern)
    return pattern
  }

  deinit {
    for block in blocks { block.deallocate() }
    for pattern in patterns { pattern.deallocate() }
  }
}

/// Why the balancer cannot do what it was told, for people.
struct BalancerFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
