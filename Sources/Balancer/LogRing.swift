// The way of log records from a worker to the log's thread: bytes in a ring with one writer and one reader, neither of whom
// ever waits for the other. A record lies in one piece; where it would not fit before the end of the memory, a mark says
// that the ring goes on at its start. A full ring refuses, and the worker counts what it could not say.

internal import Synchronization

final class LogRing: @unchecked Sendable {
  // Unchecked: bytes are written before `tail` is moved behind them, and read only after that was seen; they are given back
  // by moving `head`, and written again only after that was seen.
  /// Some ten thousand records: a third of a second at 40,000 requests per second of one worker.
  static let defaultByteCount = 4 * 1024 * 1024
  /// Records are of whole words, and begin with their byte count as an Int32 that is not negative.
  static let alignment = 8
  private static let goOnAtStart: Int32 = -1

  let byteCount: Int
  private let memory: UnsafeMutableRawPointer
  private let mask: Int
  /// Bytes taken and bytes put, ever.
  private let head = Atomic<Int>(0)
  private let tail = Atomic<Int>(0)
  /// Of the worker: where the record that is being written begins, and how the bytes before it are spent.
  private var reserved = 0
  /// Of the worker: `head` as last seen.
  private var seenHead = 0
  /// Records that did not fit.
  let dropped = Counter()

  /// `byteCount` is a power of two.
  init(byteCount: Int = LogRing.defaultByteCount) {
    precondition(byteCount >= 64 && byteCount & (byteCount - 1) == 0, "a ring's size is a power of two")
    self.byteCount = byteCount
    mask = byteCount - 1
    memory = .allocate(byteCount: byteCount, alignment: 64)
  }

  deinit { memory.deallocate() }

  /// Worker: room in one piece for a record of `count` bytes, a multiple of `alignment` and at most half the ring; nil, and counted, if
  /// there is none.
  func reserve(_ count: Int) -> UnsafeMutableRawPointer? {
    precondition(count % Self.alignment == 0 && count <= byteCount / 2)
    var position = tail.load(ordering: .relaxed)
    let rest = byteCount - (position & mask)
    let spare = count <= rest ? 0 : rest
    if position + spare + count - seenHead > byteCount {
      seenHead = head.load(ordering: .acquiring)
      if position + spare + count - seenHead > byteCount {
        dropped.increase()
        return nil
      }
    }
    if spare > 0 {
      memory.storeBytes(of: Self.goOnAtStart, toByteOffset: position & mask, as: Int32.self)
      position += spare
    }
    reserved = position
    return memory + (position & mask)
  }

  /// Worker: the record is complete; its first four bytes say its byte count.
  func publish(_ count: Int) { tail.store(reserved + count, ordering: .releasing) }

  /// Log's thread: the oldest record, valid until `release`; nil if there is none.
  func next() -> UnsafeRawBufferPointer? {
    var position = head.load(ordering: .relaxed)
    let end = tail.load(ordering: .acquiring)
    if position == end { return nil }
    if memory.load(fromByteOffset: position & mask, as: Int32.self) == Self.goOnAtStart {
      position += byteCount - (position & mask)
      head.store(position, ordering: .releasing)
    }
    let count = memory.load(fromByteOffset: position & mask, as: Int32.self)
    return UnsafeRawBufferPointer(start: memory + (position & mask), count: Int(count))
  }

  /// Log's thread: the record that `next` gave may be overwritten.
  func release(_ count: Int) { head.store(head.load(ordering: .relaxed) + count, ordering: .releasing) }
}
