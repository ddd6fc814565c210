// Addresses that another program removes, again and again: put back at once a few times, then once a second, so that a fight
// between two programs costs little, and is told in few words.

import Kernel
import Primitives

struct PutBacks {
  /// So many are put back at once within a window; the others wait.
  static let atOnce = 5
  static let window = TimeSpan.seconds(10)
  static let pause = TimeSpan.seconds(1)
  /// Addresses that are kept in mind; beyond it the one that was quiet for longest is forgotten.
  static let limit = 256

  private struct Entry {
    var address: InterfaceAddress
    var windowStart: Instant
    /// Removals in the window.
    var count = 0
    var dueAt: Instant?
  }
  private var entries: [Entry] = []

  /// One was removed. How many times within the window; `now` says whether to put it back now, else `due` will name it.
  mutating func removed(_ address: InterfaceAddress, now: Instant) -> (count: Int, now: Bool) {
    let index = index(of: address, now: now)
    if now >= entries[index].windowStart + Self.window {
      entries[index].windowStart = now
      entries[index].count = 0
    }
    entries[index].count += 1
    let putsBack = entries[index].count <= Self.atOnce
    if !putsBack { entries[index].dueAt = entries[index].dueAt ?? now + Self.pause }
    return (entries[index].count, putsBack)
  }

  /// Those whose pause is over.
  mutating func due(now: Instant) -> [InterfaceAddress] {
    var due: [InterfaceAddress] = []
    for index in entries.indices {
      guard let dueAt = entries[index].dueAt, now >= dueAt else { continue }
      entries[index].dueAt = nil
      due.append(entries[index].address)
    }
    return due
  }

  /// It was removed, and its pause is not over.
  func isPausing(_ address: InterfaceAddress) -> Bool {
    entries.contains { $0.dueAt != nil && Hands.same($0.address, address) }
  }

  /// It is not wanted any more.
  mutating func forget(_ address: InterfaceAddress) { entries.removeAll { Hands.same($0.address, address) } }

  /// How long until `due` has something; nil: nothing waits.
  func wait(now: Instant) -> TimeSpan? { entries.compactMap(\.dueAt).min().map { max(.zero, $0 - now) } }

  private mutating func index(of address: InterfaceAddress, now: Instant) -> Int {
    if let index = entries.firstIndex(where: { Hands.same($0.address, address) }) { return index }
    if entries.count >= Self.limit,
      let oldest = entries.indices.min(by: { entries[$0].windowStart < entries[$1].windowStart })
    {
      entries.remove(at: oldest)
    }
    entries.append(Entry(address: address, windowStart: now))
    return entries.count - 1
  }
}
