// Memory for bytes that wait: parts of heads, requests that may have to be sent again, output that the other side does not
// take yet. A connection that waits for nothing holds no buffer.

/// Bytes from `start` up to `end` of a block; no block when empty. The pool that lent the block takes it back.
struct Buffer {
  fileprivate(set) var base: UnsafeMutablePointer<UInt8>?
  var start: Int32 = 0
  var end: Int32 = 0
  fileprivate var sizeClass: UInt8 = 0

  init() {}

  var count: Int { Int(end) &- Int(start) }
  var isEmpty: Bool { start == end }
  var hasBlock: Bool { base != nil }
  /// The first byte that waits.
  var bytes: UnsafeMutablePointer<UInt8> { base! + Int(start) }
  /// Where the next byte would go.
  var tail: UnsafeMutablePointer<UInt8> { base! + Int(end) }
  var capacity: Int { base == nil ? 0 : BufferPool.smallestByteCount &<< Int(sizeClass) }
  var room: Int { capacity &- Int(end) }
}

/// One worker's blocks in sizes of powers of two, kept in free lists for the next who asks.
struct BufferPool {
  static let smallestByteCount = 1024
  static let classCount = 11
  static let largestByteCount = smallestByteCount << (classCount - 1)
  /// Free blocks beyond this go back to the system.
  static let maximumKeptByteCount = 8 * 1024 * 1024

  // Each free block holds the address of the next in its first eight bytes.
  private let freeHeads: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>
  private(set) var keptByteCount = 0
  /// In the hands of connections.
  private(set) var lentByteCount = 0

  init() {
    freeHeads = .allocate(capacity: Self.classCount)
    freeHeads.initialize(repeating: nil, count: Self.classCount)
  }

  func deallocate() {
    for sizeClass in 0..<Self.classCount {
      while let block = freeHeads[sizeClass] {
        freeHeads[sizeClass] = Self.next(block).pointee
        block.deallocate()
      }
    }
    freeHeads.deallocate()
  }

  /// An empty buffer with room for at least `byteCount`, which is at most `largestByteCount`.
  mutating func take(_ byteCount: Int) -> Buffer {
    precondition(byteCount <= Self.largestByteCount)
    let words = (max(byteCount, 1) &- 1) / Self.smallestByteCount
    let sizeClass = Int.bitWidth &- words.leadingZeroBitCount
    let size = Self.smallestByteCount &<< sizeClass
    var buffer = Buffer()
    buffer.sizeClass = UInt8(truncatingIfNeeded: sizeClass)
    lentByteCount &+= size
    if let block = freeHeads[sizeClass] {
      freeHeads[sizeClass] = Self.next(block).pointee
      keptByteCount &-= size
      buffer.base = block
    } else {
      buffer.base = .allocate(capacity: size)
    }
    return buffer
  }

  /// Takes the block back and leaves `buffer` empty.
  mutating func give(_ buffer: inout Buffer) {
    guard let block = buffer.base else { return }
    let size = buffer.capacity
    lentByteCount &-= size
    if keptByteCount &+ size > Self.maximumKeptByteCount {
      block.deallocate()
    } else {
      Self.next(block).initialize(to: freeHeads[Int(buffer.sizeClass)])
      freeHeads[Int(buffer.sizeClass)] = block
      keptByteCount &+= size
    }
    buffer = Buffer()
  }

  /// Adds bytes at the end, moving to a larger block where needed. `buffer.count + count` is at most `largestByteCount`.
  mutating func append(_ bytes: UnsafePointer<UInt8>, _ count: Int, to buffer: inout Buffer) {
    if count == 0 { return }
    if buffer.room < count {
      if buffer.capacity &- buffer.count >= count {
        buffer.base!.update(from: buffer.bytes, count: buffer.count)
        buffer.end &-= buffer.start
        buffer.start = 0
      } else {
        var larger = take(buffer.count &+ count)
        if !buffer.isEmpty { larger.base!.update(from: buffer.bytes, count: buffer.count) }
        larger.end = Int32(truncatingIfNeeded: buffer.count)
        give(&buffer)
        buffer = larger
      }
    }
    buffer.tail.update(from: bytes, count: count)
    buffer.end &+= Int32(truncatingIfNeeded: count)
  }

  /// Other bytes, perhaps more or fewer, in the place of those in `range`, which counts from the first that waits.
  mutating func replace(_ range: Range<Int>, with bytes: UnsafeBufferPointer<UInt8>, in buffer: inout Buffer) {
    precondition(range.upperBound <= buffer.count)
    var next = take(buffer.count &- range.count &+ bytes.count)
    append(buffer.bytes, range.lowerBound, to: &next)
    if let start = bytes.baseAddress { append(start, bytes.count, to: &next) }
    append(buffer.bytes + range.upperBound, buffer.count &- range.upperBound, to: &next)
    give(&buffer)
    buffer = next
  }

  private static func next(_ block: UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?> {
    UnsafeMutableRawPointer(block).assumingMemoryBound(to: UnsafeMutablePointer<UInt8>?.self)
  }
}
