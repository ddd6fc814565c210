// The form in which paths and hosts are compared: what servers would make of them, and what is refused.

import HTTP1
import Primitives
import Routing
import Testing

@Suite("Targets") struct TargetPathTests {
  @Test(
    "a path is decoded once, joined and resolved",
    arguments: [
      ("/", "/"), ("/a/b", "/a/b"), ("/a/b/", "/a/b/"), ("/a?b=/../c", "/a"), ("/a?", "/a"), ("/%61dmin", "/admin"),
      ("/%41%2f%62", "/A/b"), ("//admin", "/admin"), ("/a//b///", "/a/b/"), ("/./a", "/a"), ("/a/.", "/a/"),
      ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/a/..", "/"), ("/a/b/..", "/a/"), ("/a/b/../", "/a/"),
      ("/public/%2e%2E/admin", "/admin"), ("/public%2f..%2fadmin", "/admin"), ("/a/...", "/a/..."), ("/.a", "/.a"),
      ("/a/..b", "/a/..b"), ("/%252e%252e/x", "/%2e%2e/x"), ("/a%20b", "/a b"), ("/a;v=1/b", "/a;v=1/b"),
      ("/a\\b", "/a\\b"), ("http://www.example.org", "/"), ("http://www.example.org?x=1", "/"),
      ("http://www.example.org/a/%2e%2e/b?x", "/b"), ("/a%3fb", "/a?b"), ("/a//../b", "/b"),
    ])
  func resolves(_ target: String, _ expected: String) throws {
    let parsed = try #require(Parsed(target: target))
    #expect(parsed.path.map { String($0.text) } == expected)
  }

  @Test(
    "a path without a clear meaning is refused",
    arguments: ["/%", "/%4", "/%zz", "/a%00b", "/..", "/../a", "/a/../../b", "/%2e%2e", "/a/%2e%2e/%2e%2e", "//.."])
  func refused(_ target: String) throws {
    let parsed = try #require(Parsed(target: target))
    #expect(parsed.path == nil)
  }

  @Test("OPTIONS * has no path") func asterisk() throws {
    let parsed = try #require(Parsed(target: "*", method: "OPTIONS"))
    let path = try #require(parsed.path)
    #expect(path.text.isEmpty && path.sent.isEmpty && !path.hasQuery)
  }

  @Test("the query is what follows the first question mark") func query() throws {
    let parsed = try #require(Parsed(target: "/a?b?c=%2f"))
    let path = try #require(parsed.path)
    #expect(path.hasQuery && parsed.text(path.query) == "b?c=%2f" && parsed.text(path.sent) == "/a")
    #expect(Parsed(target: "/a?")?.path?.hasQuery == true)
    #expect(Parsed(target: "/a")?.path?.hasQuery == false)
  }

  @Test(
    "a host is compared without port and dot",
    arguments: [
      ("www.example.org", "www.example.org", ""), ("www.example.org:8080", "www.example.org", "8080"),
      ("WWW.example.org.", "WWW.example.org", ""), ("www.example.org.:80", "www.example.org", "80"),
      ("[2001:db8::1]", "[2001:db8::1]", ""), ("[2001:db8::1]:443", "[2001:db8::1]", "443"),
      ("192.0.2.1", "192.0.2.1", ""),
      ("h1:", "h1", ""), (".", ".", ""),
    ])
  func hosts(_ field: String, _ name: String, _ port: String) throws {
    let parsed = try #require(Parsed(target: "/", host: field))
    #expect(parsed.text(parsed.host.name) == name)
    #expect(parsed.text(parsed.host.port) == port)
  }

  /// The rule once more, slowly and plainly.
  private func expected(_ target: [UInt8]) -> [UInt8]? {
    var decoded: [UInt8] = []
    var index = 0
    while index < target.count, target[index] != 63 {
      if target[index] == 37 {
        guard index + 2 < target.count else { return nil }
        let digits = String(decoding: target[index + 1...index + 2], as: UTF8.self)
        guard digits.utf8.allSatisfy({ "0123456789abcdefABCDEF".utf8.contains($0) }),
          let byte = UInt8(digits, radix: 16), byte != 0
        else { return nil }
        decoded.append(byte)
        index += 3
      } else {
        decoded.append(target[index])
        index += 1
      }
    }
    var result: [[UInt8]] = []
    let segments = decoded.split(separator: 47, omittingEmptySubsequences: false).map(Array.init)
    for segment in segments where !segment.isEmpty && segment != [46] {
      if segment == [46, 46] {
        if result.isEmpty { return nil }
        result.removeLast()
      } else {
        result.append(segment)
      }
    }
    let last = segments.last ?? []
    let isFolder = last.isEmpty || last == [46] || last == [46, 46]
    var joined: [UInt8] = []
    for segment in result { joined += [47] + segment }
    return isFolder || joined.isEmpty ? joined + [47] : joined
  }

  @Test("the fast rule is the plain rule, over many paths", arguments: 0..<40)
  func sameAsPlain(_ seed: Int) throws {
    var random = SeededRandom(seed: UInt64(seed))
    let pieces = [
      "/", "/", ".", "..", "%2e", "%2F", "a", "b%41", "%", "%0", "%00", "?", "%25", "~", "//", "/./", "/../",
    ]
    for _ in 0..<500 {
      var target = "/"
      for _ in 0..<Int(random.next() % 12) { target += pieces[Int(random.next() % UInt64(pieces.count))] }
      let parsed = try #require(Parsed(target: target))
      #expect(parsed.path.map { Array($0.text) } == expected(Array(target.utf8)), "\(target)")
    }
  }
}
