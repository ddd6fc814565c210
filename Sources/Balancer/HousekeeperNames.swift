// The main thread's part in names of servers: what answers change for the workers, and what is told of it.

internal import Control
internal import Health
internal import Kernel
internal import Primitives

extension Housekeeper {
  /// Of more servers that come and go with their names at once, only their count and the first few are told.
  private static let mostEvents = 8
  private static let fewNames = 3

  /// Another address is another server to the workers: what is connected stays where it is, and its health begins anew.
  mutating func takeNames(_ now: Instant) {
    var news: [String: String] = [:]
    let before = names.entries
    for (name, result) in resolver.takeAll() {
      if let words = names.take(name, result) { news[name] = words }
    }
    let isOther = before.contains { name, entry in
      names.entries[name].map { $0.address != entry.address || $0.all != entry.all } ?? false
    }
    if isOther || addressesWait { useAddresses(now) }
    if isOther || !news.isEmpty || before != names.entries { note(registry.apply(names.entries, news: news), now) }
  }

  /// Tried again with each configuration that the workers have taken over.
  mutating func useAddresses(_ now: Instant) {
    let (before, heldBefore) = (plane.configuration, plane.holds)
    registry.hasProven = false
    holdsMayEnd = false
    do throws(BalancerFault) {
      let (known, held) = (names, holds(in: plane.base))
      note(try plane.adjust(registry: &registry, now: now) { $0.know(known, held) }, now)
      addressesWait = false
      nextStatus = now
      tryAddressesOut(now)
      tellDiscovered(before, now)
      tellMoved(heldBefore, now)
    } catch {
      addressesWait = true
    }
  }

  /// What is held of the addresses that are in use, once `next` (the agent's) is in force.
  func holds(in next: BalancerConfiguration) -> AddressHolds {
    if names.entries.isEmpty { return AddressHolds() }
    let standings = plane.layout.servers.map { slots in slots.map { ServerStanding(registry.servers[$0]) } }
    return AddressHolds(
      next, names, running: plane.configuration, standings: standings, before: plane.holds,
      isProven: registry.isProven)
  }

  /// Has the new addresses of servers that still use others checked.
  mutating func tryAddressesOut(_ now: Instant) {
    let held = plane.holds.servers
    var trials: [AddressTrial] = []
    if !held.isEmpty {
      for (pool, slots) in zip(plane.configuration.pools, plane.layout.servers) {
        for (server, slot) in zip(pool.servers, slots) {
          guard held[ServerKey(pool: pool.name, server: server.name)] != nil,
            let address = server.hostName.flatMap({ names.entries[$0]?.address })
          else { continue }
          var next = server
          next.endpoint = Endpoint(address: address, port: server.endpoint.port)
          trials.append(AddressTrial(slot: slot, pool: pool, server: next))
        }
      }
    }
    registry.tryOut(trials, now: now)
  }

  /// Servers that have left the address that they were held at.
  private mutating func tellMoved(_ before: AddressHolds, _ now: Instant) {
    if before.servers.isEmpty { return }
    var changes: [ServerChange] = []
    for (pool, slots) in zip(plane.configuration.pools, plane.layout.servers) {
      for (server, slot) in zip(pool.servers, slots) {
        guard let old = before.servers[ServerKey(pool: pool.name, server: server.name)],
          server.endpoint.address != old, let known = registry.servers[slot], known.health.verdict == .up
        else { continue }
        let cause = "\(server.endpoint.address) is used from now on, and \(old) no more: \(known.health.lastCheck)"
        changes.append(ServerChange(index: slot, cause: cause))
      }
    }
    note(changes, now)
  }

  /// Servers that have come and gone because their addresses have.
  private mutating func tellDiscovered(_ before: BalancerConfiguration, _ now: Instant) {
    for (place, (pool, old)) in zip(plane.configuration.pools, before.pools).enumerated() {
      guard let name = pool.discovery?.name, pool.servers != old.servers else { continue }
      let (known, left) = (Set(old.servers.map(\.name)), Set(pool.servers.map(\.name)))
      let come = zip(pool.servers, plane.layout.servers[place]).filter { !known.contains($0.0.name) }
      let gone = old.servers.map(\.name).filter { !left.contains($0) }
      if come.count + gone.count > Self.mostEvents {
        let words = Self.words(name, come: come.map(\.0.name), gone: gone)
        report(.poolChanged(pool: pool.name, cause: words))
        registry.tellLess(come.map(\.1))
        continue
      }
      note(come.map { ServerChange(index: $0.1, cause: "it is an address of \(name)") }, now)
      for server in gone {
        report(
          .serverChanged(
            pool: pool.name, server: server, state: .down, cause: "it is no address of \(name) any more"))
      }
    }
  }

  /// `app.example: 200 addresses are new (192.0.2.1, 192.0.2.2, 192.0.2.3 and 197 more), 1 is gone (192.0.2.9)`.
  static func words(_ name: String, come: [String], gone: [String]) -> String {
    func part(_ servers: [String], _ what: String) -> String? {
      if servers.isEmpty { return nil }
      let rest = servers.count - fewNames
      let few = servers.prefix(fewNames).joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
      return servers.count == 1 ? "1 address is \(what) (\(few))" : "\(servers.count) addresses are \(what) (\(few))"
    }
    return "\(name): " + [part(come, "new"), part(gone, "gone")].compactMap { $0 }.joined(separator: ", ")
  }
}
