// What a worker says of an exchange that is over: numbers as they are, and the bytes of names and of the request behind them.
// It is put into words by the log's thread.

internal import HTTP1
internal import Primitives

/// What is captured of requests for the log.
enum LogDetail: UInt8, Sendable {
  case nothing
  case requestLine
  /// And the fields Host, Referer and User-Agent, and the id, which servers get.
  case fields
}

/// The client's affinity cookie.
enum LoggedAffinity: UInt8, Sendable {
  /// The pool has no cookies.
  case unused
  case none
  /// Nobody's, or a server's that is no more.
  case unknown
  case kept
  /// It was another server's.
  case moved
}

/// A span that was not reached.
let notReached = UInt32.max

/// Followed by the texts, one behind the other, in the order of their counts.
struct LogRecord {
  static let largestLineByteCount = 4096
  static let largestHostByteCount = 256
  static let largestRefererByteCount = 1024
  static let largestAgentByteCount = 512
  static let largestIDByteCount = RequestID.longestByteCount
  /// Without the names of listener, route, pool and server.
  static let largestTextByteCount =
    largestIDByteCount + largestLineByteCount + largestHostByteCount + largestRefererByteCount + largestAgentByteCount
  static let largestNameByteCount = 255

  /// Of the record with its texts and what fills it up.
  var byteCount: Int32 = 0
  var isHTTP = true
  var ending = Ending.none
  var affinity = LoggedAffinity.unused
  var setsCookie = false
  /// The status is a server's.
  var isServerStatus = false
  /// The request line was longer.
  var isCut = false
  var retries: UInt8 = 0
  /// 0: none was sent.
  var status: UInt16 = 0
  var port: UInt16 = 0
  /// Slots, for figures at the time of writing; -1: none.
  var listener: Int32 = -1
  var pool: Int32 = -1
  var server: Int32 = -1
  var address = IPAddress.anyV4
  /// Of the monotonic clock, in nanoseconds: when the first byte of the request came, or the connection of a tunnel.
  var began: Int64 = 0
  // Microseconds, or `notReached`.
  var head = notReached
  var queue = notReached
  var connect = notReached
  /// From the whole head, with queue and connect, to the first byte of the answer.
  var firstByte = notReached
  var total: UInt64 = 0
  var bytesIn: Int64 = 0
  var bytesOut: Int64 = 0
  /// Of `bytesOut`: the head of the answer.
  var headOut: UInt32 = 0
  /// Of our own, in force where the texts have none.
  var requestID: UInt64 = 0
  var listenerNameCount: UInt8 = 0
  var routeNameCount: UInt8 = 0
  var poolNameCount: UInt8 = 0
  var serverNameCount: UInt8 = 0
  var idCount: UInt8 = 0
  var lineCount: UInt16 = 0
  var hostCount: UInt16 = 0
  var refererCount: UInt16 = 0
  var agentCount: UInt16 = 0
}

/// A record's texts where they lie.
struct LogTexts {
  var listener = Text.empty
  var route = Text.empty
  var pool = Text.empty
  var server = Text.empty
  /// Of a trusted forwarder; nothing in it has to be escaped.
  var id = Text.empty
  var line = Text.empty
  var host = Text.empty
  var referer = Text.empty
  var agent = Text.empty

  init() {}

  init(_ record: LogRecord, behind start: UnsafePointer<UInt8>) {
    var next = start
    func take(_ count: Int) -> Text {
      defer { next += count }
      return Text(start: next, count: count)
    }
    listener = take(Int(record.listenerNameCount))
    route = take(Int(record.routeNameCount))
    pool = take(Int(record.poolNameCount))
    server = take(Int(record.serverNameCount))
    id = take(Int(record.idCount))
    line = take(Int(record.lineCount))
    host = take(Int(record.hostCount))
    referer = take(Int(record.refererCount))
    agent = take(Int(record.agentCount))
  }

  /// GET, /path, HTTP/1.1; empty where the line does not have three parts.
  var parts: (method: Text, target: Text, version: Text) {
    guard let first = line.firstIndex(of: 32), let last = line.lastIndex(of: 32), first < last else {
      return (.empty, .empty, .empty)
    }
    return (
      Text(rebasing: line[..<first]), Text(rebasing: line[(first + 1)..<last]), Text(rebasing: line[(last + 1)...])
    )
  }
}
