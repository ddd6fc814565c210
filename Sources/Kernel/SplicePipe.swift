// Bytes from one socket to another that are not copied on the way: through a pipe (splice(2)). One pipe serves all
// connections of a worker, because it is empty between two moves.

internal import CLinux
internal import Glibc

package struct SplicePipe: ~Copyable {
  package enum Move {
    /// `taken` bytes have left the sender. The last `left` of them, which the receiver did not take, are in memory now.
    case moved(taken: Int, left: Int)
    /// The sender has nothing now.
    case blocked
    /// The sender's stream has ended.
    case ended
    case senderFailed
    /// What has left the sender is lost.
    case receiverFailed(taken: Int)
    /// There is no pipe, or not for such a socket: bytes have to be copied. Nothing was taken.
    case unsupported
  }

  // -1 without a pipe.
  private var readingEnd: Int32 = -1
  private var writingEnd: Int32 = -1
  private let byteCount: Int32

  /// A pipe of `byteCount` bytes, or of the system's usual size, or none: then every move is `unsupported`.
  package init(byteCount: Int32) {
    self.byteCount = byteCount
    open()
  }

  deinit {
    if readingEnd >= 0 { Glibc.close(readingEnd) }
    if writingEnd >= 0 { Glibc.close(writingEnd) }
  }

  /// Moves what is there, at most `limit` bytes. `rest` has room for them.
  package mutating func move(
    from sender: Int32, to receiver: Int32, limit: Int, rest: UnsafeMutablePointer<UInt8>
  ) -> Move {
    if readingEnd < 0 { return .unsupported }
    let taken = afloat_splice(sender, writingEnd, limit)
    if taken == 0 { return .ended }
    if taken < 0 {
      if taken == StreamSocket.wouldBlock { return .blocked }
      return taken == -Int(EINVAL) ? .unsupported : .senderFailed
    }
    let given = afloat_splice(readingEnd, receiver, taken)
    if given == taken { return .moved(taken: taken, left: 0) }
    if given < 0 && given != StreamSocket.wouldBlock {
      renew()
      return .receiverFailed(taken: taken)
    }
    let left = taken - max(0, given)
    return empty(left, into: rest) ? .moved(taken: taken, left: left) : .receiverFailed(taken: taken)
  }

  private mutating func empty(_ count: Int, into memory: UnsafeMutablePointer<UInt8>) -> Bool {
    var done = 0
    while done < count {
      let got = Glibc.read(readingEnd, memory + done, count - done)
      if got < 0 && errno == EINTR { continue }
      if got <= 0 {
        renew()
        return false
      }
      done += got
    }
    return true
  }

  /// What is in a pipe after a failure must never reach another connection.
  private mutating func renew() {
    Glibc.close(readingEnd)
    Glibc.close(writingEnd)
    open()
  }

  private mutating func open() {
    var ends: [2 of Int32] = [-1, -1]
    let result = withUnsafeMutableBytes(of: &ends) {
      afloat_open_pipe($0.baseAddress!.assumingMemoryBound(to: Int32.self), byteCount)
    }
    (readingEnd, writingEnd) = result == 0 ? (ends[0], ends[1]) : (-1, -1)
  }
}
