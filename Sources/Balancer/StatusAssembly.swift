// The figures that go to the agent: sums over the workers' counters beside what the registry knows.

internal import Control
internal import Health
internal import Synchronization

struct StatusAssembly {
  let configuration: BalancerConfiguration
  let shared: SharedState
  let counters: [WorkerCounters]

  func status(_ registry: ServerRegistry, warnings: [String]) -> BalancerStatus {
    var index = 0
    var pools: [PoolStatus] = []
    for pool in configuration.pools {
      var servers: [ServerStatus] = []
      for server in pool.servers {
        let known = registry.servers[index]
        servers.append(
          ServerStatus(
            name: server.name, endpoint: server.endpoint, state: known.state, weight: server.weight,
            connections: max(0, Int(shared.serverLoads[index].connections.load(ordering: .relaxed))),
            requests: counters.reduce(0) { $0 + $1.servers[index].requests.current },
            failures: counters.reduce(0) { $0 + $1.servers[index].failures.current },
            lastCheck: known.health.lastCheck))
        index += 1
      }
      pools.append(PoolStatus(name: pool.name, servers: servers))
    }
    var listeners: [ListenerStatus] = []
    for (place, listener) in configuration.listeners.enumerated() {
      listeners.append(
        ListenerStatus(
          name: listener.name, connections: max(0, shared.listenerConnections[place].load(ordering: .relaxed)),
          accepted: counters.reduce(0) { $0 + $1.listeners[place].accepted.current },
          requests: counters.reduce(0) { $0 + $1.listeners[place].requests.current },
          refused: counters.reduce(0) { $0 + $1.listeners[place].refused.current }))
    }
    return BalancerStatus(pools: pools, listeners: listeners, warnings: warnings)
  }
}
