// Where a worker counts what passes: by slot, in lines of memory that nobody else writes. The main thread reads them whenever
// it wants to. A slot's figures are words in a row, the ones that every request touches first.

internal import Control
internal import Glibc
internal import Synchronization

/// One slot's figures in one worker's book.
struct TrafficLines {
  // In words of eight bytes.
  static let responses = 0
  static let bytesIn = 5
  static let bytesOut = 6
  static let firstByteSum = 7
  static let totalSum = 8
  static let endings = 9
  static let firstByte = endings + Ending.allCases.count
  static let total = firstByte + LatencyBuckets.count
  /// Whole cache lines, and no multiple of a page, so that the lines of many slots do not compete for the same places of
  /// the cache.
  static let wordCount = (total + LatencyBuckets.count + 7) / 8 * 8

  let words: UnsafeMutablePointer<Counter>

  @inline(__always)  // a dozen of these per request
  func add(_ value: UInt64, _ word: Int) { words[word].add(value) }

  func add(up: Int, down: Int) {
    add(UInt64(up), Self.bytesIn)
    add(UInt64(down), Self.bytesOut)
  }

  /// One exchange that is over. `status` 0: none was sent; `firstByte` nil: none came.
  @inline(__always)  // twice per request
  func count(
    status: UInt16, bytesIn: Int64, bytesOut: Int64, firstByteMicroseconds: UInt64, hasFirstByte: Bool,
    totalMicroseconds: UInt64
  ) {
    let digit = Int(status) / 100
    if digit >= 1 && digit <= 5 { add(1, Self.responses + digit - 1) }
    add(UInt64(bitPattern: bytesIn), Self.bytesIn)
    add(UInt64(bitPattern: bytesOut), Self.bytesOut)
    if hasFirstByte {
      add(firstByteMicroseconds, Self.firstByteSum)
      add(1, Self.firstByte + LatencyBuckets.index(microseconds: firstByteMicroseconds))
    }
    add(totalMicroseconds, Self.totalSum)
    add(1, Self.total + LatencyBuckets.index(microseconds: totalMicroseconds))
  }
}

/// One worker's lines of all slots of a kind. Memory comes in blocks, when slots in them are first used; untouched pages
/// of a block cost nothing.
struct TrafficBook: @unchecked Sendable {
  // Unchecked: atomics only; a block is there before the worker hears of a slot in it, and stays for good.
  private static let blockSlotCount = 64
  private let blocks: UnsafeMutablePointer<UnsafeMutablePointer<Counter>?>

  init(capacity: Int) {
    let count = (capacity + Self.blockSlotCount - 1) / Self.blockSlotCount
    blocks = .allocate(capacity: count)
    blocks.initialize(repeating: nil, count: count)
  }

  /// Of a slot that has been prepared.
  @inline(__always)  // twice per request
  subscript(slot: Int) -> TrafficLines {
    TrafficLines(words: blocks[slot / Self.blockSlotCount]! + slot % Self.blockSlotCount * TrafficLines.wordCount)
  }

  /// Zeroes a slot, on the main thread, while no worker counts there.
  func prepare(_ slot: Int) {
    let place = blocks + slot / Self.blockSlotCount
    if place.pointee == nil {
      // Zeroes from the kernel are counters at zero.
      guard let memory = calloc(Self.blockSlotCount, TrafficLines.wordCount * MemoryLayout<Counter>.stride) else {
        preconditionFailure("no memory for figures")
      }
      place.pointee = memory.bindMemory(to: Counter.self, capacity: Self.blockSlotCount * TrafficLines.wordCount)
      return
    }
    let lines = self[slot]
    for word in 0..<TrafficLines.wordCount where lines.words[word].current != 0 { lines.words[word].clear() }
  }
}

/// The sum of some lines, word by word.
struct TrafficSum {
  private var words = [UInt64](repeating: 0, count: TrafficLines.wordCount)

  mutating func add(_ lines: TrafficLines) {
    for word in 0..<TrafficLines.wordCount { words[word] &+= lines.words[word].current }
  }

  mutating func add(_ other: TrafficSum) {
    for word in 0..<TrafficLines.wordCount { words[word] &+= other.words[word] }
  }

  var figures: TrafficFigures {
    var figures = TrafficFigures()
    figures.responses = Array(words[TrafficLines.responses..<TrafficLines.responses + 5])
    figures.bytesIn = words[TrafficLines.bytesIn]
    figures.bytesOut = words[TrafficLines.bytesOut]
    figures.firstByte = histogram(TrafficLines.firstByte, sum: TrafficLines.firstByteSum)
    figures.total = histogram(TrafficLines.total, sum: TrafficLines.totalSum)
    return figures
  }

  private func histogram(_ start: Int, sum: Int) -> LatencyFigures {
    LatencyFigures(counts: Array(words[start..<start + LatencyBuckets.count]), sumMicroseconds: words[sum])
  }

  /// Those that have happened, but for the usual one.
  var endings: [String: UInt64] {
    var endings: [String: UInt64] = [:]
    for ending in Ending.allCases {
      let count = words[TrafficLines.endings + Int(ending.rawValue)]
      if count > 0 { endings[ending.name] = count }
    }
    return endings
  }
}
