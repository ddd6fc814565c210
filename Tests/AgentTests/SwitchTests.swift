// Switches that operators made, and configurations that have no place for them.

import Control
import Intents
import Primitives
import Settings
import Testing

@testable import Agent

struct SwitchTests {
  private func configuration(_ routes: [String], mode: String = "http", pools: [String] = ["app", "green"]) throws
    -> Configuration
  {
    let lines = routes.map { "\n      - \($0)" }.joined()
    let text = """
      listeners:
        web:
          bind: ["*:80"]
          mode: \(mode)
          pool: app
          routes:\(lines)
      pools:
        \(pools.map { "\($0): {servers: {s1: \"192.0.2.1:80\"}}" }.joined(separator: "\n  "))
      """
    return try Configuration.parse(Array(text.utf8), file: "t.yaml")
  }

  private func a(_ path: String, pool: String = "app") -> String { "{match: {path_prefix: \(path)}, pool: \(pool)}" }

  private func switched(_ route: String, _ configuration: Configuration, to pool: String = "green") -> RouteSwitch {
    RouteSwitch(route: route, pool: pool, identity: configuration.listeners[0].identity(of: route))
  }

  @Test func `a route is called by its name, or by what it matches`() throws {
    let routes = try configuration([
      a("/a"), "{name: x, match: {path_prefix: /a}, pool: app}", "{match: {not: {path_prefix: /a}}, pool: app}",
      "{match: {path: /a}, pool: app}", "{match: {path_prefix: /a, header: {X-A: [\"1\", \"2\"]}}, pool: green}",
    ]).listeners[0].routes
    #expect(Set(routes.map(\.identity)).count == routes.count)
    #expect(routes.map(\.hasOwnName) == [false, true, false, false, false])
    // Kept on disks and told to nodes of other versions.
    #expect(routes[0].identity == StableHash.hash("path_prefix /a"))
    #expect(routes[2].identity == StableHash.hash("not path_prefix /a"))
    #expect(routes[4].identity == StableHash.hash("path_prefix /a\nheader x-a: 1\t2"))
    let moved = try configuration([a("/new"), a("/a", pool: "green")]).listeners[0].routes
    #expect(moved[1].identity == routes[0].identity)
  }

  @Test func `what stands in the way of a switch`() throws {
    let before = try configuration([a("/a"), a("/x")])
    func obstacle(_ change: RouteSwitch, _ configuration: Configuration) -> SwitchObstacle? {
      change.obstacle(configuration.listeners, configuration.pools)
    }
    let change = switched("web/1", before)
    #expect(obstacle(change, before) == nil)
    #expect(obstacle(change, try configuration([a("/b"), a("/x")])) == nil)
    #expect(obstacle(change, try configuration([a("/a"), a("/b"), a("/x")])) == .otherRoute)
    #expect(obstacle(change, try configuration([a("/x")])) == .noRoute)
    #expect(obstacle(change, try configuration([a("/a"), a("/x")], pools: ["app"])) == .noPool)
    #expect(obstacle(switched("web/default", before), try configuration([a("/b")])) == nil)
    // Of a version that noted no identity.
    #expect(obstacle(RouteSwitch(route: "web/1", pool: "green"), try configuration([a("/a"), a("/b")])) == nil)
  }

  @Test func `a reload is refused for what would be lost without being meant`() throws {
    let before = try configuration([a("/a"), a("/x")])
    let switches = [switched("web/1", before)]
    func refusals(_ after: Configuration, _ before: Configuration) -> Int {
      SwitchNotes.obstacles(switches, before, after).count
    }
    let shifted = try configuration([a("/a"), a("/b"), a("/x")])
    #expect(refusals(shifted, before) == 1)
    #expect(refusals(try configuration([a("/x")]), before) == 1)
    #expect(refusals(try configuration([a("/a"), a("/x")], pools: ["app"]), before) == 0)
    // Of a version that noted no identity.
    #expect(SwitchNotes.obstacles([RouteSwitch(route: "web/1", pool: "green")], before, shifted).count == 1)
    // What the file says already, and what is not in force, may go.
    #expect(refusals(shifted, try configuration([a("/a"), a("/x", pool: "green")])) == 0)
    #expect(refusals(shifted, try configuration([a("/a"), a("/y")])) == 0)
    #expect(SwitchNotes.warnings(switches, before).isEmpty && SwitchNotes.warnings(switches, shifted).count == 1)
    let other = try configuration([a("/a"), a("/x", pool: "blue")], pools: ["app", "green", "blue"])
    #expect(
      SwitchNotes.changes(switches, [], before, other) == [
        "route web/1 stays with pool green, as an operator switched it before"
      ])
  }

  @Test func `intents keep what a route was, and what was asked of servers that are not there`() throws {
    let n1 = NodeName("n1")!
    var intents = Intents()
    try intents.setRoute("web/1", to: RouteIntent(pool: "green", identity: 0xfedc_ba98_7654_3210), author: n1)
    try intents.setRoute("main", to: RouteIntent(pool: "green"), author: n1)
    #expect(
      DrainOrders.switches(intents) == [
        RouteSwitch(route: "main", pool: "green"),
        RouteSwitch(route: "web/1", pool: "green", identity: 0xfedc_ba98_7654_3210),
      ])
    try intents.setServer(.maint, "s1", of: "app", author: n1)
    try intents.setWeight(7, of: "s2", of: "app", author: n1)
    try intents.setServer(.ready, "s3", of: "app", author: n1)
    #expect(
      DrainOrders.serverOrders(intents) == [
        ServerOrder(pool: "app", server: "s1", administration: .maint),
        ServerOrder(pool: "app", server: "s2", administration: .ready, weight: 7),
      ])
  }
}
