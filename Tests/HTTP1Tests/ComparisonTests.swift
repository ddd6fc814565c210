// The fast parsers against the slow reference on mutated messages, and what is written against what was read.

import Testing

@testable import HTTP1

@Suite struct ComparisonTests {
  static let requests: [String] = [
    "GET /index.html?a=b HTTP/1.1\nHost: www.example.com\nUser-Agent: x/1.0\nAccept: */*\nConnection: keep-alive\n\n",
    "POST /form HTTP/1.1\nHost: a:8080\nContent-Length: 12\nContent-Type: text/plain\nCookie: AFLOAT=0123456789abcdef\n\n",
    "POST /c HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTrailer: X\nTE: trailers\nConnection: TE, X-A\nX-A: 1\n\n",
    "GET http://a.example/x HTTP/1.1\nHost: A.example\nForwarded: for=1\nX-Forwarded-For: 2\nX_Y: 1\n\n",
    "OPTIONS * HTTP/1.1\nHost: [2001:db8::1]\nMax-Forwards: 5\nUpgrade: websocket\nConnection: upgrade\n\n",
    "GET / HTTP/1.0\nConnection: keep-alive\nKeep-Alive: 5\nProxy-Connection: x\n\n",
    "\nPUT /a HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 5\nProxy-Authorization: b\nExpect: 100-continue\n\n",
  ]
  static let responses: [String] = [
    "HTTP/1.1 200 OK\nServer: x\nDate: y\nContent-Length: 10\nContent-Type: text/html\n\n",
    "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nConnection: X-A, close\nX-A: 1\nSet-Cookie: a=b\nSet-Cookie: c\n\n",
    "HTTP/1.0 404 Not Found\nConnection: keep-alive\nKeep-Alive: 1\nContent-Length: 0\n\n",
    "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: upgrade\n\n",
    "HTTP/1.1 304 \nETag: x\nContent-Length: 10, 10\n\n",
    "HTTP/1.1 204 No Content\nContent-Length: 0\nTransfer-Encoding: chunked\n\n",
    "HTTP/1.1 200\n\n",
  ]

  @Test("mutated requests get the reference's verdict, and what is written is valid and framed alike", arguments: 0..<8)
  func requests(_ part: UInt64) {
    let limits = HeadLimits(headByteCount: 400, fieldCount: 12, targetByteCount: 60)
    var accepted = 0
    for seed in (part * 4_000)..<((part + 1) * 4_000) {
      var mutator = Mutator(seed: seed)
      var bytes = Self.requests[mutator.pick(Self.requests.count)].wire
      if mutator.pick(20) > 0 { bytes = mutator.mutate(bytes) }
      var options: RequestOptions = [.addsXForwarded]
      if mutator.pick(4) == 0 { options.insert(.keepsUnderscoreNames) }
      let fast = parseRequest(bytes, limits: limits, options: options, filler: UInt8(seed % 256))
      let slow = Reference.request(bytes, limits: limits, options: options)
      let comment = Comment(rawValue: "seed \(seed): \(Reference.string(bytes[...]).debugDescription)")
      #expect((fast.result == .complete) == (slow != nil), comment)
      guard fast.result == .complete, let slow else { continue }
      accepted += 1
      #expect(Int(fast.head.byteCount) == slow.byteCount, comment)
      #expect(fast.head.framing == slow.framing, comment)
      #expect(fast.head.contentLength == slow.contentLength, comment)
      #expect(fast.head.keepsAlive == slow.keepsAlive, comment)
      #expect(Reference.string(bytes[fast.head.host.offset..<fast.head.host.endOffset]) == slow.host, comment)

      // What the server gets, read by the reference.
      let wide = HeadLimits()
      guard let out = Reference.lines(fast.written, skipsEmptyLine: false, limits: wide),
        let again = Reference.request(fast.written, limits: wide, options: [.keepsUnderscoreNames])
      else {
        Issue.record("what was written is not valid, \(comment)")
        continue
      }
      #expect(out.byteCount == fast.written.count, comment)
      #expect(again.first == slow.first, comment)
      #expect(again.framing == slow.framing && again.contentLength == slow.contentLength, comment)
      #expect(again.host == (slow.host.isEmpty ? "198.51.100.1:8080" : slow.host), comment)
      let added: Set<String> = ["via"]
      let kept = again.kept.filter { !(added.contains($0.name) && $0.value == "1.1 n1") }
      let hadHost = slow.kept.contains { $0.name == "host" }
      #expect(kept.filter { hadHost || $0.name != "host" } == slow.kept, comment)
      let forwarded = out.fields.filter { $0.name == "x-forwarded-for" }.map { Reference.string($0.value) }
      #expect(forwarded == ["192.0.2.7"], comment)
    }
    // Or the mutations are too rough to say anything.
    #expect(accepted > 400)
  }

  @Test(
    "mutated responses get the reference's verdict, and what is written is valid and framed alike", arguments: 0..<4)
  func responses(_ part: UInt64) {
    let limits = HeadLimits(headByteCount: 300, fieldCount: 8)
    var accepted = 0
    for seed in (part * 4_000)..<((part + 1) * 4_000) {
      var mutator = Mutator(seed: seed)
      var bytes = Self.responses[mutator.pick(Self.responses.count)].wire
      if mutator.pick(20) > 0 { bytes = mutator.mutate(bytes) }
      let isHead = mutator.pick(5) == 0
      let fast = parseResponse(bytes, isHeadRequest: isHead, limits: limits, filler: UInt8(seed % 256))
      let slow = Reference.response(bytes, isHeadRequest: isHead, limits: limits)
      let comment = Comment(rawValue: "seed \(seed): \(Reference.string(bytes[...]).debugDescription)")
      #expect((fast.result == .complete) == (slow != nil), comment)
      guard fast.result == .complete, let slow else { continue }
      accepted += 1
      #expect(Int(fast.head.byteCount) == slow.byteCount, comment)
      #expect([String(fast.head.status)] == slow.first, comment)
      #expect(fast.head.framing == slow.framing, comment)
      #expect(fast.head.contentLength == slow.contentLength, comment)
      #expect(fast.head.keepsAlive == slow.keepsAlive, comment)

      guard let again = Reference.response(fast.written, isHeadRequest: isHead, limits: HeadLimits()) else {
        Issue.record("what was written is not valid, \(comment)")
        continue
      }
      #expect(again.byteCount == fast.written.count, comment)
      #expect(again.first == slow.first && again.framing == slow.framing && again.kept == slow.kept, comment)
      let hasNoLength = fast.head.status < 200 || fast.head.status == 204 || fast.head.status == 304
      #expect(again.contentLength == (hasNoLength ? -1 : slow.contentLength), comment)
    }
    #expect(accepted > 400)
  }

  @Test("a verdict on mutated requests never changes as more bytes arrive")
  func neverTakenBack() {
    let limits = HeadLimits(headByteCount: 250, fieldCount: 8, targetByteCount: 40)
    for seed in UInt64(0)..<300 {
      var mutator = Mutator(seed: seed &* 77)
      let request = mutator.mutate(Self.requests[mutator.pick(Self.requests.count)].wire)
      let response = mutator.mutate(Self.responses[mutator.pick(Self.responses.count)].wire)
      let requestVerdict = parseRequest(request, limits: limits).result
      let responseVerdict = parseResponse(response, limits: limits).result
      for count in 0...request.count {
        let early = parseRequest(Array(request[..<count]), limits: limits, filler: 10).result
        #expect(early == .incomplete || early == requestVerdict, "seed \(seed), \(count) bytes")
      }
      for count in 0...response.count {
        let early = parseResponse(Array(response[..<count]), limits: limits, filler: 10).result
        #expect(early == .incomplete || early == responseVerdict, "seed \(seed), \(count) bytes")
      }
    }
  }
}
