// What a pool's configuration says beyond who its servers are, as the workers read it: what its hash is taken of, who waits
// and for how long, who stands in, and when another server is asked.

internal import Balancing
internal import Control
internal import HTTP1
internal import Primitives

enum HashKind: UInt8 {
  case none, source, header, cookie, uri

  /// Of something in the request's head.
  @inline(__always) var isOfRequest: Bool {
    switch self {
    case .none, .source: false
    case .header, .cookie, .uri: true
    }
  }
}

struct RetryCauses: OptionSet {
  let rawValue: UInt8
  static var connect: Self { Self(rawValue: 1) }
  static var reusedConnection: Self { Self(rawValue: 2) }
  static var lostConnection: Self { Self(rawValue: 4) }
  static var timeout: Self { Self(rawValue: 8) }
  /// Some status is a cause.
  static var status: Self { Self(rawValue: 16) }
}

struct PoolTerms {
  var slowStart = TimeSpan.zero
  var hash = HashKind.none
  /// Of the header, in lower case, or of the cookie.
  var hashName = Text.empty
  var queueSize: Int32 = 0
  var queueTimeout: Tick = 1
  /// Slot of the pool that stands in when no server is up; -1: none.
  var standIn: Int32 = -1
  /// What clients get while no server is up.
  var sorry = SorrySite.none
  var retryCauses = RetryCauses()
  /// A bit per `RequestMethod`: may be sent a second time.
  var retryMethods: UInt16 = 0
  /// A bit per status from 500 on; 563 is the last that fits, beyond what servers say.
  var retryStatuses: UInt64 = 0
  /// Failures of live traffic are told to the main thread.
  var isWatched = false
  var queueFull = Text.empty
  var queueLate = Text.empty

  init() {}

  init(_ pool: PoolConfiguration, standIn: Int, _ memory: RecordMemory) {
    slowStart = pool.slowStart
    queueSize = Int32(clamping: pool.queue.size)
    queueTimeout = Snapshot.ticks(pool.queue.timeout)
    self.standIn = Int32(standIn)
    sorry = SorrySite(pool, memory)
    isWatched = pool.passive != nil
    if case .hash(let subject) = pool.balance {
      switch subject {
      case .source: hash = .source
      case .uri: hash = .uri
      case .header(let name): (hash, hashName) = (.header, memory.text(name.lowercased()))
      case .cookie(let name): (hash, hashName) = (.cookie, memory.text(name))
      }
    }
    for cause in pool.retry.on {
      switch cause {
      case .connect: retryCauses.insert(.connect)
      case .reusedConnection: retryCauses.insert(.reusedConnection)
      case .lostConnection: retryCauses.insert(.lostConnection)
      case .timeout: retryCauses.insert(.timeout)
      }
    }
    for method in pool.retry.methods { retryMethods |= Self.bit(of: method) }
    for status in pool.retry.status where (500..<564).contains(status) { retryStatuses |= 1 << UInt64(status - 500) }
    if retryStatuses != 0 { retryCauses.insert(.status) }
    let wait = "\(pool.queue.timeout.milliseconds) ms"
    queueFull = memory.text(
      "every server of pool \(pool.name) has reached max_connections, and \(pool.queue.size) requests wait already")
    queueLate = memory.text(
      "every server of pool \(pool.name) has reached max_connections, and none came free within \(wait)")
  }

  private static func bit(of method: String) -> UInt16 {
    let found: RequestMethod =
      switch method {
      case "GET": .get
      case "HEAD": .head
      case "OPTIONS": .options
      case "TRACE": .trace
      case "PUT": .put
      case "DELETE": .delete
      // Nothing else is safe to repeat, whatever the agent says.
      default: .other
      }
    if found == .other { return 0 }
    return bit(of: found)
  }

  static func bit(of method: RequestMethod) -> UInt16 { 1 &<< UInt16(method.rawValue) }

  func mayRepeat(_ method: RequestMethod) -> Bool { retryMethods & Self.bit(of: method) != 0 }

  func retries(status: Int32) -> Bool {
    status >= 500 && status < 564 && retryStatuses &>> UInt64(truncatingIfNeeded: status &- 500) & 1 == 1
  }
}
