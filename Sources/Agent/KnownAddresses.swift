// A balancer that is started anew begins with the addresses that the one before it had found for names: it need not wait for the
// first answers, which may not come.

package import Control
internal import Primitives

extension BalancerConfiguration {
  /// The same with the addresses of names that were last seen in `pools`; what is not in there is not known.
  package func knowing(_ pools: [PoolStatus]) -> BalancerConfiguration {
    var result = self
    for place in result.pools.indices {
      guard let seen = pools.first(where: { $0.name == result.pools[place].name }) else { continue }
      if let discovery = result.pools[place].discovery {
        result.pools[place].servers = discovery.servers(seen.servers.map(\.endpoint.address))
      }
      let known = Dictionary(
        seen.servers.map { ($0.name, $0.endpoint.address) }, uniquingKeysWith: { first, _ in first })
      for index in result.pools[place].servers.indices {
        let server = result.pools[place].servers[index]
        guard server.hostName != nil, let address = known[server.name] else { continue }
        result.pools[place].servers[index].endpoint = Endpoint(address: address, port: server.endpoint.port)
      }
    }
    return result
  }
}
