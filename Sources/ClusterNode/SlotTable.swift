// From a 64-bit hash of a name to its slot: open addressing in a fixed table, rebuilt when the configuration changes.

struct SlotTable: Sendable {
  private static let size = 1024
  private var keys = [UInt64](repeating: 0, count: size)
  private var slots = [UInt16](repeating: 0, count: size)
  private var used = 0

  mutating func removeAll() {
    for index in 0..<Self.size { keys[index] = 0 }
    used = 0
  }

  /// Precondition: at most half full; `key` is not 0 and not there yet.
  mutating func insert(_ key: UInt64, slot: Int) {
    precondition(key != 0 && used < Self.size / 2, "slot table misused")
    var index = Int(key % UInt64(Self.size))
    while keys[index] != 0 {
      precondition(keys[index] != key, "two names with one hash")
      index = (index + 1) % Self.size
    }
    keys[index] = key
    slots[index] = UInt16(slot)
    used += 1
  }

  func slot(of key: UInt64) -> Int? {
    guard key != 0 else { return nil }
    var index = Int(key % UInt64(Self.size))
    while keys[index] != 0 {
      if keys[index] == key { return Int(slots[index]) }
      index = (index + 1) % Self.size
    }
    return nil
  }
}
