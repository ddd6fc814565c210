// The way from one thread to another without a lock: a ring with one producer and one consumer. Both sides only ever load
// and store, so neither waits for the other, and nothing is allocated after the start.

internal import Synchronization

/// A bounded queue from exactly one producing thread to exactly one consuming thread.
/// At the limit `push` says no; what is then done with the element is the producer's business.
package final class SingleProducerRing<Element: Sendable>: @unchecked Sendable {
  // Unchecked: slot `n` is written by the producer before it publishes tail > n, and read by the consumer only after it has
  // seen that; the consumer gives it back by publishing head > n. With one thread on each side nobody shares a slot.
  private let slots: UnsafeMutablePointer<Element>
  private let mask: Int
  /// Elements taken, elements put: the producer's view of one and the consumer's of the other may be old, never ahead.
  private let head = Atomic<Int>(0)
  private let tail = Atomic<Int>(0)

  /// `capacity` is a power of two.
  package init(capacity: Int) {
    precondition(capacity > 0 && capacity & (capacity - 1) == 0, "a ring's capacity is a power of two")
    slots = .allocate(capacity: capacity)
    // Touched now, so that the producer never waits for a page.
    UnsafeMutableRawPointer(slots).initializeMemory(
      as: UInt8.self, repeating: 0, count: capacity * MemoryLayout<Element>.stride)
    mask = capacity - 1
  }

  deinit {
    while pop() != nil {}
    slots.deallocate()
  }

  package var capacity: Int { mask + 1 }

  /// Producer: room that is surely left.
  package var free: Int { capacity - (tail.load(ordering: .relaxed) - head.load(ordering: .acquiring)) }

  /// Producer: false, and nothing done, when the ring is full.
  package func push(_ element: consuming Element) -> Bool {
    let position = tail.load(ordering: .relaxed)
    guard position - head.load(ordering: .acquiring) <= mask else { return false }
    (slots + (position & mask)).initialize(to: element)
    tail.store(position + 1, ordering: .releasing)
    return true
  }

  /// Consumer: the oldest element, or nil.
  package func pop() -> Element? {
    let position = head.load(ordering: .relaxed)
    guard position != tail.load(ordering: .acquiring) else { return nil }
    let element = (slots + (position & mask)).move()
    head.store(position + 1, ordering: .releasing)
    return element
  }
}
