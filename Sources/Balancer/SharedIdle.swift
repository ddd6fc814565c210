// Idle connections to servers that have as many connections as they may: whichever worker needs one next gets it. Kept by one
// worker, each would take a slot that another's request waits for; closed instead, each second request would open one anew.

internal import Kernel
internal import Primitives
internal import Synchronization

final class SharedIdle: Sendable {
  private struct Entry {
    var descriptor: Int32
    var since: Instant
    var until: Instant
  }
  /// By slot of the server; the latest last.
  private let entries = Mutex<[Int32: [Entry]]>([:])

  /// Takes over the descriptor, which nobody polls any more.
  func put(_ descriptor: Int32, to server: Int32, now: Instant, until: Instant, _ count: borrowing Atomic<Int32>) {
    entries.withLock { entries in
      entries[server, default: []].append(Entry(descriptor: descriptor, since: now, until: until))
      count.wrappingAdd(1, ordering: .sequentiallyConsistent)
    }
  }

  /// The descriptor of the one used last, which then is the caller's; -1: there is none. Those that their server has closed,
  /// and those that have been idle since before `notBefore`, are closed.
  func take(_ server: Int32, notBefore: Instant, _ count: borrowing Atomic<Int32>) -> Int32 {
    entries.withLock { entries in
      while let entry = entries[server]?.popLast() {
        count.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        if entry.since >= notBefore && !StreamSocket.hasInput(entry.descriptor) { return entry.descriptor }
        StreamSocket.close(entry.descriptor)
      }
      return -1
    }
  }

  /// Closes that many at most, the oldest first. Returns how many there were.
  func close(_ server: Int32, atMost limit: Int32, _ count: borrowing Atomic<Int32>) -> Int32 {
    entries.withLock { entries in
      guard let own = entries[server] else { return 0 }
      let closed = own.prefix(Int(limit))
      for entry in closed { StreamSocket.close(entry.descriptor) }
      entries[server] = closed.count == own.count ? nil : Array(own.dropFirst(closed.count))
      count.wrappingSubtract(Int32(closed.count), ordering: .sequentiallyConsistent)
      return Int32(closed.count)
    }
  }

  /// Closes those whose time is over.
  func sweep(_ now: Instant, _ loads: UnsafeMutablePointer<ServerLoad>) {
    entries.withLock { entries in
      for (server, own) in entries {
        // In the order in which they came.
        let late = own.prefix { now >= $0.until }
        if late.isEmpty { continue }
        for entry in late { StreamSocket.close(entry.descriptor) }
        entries[server] = late.count == own.count ? nil : Array(own.dropFirst(late.count))
        loads[Int(server)].sharedIdle.wrappingSubtract(Int32(late.count), ordering: .sequentiallyConsistent)
      }
    }
  }
}
