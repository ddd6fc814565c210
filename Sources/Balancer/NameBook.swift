// What is known of the names of servers. A name keeps its address while that is one of its addresses, and while nobody says
// which they are: DNS that is away takes no server away.

internal import Control
internal import Kernel
internal import Primitives

struct NameBook {
  /// Between two look-ups of a name.
  static let interval = TimeSpan.seconds(10)

  struct Entry: Equatable {
    var address: IPAddress?
    /// Of the last look-up, in words; empty if it went well, or has not ended.
    var failure = ""
  }

  private(set) var entries: [String: Entry] = [:]
  private(set) var nextRound = Instant.distantFuture

  /// The names of a configuration; what is known of those that stay is kept. All are to be looked up now.
  mutating func configure(_ configuration: BalancerConfiguration, now: Instant) -> [String] {
    var next: [String: Entry] = [:]
    for case let name? in configuration.pools.flatMap({ $0.servers.map(\.hostName) }) where next[name] == nil {
      next[name] = entries[name] ?? Entry()
    }
    entries = next
    return beginRound(now)
  }

  /// The names that are to be looked up, if it is time.
  mutating func beginRound(_ now: Instant) -> [String] {
    nextRound = entries.isEmpty ? .distantFuture : now + Self.interval
    return entries.keys.sorted()
  }

  /// An answer has come. Returns what its servers have to do with it, in words; nil if nothing changes for them.
  mutating func take(_ name: String, _ result: Result<[IPAddress], NameFault>) -> String? {
    guard let before = entries[name] else { return nil }
    switch result {
    case .success(let addresses):
      let kept = before.address.flatMap { addresses.contains($0) ? $0 : nil }
      guard let address = kept ?? addresses.first else { return nil }
      entries[name] = Entry(address: address)
      if address == before.address { return nil }
      return "\(name) is \(address)" + (before.address.map { " now, it was \($0)" } ?? "")
    case .failure(let fault):
      entries[name]?.failure = "\(name): no address: \(fault.words)"
      return before.address == nil && before.failure.isEmpty ? entries[name]?.failure : nil
    }
  }

  var addresses: [String: IPAddress] { entries.compactMapValues(\.address) }
}
