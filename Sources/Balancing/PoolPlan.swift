// What never changes about a pool while a configuration is in force: identities, weights, cookie tags and, for large
// pools, the rows of the hash. Built once, shared by all workers, read without locks.

import Primitives
internal import Synchronization

package enum BalancingAlgorithm: UInt8, Sendable {
  case roundRobin
  case leastConnections
  case randomTwo
  case hash
}

package struct PlannedServer: Sendable {
  package var name: String
  /// 0 to 1,000; 0 takes no new clients.
  package var weight: Int
  /// 0: no limit.
  package var maximumConnections: Int
  /// Takes clients only while no other server of the pool can.
  package var isBackup: Bool

  package init(name: String, weight: Int = 100, maximumConnections: Int = 0, isBackup: Bool = false) {
    self.name = name
    self.weight = weight
    self.maximumConnections = maximumConnections
    self.isBackup = isBackup
  }
}

package struct CookieKey: Sendable {
  let low: UInt64
  let high: UInt64

  /// Sixteen bytes.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count == 16 else { return nil }
    func word(_ part: ArraySlice<UInt8>) -> UInt64 { part.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
    low = word(bytes[0..<8])
    high = word(bytes[8..<16])
  }
}

/// Nothing that it says changes after `init`; its owner calls `deallocate` once no worker reads it any more.
package struct PoolPlan: @unchecked Sendable {
  // Unchecked: the memory behind the pointers is written by `init` only, but for atomics.

  /// Above this many servers the hash is looked up in rows instead of computed for every client.
  package static let largestComputedServerCount = 256
  /// A prime, so that a client's row depends on all bits of its key.
  package static let rowCount = 65_537
  package static let maximumServerCount = 65_535

  package let serverCount: Int
  package let algorithm: BalancingAlgorithm
  let identities: UnsafePointer<UInt64>
  let weights: UnsafePointer<Int32>
  let maximumConnections: UnsafePointer<Int32>
  let isBackup: UnsafePointer<Bool>
  /// Some server has `maximumConnections`.
  package let hasLimits: Bool
  let logarithms: UnsafePointer<UInt64>
  /// Each row's first choice over all servers with a weight, backups left out, plus one; 0 where nobody has asked for it
  /// yet. Nil for small pools.
  private let rows: UnsafeMutablePointer<Atomic<UInt16>>?
  let tags: AffinityTags

  /// `cookieKeys`: the first signs, all are accepted; none for a pool without affinity cookies. Names are unique.
  /// `usesHash`: the algorithm or the affinity hashes the source, so large pools need their rows.
  package init(
    pool: String, servers: [PlannedServer], algorithm: BalancingAlgorithm, usesHash: Bool = false,
    cookieKeys: [CookieKey] = []
  ) {
    precondition(servers.count <= Self.maximumServerCount)
    precondition(servers.allSatisfy { (0...1_000).contains($0.weight) && $0.maximumConnections >= 0 })
    serverCount = servers.count
    self.algorithm = algorithm
    let identities = UnsafeMutablePointer<UInt64>.allocate(capacity: max(1, servers.count))
    let weights = UnsafeMutablePointer<Int32>.allocate(capacity: max(1, servers.count))
    let limits = UnsafeMutablePointer<Int32>.allocate(capacity: max(1, servers.count))
    let backups = UnsafeMutablePointer<Bool>.allocate(capacity: max(1, servers.count))
    for (index, server) in servers.enumerated() {
      (backups + index).initialize(to: server.isBackup)
      (identities + index).initialize(to: Rendezvous.identity(pool: pool, server: server.name))
      (weights + index).initialize(to: Int32(server.weight))
      (limits + index).initialize(to: Int32(clamping: server.maximumConnections))
    }
    self.identities = UnsafePointer(identities)
    self.weights = UnsafePointer(weights)
    maximumConnections = UnsafePointer(limits)
    isBackup = UnsafePointer(backups)
    hasLimits = servers.contains { $0.maximumConnections > 0 }
    logarithms = UnsafePointer(Rendezvous.makeLogarithms())
    tags = AffinityTags(pool: pool, servers: servers.map(\.name), keys: cookieKeys)
    if (algorithm == .hash || usesHash) && servers.count > Self.largestComputedServerCount {
      let rows = UnsafeMutablePointer<Atomic<UInt16>>.allocate(capacity: Self.rowCount)
      for row in 0..<Self.rowCount { (rows + row).initialize(to: Atomic(0)) }
      self.rows = rows
    } else {
      rows = nil
    }
  }

  /// Whether it is the very same plan, not one with the same content.
  package func isSame(as other: PoolPlan) -> Bool { identities == other.identities }

  package func deallocate() {
    identities.deallocate()
    weights.deallocate()
    maximumConnections.deallocate()
    isBackup.deallocate()
    logarithms.deallocate()
    rows?.deallocate()
    tags.deallocate()
  }

  /// The tag for a client of `server`; needs a key.
  package func issuedTag(_ server: Int) -> UInt64 { tags.issued(server) }

  var hasRows: Bool { rows != nil }

  /// The first choice of the row `key` over all servers with a weight, backups left out; -1: there is none, or no rows.
  /// Found out when it is first asked for: all rows of a thousand servers would take a second, in which a new
  /// configuration waits. Workers that ask at the same time find the same.
  @inline(__always)
  func firstChoice(ofRow key: UInt64) -> Int {
    guard let rows else { return -1 }
    let row = rows + Int(truncatingIfNeeded: key)
    let known = Int(row.pointee.load(ordering: .relaxed))
    if known > 0 { return known &- 1 }
    let found = rank(key)
    // At most `maximumServerCount`.
    row.pointee.store(UInt16(truncatingIfNeeded: found &+ 1), ordering: .relaxed)
    return found
  }

  @inline(never)
  private func rank(_ key: UInt64) -> Int {
    var best = RendezvousBest()
    for index in 0..<serverCount where weights[index] > 0 && !isBackup[index] {
      best.offer(index, StableHash.combine(key, identities[index]), weights[index], logarithms)
    }
    return best.index
  }

  /// What the hash ranks servers for: the client's key or, in large pools, its row.
  @inline(__always)
  func hashKey(_ clientKey: UInt64) -> UInt64 {
    rows == nil ? clientKey : clientKey % UInt64(Self.rowCount)
  }
}

/// The best server seen so far for one key.
struct RendezvousBest {
  var index = -1
  private var cost: UInt64 = 0
  private var weight: UInt64 = 1
  private var hash: UInt64 = 0

  @inline(__always)
  mutating func offer(_ candidate: Int, _ hash: UInt64, _ weight: Int32, _ logarithms: UnsafePointer<UInt64>) {
    let cost = Rendezvous.cost(hash, logarithms)
    let weight = UInt64(truncatingIfNeeded: weight)
    if index >= 0 {
      // cost / weight < best; costs are below 2³⁹, weights below 2¹⁸. Equal ranks: the higher draw.
      let left = cost &* self.weight
      let right = self.cost &* weight
      if left > right || (left == right && hash <= self.hash) { return }
    }
    index = candidate
    self.cost = cost
    self.weight = weight
    self.hash = hash
  }
}
