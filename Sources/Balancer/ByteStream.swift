// The lowest layer of a connection: bytes in, bytes out, what waits in between. Plain TCP now; a TLS session would take its
// place here without the layers above noticing.

internal import Kernel

enum ReadOutcome {
  case bytes(Int)
  /// Nothing now; an event tells when there is.
  case blocked
  /// The peer has ended its direction.
  case ended
  case failed
}

/// One socket. Read and write first, wait for readiness only after the kernel has said no: the descriptor is registered
/// once, edge-triggered, for everything.
struct ByteStream {
  /// Reads for a stream start with this much and grow while the other side keeps up.
  static let smallestWindow: Int32 = 16 * 1024
  /// Streams that fill reads of half of this are spliced from here on: two copies saved are worth a third call.
  static let splicedWindow: Int32 = 64 * 1024

  var descriptor: Int32 = -1
  /// How much is read at a time when bytes are passed on.
  var window = ByteStream.smallestWindow
  /// More may be there to read: the last read filled its room, or an event said so.
  var mayRead = false
  var isRegistered = false
  /// The end of the peer's direction has been announced or read.
  var peerClosed = false
  /// The end of the peer's direction has been read.
  var hasEnded = false
  /// A send was told that the connection broke off: what is read as the end is none.
  var isBrokenOff = false
  /// We have ended our direction.
  var hasShutDown = false
  /// Bytes that the kernel had still to bring to the peer when that was last noted.
  var undelivered: Int32 = 0
  /// In the worker's list of streams to go on with after the batch.
  var isDeferred = false
  /// Read, but not yet taken by the layer above.
  var input = Buffer()
  /// `input` starts a message that has not been looked at: it may be whole, so nothing is read before that. Otherwise a
  /// peer that sends many messages at once would have all of them held.
  var inputIsUntried = false
  /// Not yet taken by the kernel.
  var output = Buffer()

  @inline(__always)  // one per read on the hot path; the result stays in registers
  mutating func read(into destination: UnsafeMutablePointer<UInt8>, room: Int) -> ReadOutcome {
    let count = StreamSocket.receive(descriptor, destination, room)
    if count > 0 {
      // A short read means drained, unless the end is to be read after it.
      if count < room && !peerClosed { mayRead = false }
      return .bytes(count)
    }
    mayRead = false
    if count == 0 && !isBrokenOff {
      peerClosed = true
      hasEnded = true
      return .ended
    }
    return count == StreamSocket.wouldBlock ? .blocked : .failed
  }

  /// Sends behind what waits already; the rest waits in `output`. False when the connection is broken.
  @inline(__always)  // one per message on the hot path
  mutating func write(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ pool: inout BufferPool) -> Bool {
    if !output.isEmpty {
      pool.append(bytes, count, to: &output)
      return true
    }
    let sent = StreamSocket.send(descriptor, bytes, count)
    if sent == count { return true }
    return keepRest(sent, bytes, count, &pool)
  }

  @inline(never)
  private mutating func keepRest(
    _ sent: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int, _ pool: inout BufferPool
  ) -> Bool {
    if isBroken(sent) { return false }
    noteUndelivered()
    let taken = max(0, sent)
    pool.append(bytes + taken, count - taken, to: &output)
    return true
  }

  /// Sends what waits; the buffer goes back when all is gone. False when the connection is broken.
  mutating func flush(_ pool: inout BufferPool) -> Bool {
    if output.isEmpty { return true }
    let sent = StreamSocket.send(descriptor, output.bytes, output.count)
    if sent < 0 { return !isBroken(sent) }
    output.start &+= Int32(truncatingIfNeeded: sent)
    if output.isEmpty { pool.give(&output) }
    noteUndelivered()
    return true
  }

  /// To be said when the kernel takes no more, or has all there is: from then on it shows whether the peer takes anything.
  mutating func noteUndelivered() { undelivered = StreamSocket.undelivered(descriptor) }

  /// What the peer has taken since the last look, in bytes: the socket need not have become writable for that, which takes a
  /// good part of a large buffer.
  mutating func takeDelivered() -> Int32 {
    let before = undelivered
    noteUndelivered()
    return before &- undelivered
  }

  /// Whether a turn may bring anything new.
  var hasMore: Bool { mayRead || inputIsUntried }

  /// Whether the next message, or the end, may be there.
  var hasNext: Bool { mayRead || hasEnded || !input.isEmpty }

  /// Keeps a beginning that is of no use without more; it comes first in the next `takeInput`.
  mutating func hold(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ pool: inout BufferPool) {
    if count > 0 { pool.append(bytes, count, to: &input) }
  }

  /// Keeps what came behind the present message.
  mutating func holdNext(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ pool: inout BufferPool) {
    if count == 0 { return }
    pool.append(bytes, count, to: &input)
    inputIsUntried = true
  }

  /// Moves what was held to `destination`; returns the byte count.
  @inline(__always)  // nearly always nothing is held, and then it is one compare
  mutating func takeInput(_ destination: UnsafeMutablePointer<UInt8>, _ pool: inout BufferPool) -> Int {
    let count = input.count
    if count == 0 { return 0 }
    inputIsUntried = false
    destination.update(from: input.bytes, count: count)
    pool.give(&input)
    return count
  }

  /// A stream that fills its reads may read more at a time. What the receiver leaves is kept, so this is also what a slow
  /// receiver costs; `Worker.tightBufferByteCount` bounds the sum.
  mutating func growWindow(readCount: Int, largest: Int32) {
    if readCount >= Int(window) && window < largest { window &*= 2 }
  }

  /// Whether a send's result says that the connection is of no more use.
  mutating func isBroken(_ sent: Int) -> Bool {
    if sent >= 0 || sent == StreamSocket.wouldBlock { return false }
    if StreamSocket.isBrokenOff(sent) { isBrokenOff = true }
    return true
  }

  /// Whether bytes that go to another stream as they are are worth a splice.
  @inline(__always)
  var isLarge: Bool { window >= Self.splicedWindow && input.isEmpty }

  /// A stream of small messages goes back to being copied.
  mutating func noteSpliced(_ count: Int, largest: Int32) {
    if count < Int(Self.smallestWindow) { window /= 2 } else { growWindow(readCount: count, largest: largest) }
  }

  /// The peer's half-close is passed on, once.
  mutating func shutDown() {
    if hasShutDown { return }
    hasShutDown = true
    StreamSocket.shutdownWriting(descriptor)
  }

  mutating func close(_ pool: inout BufferPool, abortively: Bool) {
    pool.give(&input)
    pool.give(&output)
    if descriptor >= 0 {
      if abortively { StreamSocket.closeAbortively(descriptor) } else { StreamSocket.close(descriptor) }
    }
    descriptor = -1
  }
}
