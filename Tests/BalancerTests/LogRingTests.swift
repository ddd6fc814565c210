// The ring of log records: nothing is lost or torn, whatever its size and however full it gets.

import Kernel
import Primitives
import Synchronization
import Testing

@testable import Balancer

struct LogRingTests {
  /// A record of `count` bytes whose words all are `mark`.
  private func put(_ ring: LogRing, _ count: Int, mark: UInt32) -> Bool {
    guard let place = ring.reserve(count) else { return false }
    for offset in stride(from: 0, to: count, by: 4) {
      place.storeBytes(of: mark, toByteOffset: offset, as: UInt32.self)
    }
    place.storeBytes(of: Int32(count), as: Int32.self)
    ring.publish(count)
    return true
  }

  private func take(_ ring: LogRing) -> (count: Int, mark: UInt32)? {
    guard let bytes = ring.next() else { return nil }
    let mark = bytes.load(fromByteOffset: 4, as: UInt32.self)
    for offset in stride(from: 4, to: bytes.count, by: 4) {
      #expect(bytes.load(fromByteOffset: offset, as: UInt32.self) == mark)
    }
    ring.release(bytes.count)
    return (bytes.count, mark)
  }

  @Test func `what does not fit is refused and counted, and room comes back`() {
    let ring = LogRing(byteCount: 64)
    #expect(put(ring, 32, mark: 1))
    #expect(put(ring, 32, mark: 2))
    #expect(!put(ring, 8, mark: 3))
    #expect(ring.dropped.current == 1)
    #expect(take(ring)?.mark == 1)
    #expect(put(ring, 8, mark: 4))
    #expect(take(ring)?.mark == 2)
    #expect(take(ring)?.mark == 4)
    #expect(take(ring) == nil)
  }

  @Test func `a record that would be split begins at the start`() {
    let ring = LogRing(byteCount: 64)
    #expect(put(ring, 24, mark: 1))
    #expect(put(ring, 24, mark: 2))
    #expect(take(ring)?.mark == 1)
    // 16 bytes are left before the end: they are skipped, and 24 are free at the start.
    #expect(put(ring, 24, mark: 3))
    #expect(!put(ring, 8, mark: 4))
    #expect(take(ring)?.mark == 2)
    #expect(take(ring)?.mark == 3)
    #expect(take(ring) == nil)
  }

  @Test func `many records of many sizes come out as they went in`() {
    var random = SeededRandom(seed: 7)
    let ring = LogRing(byteCount: 1024)
    var waiting: [(Int, UInt32)] = []
    var taken = 0
    for mark in 0..<UInt32(20_000) {
      let count = 8 + 8 * Int(random.next() % 60)
      if put(ring, count, mark: mark) {
        waiting.append((count, mark))
      } else {
        while let record = take(ring) {
          #expect(record.count == waiting[taken].0)
          #expect(record.mark == waiting[taken].1)
          taken += 1
        }
        #expect(taken == waiting.count)
      }
    }
    #expect(taken > 10_000)
  }

  @Test func `two threads at once lose nothing but what was refused`() throws {
    let ring = LogRing(byteCount: 4096)
    let total: UInt32 = 200_000
    nonisolated(unsafe) let done = UnsafeMutablePointer<Atomic<Bool>>.allocate(capacity: 1)
    done.initialize(to: Atomic(false))
    try Threads.start("ring test") {
      var random = SeededRandom(seed: 1)
      for mark in 1...total {
        let count = 8 + 8 * Int(random.next() % 20)
        if let place = ring.reserve(count) {
          for offset in stride(from: 0, to: count, by: 4) {
            place.storeBytes(of: mark, toByteOffset: offset, as: UInt32.self)
          }
          place.storeBytes(of: Int32(count), as: Int32.self)
          ring.publish(count)
        }
      }
      done.pointee.store(true, ordering: .releasing)
    }
    var last: UInt32 = 0
    var taken: UInt64 = 0
    while true {
      let ended = done.pointee.load(ordering: .acquiring)
      while let record = take(ring) {
        #expect(record.mark > last)
        last = record.mark
        taken += 1
      }
      if ended { break }
    }
    #expect(taken + ring.dropped.current == UInt64(total))
  }
}
