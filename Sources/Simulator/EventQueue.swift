// What happens when: a binary heap by true time, first come first served among equals, so that a seed replays exactly.

import Election
import Membership
import Primitives

enum SimulatedEvent {
  /// A datagram reaches a host's socket.
  case arrive(host: Int, bytes: [UInt8], isMulticast: Bool)
  /// A node's timer; stale unless `generation` is the host's.
  case wake(host: Int, generation: UInt64)
  /// The hands of a host finished the oldest piece of work. Stale unless `epoch` is the host's.
  case handsDone(host: Int, epoch: Int)
  /// The balancer is quiet.
  case quietened(host: Int, epoch: Int, vip: VIPIndex)
  /// The guardian noticed that the elector of that epoch is gone.
  case guardian(host: Int, epoch: Int)
  case restart(host: Int, epoch: Int)
  case resume(host: Int, epoch: Int)
  /// The next fault of the plan.
  case fault
  /// An attacker sends something recorded again.
  case replay
  case heal
}

struct EventQueue {
  private struct Entry {
    var time: Int64
    var order: UInt64
    var event: SimulatedEvent
  }
  private var heap: [Entry] = []
  private var order: UInt64 = 0

  var isEmpty: Bool { heap.isEmpty }

  private static func before(_ left: Entry, _ right: Entry) -> Bool {
    left.time != right.time ? left.time < right.time : left.order < right.order
  }

  mutating func push(at time: Int64, _ event: SimulatedEvent) {
    heap.append(Entry(time: time, order: order, event: event))
    order += 1
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard Self.before(heap[child], heap[parent]) else { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  mutating func pop() -> (time: Int64, event: SimulatedEvent)? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      var parent = 0
      while true {
        var best = parent
        for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && Self.before(heap[child], heap[best]) {
          best = child
        }
        if best == parent { break }
        heap.swapAt(parent, best)
        parent = best
      }
    }
    return (first.time, first.event)
  }
}
