// Connections live in slabs: preallocated plain structs, named by index and generation. The index is what epoll hands
// back; the generation tells a late event of a closed connection from one of its successor in the same place.

/// What a slab holds.
protocol SlabItem {
  init()
  /// Increased when the place is freed.
  var generation: UInt32 { get set }
  /// Link of the free list while the place is free.
  var nextFree: Int32 { get set }
}

/// A fixed number of places. Memory is touched as it is first used, never given back: it is bounded by `capacity`.
struct Slab<Item: SlabItem> {
  let base: UnsafeMutablePointer<Item>
  let capacity: Int
  /// Places below have been initialised.
  private(set) var highWater = 0
  private(set) var usedCount = 0
  private var freeHead: Int32 = -1

  init(capacity: Int) {
    precondition(capacity > 0 && capacity < Int(Int32.max))
    self.capacity = capacity
    base = .allocate(capacity: capacity)
  }

  func deallocate() {
    base.deinitialize(count: highWater)
    base.deallocate()
  }

  /// An index that is free no longer, or -1 when all are taken. The item is as `init()` made it, but for its generation.
  mutating func take() -> Int32 {
    if freeHead >= 0 {
      let index = freeHead
      freeHead = base[Int(index)].nextFree
      usedCount &+= 1
      return index
    }
    if highWater == capacity { return -1 }
    (base + highWater).initialize(to: Item())
    highWater &+= 1
    usedCount &+= 1
    return Int32(truncatingIfNeeded: highWater &- 1)
  }

  mutating func give(_ index: Int32) {
    let place = base + Int(index)
    let generation = place.pointee.generation &+ 1
    place.pointee = Item()
    place.pointee.generation = generation
    place.pointee.nextFree = freeHead
    freeHead = index
    usedCount &-= 1
  }

  subscript(index: Int32) -> UnsafeMutablePointer<Item> {
    // On every event; the index comes from our own links and tokens, and stays below highWater.
    @inline(__always) get {
      assert(index >= 0 && Int(index) < highWater)
      return base + Int(index)
    }
  }
}

/// What comes back with an event: the kind in the top two bits, the generation in the next thirty, the index below.
struct EventToken: Equatable {
  enum Kind: UInt64 { case client = 0, server, listener, wakeUp }
  let rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(_ kind: Kind, index: Int32, generation: UInt32 = 0) {
    rawValue = kind.rawValue &<< 62 | UInt64(generation & 0x3fff_ffff) &<< 32 | UInt64(UInt32(bitPattern: index))
  }

  var kind: Kind { Kind(rawValue: rawValue &>> 62)! }
  var index: Int32 { Int32(truncatingIfNeeded: rawValue) }
  func isFor(_ generation: UInt32) -> Bool { (rawValue &>> 32) & 0x3fff_ffff == UInt64(generation & 0x3fff_ffff) }
}
