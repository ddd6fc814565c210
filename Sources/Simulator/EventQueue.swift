// What happens when: a binary heap by true time, first come first served among equals, so that a seed replays exactly.
// Entries are plain numbers; a datagram is named by its slot in the pool.

import Election
import Membership
import Primitives

enum SimulatedEvent {
  /// A datagram reaches a host's socket.
  case arrive(host: UInt8, datagram: DatagramPool.Slot, route: SimulatedRoute)
  /// A node's timer; stale unless `generation` is the host's.
  case wake(host: UInt8, generation: UInt32)
  /// The hands of a host finished the oldest piece of work. Stale unless `epoch` is the host's.
  case handsDone(host: UInt8, epoch: UInt32)
  /// The balancer is quiet.
  case quietened(host: UInt8, epoch: UInt32, vip: UInt8)
  /// The guardian noticed that the elector of that epoch is gone.
  case guardian(host: UInt8, epoch: UInt32)
  /// A faulty guardian comes to shut the gate and to remove the addresses.
  case buried(host: UInt8, epoch: UInt32)
  case restart(host: UInt8, epoch: UInt32)
  case resume(host: UInt8, epoch: UInt32)
  /// The next fault of the round with that number.
  case fault(round: UInt32)
  /// An attacker sends something recorded again.
  case replay
  case heal
  /// The cluster has come to rest after a heal, or should have.
  case rested
}

struct EventQueue {
  private struct Entry {
    var time: Int64
    var order: UInt32
    var event: SimulatedEvent

    func isBefore(_ other: Entry) -> Bool { time != other.time ? time < other.time : order < other.order }
  }
  private var heap: [Entry] = []
  /// Wraps after four thousand million events: an hour of the largest cluster has a tenth of that.
  private var order: UInt32 = 0

  mutating func push(at time: Int64, _ event: SimulatedEvent) {
    let entry = Entry(time: time, order: order, event: event)
    order &+= 1
    var hole = heap.count
    heap.append(entry)
    while hole > 0 {
      let parent = (hole - 1) / 2
      guard entry.isBefore(heap[parent]) else { break }
      heap[hole] = heap[parent]
      hole = parent
    }
    heap[hole] = entry
  }

  mutating func pop() -> (time: Int64, event: SimulatedEvent)? {
    guard let last = heap.popLast() else { return nil }
    guard let first = heap.first else { return (last.time, last.event) }
    let count = heap.count
    var hole = 0
    while true {
      var child = 2 * hole + 1
      guard child < count else { break }
      if child + 1 < count, heap[child + 1].isBefore(heap[child]) { child += 1 }
      guard heap[child].isBefore(last) else { break }
      heap[hole] = heap[child]
      hole = child
    }
    heap[hole] = last
    return (first.time, first.event)
  }
}
