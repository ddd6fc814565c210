// Deadlines of connections, many set and few reached. A wheel of slots with lists through an array of nodes; putting a
// deadline off is a single store: the node stays where it is, and is put in its right place when that slot comes up.

internal import Primitives

/// Time since the worker's start in ticks of `TimerWheel.tickNanoseconds`. It never wraps: 32 bits would after 795 days.
typealias Tick = UInt64

struct TimerWheel {
  static let tickNanoseconds: Int64 = 16_000_000
  static var span: TimeSpan { TimeSpan(nanoseconds: tickNanoseconds) }
  static let slotCount = 4096
  /// A deadline that is never reached.
  static let never = Tick.max

  private struct Node {
    var deadline = TimerWheel.never
    /// The tick whose slot the node is linked in; `never` when it is in none.
    var linkedAt = TimerWheel.never
    var next: Int32 = -1
    var previous: Int32 = -1
  }

  private let nodes: UnsafeMutablePointer<Node>
  private let slots: UnsafeMutablePointer<Int32>
  /// A bit per slot: not empty.
  private let occupied: UnsafeMutablePointer<UInt64>
  let capacity: Int
  /// Every slot before it has been looked at.
  private(set) var current: Tick = 0

  /// Timers are numbered from 0 up to `capacity`.
  init(capacity: Int) {
    self.capacity = capacity
    nodes = .allocate(capacity: capacity)
    nodes.initialize(repeating: Node(), count: capacity)
    slots = .allocate(capacity: Self.slotCount)
    slots.initialize(repeating: -1, count: Self.slotCount)
    occupied = .allocate(capacity: Self.slotCount / 64)
    occupied.initialize(repeating: 0, count: Self.slotCount / 64)
  }

  func deallocate() {
    nodes.deallocate()
    slots.deallocate()
    occupied.deallocate()
  }

  func deadline(_ timer: Int32) -> Tick { nodes[Int(timer)].deadline }

  mutating func set(_ timer: Int32, _ deadline: Tick) {
    let node = nodes + Int(timer)
    node.pointee.deadline = deadline
    if deadline < node.pointee.linkedAt { relink(timer, node) }
  }

  mutating func cancel(_ timer: Int32) { nodes[Int(timer)].deadline = Self.never }

  @inline(never)  // the rare half of `set`: a first deadline, or one that is nearer than the one before
  private mutating func relink(_ timer: Int32, _ node: UnsafeMutablePointer<Node>) {
    if node.pointee.linkedAt != Self.never { unlink(timer, node) }
    // Beyond the horizon: the last slot of this turn, where it is looked at again.
    let at = max(current, min(node.pointee.deadline, current &+ Tick(Self.slotCount &- 1)))
    let slot = Int(at) % Self.slotCount
    node.pointee.linkedAt = at
    node.pointee.previous = -1
    node.pointee.next = slots[slot]
    if slots[slot] >= 0 { nodes[Int(slots[slot])].previous = timer }
    slots[slot] = timer
    occupied[slot / 64] |= 1 &<< UInt64(slot % 64)
  }

  private mutating func unlink(_ timer: Int32, _ node: UnsafeMutablePointer<Node>) {
    let slot = Int(node.pointee.linkedAt) % Self.slotCount
    if node.pointee.previous >= 0 {
      nodes[Int(node.pointee.previous)].next = node.pointee.next
    } else {
      slots[slot] = node.pointee.next
      if node.pointee.next < 0 { occupied[slot / 64] &= ~(1 &<< UInt64(slot % 64)) }
    }
    if node.pointee.next >= 0 { nodes[Int(node.pointee.next)].previous = node.pointee.previous }
    node.pointee.linkedAt = Self.never
    node.pointee.next = -1
    node.pointee.previous = -1
  }

  /// The next timer whose deadline is at or before `now`, -1 when there is none left. Its deadline is `never` afterwards.
  /// Call until it returns -1, with the same `now`.
  mutating func nextExpired(_ now: Tick) -> Int32 {
    while current <= now {
      let slot = Int(current) % Self.slotCount
      while slots[slot] >= 0 {
        let timer = slots[slot]
        let node = nodes + Int(timer)
        unlink(timer, node)
        let deadline = node.pointee.deadline
        if deadline <= now {
          node.pointee.deadline = Self.never
          return timer
        }
        // Put off in the meantime: into its right place, which is in a later slot.
        if deadline != Self.never { relinkLater(timer, node) }
      }
      if current == now { return -1 }
      current = min(now, nextOccupied(after: current))
    }
    return -1
  }

  private mutating func relinkLater(_ timer: Int32, _ node: UnsafeMutablePointer<Node>) { relink(timer, node) }

  /// Ticks from `now` until a slot that holds timers; at most `limit`.
  func ticksUntilNext(_ now: Tick, limit: Tick) -> Tick {
    if slots[Int(current) % Self.slotCount] >= 0 { return 0 }
    let next = nextOccupied(after: current)
    return next <= now ? 0 : min(next &- now, limit)
  }

  /// The first tick after `tick` whose slot is occupied; a whole turn later if none is.
  private func nextOccupied(after tick: Tick) -> Tick {
    let first = Int(tick &+ 1) % Self.slotCount
    var word = first / 64
    var bits = occupied[word] & (~0 &<< UInt64(first % 64))
    var step = 0
    while bits == 0 {
      step &+= 1
      if step > Self.slotCount / 64 { return tick &+ Tick(Self.slotCount) }
      word = (word &+ 1) % (Self.slotCount / 64)
      bits = occupied[word]
    }
    let slot = word &* 64 &+ bits.trailingZeroBitCount
    let distance = (slot &- first &+ Self.slotCount) % Self.slotCount
    return tick &+ 1 &+ Tick(distance)
  }
}
