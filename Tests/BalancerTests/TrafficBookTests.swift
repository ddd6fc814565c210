// Figures by slot: counted, summed over workers, and gone when a slot is given on.

import Control
import Testing

@testable import Balancer

struct TrafficBookTests {
  private func count(_ lines: TrafficLines, status: UInt16, firstByte: UInt64?, total: UInt64) {
    lines.count(
      status: status, bytesIn: 10, bytesOut: 100, firstByteMicroseconds: firstByte ?? 0, hasFirstByte: firstByte != nil,
      totalMicroseconds: total)
  }

  @Test func `sums over workers are the sum of what each has seen`() {
    let books = [TrafficBook(capacity: 1 << 10), TrafficBook(capacity: 1 << 10)]
    for book in books { for slot in [0, 63, 64, 1000] { book.prepare(slot) } }
    count(books[0][64], status: 200, firstByte: 1_000, total: 2_000)
    count(books[0][64], status: 404, firstByte: 8, total: 9)
    count(books[1][64], status: 200, firstByte: nil, total: 5)
    count(books[1][64], status: 0, firstByte: nil, total: 5)
    books[1][64].add(3, TrafficLines.endings + Int(Ending.leftAnswer.rawValue))
    var sum = TrafficSum()
    for book in books { sum.add(book[64]) }
    let figures = sum.figures
    #expect(figures.responses == [0, 2, 0, 1, 0])
    #expect(figures.bytesIn == 40 && figures.bytesOut == 400)
    #expect(figures.firstByte.count == 2 && figures.firstByte.sumMicroseconds == 1_008)
    #expect(figures.total.count == 4 && figures.total.sumMicroseconds == 2_019)
    #expect(figures.total.counts[LatencyBuckets.index(microseconds: 2_000)] == 1)
    #expect(sum.endings == ["left_answer": 3])
    for slot in [0, 63, 1000] {
      var other = TrafficSum()
      other.add(books[0][slot])
      #expect(other.figures == TrafficFigures())
    }
  }

  @Test func `a slot begins at zero for its next holder, and its neighbours stay`() {
    let book = TrafficBook(capacity: 128)
    book.prepare(1)
    book.prepare(2)
    count(book[1], status: 200, firstByte: 1, total: 1)
    count(book[2], status: 200, firstByte: 1, total: 1)
    book.prepare(1)
    var (first, second) = (TrafficSum(), TrafficSum())
    first.add(book[1])
    second.add(book[2])
    #expect(first.figures == TrafficFigures())
    #expect(second.figures.responses[1] == 1)
  }
}
