// PROXY headers of both versions: golden bytes, faults, and that a verdict does not depend on how the bytes arrive.

import Primitives
import ProxyProtocol
import Testing

private let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

@Suite("PROXY headers") struct ProxyHeaderTests {
  private func parse(_ bytes: [UInt8]) -> ProxyHeaderResult {
    // One byte more than is said to be there, so that reading it would be noticed as a wrong verdict.
    (bytes + [13]).withUnsafeBufferPointer { ProxyHeader.parse($0.baseAddress!, count: bytes.count) }
  }

  /// The verdict on the whole, after every prefix has been asked for too.
  private func verdict(_ bytes: [UInt8]) -> ProxyHeaderResult {
    let whole = parse(bytes)
    for count in 0..<bytes.count {
      let early = parse(Array(bytes[..<count]))
      #expect(early == .incomplete || early == whole, "after \(count) bytes")
    }
    return whole
  }

  private func header(_ source: String?, _ destination: String?, _ byteCount: Int) -> ProxyHeaderResult {
    .complete(
      ProxyHeader(
        source: source.flatMap { Endpoint($0) }, destination: destination.flatMap { Endpoint($0) }, byteCount: byteCount
      ))
  }

  @Test(
    "lines that are right",
    arguments: [
      ("PROXY TCP4 192.0.2.7 198.51.100.1 51234 80\r\n", "192.0.2.7:51234", "198.51.100.1:80"),
      ("PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", "[2001:db8::7]:1", "[2001:db8::1]:65535"),
      ("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 1 2\r\n", "192.0.2.7:1", "192.0.2.1:2"),
      ("PROXY UNKNOWN\r\n", nil, nil), ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", nil, nil),
    ] as [(String, String?, String?)])
  func lines(_ line: String, _ source: String?, _ destination: String?) {
    #expect(verdict(Array(line.utf8)) == header(source, destination, line.utf8.count))
    #expect(verdict(Array((line + "GET / HTTP/1.1\r\n").utf8)) == header(source, destination, line.utf8.count))
  }

  @Test(
    "lines that are wrong",
    arguments: [
      ("GET / HTTP/1.1\r\n", ProxyHeaderFault.notAHeader), ("proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n", .notAHeader),
      ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n", .malformedLine),
      ("PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n", .malformedLine),
      ("PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2 \r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.256 192.0.2.1 1 2\r\n", .malformedLine),
      ("PROXY TCP4 2001:db8::1 192.0.2.1 1 2\r\n", .malformedLine),
      ("PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.7 192.0.2.1 65536 2\r\n", .malformedLine),
      ("PROXY TCP4 192.0.2.7 192.0.2.1 -1 2\r\n", .malformedLine),
      ("PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n", .malformedLine),
      ("PROXY \r\n", .malformedLine), ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\rX", .malformedLine),
      ("PROXY UNKNOWN " + String(repeating: "x", count: 100) + "\r\n", .tooLong),
      ("PROXY UNKNOWN \0\r\n", .malformedLine),
    ])
  func wrongLines(_ line: String, _ fault: ProxyHeaderFault) { #expect(verdict(Array(line.utf8)) == .fault(fault)) }

  @Test("a longest line is taken") func longestLine() {
    let line = "PROXY UNKNOWN" + String(repeating: " ", count: 107 - 15) + "\r\n"
    #expect(verdict(Array(line.utf8)) == header(nil, nil, 107))
  }

  private let v4: [UInt8] = [192, 0, 2, 7, 198, 51, 100, 1, 0xc8, 0x22, 0x00, 0x50]

  @Test("binary headers that are right") func binary() {
    #expect(verdict(signature + [0x21, 0x11, 0, 12] + v4) == header("192.0.2.7:51234", "198.51.100.1:80", 28))
    let v6: [UInt8] =
      [0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [7] + [0x20, 0x01, 0x0d, 0xb8]
      + [UInt8](repeating: 0, count: 11) + [1] + [0, 1, 0xff, 0xff]
    #expect(verdict(signature + [0x21, 0x21, 0, 36] + v6) == header("[2001:db8::7]:1", "[2001:db8::1]:65535", 52))
    // A health check of the proxy's own, with something behind that is nothing to us.
    #expect(verdict(signature + [0x20, 0x00, 0, 3, 1, 2, 3]) == header(nil, nil, 19))
    #expect(verdict(signature + [0x21, 0x00, 0, 0]) == header(nil, nil, 16))
    // A Unix socket.
    #expect(verdict(signature + [0x21, 0x31, 0, 216] + [UInt8](repeating: 9, count: 216)) == header(nil, nil, 232))
    // Extensions: an authority, a no-op.
    #expect(
      verdict(signature + [0x21, 0x11, 0, 21] + v4 + [2, 0, 3, 97, 46, 98, 4, 0, 0] + [71, 69, 84])
        == header("192.0.2.7:51234", "198.51.100.1:80", 37))
  }

  @Test("the extension of TLS says whether the client speaks it") func isSecure() {
    func isSecure(_ value: [UInt8]) -> Bool? {
      let rest = v4 + [0x20, 0, UInt8(value.count)] + value
      guard case .complete(let header) = verdict(signature + [0x21, 0x11, 0, UInt8(rest.count)] + rest) else {
        return nil
      }
      return header.isSecure
    }
    // With a version of TLS behind it; without TLS; too short.
    #expect(isSecure([1, 0, 0, 0, 0, 0x21, 0, 2, 49, 51]) == true)
    #expect(isSecure([0, 0, 0, 0, 0]) == false)
    #expect(isSecure([1, 0, 0, 0]) == nil)
  }

  @Test("binary headers that are wrong") func wrongBinary() {
    #expect(verdict(signature + [0x11, 0x11, 0, 12] + v4) == .fault(.unknownVersion))
    #expect(verdict(signature + [0x22, 0x11, 0, 12] + v4) == .fault(.unknownVersion))
    #expect(verdict(signature + [0x21, 0x12, 0, 12] + v4) == .fault(.unknownFamily))
    #expect(verdict(signature + [0x21, 0x11, 0, 11] + v4) == .fault(.tooShort))
    #expect(verdict(signature + [0x21, 0x21, 0, 12] + v4) == .fault(.tooShort))
    #expect(verdict(signature + [0x21, 0x11, 0x08, 0x00] + v4) == .fault(.tooLong))
    #expect(verdict(signature + [0x21, 0x11, 0, 14] + v4 + [1, 0]) == .fault(.malformedExtension))
    #expect(verdict(signature + [0x21, 0x11, 0, 15] + v4 + [1, 0, 1]) == .fault(.malformedExtension))
    #expect(verdict(signature + [0x21, 0x11, 0, 18] + v4 + [3, 0, 3, 0, 0, 0]) == .fault(.malformedExtension))
    #expect(verdict(signature.dropLast() + [0x0d]) == .fault(.notAHeader))
  }

  @Test("a checksum counts") func checksum() {
    var bytes = signature + [0x21, 0x11, 0, 19] + v4 + [3, 0, 4, 0, 0, 0, 0]
    let sum = bytes.withUnsafeBufferPointer { ProxyHeader.checksum($0.baseAddress!, 35, zeroes: 31) }
    for index in 0..<4 { bytes[31 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(24 - 8 * index)) }
    #expect(verdict(bytes) == header("192.0.2.7:51234", "198.51.100.1:80", 35))
    bytes[16] ^= 1
    #expect(verdict(bytes) == .fault(.wrongChecksum))
    // The check value of CRC32c (RFC 3720's polynomial).
    #expect(
      Array("123456789".utf8).withUnsafeBufferPointer { ProxyHeader.checksum($0.baseAddress!, 9, zeroes: 99) }
        == 0xe306_9283)
  }

  @Test(
    "what is written is read back as it was meant",
    arguments: [ProxyHeaderVersion.v1, .v2],
    [
      ("192.0.2.7:51234", "198.51.100.1:80"), ("[2001:db8::7]:1", "[2001:db8::1]:65535"),
      ("192.0.2.7:51234", "[2001:db8::1]:80"),
    ])
  func written(_ version: ProxyHeaderVersion, _ ends: (String, String)) throws {
    let source = try #require(Endpoint(ends.0))
    let destination = try #require(Endpoint(ends.1))
    let bytes = ProxyHeader.bytes(version, source: source, destination: destination)
    #expect(verdict(bytes) == header(ends.0, ends.1, bytes.count))
    #expect(bytes.count <= 107)
  }

  @Test("golden bytes of what is written") func golden() throws {
    let source = try #require(Endpoint("192.0.2.7:258"))
    let destination = try #require(Endpoint("198.51.100.1:80"))
    #expect(
      ProxyHeader.bytes(.v1, source: source, destination: destination)
        == Array("PROXY TCP4 192.0.2.7 198.51.100.1 258 80\r\n".utf8))
    #expect(
      ProxyHeader.bytes(.v2, source: source, destination: destination)
        == signature + [0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 1, 2, 0, 80])
    #expect(ProxyHeader.bytesOfOwn(.v1) == Array("PROXY UNKNOWN\r\n".utf8))
    #expect(ProxyHeader.bytesOfOwn(.v2) == signature + [0x20, 0, 0, 0])
    #expect(verdict(ProxyHeader.bytesOfOwn(.v2)) == header(nil, nil, 16))
  }
}
