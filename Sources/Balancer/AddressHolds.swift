// Addresses that go on being used although their names have others by now: a new address gets requests when a check of it has
// passed, and until then the one before is as good as its own checks say. So a pool of a single server has no hole when its
// server moves.

internal import Balancing
internal import Control
internal import Health
internal import Primitives

struct ServerKey: Hashable {
  let pool: String
  let server: String
}

/// Of a server that is in force.
struct ServerStanding {
  /// Its checks pass.
  let isHealthy: Bool
  /// And nothing else keeps clients from it.
  let takesClients: Bool

  init(isHealthy: Bool, takesClients: Bool) {
    self.isHealthy = isHealthy
    self.takesClients = takesClients
  }

  init(_ server: RegisteredServer?) {
    self.init(isHealthy: server?.health.verdict == .up, takesClients: server?.availability == .up)
  }
}

struct AddressHolds: Equatable {
  /// In use by servers whose names have another address.
  var servers: [ServerKey: IPAddress] = [:]
  /// By pool whose servers are all addresses of a name: in use besides those that it has.
  var pools: [String: [IPAddress]] = [:]

  init() {}

  /// - Parameters:
  ///   - next: as the file has it, to be in force from now on.
  ///   - names: what they stand for now.
  ///   - running: what is in force, with the standing of its servers by pool and place.
  ///   - before: what has been held so far. Only a healthy server is held, but it stays so when it falls ill.
  ///   - isProven: whether a check of a server's new address has passed.
  init(
    _ next: BalancerConfiguration, _ names: NameBook, running: BalancerConfiguration,
    standings: [[ServerStanding]], before: AddressHolds, isProven: (ServerKey, IPAddress) -> Bool
  ) {
    let places = Dictionary(
      zip(running.pools.map(\.name), running.pools.indices), uniquingKeysWith: { first, _ in first })
    for pool in next.pools where pool.hasNames && !pool.check.kind.isNone {
      guard let place = places[pool.name] else { continue }
      let known = Array(zip(running.pools[place].servers, standings[place]))
      if let discovery = pool.discovery {
        guard let old = running.pools[place].discovery, old.port == discovery.port else { continue }
        hold(pool.name, Set(names.entries[discovery.name]?.all ?? []), known, before)
      } else {
        hold(pool, names, known, before, isProven)
      }
    }
  }

  /// Until one of the addresses that the name has takes clients, those go on that were.
  private mutating func hold(
    _ pool: String, _ wanted: Set<IPAddress>, _ known: [(ServerConfiguration, ServerStanding)], _ before: AddressHolds
  ) {
    if wanted.isEmpty || known.contains(where: { $1.takesClients && wanted.contains($0.endpoint.address) }) { return }
    let earlier = before.pools[pool] ?? []
    let held = known.filter { server, standing in
      !wanted.contains(server.endpoint.address) && (standing.isHealthy || earlier.contains(server.endpoint.address))
    }
    if !held.isEmpty { pools[pool] = held.map(\.0.endpoint.address) }
  }

  private mutating func hold(
    _ pool: PoolConfiguration, _ names: NameBook, _ known: [(ServerConfiguration, ServerStanding)],
    _ before: AddressHolds, _ isProven: (ServerKey, IPAddress) -> Bool
  ) {
    let old = Dictionary(known.map { ($0.0.name, $0) }, uniquingKeysWith: { first, _ in first })
    for server in pool.servers {
      guard let name = server.hostName, let wanted = names.entries[name]?.address,
        let (running, standing) = old[server.name], running.hasAddress, running.endpoint.address != wanted,
        running.endpoint.port == server.endpoint.port
      else { continue }
      let key = ServerKey(pool: pool.name, server: server.name)
      let address = running.endpoint.address
      if (standing.isHealthy || before.servers[key] == address) && !isProven(key, wanted) { servers[key] = address }
    }
  }
}

extension PoolConfiguration {
  fileprivate var hasNames: Bool { discovery != nil || servers.contains { $0.hostName != nil } }
}

extension HealthCheckConfiguration.Kind {
  var isNone: Bool { if case .none = self { true } else { false } }
}
