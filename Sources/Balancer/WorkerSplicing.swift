// Large parts of streams on their way through, without being copied into this process and out of it again. What the
// receiver does not take waits in memory as everything that waits.

internal import Kernel

enum SpliceOutcome {
  case bytes(Int)
  /// Nothing now; an event tells when there is.
  case blocked
  /// The sender has ended its direction.
  case ended
  case senderFailed
  /// What was taken from the sender is lost.
  case receiverFailed(taken: Int)
  /// These two sockets cannot: read and write.
  case unsupported
}

extension Worker {
  /// Passes on at most `limit` bytes from `sender`, which holds nothing, to `receiver`, for which nothing waits.
  mutating func splice(
    _ sender: inout ByteStream, _ receiver: inout ByteStream, limit: Int
  ) -> SpliceOutcome {
    let move = pipe.move(from: sender.descriptor, to: receiver.descriptor, limit: limit, rest: receiveStart)
    switch move {
    case .moved(let taken, let left):
      sender.noteSpliced(taken, largest: Self.largestWindow)
      // Asked once more, the kernel is sure to tell when the receiver takes more.
      if left > 0 && !receiver.write(receiveStart, left, &buffers) { return .receiverFailed(taken: taken) }
      return .bytes(taken)
    case .blocked:
      sender.mayRead = false
      return .blocked
    case .ended:
      sender.mayRead = false
      sender.peerClosed = true
      sender.hasEnded = true
      return .ended
    case .senderFailed:
      sender.mayRead = false
      return .senderFailed
    case .receiverFailed(let taken): return .receiverFailed(taken: taken)
    case .unsupported:
      sender.window = ByteStream.smallestWindow
      return .unsupported
    }
  }

  // MARK: Bodies of requests

  /// A server takes the body of known length, and none of it is held to be sent again. The end is read: with it more begins
  /// than passing on.
  @inline(__always)  // once per read of a client
  func isSpliced(_ client: Client) -> Bool {
    client.pointee.phase == .body && client.pointee.stream.isSpliced && client.pointee.stream.mayRead
      && client.pointee.exchange.bodyFraming.isCounted && client.pointee.exchange.isPastHolding
      && client.pointee.exchange.bodyByteCount > Int64(ByteStream.splicedWindow)
      && !client.pointee.exchange.bodyIsDropped
  }

  /// False when reading cannot go on now.
  @inline(never)
  mutating func spliceBody(_ index: Int32, _ client: Client) -> Bool {
    let server = client.pointee.server
    let limit = Int(min(Int64(room(for: client.pointee.stream)), client.pointee.exchange.bodyByteCount &- 1))
    switch splice(&client.pointee.stream, &upstreams[server].pointee.stream, limit: limit) {
    case .bytes(let count):
      client.pointee.exchange.bodyByteCount &-= Int64(count)
      client.pointee.exchange.notes.bytesIn &+= Int64(count)
      let span = snapshot.listeners[Int(client.pointee.listener)].clientBody
      noteProgress(index, client, count, isLast: false, span: span)
      return true
    case .blocked: return false
    case .ended:
      clientEndedWhileReading(index, client)
      return false
    case .senderFailed:
      clientIsGone(index, client)
      return false
    case .receiverFailed(let taken):
      // The rest is dropped, and has to be told from what comes behind it.
      client.pointee.exchange.bodyByteCount &-= Int64(taken)
      return serverRefusesBody(index, client, server)
    case .unsupported: return true
    }
  }
}
