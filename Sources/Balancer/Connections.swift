// The two ends of what is proxied, as the slabs hold them: a client's connection with the exchange that runs on it, and a
// connection to a server.

internal import Balancing
internal import HTTP1
internal import Primitives

enum ClientPhase: UInt8 {
  /// The header of the proxy before us is awaited: who the client is, is not known yet.
  case proxyHeader
  /// Between requests, or a request's head is incomplete.
  case head
  /// A request's body is being read.
  case body
  /// The request has been read; its answer is not finished.
  case waiting
  /// Bytes are passed on both ways: TCP mode, or after a 101.
  case tunnel
  /// A file is being sent.
  case file
  /// The last answer is on its way out, then the connection is closed.
  case closing
  /// All has been sent and our direction ended; what the client still sends is read and dropped, for a while.
  case lingering
}

/// One request and its answer.
struct Exchange {
  /// The request as it goes to the server: head and, if small, body. Kept until an answer begins, to be sent again
  /// if it is safe.
  var request = Buffer()
  /// How much of `request` has been sent on the present connection.
  var requestSentCount: Int32 = 0
  /// Bytes of the body that were not put into `request` have gone out: it cannot be sent again.
  var isPastHolding = false
  /// No more of the request will be sent: the server does not take it.
  var bodyIsDropped = false
  var method = RequestMethod.other
  var isOldVersion = false
  var wantsUpgrade = false
  var setsCookie = false
  /// The first byte of an answer, perhaps an interim one, has come.
  var answerHasBegun = false
  /// The head of the final answer has been sent to the client.
  var headIsSent = false
  /// Since when the server has to wait until the client has taken what came of the answer; 0: it does not.
  var heldSince: Tick = 0
  /// It had to for a second or more.
  var wasHeldUp = false
  /// The client sends its body when it is told to go on.
  var awaitsContinue = false
  /// Bytes that the client sent of its body or took of its answer since its deadline was last put off.
  var progress: Int32 = 0
  var interimCount: UInt8 = 0
  var replayCount: UInt8 = 0
  /// It was sent once more to the same server, after a kept connection had been closed.
  var hasStayed = false
  var connectFailureCount: UInt8 = 0
  var bodyFraming = BodyFraming.none
  /// Of a counted body: bytes still to come. Of a chunked one: content bytes so far.
  var bodyByteCount: Int64 = 0
  var chunkedBody = ChunkedBody()
  // Servers and pools by their slots: places in a pool change with the configuration.
  /// Where it goes; -1: nowhere, it is answered here.
  var pool: Int32 = -1
  /// Of its listener's; -1: none.
  var route: Int32 = -1
  /// What the pool's hash is taken of, where that is a header, a cookie or the URI.
  var hashKey: UInt64 = 0
  /// Where the value of Host stands in `request`; looked for only where servers have a Host of their own.
  var host = ByteRange.empty
  /// The client's Host while a server's stands in its place.
  var originalHost = Buffer()
  /// Servers that failed this request.
  var tried = TriedServers()
  /// The server of the client's affinity cookie; -1 without a cookie, -2 for a foreign one.
  var cookieServer: Int32 = -1
  var notes = ExchangeNotes()
}

/// A file on its way to a client.
struct SentFile {
  /// -1: none.
  var descriptor: Int32 = -1
  /// How often the kernel was asked for what comes next and did not have it in memory yet.
  var lookCount: UInt8 = 0
  /// The connection's deadline is for the next look.
  var waitsForDisk = false
  var offset: Int64 = 0
  var end: Int64 = 0
  /// How the exchange ends when all of it has been sent.
  var ending = Ending.none
}

struct ClientConnection: SlabItem {
  var generation: UInt32 = 0
  var nextFree: Int32 = -1
  /// In the server slab; -1 while no request is with a server.
  var server: Int32 = -1
  var listener: Int32 = -1
  var phase = ClientPhase.head
  var isOpen = false
  /// Another request may follow on this connection.
  var keepsAlive = true
  /// Its local address is about to leave the node: the next answer is its last.
  var isLeaving = false
  /// It is leaving, and was connected before that began.
  var wasThereBefore = false
  var isTrusted = false
  /// It speaks TLS to the proxy that told us of it.
  var isSecure = false
  /// A part of a head has come, and its deadline runs.
  var headHasBegun = false
  /// A head has been complete on this connection.
  var hasServed = false
  var hasForwardingText = false
  /// Whether it counts in the table of connections per source.
  var isCountedBySource = false
  var waitingPlace = WaitingPlace.nowhere
  /// Slot of the pool or of the server whose list it is in.
  var waitingSlot: Int32 = -1
  var waitingPool: Int32 = -1
  var previousWaiting: Int32 = -1
  var nextWaiting: Int32 = -1
  /// Of the monotonic clock, in nanoseconds; 0 while it is in no list.
  var waitingSince: Int64 = 0
  /// The same, of the first part of a head that is not whole; 0: there is none.
  var headSince: Int64 = 0
  /// The server that the last request of this connection went to; -1 before the first.
  var lastServer: Int32 = -1
  /// When the connection was accepted or its last answer ended.
  var idleSince: Tick = 0
  /// Bytes dropped while lingering.
  var droppedByteCount: Int32 = 0
  var forwardingText: ForwardingText?
  var file = SentFile()
  var address = IPAddress.anyV4
  var port: UInt16 = 0
  var stream = ByteStream()
  var exchange = Exchange()

  init() {}
}

enum ServerPhase: UInt8 {
  case connecting
  /// In the pool of idle connections.
  case idle
  /// An answer's head is awaited.
  case head
  /// An answer's body is being read.
  case body
  /// The answer is whole, its request is not yet.
  case answered
  case tunnel
}

struct ServerConnection: SlabItem {
  var generation: UInt32 = 0
  var nextFree: Int32 = -1
  /// In the client slab; -1 while idle.
  var client: Int32 = -1
  /// Slot of the server.
  var server: Int32 = -1
  var phase = ServerPhase.connecting
  var isOpen = false
  /// It has carried an answer before this one.
  var isReused = false
  /// The answer lets the connection carry another request.
  var keepsAlive = false
  /// The answer began before its request was whole: the server may leave the rest unread, and the next request behind it.
  var isEarly = false
  var bodyFraming = BodyFraming.none
  var outgoing = OutgoingFraming.asReceived
  var idleSince: Tick = 0
  var previousIdle: Int32 = -1
  var nextIdle: Int32 = -1
  var bodyRemaining: Int64 = 0
  var chunkedBody = ChunkedBody()
  var stream = ByteStream()

  init() {}
}
