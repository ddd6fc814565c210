// Requests per second, for people: smoothed over some seconds, so that a figure can be read.

internal import Primitives

/// The rates of things that count upwards, by number.
struct RateBook {
  /// Younger counts say little.
  private static let leastSpan = TimeSpan.milliseconds(900)
  /// The weight of the past halves about every 3 s.
  private static let memory = TimeSpan.seconds(4)

  private struct Entry {
    var count: UInt64
    var taken: Instant
    var perSecond = 0.0
  }
  private var entries: [Int: Entry] = [:]

  /// The rate of what has come to `count` now. A count that shrinks is another one's.
  mutating func rate(_ number: Int, count: UInt64, now: Instant) -> Double {
    guard var entry = entries[number], count >= entry.count else {
      entries[number] = Entry(count: count, taken: now)
      return 0
    }
    let span = now - entry.taken
    if span < Self.leastSpan { return entry.perSecond }
    let seconds = Double(span.nanoseconds) / 1e9
    let present = Double(count - entry.count) / seconds
    let weight = seconds / (seconds + Double(Self.memory.nanoseconds) / 1e9)
    entry.perSecond += weight * (present - entry.perSecond)
    // Below a request in a hundred seconds nothing happens.
    if present == 0 && entry.perSecond < 0.01 { entry.perSecond = 0 }
    entry.count = count
    entry.taken = now
    entries[number] = entry
    return entry.perSecond
  }
}
