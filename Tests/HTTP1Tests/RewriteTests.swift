// What goes to the server for what came from the client, and the other way round, compared byte by byte.

import Primitives
import Testing

@testable import HTTP1

struct Rewrite: Sendable, CustomTestStringConvertible {
  let name: String
  let input: String
  let output: String
  var options: RequestOptions = [.addsXForwarded]
  var testDescription: String { name }
}

@Suite struct RequestRewriteTests {
  static let ours =
    "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a\nVia: 1.1 n1\n\n"

  static let table: [Rewrite] = [
    Rewrite(name: "plain", input: "GET /x HTTP/1.1\nHost: a\n\n", output: "GET /x HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "order and repeats stay",
      input: "GET / HTTP/1.1\nB: 1\nHost: a\nA: 2\nB: 3\nb: 4\n\n",
      output: "GET / HTTP/1.1\nB: 1\nHost: a\nA: 2\nB: 3\nb: 4\n" + ours),
    Rewrite(
      name: "hop-by-hop fields go",
      input:
        "GET / HTTP/1.1\nConnection: keep-alive\nKeep-Alive: 5\nHost: a\nProxy-Connection: x\nX: 1\nProxy-Authorization: b\nProxy-Authenticate: c\nUpgrade: h2\nTE: gzip\n\n",
      output: "GET / HTTP/1.1\nHost: a\nX: 1\n" + ours),
    Rewrite(
      name: "nominated fields go, wherever they stand",
      input: "GET / HTTP/1.1\nX-A: 1\nHost: a\nX-B: 2\nConnection: x-b, X-A, close\nX-C: 3\nx-a: 4\n\n",
      output: "GET / HTTP/1.1\nHost: a\nX-C: 3\n" + ours),
    Rewrite(
      name: "Connection does not name away what holds the message together",
      input:
        "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nCookie: c\nConnection: host, content-length, cookie, via\n\n",
      output: "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nCookie: c\n" + ours),
    Rewrite(
      name: "Connection does not name the id of the request away",
      input: "GET / HTTP/1.1\nHost: a\nX-Request-ID: 1\nConnection: x-request-id, x-b\nX-B: 2\n\n",
      output: "GET / HTTP/1.1\nHost: a\nX-Request-ID: 1\n" + ours),
    Rewrite(
      name: "names with an underscore go",
      input: "GET / HTTP/1.1\nHost: a\nX_Forwarded_For: 1\nA_B: 2\nC: 3\n\n",
      output: "GET / HTTP/1.1\nHost: a\nC: 3\n" + ours),
    Rewrite(
      name: "names with an underscore stay if asked",
      input: "GET / HTTP/1.1\nHost: a\nA_B: 2\n\n", output: "GET / HTTP/1.1\nHost: a\nA_B: 2\n" + ours,
      options: [.addsXForwarded, .keepsUnderscoreNames]),
    Rewrite(
      name: "what strangers say about the client is replaced",
      input:
        "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1\nForwarded: for=1\nX-Forwarded-Proto: https\nX-Forwarded-Port: 1\nx-forwarded-host: evil\n\n",
      output: "GET / HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "what strangers say about the client is replaced, however long its name",
      input:
        "GET / HTTP/1.1\nHost: a\nX-Forwarded-A: 1\nX-Forwarded-By: 2\nX-Forwarded-For: 3\nX-Forwarded-Port: 4\nX-Forwarded-Proto: 5\nX-Forwarded-Server: 6\nX-Forwarded-Ssl-Off: 7\nX-Forwarded-Host-Long: 8\nx-forwarded: 9\n\n",
      output: "GET / HTTP/1.1\nHost: a\nx-forwarded: 9\n" + ours),
    Rewrite(
      name: "what a trusted proxy says is kept and appended to",
      input:
        "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 198.51.100.1\nX-Forwarded-Proto: https\nX-Forwarded-For: 198.51.100.2\nX-Forwarded-Port: 1\n\n",
      output:
        "GET / HTTP/1.1\nHost: a\nX-Forwarded-Proto: https\nX-Forwarded-Port: 1\nX-Forwarded-For: 198.51.100.1, 198.51.100.2, 192.0.2.7\nX-Forwarded-Host: a\nVia: 1.1 n1\n\n",
      options: [.addsXForwarded, .trustedSource]),
    Rewrite(
      name: "Forwarded", input: "GET / HTTP/1.1\nHost: a:1\nForwarded: for=1\n\n",
      output: "GET / HTTP/1.1\nHost: a:1\nForwarded: for=192.0.2.7;proto=http;host=\"a:1\"\nVia: 1.1 n1\n\n",
      options: [.addsForwarded]),
    Rewrite(
      name: "Forwarded of a trusted proxy", input: "GET / HTTP/1.1\nForwarded: for=1\nHost: a\nForwarded: for=2\n\n",
      output: "GET / HTTP/1.1\nHost: a\nForwarded: for=1, for=2, for=192.0.2.7;proto=http;host=\"a\"\nVia: 1.1 n1\n\n",
      options: [.addsForwarded, .trustedSource]),
    Rewrite(
      name: "style none says nothing, and strangers still say nothing",
      input: "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1\n\n", output: "GET / HTTP/1.1\nHost: a\nVia: 1.1 n1\n\n",
      options: []),
    Rewrite(
      name: "style none keeps what a trusted proxy says",
      input: "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1\n\n",
      output: "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 1\nVia: 1.1 n1\n\n", options: [.trustedSource]),
    Rewrite(
      name: "absolute form becomes origin form", input: "GET http://a/x?y HTTP/1.1\nHost: a\n\n",
      output: "GET /x?y HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "absolute form without a path", input: "GET HTTP://a HTTP/1.1\nHost: a\n\n",
      output: "GET / HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "absolute form with only a query", input: "GET http://a?q HTTP/1.1\nHost: a\n\n",
      output: "GET /?q HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "absolute form of OPTIONS *", input: "OPTIONS http://a HTTP/1.1\nHost: a\n\n",
      output: "OPTIONS * HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "HTTP/1.0 without Host", input: "GET / HTTP/1.0\n\n",
      output:
        "GET / HTTP/1.1\nHost: 198.51.100.1:8080\nX-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nVia: 1.1 n1\n\n"),
    Rewrite(
      name: "HTTP/1.0 in absolute form without Host", input: "GET http://a/ HTTP/1.0\n\n",
      output: "GET / HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "a later minor version is 1.1", input: "GET / HTTP/1.7\nHost: a\n\n",
      output: "GET / HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "an empty line before the request goes", input: "\nGET / HTTP/1.1\nHost: a\n\n",
      output: "GET / HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "equal lengths collapse", input: "POST / HTTP/1.1\nContent-Length: 5, 5\nHost: a\nContent-Length: 5\n\n",
      output: "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n" + ours),
    Rewrite(
      name: "a length that is written oddly is written anew",
      input: "POST / HTTP/1.1\nContent-Length:\t5 \nHost: a\n\n",
      output: "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n" + ours),
    Rewrite(
      name: "a length with zeros before it is written anew",
      input: "POST / HTTP/1.1\nContent-Length: 005\nHost: a\n\n",
      output: "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n" + ours),
    Rewrite(
      name: "a length without a space before it is written anew",
      input: "POST / HTTP/1.1\nContent-Length:0\nHost: a\n\n",
      output: "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n" + ours),
    Rewrite(
      name: "a long length with zeros before it is written anew",
      input: "POST / HTTP/1.1\nContent-Length: 00000000000000000000000000000005\nHost: a\n\n",
      output: "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n" + ours),
    Rewrite(
      name: "a plain length stays in its place",
      input: "POST / HTTP/1.1\ncontent-length: 0\nHost: a\n\n",
      output: "POST / HTTP/1.1\ncontent-length: 0\nHost: a\n" + ours),
    Rewrite(
      name: "chunked is written anew", input: "POST / HTTP/1.1\nTransfer-Encoding:   CHUNKED\nHost: a\n\n",
      output: "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n" + ours),
    Rewrite(
      name: "an upgrade passes",
      input: "GET / HTTP/1.1\nHost: a\nUpgrade: websocket\nSec-WebSocket-Key: k\nConnection: keep-alive, Upgrade\n\n",
      output:
        "GET / HTTP/1.1\nHost: a\nSec-WebSocket-Key: k\nConnection: upgrade\nUpgrade: websocket\n" + ours),
    Rewrite(
      name: "an upgrade of a request with a body does not",
      input: "POST / HTTP/1.1\nHost: a\nUpgrade: x\nConnection: Upgrade\nContent-Length: 1\n\n",
      output: "POST / HTTP/1.1\nHost: a\nContent-Length: 1\n" + ours),
    Rewrite(
      name: "an upgrade of a chunked request does not",
      input: "POST / HTTP/1.1\nHost: a\nUpgrade: x\nConnection: Upgrade\nTransfer-Encoding: chunked\n\n",
      output: "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n" + ours),
    Rewrite(
      name: "an upgrade to h2c does not",
      input: "GET / HTTP/1.1\nHost: a\nUpgrade: h2c\nHTTP2-Settings: x\nConnection: Upgrade, HTTP2-Settings\n\n",
      output: "GET / HTTP/1.1\nHost: a\n" + ours),
    Rewrite(
      name: "trailers are asked for", input: "GET / HTTP/1.1\nHost: a\nTE: gzip, trailers\nConnection: TE\n\n",
      output: "GET / HTTP/1.1\nHost: a\nTE: trailers\nConnection: TE\n" + ours),
    Rewrite(
      name: "Max-Forwards counts down for OPTIONS", input: "OPTIONS / HTTP/1.1\nHost: a\nMax-Forwards: 10\n\n",
      output: "OPTIONS / HTTP/1.1\nHost: a\nMax-Forwards: 9\n" + ours),
    Rewrite(
      name: "Max-Forwards of others is theirs", input: "GET / HTTP/1.1\nHost: a\nMax-Forwards: 10\n\n",
      output: "GET / HTTP/1.1\nHost: a\nMax-Forwards: 10\n" + ours),
    Rewrite(
      name: "Expect passes", input: "POST / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 1\n\n",
      output: "POST / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 1\n" + ours),
  ]

  @Test("a request is rewritten", arguments: table)
  func rewrites(_ entry: Rewrite) {
    let parsed = parseRequest(entry.input.wire, options: entry.options)
    #expect(parsed.result == .complete)
    #expect(String(decoding: parsed.written, as: UTF8.self) == String(decoding: entry.output.wire, as: UTF8.self))
  }

  @Test("an IPv6 client is named in both styles")
  func namesIPv6() {
    let parsed = parseRequest(
      "GET / HTTP/1.1\nHost: a\n\n".wire, options: [.addsXForwarded, .addsForwarded], address: IPAddress("2001:db8::7")!
    )
    let written = String(decoding: parsed.written, as: UTF8.self)
    #expect(written.contains("X-Forwarded-For: 2001:db8::7\r\n"))
    #expect(written.contains("Forwarded: for=\"[2001:db8::7]\";proto=http;host=\"a\"\r\n"))
  }

  @Test("what the parse says about a request")
  func facts() {
    let post = parseRequest("POST /x HTTP/1.1\nHost: a\nContent-Length: 12\nExpect: 100-Continue\n\n".wire).head
    #expect(post.method == .post && post.framing == .counted && post.contentLength == 12 && post.keepsAlive)
    #expect(post.flags.contains(.expectsContinue))
    #expect(!post.method.isSafe && !post.method.isIdempotent)
    let empty = parseRequest("PUT /x HTTP/1.1\nHost: a\nContent-Length: 0\n\n".wire).head
    #expect(empty.method == .put && empty.framing == .none && empty.contentLength == 0)
    #expect(parseRequest("PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n".wire).head.framing == .chunked)
    #expect(!parseRequest("GET / HTTP/1.1\nHost: a\nConnection: Close\n\n".wire).head.keepsAlive)
    #expect(
      !parseRequest("GET / HTTP/1.1\nHost: a\nConnection: keep-alive\nConnection: x, close\n\n".wire).head.keepsAlive)
    #expect(!parseRequest("GET / HTTP/1.0\nHost: a\n\n".wire).head.keepsAlive)
    let old = parseRequest("GET / HTTP/1.0\nConnection: Keep-Alive\nExpect: 100-continue\n\n".wire).head
    #expect(old.keepsAlive && old.isOldVersion && !old.flags.contains(.expectsContinue))
    let methods: [(String, RequestMethod)] = [
      ("GET", .get), ("HEAD", .head), ("POST", .post), ("PUT", .put), ("DELETE", .delete), ("OPTIONS", .options),
      ("TRACE", .trace), ("PATCH", .patch), ("PUTS", .other), ("GEX", .other), ("get", .other), ("PATCX", .other),
    ]
    for (name, method) in methods {
      #expect(parseRequest("\(name) / HTTP/1.1\nHost: a\n\n".wire).head.method == method, "\(name)")
    }
    let spent = parseRequest("TRACE / HTTP/1.1\nHost: a\nMax-Forwards: 0\n\n".wire).head
    #expect(spent.maxForwards == 0)
    #expect(post.maxForwards == -1)
  }

  @Test("a head with more fields than the scratch holds is refused, never cut wrongly")
  func smallScratch() {
    let scratch = HeadScratch(fieldCount: 3)
    defer { scratch.deallocate() }
    for count in 1...6 {
      let bytes = ("GET / HTTP/1.1\nHost: a\n" + String(repeating: "K_K: 1\nB: 2\n", count: count) + "\n").wire
      let result = withPadded(bytes) { pointer, count in
        var head = RequestHead()
        return head.parse(pointer, count: count, limits: HeadLimits(), options: [], scratch: scratch)
      }
      #expect(result == (count == 1 ? .complete : .fault(.tooManyFields)))
    }
  }
}
