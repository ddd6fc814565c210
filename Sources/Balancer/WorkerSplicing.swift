// Large parts of streams on their way through, without being copied into this process and out of it again. What the
// receiver does not take waits in memory as everything that waits.

internal import Kernel

enum SpliceOutcome {
  case bytes(Int)
  /// Nothing was moved: why, a read tells.
  case nothing
  case senderFailed
  /// What was taken from the sender is lost.
  case receiverFailed(taken: Int)
}

extension Worker {
  /// Passes on at most `limit` bytes from `sender`, which holds nothing, to `receiver`, for which nothing waits.
  mutating func splice(
    _ sender: inout ByteStream, _ receiver: inout ByteStream, limit: Int
  ) -> SpliceOutcome {
    switch pipe.move(from: sender.descriptor, to: receiver.descriptor, limit: limit, rest: receiveStart) {
    case .moved(let taken, let left):
      sender.noteSpliced(taken, largest: Self.largestWindow)
      // Asked once more, the kernel is sure to tell when the receiver takes more.
      if left > 0 && !receiver.write(receiveStart, left, &buffers) {
        // A splice that has moved a part keeps the reset to itself that stopped it, and what comes then is EPIPE.
        receiver.isBrokenOff = true
        return .receiverFailed(taken: taken)
      }
      return .bytes(taken)
    case .nothing: return .nothing
    case .senderFailed:
      sender.mayRead = false
      return .senderFailed
    case .receiverFailed(let taken, let isBrokenOff):
      if isBrokenOff { receiver.isBrokenOff = true }
      return .receiverFailed(taken: taken)
    }
  }

  // MARK: Bodies of requests

  /// A server takes the body of known length, and none of it is held to be sent again. The end is read: with it more begins
  /// than passing on.
  @inline(__always)  // once per read of a client
  func isSpliced(_ client: Client) -> Bool {
    client.pointee.phase == .body && client.pointee.stream.isLarge && client.pointee.stream.mayRead
      && client.pointee.exchange.bodyFraming.isCounted && client.pointee.exchange.isPastHolding
      && client.pointee.exchange.bodyByteCount > Int64(ByteStream.splicedWindow)
      && !client.pointee.exchange.bodyIsDropped && pipe.isOpen
  }

  enum BodyStep {
    case goOn
    case stop
    /// A read tells why nothing was moved.
    case read
  }

  @inline(never)
  mutating func spliceBody(_ index: Int32, _ client: Client) -> BodyStep {
    let server = client.pointee.server
    let limit = Int(min(Int64(room(for: client.pointee.stream)), client.pointee.exchange.bodyByteCount &- 1))
    switch splice(&client.pointee.stream, &upstreams[server].pointee.stream, limit: limit) {
    case .bytes(let count):
      noteSpliced(index, client, count)
      return .goOn
    case .nothing: return .read
    case .senderFailed:
      clientIsGone(index, client)
      return .stop
    case .receiverFailed(let taken):
      // The rest is dropped, and has to be told from what comes behind it.
      noteSpliced(index, client, taken)
      return serverRefusesBody(index, client, server) ? .goOn : .stop
    }
  }

  private mutating func noteSpliced(_ index: Int32, _ client: Client, _ count: Int) {
    let listener = Int(client.pointee.listener)
    client.pointee.exchange.bodyByteCount &-= Int64(count)
    client.pointee.exchange.notes.bytesIn &+= Int64(count)
    counters.listeners[listener].spliced.add(UInt64(count))
    noteProgress(index, client, count, isLast: false, span: snapshot.listeners[listener].clientBody)
  }
}
