// The figures that go to the agent: sums over the workers' counters beside what the registry knows.

internal import Control
internal import Health
internal import Primitives
internal import Synchronization

struct StatusAssembly {
  private let configuration: BalancerConfiguration
  private let layout: Layout
  private let shared: SharedState
  private let counters: [WorkerCounters]

  init(_ plane: DataPlane) {
    configuration = plane.configuration
    layout = plane.layout
    shared = plane.shared
    counters = plane.counters
  }

  func status(
    _ registry: ServerRegistry, unknownPools: Set<String>, now: Instant, warnings: [String], rates: inout RateBook
  ) -> BalancerStatus {
    var pools: [PoolStatus] = []
    for (pool, slots) in zip(configuration.pools, layout.servers) {
      var servers: [ServerStatus] = []
      for (server, index) in zip(pool.servers, slots) {
        guard let known = registry.servers[index] else { continue }
        let requests = counters.reduce(0) { $0 + $1.servers[index].requests.current }
        servers.append(
          ServerStatus(
            name: server.name, endpoint: server.endpoint, state: registry.state(of: index), weight: server.weight,
            connections: max(0, Int(shared.serverLoads[index].connections.load(ordering: .relaxed))),
            requests: requests, failures: counters.reduce(0) { $0 + $1.servers[index].failures.current },
            lastCheck: known.condition(now: now, isLastResort: registry.isLastResort(index)),
            requestsPerSecond: rates.rate(index, count: requests, now: now)))
      }
      pools.append(
        PoolStatus(name: pool.name, servers: servers, isBeingLookedUp: unknownPools.contains(pool.name)))
    }
    var listeners: [ListenerStatus] = []
    for (listener, place) in zip(configuration.listeners, layout.listeners) {
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
