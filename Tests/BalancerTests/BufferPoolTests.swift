// Buffers keep their bytes, blocks are lent once and come back, slabs tell old tokens from new ones.

import Primitives
import Testing

@testable import Balancer

struct BufferPoolTests {
  private func bytes(of buffer: Buffer) -> [UInt8] {
    buffer.isEmpty ? [] : Array(UnsafeBufferPointer(start: buffer.bytes, count: buffer.count))
  }

  @Test(arguments: [(1, 1_024), (1_024, 1_024), (1_025, 2_048), (4_096, 4_096), (4_097, 8_192), (1 << 20, 1 << 20)])
  func `a block is the smallest that fits`(wanted: Int, capacity: Int) {
    var pool = BufferPool()
    defer { pool.deallocate() }
    var buffer = pool.take(wanted)
    #expect(buffer.capacity == capacity && buffer.isEmpty && pool.lentByteCount == capacity)
    pool.give(&buffer)
    #expect(!buffer.hasBlock && pool.lentByteCount == 0 && pool.keptByteCount == capacity)
  }

  @Test func `a block that came back is lent again`() {
    var pool = BufferPool()
    defer { pool.deallocate() }
    var first = pool.take(3_000)
    let base = first.bytes
    pool.give(&first)
    var second = pool.take(2_500)
    #expect(second.bytes == base && pool.keptByteCount == 0)
    pool.give(&second)
  }

  @Test func `no more than the limit is kept`() {
    var pool = BufferPool()
    defer { pool.deallocate() }
    var buffers = (0..<20).map { _ in pool.take(1 << 20) }
    for index in buffers.indices { pool.give(&buffers[index]) }
    #expect(pool.lentByteCount == 0 && pool.keptByteCount == BufferPool.maximumKeptByteCount)
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `appending and consuming keep the bytes in order`(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var pool = BufferPool()
    defer { pool.deallocate() }
    var buffer = Buffer()
    var expected: [UInt8] = []
    for _ in 0..<400 {
      if random.chance(2, in: 3) {
        let part = (0..<Int(random.next() % 3_000)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        if buffer.count + part.count > 200_000 { continue }
        part.withUnsafeBufferPointer { if let base = $0.baseAddress { pool.append(base, part.count, to: &buffer) } }
        expected += part
      } else {
        let taken = min(buffer.count, Int(random.next() % 4_000))
        buffer.start += Int32(taken)
        expected.removeFirst(taken)
      }
      #expect(bytes(of: buffer) == expected)
    }
    pool.give(&buffer)
    #expect(pool.lentByteCount == 0)
  }
}

struct SlabTests {
  private struct Item: SlabItem {
    var generation: UInt32 = 0
    var nextFree: Int32 = -1
    var value = 7
  }

  @Test func `places are handed out until none is left and reused when given back`() {
    var slab = Slab<Item>(capacity: 3)
    defer { slab.deallocate() }
    #expect((0..<4).map { _ in slab.take() } == [0, 1, 2, -1])
    slab[1].pointee.value = 9
    slab.give(1)
    #expect(slab.usedCount == 2)
    #expect(slab.take() == 1 && slab[1].pointee.value == 7)
  }

  @Test func `a token of a former holder is recognised`() {
    var slab = Slab<Item>(capacity: 1)
    defer { slab.deallocate() }
    let index = slab.take()
    let token = EventToken(.server, index: index, generation: slab[index].pointee.generation)
    #expect(token.kind == .server && token.index == index && token.isFor(slab[index].pointee.generation))
    slab.give(index)
    _ = slab.take()
    #expect(!token.isFor(slab[index].pointee.generation))
  }

  @Test func `a token keeps kind, index and thirty bits of generation apart`() {
    let token = EventToken(.wakeUp, index: Int32.max, generation: 0xffff_ffff)
    #expect(token.kind == .wakeUp && token.index == Int32.max && token.isFor(0x3fff_ffff))
  }
}

struct DateLineTests {
  @Test(
    arguments: [
      (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
      (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (1_795_223_045, "Sat, 21 Nov 2026 01:04:05 GMT"),
      (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
    ] as [(Int64, String)])
  func `a second is written as HTTP wants it`(second: Int64, text: String) {
    var line = DateLine()
    let written = String(decoding: line.text(unixSecond: second), as: UTF8.self)
    #expect(written == "Date: \(text)\r\n")
  }
}
