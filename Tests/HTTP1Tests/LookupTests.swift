// Fields and cookies by name, and where Host stands.

import Testing

@testable import HTTP1

@Suite struct LookupTests {
  /// Parses `text` as a request and hands out what was found.
  private func lookUp(
    _ text: String, options: RequestOptions = [], _ body: (RequestHead, Bytes) -> String?
  ) -> String? {
    let bytes = Array(text.utf8) + Array(repeating: 0, count: scanSlack)
    let scratch = HeadScratch()
    defer { scratch.deallocate() }
    return bytes.withUnsafeBufferPointer { buffer in
      var head = RequestHead()
      guard
        case .complete = head.parse(
          buffer.baseAddress!, count: text.utf8.count, limits: HeadLimits(), options: options, scratch: scratch)
      else { return "not parsed" }
      return body(head, buffer.baseAddress!)
    }
  }

  private func text(_ range: ByteRange?, _ bytes: Bytes) -> String? {
    range.map { String(decoding: UnsafeBufferPointer(start: bytes + $0.offset, count: $0.count), as: UTF8.self) }
  }

  @Test(
    "the first field of the name, in any case",
    arguments: [
      ("X-User: anna\r\nx-user: bob\r\n", "anna"), ("x-uSER:  anna \r\n", "anna"), ("X-Users: anna\r\n", nil),
      ("X-User:\r\n", ""), ("", nil),
    ] as [(String, String?)])
  func fields(_ lines: String, _ expected: String?) {
    let found = lookUp("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n") { head, bytes in
      Array("x-user".utf8).withUnsafeBufferPointer {
        var values = FieldValues(named: $0, in: head)
        return text(values.next(bytes), bytes)
      }
    }
    #expect(found == expected)
  }

  @Test(
    "the first cookie of the name",
    arguments: [
      ("Cookie: a=1; SID=xy; b=2\r\n", "xy"), ("Cookie: a=1\r\nCookie: SID=z\r\n", "z"), ("Cookie: NSID=1\r\n", nil),
      ("", nil),
    ] as [(String, String?)])
  func cookies(_ lines: String, _ expected: String?) {
    let found = lookUp("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n") { head, bytes in
      Array("SID".utf8).withUnsafeBufferPointer { text(head.value(ofCookie: CookieName($0), in: bytes), bytes) }
    }
    #expect(found == expected)
  }

  @Test(
    "a trusted forwarder says whether its client came by https, and nobody else does",
    arguments: [
      ("X-Forwarded-Proto: https\r\n", true), ("x-forwarded-proto: HTTPS\r\n", true),
      ("X-Forwarded-Proto: https, http\r\n", true), ("X-Forwarded-Proto: http, https\r\n", false),
      ("X-Forwarded-Proto: http\r\n", false), ("X-Forwarded-Proto:\r\n", false),
      ("X-Forwarded-Host: https\r\n", false), ("", false),
    ])
  func schemes(_ lines: String, _ isSecure: Bool) {
    for (options, expected) in [(RequestOptions(), false), (RequestOptions.trustedSource, isSecure)] {
      let found = lookUp("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n", options: options) { head, bytes in
        head.cameByHTTPS(in: bytes) ? "https" : nil
      }
      #expect(found == (expected ? "https" : nil))
    }
  }

  @Test("what the log takes from a head, and how often X-Request-ID is there")
  func logged() {
    let lines = "X-REQUEST-ID: a\r\nReferer: r\r\nx-request-id: b\r\nUser-Agent: u\r\nuser-agent: v\r\n"
    let found = lookUp("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n") { head, bytes in
      let fields = head.loggedFields(in: bytes)
      let texts = [fields.requestID, fields.referer, fields.agent].map { text($0, bytes) ?? "" }
      return texts.joined(separator: " ") + " \(fields.requestIDCount)"
    }
    #expect(found == "a r u 2")
  }

  @Test(
    "an id of others is used if it can stand where it is as it came",
    arguments: [
      ("7c9e6679-7425-40de-944b-e07fc1f90ae7", true), ("Root=1-67891233-abc:d/e+f,g@h~_.", true), ("", false),
      ("a b", false), ("a\"b", false), ("a\\b", false), ("a;b", false), ("é", false),
      (String(repeating: "x", count: 128), true), (String(repeating: "x", count: 129), false),
    ])
  func usableIDs(_ text: String, _ isUsable: Bool) {
    #expect(Array(text.utf8).withUnsafeBufferPointer { RequestID.isUsable($0) } == isUsable)
  }

  @Test("our own id as a line")
  func ownID() {
    var line = [UInt8](repeating: 0, count: RequestID.lineByteCount)
    line.withUnsafeMutableBufferPointer { RequestID.writeLine(0xab, to: $0.baseAddress!) }
    #expect(String(decoding: line, as: UTF8.self) == "X-Request-ID: 00000000000000ab\r\n")
  }

  @Test("Host is found in a head, and not in the target or another field")
  func host() {
    for line in ["Host: www.example.org", "host:www.example.org", "X-Host: x\r\nHOST:  www.example.org "] {
      let head = Array("GET /?Host:x HTTP/1.1\r\n\(line)\r\nVia: 1.1 n\r\n\r\n".utf8)
      head.withUnsafeBufferPointer {
        let range = HostField.range(in: $0.baseAddress!, count: head.count)
        #expect(text(range, $0.baseAddress!) == "www.example.org")
      }
    }
    let none = Array("GET / HTTP/1.1\r\nVia: 1.1 n\r\n\r\n".utf8)
    none.withUnsafeBufferPointer { #expect(HostField.range(in: $0.baseAddress!, count: none.count).isEmpty) }
  }
}
