// Requests that are accepted and refused, byte by byte, with the verdict that each must get.

import Testing

@testable import HTTP1

/// A request that must be refused, and the fault that says why.
struct Refused: Sendable, CustomTestStringConvertible {
  let bytes: String
  let fault: HeadFault
  init(_ bytes: String, _ fault: HeadFault) {
    self.bytes = bytes
    self.fault = fault
  }
  var testDescription: String { "\(fault): \(bytes.debugDescription.prefix(90))" }
}

@Suite struct RequestTableTests {
  static let refused: [Refused] = [
    // The request line.
    Refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .bareLineEnd),
    Refused("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", .bareLineEnd),
    Refused(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
    Refused("GET / HTTP/1.1\nHost: a\n\n", .bareLineEnd),
    Refused("GET / HTTP/1.1\rHost: a\r\r", .bareLineEnd),
    Refused("GET /\r\n\r\n", .malformedRequestLine),
    Refused("GET\r\n\r\n", .malformedRequestLine),
    Refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refused("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", .malformedVersion),
    Refused("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refused("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", .malformedVersion),
    Refused("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
    Refused("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", .controlCharacter),
    Refused("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
    Refused("GÄT / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
    Refused("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}", .invalidMethod),
    Refused(String(repeating: "G", count: 40) + " / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
    Refused("GET /a\u{0}b HTTP/1.1\r\nHost: a\r\n\r\n", .controlCharacter),
    Refused("GET /ä HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
    Refused("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
    Refused("GET a HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
    Refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
    Refused("OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
    Refused("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
    Refused("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
    Refused("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
    Refused("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
    Refused("GET http://u:p@a/ HTTP/1.1\r\nHost: u:p@a\r\n\r\n", .invalidTarget),
    Refused("GET http://a:b/ HTTP/1.1\r\nHost: a:b\r\n\r\n", .invalidTarget),
    Refused("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", .hostMismatch),
    Refused("GET http://a:80/ HTTP/1.1\r\nHost: a:81\r\n\r\n", .hostMismatch),
    Refused("GET http://a:443/ HTTP/1.1\r\nHost: a\r\n\r\n", .hostMismatch),
    Refused("GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", .hostMismatch),
    Refused("GET http://a:180/ HTTP/1.1\r\nHost: a:1\r\n\r\n", .hostMismatch),
    Refused("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", .unsupportedMethod),
    Refused("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", .unsupportedMethod),
    Refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .unsupportedVersion),
    Refused("GET / HTTP/0.9\r\nHost: a\r\n\r\n", .unsupportedVersion),
    Refused("GET / HTTP/3.1\r\nHost: a\r\n\r\n", .unsupportedVersion),
    Refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .unsupportedVersion),
    Refused("GET / http/1.1\r\nHost: a\r\n\r\n", .malformedVersion),
    Refused("GET / HTTP/1.\r\nHost: a\r\n\r\n", .malformedVersion),
    Refused("GET / HTTP/11\r\nHost: a\r\n\r\n", .malformedVersion),
    Refused("GET / HTTP/1.10\r\nHost: a\r\n\r\n", .malformedRequestLine),
    Refused("GET / HTTP/2\r\n\r\n", .malformedVersion),
    Refused("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", .malformedVersion),
    Refused("GET / XTTP/1.1\r\nHost: a\r\n\r\n", .malformedVersion),
    // Field lines.
    Refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .foldedLine),
    Refused("GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", .foldedLine),
    Refused("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", .foldedLine),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", .foldedLine),
    Refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .spaceBeforeColon),
    Refused("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", .spaceBeforeColon),
    Refused("GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n", .invalidFieldName),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", .invalidFieldName),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX(y): 1\r\n\r\n", .invalidFieldName),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX\u{0}y: 1\r\n\r\n", .invalidFieldName),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nXä: 1\r\n\r\n", .invalidFieldName),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n", .controlCharacter),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{1}b\r\n\r\n", .controlCharacter),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{7f}b\r\n\r\n", .controlCharacter),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", .bareLineEnd),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n", .bareLineEnd),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n", .bareLineEnd),
    Refused("GET / HTTP/1.1\r\nHost: a\r\n\rX", .bareLineEnd),
    Refused("GET / HTTP/1.1\r\nHost: a\r\n\n", .bareLineEnd),
    // Host.
    Refused("GET / HTTP/1.1\r\n\r\n", .missingHost),
    Refused("GET http://a/ HTTP/1.1\r\n\r\n", .missingHost),
    Refused("GET / HTTP/1.1\r\nHost:\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .repeatedHost),
    Refused("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", .repeatedHost),
    Refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", .invalidHost),
    Refused("GET / HTTP/1.1\r\nHost: ä\r\n\r\n", .invalidHost),
    // Content-Length and Transfer-Encoding.
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", .invalidContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", .invalidContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", .invalidContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", .invalidContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n", .invalidContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\n", .invalidContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\n", .invalidContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", .invalidContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\n", .invalidContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", .conflictingContentLength),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\n", .conflictingContentLength),
    Refused(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      .lengthAndTransferEncoding),
    Refused(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
      .lengthAndTransferEncoding),
    Refused("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInOldVersion),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", .invalidTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", .invalidTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", .invalidTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", .invalidTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", .invalidTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", .invalidTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", .invalidTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n", .invalidTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", .repeatedTransferEncoding),
    Refused(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
      .repeatedTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .unknownTransferCoding),
    Refused(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo\r\nTransfer-Encoding: chunked\r\n\r\n",
      .unknownTransferCoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding~: chunked\r\n\r\n", .disguisedTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encodings: chunked\r\n\r\n", .disguisedTransferEncoding),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", .spaceBeforeColon),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n", .controlCharacter),
    Refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", .invalidTransferEncoding),
    // Others.
    Refused("GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n", .invalidConnection),
    Refused(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: " + (0..<40).map { "x\($0)" }.joined(separator: ",") + "\r\n\r\n",
      .invalidConnection),
    Refused("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n", .invalidMaxForwards),
    Refused("TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\nMax-Forwards: 1\r\n\r\n", .invalidMaxForwards),
    // Limits.
    Refused("GET /" + String(repeating: "a", count: 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", .targetTooLong),
    Refused("GET /" + String(repeating: "a", count: 20000), .targetTooLong),
    Refused("GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "a", count: 20000) + "\r\n\r\n", .headTooLarge),
    Refused("GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: 1\r\n", count: 100) + "\r\n", .tooManyFields),
  ]

  @Test("a malformed request is refused with its reason", arguments: refused)
  func refuses(_ entry: Refused) {
    #expect(parseRequest(Array(entry.bytes.utf8)).result == .fault(entry.fault))
  }

  @Test("faults map to 400, 414, 431, 501 and 505, and say why")
  func statuses() {
    for fault in HeadFault.allCases {
      #expect([400, 414, 431, 501, 505].contains(fault.status))
      #expect(fault.words.utf8CodeUnitCount > 10)
    }
    #expect(HeadFault.targetTooLong.status == 414)
    #expect(HeadFault.headTooLarge.status == 431)
    #expect(HeadFault.tooManyFields.status == 431)
    #expect(HeadFault.unknownTransferCoding.status == 501)
    #expect(HeadFault.unsupportedVersion.status == 505)
    #expect(HeadFault.missingHost.status == 400)
  }

  static let accepted: [String] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:   a \t \r\n\r\n",
    "GET / HTTP/1.1\r\nhOST: www.example.com:8080\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
    "GET /a?b=c&d=%20{|}'\" HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET //a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET HTTPS://A/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a:80/ HTTP/1.1\r\nHost: A\r\n\r\n",
    "GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n",
    "GET https://[2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n",
    "get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: \t \r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\u{e4}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^`|~09azAZ: 1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked \r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: , close ,\r\n\r\n",
    "GET / HTTP/1.1\r\nMax-Forwards: x\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: 1\r\n", count: 99) + "\r\n",
  ]

  @Test("a valid request is accepted, whatever follows it", arguments: accepted)
  func accepts(_ request: String) {
    let bytes = Array(request.utf8)
    let alone = parseRequest(bytes)
    #expect(alone.result == .complete)
    #expect(Int(alone.head.byteCount) == bytes.count)
    let followed = parseRequest(bytes + Array("\u{0}\nGET".utf8))
    #expect(followed.result == .complete)
    #expect(Int(followed.head.byteCount) == bytes.count)
  }

  @Test("every way to split a message gives the same verdict", arguments: accepted + refused.map(\.bytes))
  func splits(_ request: String) {
    let bytes = Array(request.utf8)
    // Large ones at some places only.
    let step = max(1, bytes.count / 600)
    let whole = parseRequest(bytes).result
    var decided = false
    for count in stride(from: 0, through: bytes.count, by: step) {
      let result = parseRequest(Array(bytes[..<count]), filler: count % 2 == 0 ? 0 : 13).result
      if result != .incomplete {
        #expect(result == whole, "after \(count) bytes")
        decided = true
      } else {
        #expect(!decided, "a verdict was taken back after \(count) bytes")
      }
    }
  }
}
