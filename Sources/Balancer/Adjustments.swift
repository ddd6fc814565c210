// What changed of the configuration while it runs: operators' weights of servers and pools of routes, and the addresses that
// names of servers have. Applied to every configuration of the agent's; what names something that is not there is ignored.

internal import Control
internal import Primitives

struct Adjustments: Equatable {
  /// Orders that carry a weight.
  var weights: [ServerOrder] = []
  var switches: [RouteSwitch] = []
  /// By the name of the host: the one that stands for a server, and all of them (none until some are known).
  var addresses: [String: IPAddress] = [:]
  var allAddresses: [String: [IPAddress]] = [:]
  /// Addresses that are used in place of those, and besides them.
  var holds = AddressHolds()

  mutating func know(_ names: NameBook, _ holds: AddressHolds) {
    addresses = names.addresses
    allAddresses = names.allAddresses
    self.holds = holds
  }

  func applied(to configuration: BalancerConfiguration) -> BalancerConfiguration {
    if weights.isEmpty && switches.isEmpty && allAddresses.isEmpty { return configuration }
    var result = configuration
    let weightsByPool = Dictionary(grouping: weights, by: \.pool)
    for pool in result.pools.indices {
      if !allAddresses.isEmpty { fill(&result.pools[pool]) }
      for order in weightsByPool[result.pools[pool].name] ?? [] {
        guard let weight = order.weight,
          let server = result.pools[pool].servers.firstIndex(where: { $0.name == order.server })
        else { continue }
        result.pools[pool].servers[server].weight = weight
      }
    }
    result.listeners = switches.applied(to: result.listeners, result.pools)
    return result
  }

  private func fill(_ pool: inout PoolConfiguration) {
    if let discovery = pool.discovery {
      pool.servers = discovery.servers((allAddresses[discovery.name] ?? []) + (holds.pools[pool.name] ?? []))
    }
    for server in pool.servers.indices {
      guard let name = pool.servers[server].hostName else { continue }
      let key = ServerKey(pool: pool.name, server: pool.servers[server].name)
      guard let address = holds.servers[key] ?? addresses[name] else { continue }
      pool.servers[server].endpoint = Endpoint(address: address, port: pool.servers[server].endpoint.port)
    }
  }
}
