// What routes write in place of a target: rewritten prefixes and redirects.

import HTTP1
import Primitives
import Routing
import Testing

@Suite("Written targets") struct TargetWritingTests {
  private func rewrite(_ from: String, _ to: String, _ target: String) throws -> String {
    let parsed = try #require(Parsed(target: target))
    let path = try #require(parsed.path)
    let rewrite = PrefixRewrite(from: kept(from), to: kept(to))
    let output = UnsafeMutablePointer<UInt8>.allocate(capacity: rewrite.writtenByteBound(path))
    defer { output.deallocate() }
    let count = rewrite.write(path, of: parsed.bytes, to: output)
    #expect(count <= rewrite.writtenByteBound(path))
    return String(Text(start: output, count: count))
  }

  @Test(
    "a prefix is replaced, the rest stays as it was sent",
    arguments: [
      ("/api", "/", "/api/x?y=1", "/x?y=1"), ("/api", "/", "/api", "/"), ("/api", "/", "/api/", "/"),
      ("/api", "/v2", "/api/x%2Fy", "/v2/x%2Fy"), ("/api", "/v2", "/api", "/v2"), ("/api", "/v2/", "/api/x", "/v2/x"),
      ("/api/", "/", "/api/x", "/x"), ("/api/", "/v2", "/api/x", "/v2/x"), ("/", "/v2", "/x", "/v2/x"),
      ("/", "/v2", "/", "/v2"),
      ("/api", "/", "/apix", ""), ("/api", "/", "/api?x", "/?x"), ("/api", "/", "/api//x", "/x"),
      ("/api", "/", "/%61pi/x%20y", "/x%20y"), ("/api", "/", "//api/x", "/x"), ("/api", "/", "/api/../api/y", "/y"),
      ("/api", "/", "/api/x/../../api/../api/z?q", "/z?q"), ("/api", "/", "/%61pi/%3fx", "/%3Fx"),
    ])
  func rewrites(_ from: String, _ to: String, _ target: String, _ expected: String) throws {
    #expect(try rewrite(from, to, target) == expected)
  }

  private func redirect(
    _ parts: [RedirectTarget.Part], _ target: String, host: String = "Example.org:8080", old: Bool = false
  ) throws -> String {
    let parsed = try #require(old ? Parsed("GET \(target) HTTP/1.0\r\n\r\n") : Parsed(target: target, host: host))
    let redirect = RedirectTarget(parts: kept(parts))
    let path = try #require(parsed.path)
    let bound = redirect.writtenByteBound(path, parsed.host)
    let output = UnsafeMutablePointer<UInt8>.allocate(capacity: bound)
    defer { output.deallocate() }
    let count = redirect.write(path, parsed.host, isSecure: false, of: parsed.bytes, to: output)
    #expect(count <= bound)
    return String(Text(start: output, count: count))
  }

  @Test("placeholders") func placeholders() throws {
    #expect(
      try redirect([.text(kept("https://www.")), .host, .uri], "/a%20b?c=d") == "https://www.example.org/a%20b?c=d")
    #expect(
      try redirect([.scheme, .text(kept("://")), .host, .text(kept(":")), .port, .path], "/a?b")
        == "http://example.org:8080/a")
    #expect(try redirect([.text(kept("/x?")), .query], "/a?b=c") == "/x?b=c")
    #expect(
      try redirect([.text(kept("https://")), .host, .uri], "http://example.org:8080?q") == "https://example.org/?q")
    #expect(try redirect([.text(kept("p")), .port], "/", host: "example.org") == "p80")
  }

  @Test("the bound is one of the target's, whatever else the head holds") func bound() throws {
    let fields = "X: \(String(repeating: "x", count: 10_000))\r\n"
    let parsed = try #require(Parsed(target: "/a?b", fields: fields))
    let redirect = RedirectTarget(parts: kept([.text(kept("https://")), .host, .path, .text(kept("?")), .query]))
    #expect(redirect.writtenByteBound(try #require(parsed.path), parsed.host) == 8 + 15 + 6 + 1 + 3)
  }

  @Test("a redirect cannot be bent to another site") func stays() throws {
    #expect(try redirect([.uri], "//evil.test/x") == "/evil.test/x")
    #expect(try redirect([.path, .text(kept("/"))], "///evil.test") == "/evil.test/")
    #expect(try redirect([.text(kept("/")), .path], "//evil.test") == "/evil.test")
    #expect(try redirect([.uri], "/\\evil.test\"<>") == "/%5Cevil.test%22%3C%3E")
    #expect(try redirect([.text(kept("https://")), .host, .uri], "/a//b") == "https://example.org/a//b")
  }

  @Test("a request without a host is not redirected to one") func noHost() throws {
    #expect(try redirect([.text(kept("https://")), .host, .uri], "/", old: true) == "")
    #expect(
      try redirect([.text(kept("https://www.example.org")), .uri], "/x", old: true) == "https://www.example.org/x")
  }
}
