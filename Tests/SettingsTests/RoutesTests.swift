// Routes: what is read, and what an operator reads for each kind of mistake.

import Control
import Primitives
import Settings
import Testing

@Suite("Routes") struct RoutesTests {
  private func file(_ routes: String, mode: String = "") -> String {
    """
    listeners:
      web:
        bind: ["*:80"]
        pool: app\(mode)
        routes:
    \(routes.split(separator: "\n", omittingEmptySubsequences: false).map { "      \($0)" }.joined(separator: "\n"))
    pools:
      app: {servers: {s1: "192.0.2.21:8080"}}
      api: {servers: {s1: "192.0.2.22:8080"}}
    """
  }

  @Test("everything a route may say is read") func readsAll() throws {
    let listener = try #require(
      try parse(
        file(
          """
          - name: all
            match:
              host: [WWW.example.org, "*.Example.ORG", "[2001:db8::1]"]
              path: /ping
              path_prefix: [/api, /b c/]
              path_regex: "^/v[0-9]+"
              method: GET
              header: {X-V: ["1", "2"], X-There: "*"}
              source: 192.0.2.0/24
              not: {source: [192.0.2.7/32]}
            pool: api
            headers:
              request: {set: {X-A: b c}, add: {X-B: [1, 2]}, remove: X-C}
              response: {remove: [Server, Via-X]}
            rewrite: {prefix: {from: /api, to: /v2}}
          - redirect: {to: "{scheme}://www.{host}{uri}", status: 308}
            match: {host: example.org}
          - respond: {status: 403, body: "no\\n", headers: {X-Why: because}}
            headers: {response: {add: {X-D: e}}}
          """
        )
      ).listeners.first)
    #expect(listener.routes.map(\.name) == ["all", "web/1", "web/2"])
    let route = listener.routes[0]
    #expect(route.action == .pool("api"))
    #expect(route.match.hosts == ["www.example.org", "*.example.org", "[2001:db8::1]"])
    #expect(route.match.paths == ["/ping"] && route.match.pathPrefixes == ["/api", "/b c/"])
    #expect(route.match.pathPatterns == ["^/v[0-9]+"] && route.match.methods == ["GET"])
    #expect(route.match.fields == [.init(name: "X-V", values: ["1", "2"]), .init(name: "X-There", values: [])])
    #expect(route.match.sources == [AddressPrefix("192.0.2.0/24")] && route.exception.sources.count == 1)
    #expect(route.requestFields.set == [FieldText(name: "X-A", value: "b c")])
    #expect(route.requestFields.add.map(\.value) == ["1", "2"] && route.requestFields.remove == ["X-C"])
    #expect(route.rewrite == .init(from: "/api", to: "/v2"))
    #expect(listener.routes[1].action == .redirect(to: "{scheme}://www.{host}{uri}", status: 308))
    #expect(
      listener.routes[2].action
        == .respond(status: 403, body: "no\n", fields: [FieldText(name: "X-Why", value: "because")]))
    #expect(listener.pools == ["app", "api"])
  }

  @Test("pools of routes are used, and a listener with routes needs no default") func usesPools() throws {
    let configuration = try parse(
      """
      listeners:
        web: {bind: ["*:80"], routes: [{match: {host: a.test}, pool: app}]}
      pools:
        app: {servers: {s1: "192.0.2.21:8080"}}
      """)
    #expect(configuration.warnings.isEmpty)
    #expect(configuration.listeners.first?.pool == "")
  }

  @Test("routes of a TCP listener know the source only") func tcp() throws {
    let routes = "- {match: {source: 192.0.2.0/24}, pool: api}"
    #expect(try parse(file(routes, mode: "\n    mode: tcp")).listeners[0].routes.count == 1)
    #expect(
      errors(file("- {match: {host: a.test}, respond: {}}", mode: "\n    mode: tcp")) == [
        "afloat.yaml:7:18: \"host\" has no meaning in a tcp listener (remove it, or use mode: http)",
        "afloat.yaml:7:33: \"respond\" has no meaning in a tcp listener (remove it, or use mode: http)",
      ])
  }

  @Test("what is wrong in one match says nothing of the routes behind it") func oneMistake() {
    let routes = """
      - {match: {method: get}, pool: api}
      - {match: {host: a.test}, pool: api}
      """
    let found = errors(file(routes))
    #expect(found.count == 1 && found[0].contains("\"get\" is not a method"), "\(found)")
  }

  @Test("where the balancer writes no X-Forwarded-*, routes may") func ownForwarded() throws {
    let route = "- {match: {host: a.test}, pool: api, headers: {request: {set: {X-Forwarded-Proto: https}}}}"
    #expect(errors(file(route)).count == 1)
    let listener = try parse(file(route, mode: "\n    forwarded: {style: none}")).listeners[0]
    #expect(listener.routes[0].requestFields.set == [FieldText(name: "X-Forwarded-Proto", value: "https")])
  }

  @Test(
    "mistakes are told with their place and what would be right",
    arguments: [
      ("{pool: ap}", "16: listeners.web.routes[0].pool: there is no pool \"ap\" (did you mean \"app\"?)"),
      (
        "{match: {host: a.test}}",
        "9: listeners.web.routes[0] does not say what to do (one of pool, redirect, respond, static)"
      ),
      (
        "{pool: app, respond: {}}",
        "9: listeners.web.routes[0] says pool and respond (one of pool, redirect, respond, static)"
      ),
      (
        "{match: {host: \"a.test:80\"}, pool: app}",
        "24: listeners.web.routes[0].match.host: \"a.test:80\" is not a host name (hosts are compared without their port)"
      ),
      (
        "{match: {host: a.*.test}, pool: app}",
        "24: listeners.web.routes[0].match.host: \"a.*.test\" is not a host name (for instance www.example.org or \"*.example.org\")"
      ),
      (
        "{match: {path: /a/../b}, pool: app}",
        "24: listeners.web.routes[0].match.path: \"/a/../b\" has empty or dot segments (paths are compared without them, for instance /api)"
      ),
      (
        "{match: {path: /a%20b}, pool: app}",
        "24: listeners.web.routes[0].match.path: \"/a%20b\" is encoded (paths are compared decoded: write the character itself)"
      ),
      (
        "{match: {path: \"/a?b\"}, pool: app}",
        "24: listeners.web.routes[0].match.path: \"/a?b\" is more than a path (the query of a request is not compared)"
      ),
      (
        "{match: {path_prefix: a}, pool: app}",
        "31: listeners.web.routes[0].match.path_prefix: \"a\" is not a path (it starts with /, for instance /api)"
      ),
      (
        "{match: {path_regex: \"/(a\"}, pool: app}",
        "30: listeners.web.routes[0].match.path_regex: \"/(a\" is not a regular expression (after 3 bytes: missing closing parenthesis)"
      ),
      (
        "{match: {method: get}, pool: app}",
        "26: listeners.web.routes[0].match.method: \"get\" is not a method that comes here (methods have upper case: GET)"
      ),
      (
        "{match: {source: 192.0.2.1}, pool: app}",
        "26: listeners.web.routes[0].match.source must be a network with its prefix length, not \"192.0.2.1\" (for instance 192.0.2.1/32)"
      ),
      ("{match: {sni: a}, pool: app}", "18: \"sni\" is not supported yet (remove it)"),
      (
        "{match: {not: {}}, pool: app}",
        "23: listeners.web.routes[0].match.not is empty, so the route would take nothing (remove it)"
      ),
      (
        "{match: {not: {not: {}}}, pool: app}",
        "24: unknown key \"not\" in listeners.web.routes[0].match.not (known here: host, path, path_prefix, path_regex, method, header, source)"
      ),
      (
        "{match: {hots: a.test}, pool: app}",
        "18: unknown key \"hots\" in listeners.web.routes[0].match (did you mean \"host\"?)"
      ),
      (
        "{redirect: {to: \"www.{host}{uri}\"}}",
        "25: listeners.web.routes[0].redirect.to: \"www.{host}{uri}\" is neither an address with a host nor a path (for instance https://www.{host}{uri}, https://www.example.org{uri} or /new{path})"
      ),
      (
        "{redirect: {to: \"https://{path}\"}}",
        "25: listeners.web.routes[0].redirect.to: \"https://{path}\" is neither an address with a host nor a path (for instance https://www.{host}{uri}, https://www.example.org{uri} or /new{path})"
      ),
      (
        "{redirect: {to: \"/{hots}\"}}",
        "25: listeners.web.routes[0].redirect.to: \"/{hots}\" has an unknown placeholder (there are {host}, {uri}, {path}, {query}, {scheme}, {port})"
      ),
      (
        "{redirect: {to: \"/x\", status: 304}}",
        "39: listeners.web.routes[0].redirect.status: 304 does not redirect (301, 302, 303, 307 or 308)"
      ),
      (
        "{respond: {status: 204, body: x}}",
        "39: listeners.web.routes[0].respond.body: an answer with status 204 has no body (remove it)"
      ),
      (
        "{respond: {headers: {Content-Length: 3}}}",
        "30: listeners.web.routes[0].respond.headers.Content-Length: Content-Length belongs to one connection; the balancer writes it itself (remove it)"
      ),
      (
        "{pool: app, headers: {request: {set: {X-A: \"b\\r\\nc\"}}}}",
        "52: listeners.web.routes[0].headers.request.set.X-A: this cannot be the value of a header (printable ASCII in one line, at most 1024 bytes)"
      ),
      (
        "{pool: app, headers: {request: {set: {Host: a}}}}",
        "47: listeners.web.routes[0].headers.request.set.Host: Host decides where a request goes (it is passed on as the client sent it; remove it)"
      ),
      (
        "{pool: app, headers: {request: {remove: X-Forwarded-For}}}",
        "49: listeners.web.routes[0].headers.request.remove: X-Forwarded-For is the balancer's own (the listener's forwarded: says what it writes; with {style: none} that is nothing, and routes may)"
      ),
      (
        "{pool: app, headers: {response: {add: {\"X A\": b}}}}",
        "48: listeners.web.routes[0].headers.response.add.X A: \"X A\" cannot be the name of a header (for instance X-Frame-Options)"
      ),
      (
        "{respond: {}, rewrite: {prefix: {from: /a, to: /}}}",
        "23: listeners.web.routes[0].rewrite has no meaning for a response of our own (remove it)"
      ),
      (
        "{pool: app, rate_limit: {per: ip, requests: 1}}",
        "39: listeners.web.routes[0].rate_limit.per cannot be \"ip\" (source, or header and its name: header X-Api-Key)"
      ),
      (
        "{pool: app, rate_limit: {}}",
        "21: listeners.web.routes[0].rate_limit needs \"requests\" (how many are taken in each period)"
      ),
      (
        "{pool: app, rewrite: {prefix: {from: /a}}}",
        "31: listeners.web.routes[0].rewrite.prefix needs \"to\" (for instance /)"
      ),
    ])
  func mistakes(_ route: String, _ expected: String) {
    let found = errors(file("- \(route)"))
    #expect(found == ["afloat.yaml:6:\(expected)"])
  }

  @Test(
    "a prefix that no matched path begins with cannot be rewritten",
    arguments: [
      ("path_prefix: /a", "/b", false), ("path_prefix: /a", "/ab", false), ("path: [/a/x, /b]", "/a/y", false),
      ("path_prefix: [/a, /b]", "/b", true), ("path_prefix: /a", "/a/b", true), ("path_prefix: /a/b/", "/a/", true),
      ("path_prefix: /a", "/", true), ("path: /a/x", "/a", true), ("path_regex: ^/a", "/b", true),
    ])
  func rewrites(_ match: String, _ from: String, _ isGood: Bool) {
    let found = errors(file("- {match: {\(match)}, pool: app, rewrite: {prefix: {from: \(from), to: /}}}"))
    #expect(found.isEmpty == isGood)
    let words = "listeners.web.routes[0].rewrite.prefix.from: no path that the route matches begins with \(from) (it "
    #expect(found.allSatisfy { $0.contains(words) })
  }

  @Test("rate limits and PROXY headers are read, with their defaults") func limits() throws {
    let listener = try parse(
      """
      listeners:
        web:
          bind: ["*:80", {address: "*:81", proxy_protocol: yes}, {address: "*:82", proxy_protocol: no}]
          routes:
            - {match: {path: /a}, pool: app, rate_limit: {requests: 5}}
            - {pool: app, rate_limit: {per: header X-Key, requests: 5, every: 1m, burst: 9}}
      pools:
        app: {servers: {s1: "192.0.2.21:8080"}}
      """
    ).listeners[0]
    #expect(listener.proxyBinds == [1])
    #expect(listener.routes[0].rateLimit == .init(requests: 5, every: .seconds(1), burst: 5))
    #expect(listener.routes[1].rateLimit == .init(requests: 5, every: .seconds(60), burst: 9, field: "X-Key"))
  }

  @Test("a route behind one that takes everything, and two of one name, are refused") func unreachable() {
    #expect(
      errors(file("- {name: a, pool: app}\n- {name: a, match: {path: /x}, pool: api}")) == [
        "afloat.yaml:7:9: listeners.web.routes[1] is never reached (the one at line 6 has no match and takes every request; the first that matches wins)",
        "afloat.yaml:7:16: listeners.web.routes[1].name: another route is called \"a\" too (names of routes are unique)",
      ])
  }
}
