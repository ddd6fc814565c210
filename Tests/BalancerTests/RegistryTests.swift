// What follows for traffic from health and orders, and which contradictions are refused.

import Balancing
import Control
import Health
import Primitives
import Synchronization
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
      node: "n1", threads: 1, cookieKeys: keys,
      listeners: [ListenerConfiguration(name: "web", mode: .http, bind: [], pool: pool)],
      pools: [
        PoolConfiguration(
          name: "app", balance: .roundRobin, affinity: affinity, servers: servers, check: .init(kind: check))
      ])
  }

  private func registry(_ configuration: BalancerConfiguration, at now: Instant) -> ServerRegistry {
    var registry = ServerRegistry(now: Instant(nanoseconds: 0), seed: 1)
    #expect(registry.configure(configuration, Layout(servers: [[0, 1]]), failures: { _ in 0 }, now: now).isEmpty)
    return registry
  }

  @Test func `a server without checks is up, one whose checks have not ended is not`() {
    let now = Instant(nanoseconds: 0)
    #expect(registry(configuration(), at: now).availabilities == [.up, .up])
    let checked = registry(configuration(check: .tcp(send: [], expect: [])), at: now)
    #expect(checked.availabilities == [.unchecked, .unchecked])
    #expect(checked.servers.map(\.?.state) == [.starting, .starting])
  }

  @Test func `the list of orders replaces the one before`() {
    var registry = registry(configuration(), at: Instant(nanoseconds: 0))
    let first = registry.apply([ServerOrder(pool: "app", server: "a", administration: .drain)])
    #expect(first.map(\.index) == [0])
    #expect(registry.availabilities == [.draining, .up])
    let second = registry.apply([ServerOrder(pool: "app", server: "b", administration: .maint)])
    #expect(second.map(\.index) == [0, 1])
    #expect(registry.availabilities == [.up, .maintenance])
    #expect(registry.apply([ServerOrder(pool: "app", server: "b", administration: .maint)]).isEmpty)
  }

  @Test func `a new configuration keeps what is known of a server, and what operators asked for`() throws {
    let start = Instant(nanoseconds: 0)
    var registry = registry(configuration(), at: start)
    _ = registry.apply([
      ServerOrder(pool: "app", server: "b", administration: .drain),
      ServerOrder(pool: "app", server: "c", administration: .maint),
    ])
    var next = configuration(check: .tcp(send: [], expect: []))
    next.pools[0].servers.append(
      ServerConfiguration(name: "c", endpoint: Endpoint(address: IPAddress("192.0.2.2")!, port: 80)))
    next.pools[0].servers.removeFirst()
    // b stays in slot 1, c is new and takes slot 2; a is gone.
    let changes = registry.configure(next, Layout(servers: [[1, 2]]), failures: { _ in 0 }, now: start)
    #expect(changes.isEmpty)
    #expect(registry.availabilities == [.down, .draining, .maintenance])
    #expect(registry.servers[0] == nil)
    // Checked now, though it was not: its verdict stays until a check says otherwise, and that is due at once.
    #expect(registry.servers[1]?.health.verdict == .up)
    #expect(registry.servers[1]?.health.nextCheck == start)
    let back = registry.configure(configuration(), Layout(servers: [[0, 1]]), failures: { _ in 0 }, now: start)
    #expect(back.isEmpty)
    #expect(registry.availabilities == [.up, .draining, .down])
  }

  @Test func `a check names the host of the newest configuration, and asks with it at once`() throws {
    let start = Instant(nanoseconds: 0)
    let http = HealthCheckConfiguration.Kind.http(path: "/", method: "GET", host: nil, expect: .init())
    let before = configuration(check: http)
    var registry = registry(before, at: start)
    func host(of slot: Int) -> String? {
      let lines = String(decoding: registry.servers[slot]?.probe.request ?? [], as: UTF8.self).split(separator: "\r\n")
      return lines.first { $0.hasPrefix("Host: ") }.map { String($0.dropFirst(6)) }
    }
    #expect(host(of: 0) == "192.0.2.1:80")
    var next = before
    next.pools[0].servers[0].host = "shop.example"
    next.pools[0].servers[1].hostName = "b.example"
    next.pools[0].servers[1].weight = 7
    let later = start + .seconds(60)
    _ = registry.configure(next, Layout(servers: [[0, 1]]), failures: { _ in 0 }, now: later)
    #expect(host(of: 0) == "shop.example" && host(of: 1) == "b.example:80")
    #expect(registry.servers.map { $0?.health.nextCheck } == [later, later])
    // What is not sent is no reason to ask again.
    next.pools[0].servers[1].weight = 8
    _ = registry.configure(next, Layout(servers: [[0, 1]]), failures: { _ in 0 }, now: later + .seconds(60))
    #expect(registry.servers.map { $0?.health.nextCheck } == [later, later])
  }

  @Test func `failures before a server came are not held against it`() throws {
    let start = Instant(nanoseconds: 0)
    let shared = SharedState(threads: 1)
    for slot in 0..<2 { shared.zero(server: slot) }
    var watched = configuration()
    watched.pools[0].passive = .init()
    var registry = ServerRegistry(now: start, seed: 1)
    let layout = Layout(servers: [[0, 1]])
    func configure(_ configuration: BalancerConfiguration, _ layout: Layout) {
      _ = registry.configure(configuration, layout, failures: shared.failures, now: start)
    }
    func fail(_ count: UInt32) -> [Int] {
      shared.serverLoads[0].failures.wrappingAdd(count, ordering: .relaxed)
      return registry.takeFailures(shared, requests: { _ in 0 }, now: start).map(\.index)
    }
    configure(watched, layout)
    #expect(fail(4).isEmpty)
    var without = watched
    without.pools[0].servers.removeFirst()
    configure(without, Layout(servers: [[1]]))
    #expect(fail(3).isEmpty)
    configure(watched, layout)
    #expect(fail(4).isEmpty)
    // Nor those from when live traffic had no say.
    var unwatched = watched
    unwatched.pools[0].passive = nil
    configure(unwatched, layout)
    #expect(fail(3).isEmpty)
    configure(watched, layout)
    #expect(fail(4).isEmpty)
    #expect(fail(1) == [0])
  }

  @Test(arguments: [("hello world", "o w", true), ("hello", "hellos", false), ("", "", true), ("aab", "ab", true)])
  func `expected text is found anywhere`(text: String, part: String, expected: Bool) {
    #expect(HealthProbe.contains(Array(text.utf8)[...], Array(part.utf8)) == expected)
  }
}
