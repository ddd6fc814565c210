// Which requests a route takes.

import HTTP1
import Patterns
import Primitives
import Routing
import Testing

@Suite("Route matches") struct RouteMatchTests {
  private func verdict(
    _ conditions: [RouteCondition], not exceptions: [RouteCondition] = [], _ parsed: Parsed?,
    source: String = "192.0.2.7"
  ) throws -> RouteVerdict {
    let parsed = try #require(parsed)
    let path = try #require(parsed.path)
    let address = try #require(IPAddress(source))
    let request = RouteRequest(
      parsed.head, of: parsed.bytes, scratch: parsed.scratch, path: path, host: parsed.host, source: address)
    let matcher = PatternMatcher()
    defer { matcher.deallocate() }
    return RouteMatch(conditions: kept(conditions), exceptions: kept(exceptions)).verdict(on: request, matcher)
  }

  private func host(_ names: String...) -> RouteCondition {
    .host(
      kept(
        names.map {
          HostRule(name: kept($0.hasPrefix("*") ? String($0.dropFirst()) : $0), isWildcard: $0.hasPrefix("*"))
        }))
  }

  @Test("a route without conditions takes every request") func catchAll() throws {
    #expect(try verdict([], Parsed(target: "/")) == .matches)
    #expect(try verdict([], Parsed(target: "*", method: "OPTIONS")) == .matches)
  }

  @Test(
    "hosts: any case, any port, with or without the dot; a wildcard is every name below, not the name itself",
    arguments: [
      ("example.org", true, false), ("EXAMPLE.org:81", true, false), ("example.org.", true, false),
      ("a.example.org", false, true), ("a.B.Example.Org.:8080", false, true), (".example.org", false, false),
      ("aexample.org", false, false), ("example.org.evil.test", false, false), ("example.or", false, false),
    ])
  func hosts(_ field: String, _ exact: Bool, _ below: Bool) throws {
    let parsed = Parsed(target: "/", host: field)
    #expect(try verdict([host("example.org")], parsed) == (exact ? .matches : .differs))
    #expect(try verdict([host("*.example.org")], parsed) == (below ? .matches : .differs))
    #expect(
      try verdict([host("other.test", "example.org", "*.example.org")], parsed)
        == (exact || below ? .matches : .differs))
  }

  @Test("the host of an absolute target counts, and that of HTTP/1.0 without any is no host") func hostForms() throws {
    #expect(try verdict([host("example.org")], Parsed(target: "http://example.org/x", host: "example.org")) == .matches)
    #expect(try verdict([host("example.org")], Parsed("GET / HTTP/1.0\r\n\r\n")) == .differs)
    #expect(try verdict([host("*.org")], Parsed("GET / HTTP/1.0\r\n\r\n")) == .differs)
  }

  @Test(
    "prefixes are whole segments",
    arguments: [
      ("/api", "/api", true), ("/api", "/api/", true), ("/api", "/api/x?y", true), ("/api", "/apix", false),
      ("/api", "/ap", false), ("/api", "/API", false), ("/api", "/x/../api/y", true), ("/api", "/api/../x", false),
      ("/api/", "/api", false), ("/api/", "/api/", true), ("/api/", "/api/x", true), ("/", "/", true),
      ("/", "/x", true),
      ("/api", "/%61pi%2fx", true), ("/api", "//api//x", true),
    ])
  func prefixes(_ prefix: String, _ target: String, _ expected: Bool) throws {
    #expect(
      try verdict([.pathPrefix(kept(texts: [prefix]))], Parsed(target: target)) == (expected ? .matches : .differs))
  }

  @Test("methods and paths are compared exactly") func exact() throws {
    #expect(try verdict([.method(kept(texts: ["PUT", "DELETE"]))], Parsed(target: "/", method: "DELETE")) == .matches)
    #expect(try verdict([.method(kept(texts: ["GET"]))], Parsed(target: "/", method: "get")) == .differs)
    #expect(try verdict([.path(kept(texts: ["/ping"]))], Parsed(target: "/ping?x")) == .matches)
    #expect(try verdict([.path(kept(texts: ["/ping"]))], Parsed(target: "/ping/")) == .differs)
  }

  @Test("fields: any of several of one name, any value, names in any case") func fields() throws {
    let parsed = Parsed(target: "/", fields: "X-V: 1\r\nx-v:  2 \r\nEmpty:\r\n")
    #expect(try verdict([.field(name: kept("x-v"), values: kept(texts: ["2"]))], parsed) == .matches)
    #expect(try verdict([.field(name: kept("x-v"), values: kept(texts: ["3", "1"]))], parsed) == .matches)
    #expect(try verdict([.field(name: kept("x-v"), values: kept(texts: ["1, 2"]))], parsed) == .differs)
    #expect(try verdict([.field(name: kept("empty"), values: kept([]))], parsed) == .matches)
    #expect(try verdict([.field(name: kept("x-w"), values: kept([]))], parsed) == .differs)
  }

  @Test(
    "fields that servers do not get match nothing",
    arguments: [
      ("X-Forwarded-Proto: https\r\n", "x-forwarded-proto", false, true),
      ("Forwarded: a\r\n", "forwarded", false, true),
      ("X-Forwarded-For: 1\r\nX-B: 1\r\nX-Forwarded-For: 2\r\n", "x-forwarded-for", false, true),
      ("X_Under: 1\r\n", "x_under", false, false), ("X-A: 1\r\nConnection: x-a\r\n", "x-a", false, false),
      ("Keep-Alive: 5\r\n", "keep-alive", false, false), ("X_B: 1\r\nX-A: 1\r\nX_C: 1\r\n", "x-a", true, true),
      ("Connection: upgrade\r\nUpgrade: a\r\n", "upgrade", true, true), ("Upgrade: a\r\n", "upgrade", false, false),
      ("Content-Length: 03\r\n", "content-length", true, true), ("TE: trailers\r\n", "te", true, true),
      ("Connection: close\r\n", "connection", true, true), ("Cookie: a\r\n", "cookie", true, true),
    ])
  func passedFields(_ lines: String, _ name: String, _ ofStrangers: Bool, _ ofTrusted: Bool) throws {
    let text = "GET / HTTP/1.1\r\nHost: h\r\n\(lines)\r\n"
    let condition = RouteCondition.field(name: kept(name), values: kept([]))
    for style in [[], RequestOptions.addsXForwarded, .addsForwarded] as [RequestOptions] {
      #expect(try verdict([condition], Parsed(text, options: style)) == (ofStrangers ? .matches : .differs))
      let trusted = style.union(.trustedSource)
      #expect(try verdict([condition], Parsed(text, options: trusted)) == (ofTrusted ? .matches : .differs))
    }
  }

  @Test("of several Upgrade fields servers get the first, and nothing else is seen") func upgrades() throws {
    let parsed = Parsed(target: "/", fields: "Upgrade: a\r\nConnection: upgrade\r\nUpgrade: b\r\n")
    #expect(try verdict([.field(name: kept("upgrade"), values: kept(texts: ["a"]))], parsed) == .matches)
    #expect(try verdict([.field(name: kept("upgrade"), values: kept(texts: ["b"]))], parsed) == .differs)
  }

  @Test("sources, and what is excepted") func sources() throws {
    let inside = RouteCondition.source(kept([try #require(AddressPrefix("198.51.100.0/24"))]))
    let parsed = Parsed(target: "/admin/x")
    #expect(try verdict([inside], parsed, source: "198.51.100.9") == .matches)
    #expect(try verdict([inside], parsed, source: "198.51.101.9") == .differs)
    let admin = RouteCondition.pathPrefix(kept(texts: ["/admin"]))
    #expect(try verdict([admin], not: [inside], parsed, source: "192.0.2.1") == .matches)
    #expect(try verdict([admin], not: [inside], parsed, source: "198.51.100.1") == .differs)
    // Both together are excepted, not each of them.
    #expect(try verdict([], not: [inside, admin], parsed, source: "192.0.2.1") == .matches)
    let match = RouteMatch(conditions: kept([]), exceptions: kept([inside]))
    #expect(match.holds(source: try #require(IPAddress("192.0.2.1"))))
    #expect(!match.holds(source: try #require(IPAddress("198.51.100.1"))))
  }

  @Test("a pattern that cannot be decided makes the whole match undecided, in an exception too") func tooHard() throws {
    let pattern = RouteCondition.pathPattern(kept([try Pattern("^/(a+)+$")]))
    let parsed = Parsed(target: "/" + String(repeating: "a", count: 4000) + "b")
    #expect(try verdict([pattern], parsed) == .tooHard)
    #expect(try verdict([], not: [pattern], parsed) == .tooHard)
    #expect(try verdict([pattern], Parsed(target: "/aaa")) == .matches)
    #expect(try verdict([pattern], Parsed(target: "/b")) == .differs)
  }
}
