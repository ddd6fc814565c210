// Idle connections to servers that have as many connections as they may: whichever worker needs one next gets it. Kept by one
// worker, each would take a slot that another's request waits for; closed instead, each second request would open one anew.

internal import Kernel
internal import Primitives
internal import Synchronization

final class SharedIdle: @unchecked Sendable {
  // Unchecked: the loads are atomics only, and stay for good.
  private struct Entry {
    var descriptor: Int32
    var since: Instant
    var until: Instant
  }
  /// Looked at in one sweep for an end that came from the server; the workers wait meanwhile.
  private static let largestLookCount = 256
  /// By slot of the server; the latest last.
  private let entries = Mutex<[Int32: [Entry]]>([:])
  private let loads: UnsafeMutablePointer<ServerLoad>

  init(_ loads: UnsafeMutablePointer<ServerLoad>) { self.loads = loads }

  /// Takes over the descriptor, which nobody polls any more.
  func put(_ descriptor: Int32, to server: Int32, now: Instant, until: Instant) {
    entries.withLock { entries in
      entries[server, default: []].append(Entry(descriptor: descriptor, since: now, until: until))
      loads[Int(server)].sharedIdle.wrappingAdd(1, ordering: .sequentiallyConsistent)
    }
  }

  /// The descriptor of the one used last, which then is the caller's; -1: there is none. Those that their server has closed,
  /// and those that have been idle since before `notBefore`, are closed.
  func take(_ server: Int32, notBefore: Instant) -> Int32 {
    if loads[Int(server)].sharedIdle.load(ordering: .sequentiallyConsistent) == 0 { return -1 }
    return entries.withLock { entries in
      while let entry = entries[server]?.popLast() {
        loads[Int(server)].sharedIdle.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        if entry.since >= notBefore && !StreamSocket.hasInput(entry.descriptor) { return entry.descriptor }
        end(entry, server)
      }
      return -1
    }
  }

  /// Closes that many at most, the oldest first. Returns how many there were.
  @discardableResult
  func close(_ server: Int32, atMost limit: Int32) -> Int32 {
    if loads[Int(server)].sharedIdle.load(ordering: .sequentiallyConsistent) == 0 { return 0 }
    return entries.withLock { entries in
      var left = limit
      return drop(server, of: &entries) { _ in
        left -= 1
        return left >= 0
      }
    }
  }

  /// Closes those whose time is over, and those that their servers have closed.
  func sweep(_ now: Instant) {
    entries.withLock { entries in
      var looks = Self.largestLookCount
      for server in entries.keys {
        drop(server, of: &entries) { entry in
          looks -= 1
          return now >= entry.until || looks >= 0 && StreamSocket.hasInput(entry.descriptor)
        }
      }
    }
  }

  @discardableResult
  private func drop(_ server: Int32, of entries: inout [Int32: [Entry]], where isOver: (Entry) -> Bool) -> Int32 {
    var count: Int32 = 0
    entries[server]?.removeAll { entry in
      if !isOver(entry) { return false }
      end(entry, server)
      count += 1
      return true
    }
    if entries[server]?.isEmpty == true { entries[server] = nil }
    loads[Int(server)].sharedIdle.wrappingSubtract(count, ordering: .sequentiallyConsistent)
    return count
  }

  private func end(_ entry: Entry, _ server: Int32) {
    StreamSocket.close(entry.descriptor)
    loads[Int(server)].open.wrappingSubtract(1, ordering: .relaxed)
  }
}
