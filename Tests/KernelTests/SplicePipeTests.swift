// Bytes through a pipe from one socket to another: all of them, in order, and nothing of them to anybody else.

import Glibc
import Kernel
import Testing

struct SplicePipeTests {
  /// Two ends of a connection that do not block.
  private func pair() -> (a: Int32, b: Int32) {
    var ends: [Int32] = [0, 0]
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue)
    #expect(socketpair(AF_UNIX, kind, 0, &ends) == 0)
    return (ends[0], ends[1])
  }

  private func read(_ raw: Int32) -> [UInt8] {
    var all: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = part.withUnsafeMutableBufferPointer { StreamSocket.receive(raw, $0.baseAddress!, $0.count) }
      if count <= 0 { return all }
      all += part.prefix(count)
    }
  }

  private func fill(_ raw: Int32) -> Int {
    var total = 0
    let part = [UInt8](repeating: 0x66, count: 4096)
    while true {
      let sent = StreamSocket.send(raw, part, part.count)
      if sent <= 0 { return total }
      total += sent
    }
  }

  private final class Memory {
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 1 << 20)
    deinit { bytes.deallocate() }
  }

  @Test func `moves what is there and says when nothing is`() {
    var pipe = SplicePipe(byteCount: 1 << 16)
    let (from, to, rest) = (pair(), pair(), Memory())
    defer { for raw in [from.a, from.b, to.a, to.b] { StreamSocket.close(raw) } }
    func move(_ limit: Int) -> SplicePipe.Move {
      pipe.move(from: from.b, to: to.a, limit: limit, rest: rest.bytes)
    }
    guard case .nothing = move(100) else { Issue.record("nothing was there"); return }
    let message = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    #expect(StreamSocket.send(from.a, message, message.count) == 1000)
    guard case .moved(taken: 300, left: 0) = move(300) else { Issue.record("300 bytes"); return }
    guard case .moved(taken: 700, left: 0) = move(5000) else { Issue.record("the rest"); return }
    #expect(read(to.b) == message)
    StreamSocket.shutdownWriting(from.a)
    guard case .nothing = move(100) else { Issue.record("the end, which a read tells"); return }
  }

  @Test func `hands over what the receiver does not take`() {
    var pipe = SplicePipe(byteCount: 1 << 16)
    let (from, to, rest) = (pair(), pair(), Memory())
    defer { for raw in [from.a, from.b, to.a, to.b] { StreamSocket.close(raw) } }
    let before = fill(to.a)
    let message = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    #expect(StreamSocket.send(from.a, message, message.count) == message.count)
    var seen: [UInt8] = []
    while seen.count < message.count {
      let move = pipe.move(from: from.b, to: to.a, limit: 1 << 16, rest: rest.bytes)
      guard case .moved(let taken, let left) = move else {
        Issue.record("moves")
        return
      }
      #expect(taken == left, "the receiver is full")
      seen += UnsafeBufferPointer(start: rest.bytes, count: left)
    }
    #expect(seen == message && read(to.b).count == before)
  }

  @Test func `gives nobody what was meant for a receiver that has gone`() {
    signal(SIGPIPE, SIG_IGN)
    var pipe = SplicePipe(byteCount: 1 << 16)
    let (from, gone, to, rest) = (pair(), pair(), pair(), Memory())
    defer { for raw in [from.a, from.b, gone.a, to.a, to.b] { StreamSocket.close(raw) } }
    StreamSocket.close(gone.b)
    #expect(StreamSocket.send(from.a, Array("secret".utf8), 6) == 6)
    let move = pipe.move(from: from.b, to: gone.a, limit: 100, rest: rest.bytes)
    guard case .receiverFailed(taken: 6, isBrokenOff: false) = move else {
      Issue.record("the receiver has gone")
      return
    }
    #expect(StreamSocket.send(from.a, Array("next".utf8), 4) == 4)
    guard case .moved(taken: 4, left: 0) = pipe.move(from: from.b, to: to.a, limit: 100, rest: rest.bytes) else {
      Issue.record("the next")
      return
    }
    #expect(read(to.b) == Array("next".utf8))
  }

  @Test func `hands over the rest of what a receiver takes in part`() {
    var pipe = SplicePipe(byteCount: 1 << 18)
    let (from, to, rest) = (pair(), pair(), Memory())
    defer { for raw in [from.a, from.b, to.a, to.b] { StreamSocket.close(raw) } }
    let message = (0..<150_000).map { UInt8(truncatingIfNeeded: $0 &* 17) }
    #expect(StreamSocket.send(from.a, message, message.count) == message.count)
    // Room for a few pieces.
    let before = fill(to.a)
    var part = [UInt8](repeating: 0, count: before / 2)
    let drained = part.withUnsafeMutableBufferPointer { StreamSocket.receive(to.b, $0.baseAddress!, $0.count) }
    guard case .moved(let taken, let left) = pipe.move(from: from.b, to: to.a, limit: 1 << 18, rest: rest.bytes) else {
      Issue.record("moves")
      return
    }
    #expect(0 < left && left < taken)
    let arrived = read(to.b).dropFirst(before - drained)
    let seen = Array(arrived) + UnsafeBufferPointer(start: rest.bytes, count: left)
    #expect(seen == Array(message.prefix(taken)))
  }

  @Test func `is no pipe any more where the system does not splice`() throws {
    var pipe = SplicePipe(byteCount: 1 << 16)
    let (from, to, rest) = (pair(), pair(), Memory())
    defer { for raw in [from.a, from.b, to.a, to.b] { StreamSocket.close(raw) } }
    let poller = try Poller(capacity: 1)
    let wasOpen = pipe.isOpen
    guard case .nothing = pipe.move(from: poller.descriptor.raw, to: to.a, limit: 10, rest: rest.bytes) else {
      Issue.record("a descriptor of a kind that has nothing to splice")
      return
    }
    let isOpen = pipe.isOpen
    #expect(wasOpen && !isOpen)
    #expect(StreamSocket.send(from.a, Array("whole".utf8), 5) == 5)
    guard case .nothing = pipe.move(from: from.b, to: to.a, limit: 10, rest: rest.bytes) else {
      Issue.record("no pipe")
      return
    }
    #expect(read(from.b) == Array("whole".utf8))
  }
}
