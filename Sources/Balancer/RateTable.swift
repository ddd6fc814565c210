// Buckets of rate limits, shared by all workers without a lock. The table is bounded: a key has its place in one of a few
// slots that belong together. A key that finds no place there takes that of the fullest bucket, which loses least: usually
// one that has been full for long. A flood of more keys than there are slots so forgives some of them a part of what they
// have taken; it never locks anybody out and never costs more memory.

internal import Glibc
internal import Primitives
internal import Routing
internal import Synchronization

struct RateSlot: ~Copyable {
  /// 0: free.
  let key = Atomic<UInt64>(0)
  /// When the bucket is full, in nanoseconds of the monotonic clock.
  let fullAt = Atomic<Int64>(0)
}

struct RateTable: @unchecked Sendable {
  // Unchecked: atomics only; the memory stays for good.
  static let slotCount = 1 << 16
  /// Slots that belong together: two cache lines.
  static let groupCount = 8
  /// Lost races for a slot before a request is let through.
  private static let largestTryCount = 8

  private let slots: UnsafeMutablePointer<RateSlot>
  private let seed: (UInt64, UInt64)

  /// `seed` is random, so that nobody can choose keys that meet in one group.
  init(seed: (UInt64, UInt64)) {
    // Zeroes are free slots, and a table that is never used takes no memory.
    guard let memory = calloc(Self.slotCount, MemoryLayout<RateSlot>.stride) else {
      preconditionFailure("no memory for the table of rate limits")
    }
    slots = memory.bindMemory(to: RateSlot.self, capacity: Self.slotCount)
    self.seed = seed
  }

  /// Takes a token of `text`'s bucket under the rule named `rule`. 0, or how long until there is one, in nanoseconds.
  func take(_ text: Text, rule name: UInt64, _ rule: RateRule, now: Instant) -> Int64 {
    let tag = SipHash.tag(text, key: (seed.0 ^ name, seed.1))
    return take(tag == 0 ? 1 : tag, rule, now.nanoseconds)
  }

  /// The same for an address; of IPv6 its network of 64 bits, which is what one client has.
  func take(_ address: IPAddress, rule name: UInt64, _ rule: RateRule, now: Instant) -> Int64 {
    // Below 2³² only IPv4 addresses.
    let words: InlineArray<2, UInt64> = [address.high, address.family == .v4 ? address.low : 1 << 32]
    return withUnsafeBytes(of: words) { bytes in
      take(bytes.bindMemory(to: UInt8.self), rule: name, rule, now: now)
    }
  }

  private func take(_ key: UInt64, _ rule: RateRule, _ now: Int64) -> Int64 {
    let group = slots + Int(key % UInt64(Self.slotCount / Self.groupCount)) * Self.groupCount
    for _ in 0..<Self.largestTryCount {
      guard let slot = place(key, in: group) else { continue }
      let fullAt = slot.pointee.fullAt.load(ordering: .relaxed)
      let result = rule.take(fullAt: fullAt, now: now)
      if result.waitNanoseconds > 0 { return result.waitNanoseconds }
      if slot.pointee.fullAt.compareExchange(expected: fullAt, desired: result.fullAt, ordering: .relaxed).exchanged {
        return 0
      }
    }
    return 0
  }

  /// The key's slot, perhaps one that was another's until now. Nil: another worker was faster.
  private func place(_ key: UInt64, in group: UnsafeMutablePointer<RateSlot>) -> UnsafeMutablePointer<RateSlot>? {
    var fullest = group
    var earliest = Int64.max
    for index in 0..<Self.groupCount {
      let slot = group + index
      let holder = slot.pointee.key.load(ordering: .relaxed)
      if holder == key { return slot }
      let fullAt = holder == 0 ? Int64.min : slot.pointee.fullAt.load(ordering: .relaxed)
      if fullAt < earliest {
        earliest = fullAt
        fullest = slot
      }
    }
    let holder = fullest.pointee.key.load(ordering: .relaxed)
    guard fullest.pointee.key.compareExchange(expected: holder, desired: key, ordering: .relaxed).exchanged else {
      return nil
    }
    fullest.pointee.fullAt.store(0, ordering: .relaxed)
    return fullest
  }
}
