// What follows for traffic from health and orders, and which contradictions are refused.

import Balancing
import Control
import Health
import Primitives
import Testing

@testable import Balancer

struct RegistryTests {
  private func configuration(
    check: HealthCheckConfiguration.Kind = .none, affinity: Affinity = .none, pool: String = "app",
    keys: [[UInt8]] = [Array(0..<16)]
  ) -> BalancerConfiguration {
    let servers = ["a", "b"].map {
      ServerConfiguration(name: $0, endpoint: Endpoint(address: IPAddress("192.0.2.1")!, port: 80))
    }
    return BalancerConfiguration(
      node: "n1", threads: 1, cookieKeys: keys, drainTimeout: .seconds(1),
      listeners: [ListenerConfiguration(name: "web", mode: .http, bind: [], pool: pool)],
      pools: [
        PoolConfiguration(
          name: "app", balance: .roundRobin, affinity: affinity, servers: servers, check: .init(kind: check))
      ])
  }

  @Test func `a server without checks is up, one whose checks have not ended is not`() {
    let now = Instant(nanoseconds: 0)
    let unchecked = ServerRegistry(configuration(), now: now, seed: 1)
    #expect(unchecked.servers.map(\.availability) == [.up, .up])
    let checked = ServerRegistry(configuration(check: .tcp(send: [], expect: [])), now: now, seed: 1)
    #expect(checked.servers.map(\.availability) == [.down, .down])
    #expect(checked.servers.map(\.state) == [.starting, .starting])
  }

  @Test func `the list of orders replaces the one before`() {
    var registry = ServerRegistry(configuration(), now: Instant(nanoseconds: 0), seed: 1)
    let first = registry.apply([ServerOrder(pool: "app", server: "a", administration: .drain)])
    #expect(first.map(\.index) == [0])
    #expect(registry.servers.map(\.availability) == [.draining, .up])
    let second = registry.apply([ServerOrder(pool: "app", server: "b", administration: .maint)])
    #expect(second.map(\.index) == [0, 1])
    #expect(registry.servers.map(\.availability) == [.up, .maintenance])
    #expect(registry.apply([ServerOrder(pool: "app", server: "b", administration: .maint)]).isEmpty)
  }

  @Test func `a snapshot refuses what the agent should have found`() {
    #expect(throws: BalancerFault.self) { try Snapshot(configuration(pool: "missing")) }
    let cookie = Affinity.cookie(name: "C", maxAge: nil, secure: false, sameSite: nil)
    #expect(throws: BalancerFault.self) { try Snapshot(configuration(affinity: cookie, keys: [])) }
    #expect(throws: Never.self) { try Snapshot(configuration(affinity: cookie)) }
  }

  @Test(arguments: [("hello world", "o w", true), ("hello", "hellos", false), ("", "", true), ("aab", "ab", true)])
  func `expected text is found anywhere`(text: String, part: String, expected: Bool) {
    #expect(HealthProbe.contains(Array(text.utf8)[...], Array(part.utf8)) == expected)
  }
}
