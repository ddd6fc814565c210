// What is known of the names of servers. A name keeps its address while that is one of its addresses, and while nobody says
// which they are: DNS that is away takes no server away.

internal import Control
internal import Kernel
internal import Primitives

struct NameBook {
  /// Between two look-ups of a name that stands for one server.
  static let interval = TimeSpan.seconds(10)
  /// A first look-up that takes longer has failed, whatever it may still say.
  static let patience = TimeSpan.seconds(10)

  struct Entry: Equatable {
    /// The one that stands for a server.
    var address: IPAddress?
    /// In a stable order.
    var all: [IPAddress] = []
    /// Of the last look-up, in words; empty if it went well, or has not ended.
    var failure = ""
    /// Of the addresses that were left out, in words.
    var refused: String?
    /// When it was first asked for; what is not known since then for too long is not known.
    var since = Instant(nanoseconds: 0)
    var interval = NameBook.interval
    var due = Instant.distantFuture
  }

  private(set) var entries: [String: Entry] = [:]
  /// Names whose addresses are the servers of each pool.
  private var discovered: [(pool: String, name: String)] = []

  /// Before a configuration is in force: names that are new in it begin with the addresses that the same servers have now.
  mutating func inherit(_ next: BalancerConfiguration, from running: BalancerConfiguration) {
    for pool in next.pools {
      guard let before = running.pools.first(where: { $0.name == pool.name }) else { continue }
      for server in pool.servers {
        guard let name = server.hostName, entries[name] == nil,
          let old = before.servers.first(where: { $0.name == server.name && $0.hasAddress })
        else { continue }
        entries[name] = Entry(address: old.endpoint.address, all: [old.endpoint.address])
      }
      if let name = pool.discovery?.name, entries[name] == nil, before.discovery != nil, !before.servers.isEmpty {
        entries[name] = Entry(
          address: before.servers[0].endpoint.address, all: before.servers.map(\.endpoint.address))
      }
    }
  }

  /// The names of a configuration; what is known of those that stay is kept. All are to be looked up now.
  mutating func configure(_ configuration: BalancerConfiguration, now: Instant) -> [String] {
    var next: [String: Entry] = [:]
    func use(_ name: String, _ interval: TimeSpan) {
      var entry = next[name] ?? entries[name] ?? Entry(since: now)
      entry.interval = next[name].map { min($0.interval, interval) } ?? interval
      entry.due = now
      next[name] = entry
    }
    for pool in configuration.pools {
      for case let name? in pool.servers.map(\.hostName) { use(name, Self.interval) }
      if let discovery = pool.discovery { use(discovery.name, discovery.refresh) }
    }
    entries = next
    discovered = configuration.pools.compactMap { pool in pool.discovery.map { (pool.name, $0.name) } }
    return beginRound(now)
  }

  var nextRound: Instant { entries.values.reduce(.distantFuture) { min($0, $1.due) } }

  /// The names that are to be looked up now.
  mutating func beginRound(_ now: Instant) -> [String] {
    let due = entries.filter { $0.value.due <= now }
    for (name, entry) in due { entries[name]?.due = now + entry.interval }
    return due.keys.sorted()
  }

  /// An answer has come. Returns what its servers have to do with it, in words; nil if nothing changes for them.
  mutating func take(_ name: String, _ result: Result<NameAnswer, NameFault>) -> String? {
    guard let before = entries[name] else { return nil }
    switch result {
    case .success(let answer):
      let addresses = answer.addresses
      entries[name]?.refused = answer.refused
      let kept = before.address.flatMap { addresses.contains($0) ? $0 : nil }
      guard let address = kept ?? addresses.first else { return nil }
      entries[name]?.address = address
      entries[name]?.all = addresses
      entries[name]?.failure = ""
      if address == before.address { return nil }
      return "\(name) is \(address)" + (before.address.map { " now, it was \($0)" } ?? "")
    case .failure(let fault):
      entries[name]?.failure = "\(name): no address: \(fault.words)"
      return before.address == nil && before.failure.isEmpty ? entries[name]?.failure : nil
    }
  }

  var addresses: [String: IPAddress] { entries.compactMapValues(\.address) }
  var allAddresses: [String: [IPAddress]] { entries.mapValues(\.all) }

  /// Pools whose servers are not known, or not lately, and addresses that are not used.
  var warnings: [String] {
    discovered.compactMap { pool, name in
      guard let entry = entries[name], !entry.failure.isEmpty else { return nil }
      return "pool \(pool) " + (entry.all.isEmpty ? "has no servers: " : "keeps its servers: ") + entry.failure
    }
      + entries.sorted { $0.key < $1.key }.compactMap { name, entry in
        entry.failure.isEmpty ? entry.refused.map { "\(name): \($0)" } : nil
      }
  }

  /// Pools whose servers are addresses of a name that is being looked up for the first time.
  func unknownPools(_ now: Instant) -> Set<String> {
    Set(
      discovered.filter { _, name in
        guard let entry = entries[name], entry.all.isEmpty, entry.failure.isEmpty else { return false }
        return now - entry.since < Self.patience
      }.map(\.pool))
  }
}
