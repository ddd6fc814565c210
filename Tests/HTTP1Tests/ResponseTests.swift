// Responses: what is refused (a fault of the server's), how the body's end is found, what goes to the client.

import Testing

@testable import HTTP1

@Suite struct ResponseTests {
  @Test(
    "a malformed response is refused with its reason",
    arguments: [
      Refused("\r\nHTTP/1.1 200 OK\r\n\r\n", .malformedVersion),
      Refused("HTTP/2.0 200 OK\r\n\r\n", .unsupportedVersion),
      Refused("HTTP/1.1  200 OK\r\n\r\n", .malformedStatusLine),
      Refused("HTTP/1.1 20 OK\r\n\r\n", .malformedStatusLine),
      Refused("HTTP/1.1 2000 OK\r\n\r\n", .malformedStatusLine),
      Refused("HTTP/1.1 099 OK\r\n\r\n", .malformedStatusLine),
      Refused("HTTP/1.1 2x0 OK\r\n\r\n", .malformedStatusLine),
      Refused("HTTP/1.1 200 O\u{0}K\r\n\r\n", .controlCharacter),
      Refused("HTTP/1.1 200 OK\n\n\n\n", .bareLineEnd),
      Refused("ICY 200 OK\r\n\r\n", .malformedVersion),
      Refused("HTTP/1.1 200 OK\r\nX : 1\r\n\r\n", .spaceBeforeColon),
      Refused("HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n", .foldedLine),
      Refused("HTTP/1.1 200 OK\r\nX: a\u{0}\r\n\r\n", .controlCharacter),
      Refused("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", .invalidContentLength),
      Refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", .conflictingContentLength),
      Refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", .lengthAndTransferEncoding),
      Refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInOldVersion),
      Refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .invalidTransferEncoding),
      Refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .unknownTransferCoding),
      Refused("HTTP/1.1 200 OK\r\nTransfer-Encoding+: chunked\r\n\r\n", .disguisedTransferEncoding),
      Refused("HTTP/1.1 200 OK\r\ntransfer-encoding-policy: x\r\n\r\n", .disguisedTransferEncoding),
      Refused("HTTP/1.1 200 OK\r\nX: " + String(repeating: "a", count: 17000), .headTooLarge),
    ])
  func refuses(_ entry: Refused) {
    #expect(parseResponse(Array(entry.bytes.utf8)).result == .fault(entry.fault))
  }

  @Test("the end of the body follows from status, method and fields")
  func framing() {
    func framing(_ text: String, head: Bool = false) -> BodyFraming {
      parseResponse(text.wire, isHeadRequest: head).head.framing
    }
    #expect(framing("HTTP/1.1 200 OK\nContent-Length: 5\n\n") == .counted)
    #expect(framing("HTTP/1.1 200 OK\nContent-Length: 0\n\n") == .none)
    #expect(framing("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n") == .chunked)
    #expect(framing("HTTP/1.1 200 OK\n\n") == .untilClose)
    #expect(framing("HTTP/1.1 200 OK\nContent-Length: 5\n\n", head: true) == .none)
    #expect(framing("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", head: true) == .none)
    for status in ["100", "101", "103", "204", "304"] {
      #expect(framing("HTTP/1.1 \(status) X\nContent-Length: 5\n\n") == .none)
    }
  }

  @Test("keep-alive of the server's connection")
  func keepAlive() {
    func keeps(_ text: String) -> Bool { parseResponse(text.wire).head.keepsAlive }
    #expect(keeps("HTTP/1.1 200 OK\nContent-Length: 5\n\n"))
    #expect(!keeps("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close\n\n"))
    #expect(!keeps("HTTP/1.1 200 OK\n\n"))
    #expect(!keeps("HTTP/1.0 200 OK\nContent-Length: 5\n\n"))
    #expect(keeps("HTTP/1.0 200 OK\nContent-Length: 5\nConnection: keep-alive\n\n"))
    // A body is announced where none may come: what follows may be that body.
    #expect(keeps("HTTP/1.1 204 X\n\n"))
    #expect(keeps("HTTP/1.1 204 X\nContent-Length: 0\n\n"))
    #expect(!keeps("HTTP/1.1 204 X\nContent-Length: 5\n\n"))
    #expect(!keeps("HTTP/1.1 204 X\nTransfer-Encoding: chunked\n\n"))
    #expect(keeps("HTTP/1.1 304 X\nContent-Length: 5\n\n"))
  }

  @Test("a response goes out without the hop's fields, with ours at the end")
  func rewrites() {
    let via = Array("Via: 1.1 n1\r\n".utf8)
    let cookie = Array("Set-Cookie: AFLOAT=x\r\n".utf8)
    let servedBy = Array("X-Served-By: n1/s1\r\n".utf8)
    let date = Array("Date: now\r\n".utf8)
    func write(_ text: String, _ framing: OutgoingFraming, _ connection: OutgoingConnection) -> String {
      via.withUnsafeBufferPointer { via in
        cookie.withUnsafeBufferPointer { cookie in
          servedBy.withUnsafeBufferPointer { servedBy in
            date.withUnsafeBufferPointer { date in
              var additions = ResponseAdditions(framing: framing, connection: connection)
              additions.via = via
              additions.cookie = cookie
              additions.servedBy = servedBy
              additions.date = date
              let written = parseResponse(text.wire, additions: additions).written
              return String(decoding: written.filter { $0 != 13 }, as: UTF8.self)
            }
          }
        }
      }
    }
    let ours = "Via: 1.1 n1\nSet-Cookie: AFLOAT=x\nX-Served-By: n1/s1\n"
    #expect(
      write(
        "HTTP/1.1 200 OK\nDate: d\nConnection: close, x-y\nX-Y: 1\nContent-Length: 5\nUpgrade: h2\n\n", .asReceived,
        .implied)
        == "HTTP/1.1 200 OK\nDate: d\nContent-Length: 5\n" + ours + "\n")
    #expect(
      write("HTTP/1.0 200 OK\nDate: d\nA: 1\n\n", .chunked, .implied)
        == "HTTP/1.1 200 OK\nDate: d\nA: 1\nTransfer-Encoding: chunked\n" + ours + "\n")
    #expect(
      write("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", .untilClose, .close)
        == "HTTP/1.1 200 OK\nConnection: close\n" + ours + "Date: now\n\n")
    #expect(
      write("HTTP/1.1 200 OK\nDate: d\nContent-Length: 5, 5\n\n", .asReceived, .keepAlive)
        == "HTTP/1.1 200 OK\nDate: d\nContent-Length: 5\nConnection: keep-alive\n" + ours + "\n")
    #expect(
      write("HTTP/1.1 200 OK\nDate: d\nContent-Length:  05 \n\n", .asReceived, .implied)
        == "HTTP/1.1 200 OK\nDate: d\nContent-Length: 5\n" + ours + "\n")
    #expect(
      write("HTTP/1.1 101 X\nConnection: Upgrade\nDate: d\nUpgrade: websocket\n\n", .asReceived, .upgrade)
        == "HTTP/1.1 101 X\nDate: d\nConnection: upgrade\nUpgrade: websocket\n" + ours + "\n")
    #expect(
      write("HTTP/1.1 204 X\nDate: d\nContent-Length: 0\n\n", .asReceived, .implied)
        == "HTTP/1.1 204 X\nDate: d\n" + ours + "\n")
    #expect(
      write("HTTP/1.1 304 X\nDate: d\nContent-Length: 7\n\n", .asReceived, .implied)
        == "HTTP/1.1 304 X\nDate: d\n" + ours + "\n")
  }

  @Test("an upgrade needs 101, Connection and Upgrade")
  func upgrade() {
    func upgrades(_ text: String) -> Bool { parseResponse(text.wire).head.flags.contains(.upgrade) }
    #expect(upgrades("HTTP/1.1 101 X\nConnection: upgrade\nUpgrade: websocket\n\n"))
    #expect(!upgrades("HTTP/1.1 101 X\nUpgrade: websocket\n\n"))
    #expect(!upgrades("HTTP/1.1 101 X\nConnection: upgrade\n\n"))
    #expect(!upgrades("HTTP/1.1 200 X\nConnection: upgrade\nUpgrade: websocket\n\n"))
    #expect(parseResponse("HTTP/1.1 100 X\n\n".wire).head.isInterim)
    #expect(!parseResponse("HTTP/1.1 101 X\n\n".wire).head.isInterim)
  }

  private let dateLine = kept("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")

  @Test(
    "a request for HEAD is known before it is parsed",
    arguments: [
      ("HEAD / HTTP/1.1", true), ("\r\nHEAD ", true), ("HEAD", false), ("HEAD\r\n", false), ("HEADS / HTTP/1.1", false),
      ("head / HTTP/1.1", false), ("GET / HTTP/1.1", false), ("\r\nHEA", false), ("", false),
    ])
  func beginsWithHead(_ text: String, _ isHead: Bool) {
    #expect(withPadded(Array(text.utf8)) { RequestMethod.isHead($0, count: $1) } == isHead)
    // What is not there yet does not count.
    #expect(!withPadded(Array(text.utf8)) { bytes, _ in RequestMethod.isHead(bytes, count: 4) })
  }

  @Test(
    "our own answers are valid, say why, and carry the id",
    arguments: [400, 408, 413, 414, 431, 500, 501, 502, 503, 504, 505])
  func localAnswers(_ status: Int) {
    for variant in 0..<8 {
      let closes = variant & 1 == 1, withoutBody = variant & 2 == 2, old = variant & 4 == 4
      var output = [UInt8](repeating: 0, count: LocalResponse.byteCapacity)
      let count = output.withUnsafeMutableBufferPointer {
        LocalResponse.write(
          status: status, reason: "it was a test", date: dateLine, requestID: 0x00ab, closes: closes,
          withoutBody: withoutBody,
          oldVersion: old, retryAfterSeconds: status == 503 ? 5 : 0, to: $0.baseAddress!,
          capacity: LocalResponse.byteCapacity)
      }
      let bytes = Array(output[..<count])
      let parsed = parseResponse(bytes, isHeadRequest: withoutBody)
      #expect(parsed.result == .complete)
      #expect(Int(parsed.head.status) == status)
      #expect(parsed.head.keepsAlive == !closes && parsed.head.flags.contains(.hasDate))
      let body = String(decoding: bytes[Int(parsed.head.byteCount)...], as: UTF8.self)
      #expect(withoutBody ? body.isEmpty : body.utf8.count == Int(parsed.head.contentLength))
      #expect(withoutBody || body.hasSuffix(": it was a test\nrequest 00000000000000ab\n"))
    }
  }

  @Test("an answer carries the id that a forwarder has given, with the longest reason too")
  func givenID() {
    let id = [UInt8](repeating: 120, count: RequestID.longestByteCount)
    let reason = [UInt8](repeating: 97, count: LocalResponse.maximumReasonByteCount)
    var output = [UInt8](repeating: 0, count: LocalResponse.byteCapacity)
    let count = output.withUnsafeMutableBufferPointer { output in
      id.withUnsafeBufferPointer { id in
        reason.withUnsafeBufferPointer { reason in
          LocalResponse.write(
            status: 431, reason: reason, date: dateLine, requestID: 1, givenID: id, closes: true, oldVersion: true,
            retryAfterSeconds: 1_000_000, to: output.baseAddress!, capacity: LocalResponse.byteCapacity)
        }
      }
    }
    #expect(count <= LocalResponse.byteCapacity)
    let bytes = Array(output[..<count])
    let parsed = parseResponse(bytes)
    let body = String(decoding: bytes[Int(parsed.head.byteCount)...], as: UTF8.self)
    #expect(parsed.result == .complete && body.utf8.count == Int(parsed.head.contentLength))
    let text = String(decoding: id, as: UTF8.self)
    #expect(body.hasSuffix("\nrequest \(text)\n"))
    #expect(String(decoding: bytes, as: UTF8.self).contains("\r\nX-Request-ID: \(text)\r\n"))
  }

  @Test("a long reason with anything in it is cut and made printable")
  func longReason() {
    let reason = [UInt8](repeating: 10, count: 5000)
    var output = [UInt8](repeating: 0, count: LocalResponse.byteCapacity)
    let count = reason.withUnsafeBufferPointer { reason in
      output.withUnsafeMutableBufferPointer {
        LocalResponse.write(
          status: 503, reason: reason, date: dateLine, requestID: 1, closes: true, retryAfterSeconds: 100,
          to: $0.baseAddress!,
          capacity: LocalResponse.byteCapacity)
      }
    }
    let parsed = parseResponse(Array(output[..<count]))
    #expect(Int(parsed.head.byteCount) + Int(parsed.head.contentLength) == count)
  }
}
