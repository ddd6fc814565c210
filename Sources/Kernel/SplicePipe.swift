// Bytes from one socket to another that are not copied on the way: through a pipe (splice(2)). One pipe serves all
// connections of a worker, because it is empty between two moves.

internal import CLinux
internal import Glibc

package struct SplicePipe: ~Copyable {
  package enum Move {
    /// `taken` bytes have left the sender. The last `left` of them, which the receiver did not take, are in memory now.
    case moved(taken: Int, left: Int)
    /// Nothing was taken. Whether the sender has nothing, has ended or cannot be spliced is for a read to say: splice(2) stops
    /// before urgent data, and says 0 there once the end has come behind it.
    case nothing
    /// An error that the sender's socket has told, and will not tell again.
    case senderFailed
    /// What has left the sender is lost. `isBrokenOff`: as `StreamSocket.isBrokenOff`.
    case receiverFailed(taken: Int, isBrokenOff: Bool)
  }

  // -1 without a pipe.
  private var readingEnd: Int32 = -1
  private var writingEnd: Int32 = -1

  /// A pipe of `byteCount` bytes, or of the system's usual size, or none.
  package init(byteCount: Int32) {
    var ends: [2 of Int32] = [-1, -1]
    let result = withUnsafeMutableBytes(of: &ends) {
      afloat_open_pipe($0.baseAddress!.assumingMemoryBound(to: Int32.self), byteCount)
    }
    if result == 0 { (readingEnd, writingEnd) = (ends[0], ends[1]) }
  }

  deinit {
    if readingEnd >= 0 { Glibc.close(readingEnd) }
    if writingEnd >= 0 { Glibc.close(writingEnd) }
  }

  /// False where bytes have to be copied: there is no pipe, or the system does not let this process splice.
  package var isOpen: Bool { readingEnd >= 0 }

  /// Moves what is there, at most `limit` bytes. `rest` has room for them.
  package mutating func move(
    from sender: Int32, to receiver: Int32, limit: Int, rest: UnsafeMutablePointer<UInt8>
  ) -> Move {
    if !isOpen { return .nothing }
    let taken = afloat_splice(sender, writingEnd, limit)
    if taken == 0 || taken == StreamSocket.wouldBlock { return .nothing }
    if taken < 0 { return isRefused(taken) ? .nothing : .senderFailed }
    let given = afloat_splice(readingEnd, receiver, taken)
    if given == taken { return .moved(taken: taken, left: 0) }
    let left = taken - max(0, given)
    // Whatever comes of it: what stays in the pipe would go to another connection.
    guard empty(left, into: rest) else {
      close()
      return .receiverFailed(taken: taken, isBrokenOff: false)
    }
    if given >= 0 || given == StreamSocket.wouldBlock || isRefused(given) { return .moved(taken: taken, left: left) }
    return .receiverFailed(taken: taken, isBrokenOff: StreamSocket.isBrokenOff(given))
  }

  /// Whether an error is the system's word that it does not splice here. There is no pipe then from now on.
  private mutating func isRefused(_ result: Int) -> Bool {
    guard [EINVAL, ENOSYS, EPERM, EACCES, ENOMEM].contains(Int32(-result)) else { return false }
    close()
    return true
  }

  private func empty(_ count: Int, into memory: UnsafeMutablePointer<UInt8>) -> Bool {
    var done = 0
    while done < count {
      let got = Glibc.read(readingEnd, memory + done, count - done)
      if got < 0 && errno == EINTR { continue }
      if got <= 0 { return false }
      done += got
    }
    return true
  }

  private mutating func close() {
    Glibc.close(readingEnd)
    Glibc.close(writingEnd)
    (readingEnd, writingEnd) = (-1, -1)
  }
}
