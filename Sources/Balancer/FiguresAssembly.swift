// All that has been counted, put together when the agent asks: sums over the workers' figures by slot, under the names of the
// configuration.

internal import Control
internal import Primitives
internal import Synchronization

struct FiguresAssembly {
  let plane: DataPlane
  let registry: ServerRegistry

  func figures(now: Instant) -> BalancerFigures {
    var figures = BalancerFigures(taken: now.nanoseconds, accessLog: plane.accessLog.figures)
    let (configuration, layout) = (plane.configuration, plane.layout)
    for (place, listener) in configuration.listeners.enumerated() {
      figures.listeners.append(self.listener(listener, layout.listeners[place]))
      for (route, slot) in zip(listener.routes, layout.routes[place]) {
        figures.routes.append(self.route(listener.name, route.name, slot))
      }
    }
    let traffic = plane.trafficByPool
    for (place, pool) in configuration.pools.enumerated() {
      figures.pools.append(self.pool(pool, layout.pools[place], layout.servers[place], traffic))
    }
    return figures
  }

  private func sum(_ counter: (WorkerCounters) -> UInt64) -> UInt64 { plane.counters.reduce(0) { $0 + counter($1) } }

  private func listener(_ listener: ListenerConfiguration, _ slot: Int) -> ListenerFigures {
    let traffic = plane.traffic(ofListener: slot)
    return ListenerFigures(
      name: listener.name,
      connections: max(0, plane.shared.listenerConnections[slot].load(ordering: .relaxed)),
      accepted: sum { $0.listeners[slot].accepted.current }, requests: sum { $0.listeners[slot].requests.current },
      refused: sum { $0.listeners[slot].refused.current },
      splicedBytes: sum { $0.listeners[slot].spliced.current }, traffic: traffic.figures, endings: traffic.endings)
  }

  private func route(_ listener: String, _ name: String, _ slot: Int) -> RouteFigures {
    var responses = [UInt64](repeating: 0, count: 5)
    for counters in plane.counters {
      for (digit, count) in counters.routes[slot].responses.enumerated() { responses[digit] += count }
    }
    return RouteFigures(
      listener: listener, name: name, requests: sum { $0.routes[slot].requests.current }, responses: responses,
      denied: sum { $0.routes[slot].denied.current })
  }

  private func pool(
    _ pool: PoolConfiguration, _ slot: Int, _ servers: [Int], _ traffic: [Int: TrafficSum]
  ) -> PoolFigures {
    PoolFigures(
      name: pool.name, waiting: max(0, Int(plane.shared.poolQueues[slot].all.load(ordering: .relaxed))),
      queued: sum { $0.pools[slot].queued.current }, queueFull: sum { $0.pools[slot].queueFull.current },
      queueLate: sum { $0.pools[slot].queueLate.current }, retries: sum { $0.pools[slot].retries.current },
      traffic: (traffic[slot] ?? TrafficSum()).figures,
      servers: zip(pool.servers, servers).map { server, slot in
        ServerFigures(
          name: server.name, state: registry.state(of: slot), weight: server.weight,
          connections: max(0, Int(plane.shared.serverLoads[slot].connections.load(ordering: .relaxed))),
          requests: sum { $0.servers[slot].requests.current }, failures: sum { $0.servers[slot].failures.current },
          traffic: plane.traffic(ofServer: slot).figures)
      })
  }
}
