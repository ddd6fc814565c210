// What operators change of a configuration while it runs.

import Control
import Primitives
import Testing

@testable import Balancer

struct AdjustmentsTests {
  private var configuration: BalancerConfiguration {
    var listener = ListenerConfiguration(name: "web", mode: .http, bind: [], pool: "blue")
    listener.routes = [
      RouteConfiguration(name: "web/1", action: .pool("blue")),
      RouteConfiguration(name: "ping", action: .respond(status: 200, body: "", fields: [])),
    ]
    let address = Endpoint(address: IPAddress("192.0.2.1")!, port: 80)
    let pools = ["blue", "green"].map {
      PoolConfiguration(
        name: $0, balance: .roundRobin, affinity: .none,
        servers: ["a", "b"].map { ServerConfiguration(name: $0, endpoint: address) }, check: .init(kind: .none))
    }
    return BalancerConfiguration(
      node: "n1", threads: 1, cookieKeys: [], listeners: [listener], pools: pools)
  }

  @Test func `a weight is one server's, and what does not exist is ignored`() {
    var adjustments = Adjustments()
    adjustments.weights = [
      ServerOrder(pool: "blue", server: "b", administration: .ready, weight: 7),
      ServerOrder(pool: "blue", server: "c", administration: .ready, weight: 8),
      ServerOrder(pool: "red", server: "a", administration: .ready, weight: 9),
    ]
    let result = adjustments.applied(to: configuration)
    #expect(result.pools.map { $0.servers.map(\.weight) } == [[100, 7], [100, 100]])
  }

  @Test func `a switch moves the route of that name, the default one too, and nothing else`() {
    var adjustments = Adjustments()
    adjustments.switches = [RouteSwitch(route: "web/default", pool: "green")]
    var result = adjustments.applied(to: configuration)
    #expect(result.listeners[0].pool == "green")
    #expect(result.listeners[0].routes == configuration.listeners[0].routes)
    adjustments.switches = [
      RouteSwitch(route: "web/1", pool: "green"), RouteSwitch(route: "ping", pool: "green"),
      RouteSwitch(route: "web/default", pool: "red"),
    ]
    result = adjustments.applied(to: configuration)
    #expect(result.listeners[0].pool == "blue")
    #expect(result.listeners[0].poolsByRoute == ["web/1": "green", "web/default": "blue"])
    #expect(Adjustments().applied(to: configuration) == configuration)
  }

  @Test func `clients of a pool are where its routes are switched to`() {
    let (listeners, pools) = (configuration.listeners, configuration.pools)
    func destinations(_ pool: String, _ switches: [RouteSwitch]) -> Set<String> {
      switches.destinations(of: pool, listeners, pools)
    }
    let one = RouteSwitch(route: "web/1", pool: "green")
    #expect(destinations("blue", []) == ["blue"])
    #expect(destinations("blue", [one]) == ["blue", "green"])
    #expect(destinations("blue", [one, RouteSwitch(route: "web/default", pool: "green")]) == ["green"])
    #expect(destinations("green", [one]) == ["green"])
    #expect(destinations("blue", [RouteSwitch(route: "web/1", pool: "red")]) == ["blue"])
  }
}
