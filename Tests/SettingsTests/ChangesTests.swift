// What a reload says that it changes.

import Settings
import Testing

@Suite struct ChangesTests {
  private let before = """
    listeners:
      web: {bind: ["*:80"], pool: app}
    pools:
      app:
        servers: {s1: "192.0.2.21:8080", s2: "192.0.2.22:8080"}
        check: {http: /, every: 2s}
      old: {servers: {o1: "192.0.2.31:80"}}
    """

  @Test func `the same meaning in other words is no change`() throws {
    let same = before.replacing("every: 2s", with: "every: 2000ms") + "\n# a remark\n"
    #expect(try parse(before).changes(to: parse(same)).isEmpty)
  }

  @Test func `what comes, what goes and what is different is named`() throws {
    let after = """
      listeners:
        web: {bind: ["*:80"], pool: new, timeouts: {idle: 30s}}
      pools:
        app:
          servers: {s1: {address: "192.0.2.21:8080", weight: 50}, s3: "192.0.2.23:8080"}
          check: {http: /, every: 1s}
        new: {servers: {n1: "192.0.2.41:80"}}
      """
    let changes = try parse(before).changes(to: parse(after))
    for line in [
      "listener web: pool app → new", "listener web: timeouts.idle 1m → 30s",
      "pool app: server s1: weight 100 → 50", "pool app: server s2 is removed", "pool app: server s3 is new",
      "pool app: check.every 2s → 1s", "pool old is removed", "pool new is new: n1",
    ] {
      #expect(changes.contains(line), "\(line) is not in \(changes)")
    }
    #expect(changes.count == 8)
  }

  @Test func `what there was not is none`() throws {
    let routes = """
      listeners:
        web: {bind: ["*:80"], routes: [{match: {path: /a}, pool: app}]}
      pools:
        app: {servers: {s1: "192.0.2.21:8080"}}
      """
    let after = routes.replacing("routes:", with: "pool: app, routes:")
    #expect(try parse(routes).changes(to: parse(after)) == ["listener web: pool none → app"])
    #expect(try parse(after).changes(to: parse(routes)) == ["listener web: pool app → none"])
  }

  @Test func `routes are told apart by their names, or by what they match`() throws {
    func parsed(_ routes: String) throws -> Configuration {
      try parse(
        """
        listeners:
          web: {bind: ["*:80"], pool: app, routes: [\(routes)]}
        pools:
          app: {servers: {s1: "192.0.2.21:8080"}}
          old: {servers: {o1: "192.0.2.31:80"}}
        """)
    }
    let (a, b) = ("{match: {path: /a}, pool: app}", "{match: {host: b.example, method: GET}, pool: app}")
    let named = "{name: api, match: {path_prefix: /api}, pool: app}"
    #expect(
      try parsed("\(a), \(named)").changes(to: parsed("\(b), \(a), \(named.replacing("pool: app", with: "pool: old"))"))
        == [
          #"listener web: route api: action pool("app") → pool("old")"#,
          "listener web: route for host b.example, method GET is new",
        ])
    #expect(
      try parsed("\(a), \(b)").changes(to: parsed(a)) == [
        "listener web: route for host b.example, method GET is removed"
      ])
    #expect(
      try parsed("\(a), \(b)").changes(to: parsed("\(b), \(a)")) == [
        "listener web: the order of the routes changes"
      ])
  }

  @Test func `members and VIPs are named, the rest of the cluster by its keys`() throws {
    let vips = "vips:\n  web: {addresses: [192.0.2.100/24]}\n"
    let other = cluster.replacing("n3: 192.0.2.13", with: "n4: 192.0.2.14") + vips
    let changes = try parse(cluster + vips).changes(
      to: parse(other.replacing("name: zone-a", with: "name: zone-a\n  heartbeat: 20ms")))
    #expect(changes == ["member n3 is removed", "member n4 is new", "cluster: heartbeat 10ms → 20ms"])
    #expect(try parse(web).changes(to: parse(cluster + web)).contains("a cluster instead of a lone balancer"))
  }

  @Test(
    "routes that nobody reaches are named, and no others",
    arguments: [
      ("{path_prefix: /a}", "{path: /a/b}", true), ("{path_prefix: /a}", "{path_prefix: [/a/b, /a]}", true),
      ("{path_prefix: /}", "{path_regex: '^/x'}", false), ("{path_prefix: /a}", "{path: /ab}", false),
      ("{path_prefix: /a}", "{path: [/a/b, /c]}", false), ("{path: /a}", "{path: /a, method: GET}", true),
      ("{path: /a, method: GET}", "{path: /a}", false), ("{host: a.example}", "{host: a.example, path: /x}", true),
      ("{host: a.example}", "{host: [a.example, b.example]}", false),
      ("{path_prefix: /a, not: {method: GET}}", "{path: /a/b}", false),
      ("{header: {X-A: 1}}", "{header: {X-A: 1}, path: /a}", true), ("{header: {X-A: 1}}", "{header: {X-A: 2}}", false),
      ("{source: 192.0.2.0/24}", "{source: 192.0.2.0/24, path: /a}", true),
      ("{source: 192.0.2.0/24}", "{path: /a}", false),
    ])
  func hidden(_ first: String, _ second: String, _ isHidden: Bool) throws {
    let configuration = try parse(
      """
      listeners:
        web: {bind: ["*:80"], pool: app, routes: [{match: \(first), pool: app}, {match: \(second), pool: app}]}
      pools:
        app: {servers: {s1: "192.0.2.21:8080"}}
      """)
    let warning = "route web/1 is never reached: web/0 before it takes all of its requests (put it first)"
    #expect(configuration.warnings == (isHidden ? [warning] : []))
  }
}
