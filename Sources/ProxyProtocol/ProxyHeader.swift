// The PROXY protocol (HAProxy's proxy-protocol.txt, versions 1 and 2): what a proxy before us says, ahead of everything
// else on a connection, about who connected to it. Read strictly: it decides who a client is, so what is not exactly a
// header is a fault and the connection is closed.

package import Primitives

package enum ProxyHeaderFault: UInt8, Error, Sendable {
  case notAHeader
  case malformedLine
  case unknownVersion
  case unknownFamily
  case tooShort
  case tooLong
  case malformedExtension
  case wrongChecksum

  package var words: StaticString {
    switch self {
    case .notAHeader: "the connection does not start with a PROXY header"
    case .malformedLine: "the PROXY line is malformed"
    case .unknownVersion: "the PROXY header has another version or command"
    case .unknownFamily: "the PROXY header is not about a stream"
    case .tooShort: "the PROXY header is shorter than its addresses"
    case .tooLong: "the PROXY header is too long"
    case .malformedExtension: "an extension of the PROXY header is malformed"
    case .wrongChecksum: "the checksum of the PROXY header is wrong"
    }
  }
}

package enum ProxyHeaderResult: Equatable, Sendable {
  /// Right so far.
  case incomplete
  case complete(ProxyHeader)
  case fault(ProxyHeaderFault)
}

package struct ProxyHeader: Equatable, Sendable {
  /// Longer headers are refused; what real proxies add to a binary header stays far below.
  package static let maximumByteCount = 2048
  /// Of the text form, by its definition.
  static let maximumLineByteCount = 107

  /// Nil: the proxy speaks for itself (a health check of its own) or does not know: the connection's own addresses hold.
  package var source: Endpoint?
  package var destination: Endpoint?
  package var byteCount: Int
  /// The client speaks TLS to the proxy.
  package var isSecure: Bool

  package init(source: Endpoint?, destination: Endpoint?, byteCount: Int, isSecure: Bool = false) {
    self.isSecure = isSecure
    self.source = source
    self.destination = destination
    self.byteCount = byteCount
  }

  /// Reads the header at the start of `bytes`, of which `count` have arrived. Always from the beginning; a verdict other than
  /// `incomplete` does not change when more bytes come. Nothing behind the header is looked at.
  package static func parse(_ bytes: UnsafePointer<UInt8>, count: Int) -> ProxyHeaderResult {
    let line: StaticString = "PROXY "
    let signature: StaticString = "\r\n\r\n\0\r\nQUIT\n"
    if starts(bytes, count, line) {
      if count < line.utf8CodeUnitCount { return .incomplete }
      var reader = LineReader(bytes, count)
      return reader.header()
    }
    if !starts(bytes, count, signature) { return .fault(.notAHeader) }
    return count < 16 ? .incomplete : binary(bytes, count)
  }

  /// Whether what has arrived is the start of `text`, or starts with it.
  private static func starts(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ text: StaticString) -> Bool {
    for index in 0..<min(count, text.utf8CodeUnitCount) where bytes[index] != text.utf8Start[index] { return false }
    return true
  }

  // MARK: Version 2
  //
  //    0                12  13  14     16
  //   +------------------+---+---+------+-----------------------------+--------------+
  //   | signature        |v/c|f/p|length| source, destination, ports  | extensions … |
  //   +------------------+---+---+------+-----------------------------+--------------+

  private static func binary(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> ProxyHeaderResult {
    let isLocal = bytes[12] == 0x20
    if !isLocal && bytes[12] != 0x21 { return .fault(.unknownVersion) }
    let end = 16 + Int(word(bytes + 14))
    if end > maximumByteCount { return .fault(.tooLong) }
    if count < end { return .incomplete }
    if isLocal { return .complete(ProxyHeader(source: nil, destination: nil, byteCount: end)) }
    var header = ProxyHeader(source: nil, destination: nil, byteCount: end)
    let addressEnd: Int
    switch bytes[13] {
    case 0x00: addressEnd = 16
    case 0x11:
      addressEnd = 16 + 12
      if end < addressEnd { return .fault(.tooShort) }
      header.source = endpoint(v4: bytes + 16, port: bytes + 24)
      header.destination = endpoint(v4: bytes + 20, port: bytes + 26)
    case 0x21:
      addressEnd = 16 + 36
      if end < addressEnd { return .fault(.tooShort) }
      header.source = endpoint(v6: bytes + 16, port: bytes + 48)
      header.destination = endpoint(v6: bytes + 32, port: bytes + 50)
    case 0x31:
      addressEnd = 16 + 216
      if end < addressEnd { return .fault(.tooShort) }
    default: return .fault(.unknownFamily)
    }
    // Of an unspecified family nothing is known about what follows.
    if bytes[13] != 0, let fault = readExtensions(bytes, addressEnd, end, &header) { return .fault(fault) }
    return .complete(header)
  }

  /// Extensions: a type, two bytes of length, a value. The checksum (3) and that of TLS (0x20) mean something to us: its first
  /// byte has bit 0 set if the client speaks TLS; a verification of its certificate and more may follow.
  private static func readExtensions(
    _ bytes: UnsafePointer<UInt8>, _ start: Int, _ end: Int, _ header: inout ProxyHeader
  ) -> ProxyHeaderFault? {
    var position = start
    while position < end {
      guard position + 3 <= end else { return .malformedExtension }
      let length = Int(word(bytes + position + 1))
      guard position + 3 + length <= end else { return .malformedExtension }
      if bytes[position] == 3 {
        guard length == 4 else { return .malformedExtension }
        let stated = UInt32(word(bytes + position + 3)) << 16 | UInt32(word(bytes + position + 5))
        if stated != checksum(bytes, end, zeroes: position + 3) { return .wrongChecksum }
      }
      if bytes[position] == 0x20 {
        guard length >= 5 else { return .malformedExtension }
        if bytes[position + 3] & 1 == 1 { header.isSecure = true }
      }
      position += 3 + length
    }
    return nil
  }

  /// CRC32c of the header with four bytes at `zeroes` as zeroes.
  package static func checksum(_ bytes: UnsafePointer<UInt8>, _ count: Int, zeroes: Int) -> UInt32 {
    var state: UInt32 = ~0
    for index in 0..<count {
      state ^= (zeroes..<zeroes + 4).contains(index) ? 0 : UInt32(bytes[index])
      for _ in 0..<8 { state = state & 1 == 0 ? state >> 1 : state >> 1 ^ 0x82f6_3b78 }
    }
    return ~state
  }

  private static func word(_ bytes: UnsafePointer<UInt8>) -> UInt16 { UInt16(bytes[0]) << 8 | UInt16(bytes[1]) }

  private static func endpoint(v4: UnsafePointer<UInt8>, port: UnsafePointer<UInt8>) -> Endpoint {
    let value = UInt32(word(v4)) << 16 | UInt32(word(v4 + 2))
    return Endpoint(address: IPAddress(v4: value), port: word(port))
  }

  private static func endpoint(v6: UnsafePointer<UInt8>, port: UnsafePointer<UInt8>) -> Endpoint {
    var high: UInt64 = 0
    var low: UInt64 = 0
    for index in 0..<8 {
      high = high << 8 | UInt64(v6[index])
      low = low << 8 | UInt64(v6[index + 8])
    }
    // An IPv4 address in an IPv6 coat is that IPv4 client.
    let isMapped = high == 0 && low >> 32 == 0xffff
    let address = isMapped ? IPAddress(v4: UInt32(truncatingIfNeeded: low)) : IPAddress(v6High: high, low: low)
    return Endpoint(address: address, port: word(port))
  }
}

/// Version 1: `PROXY TCP4 192.0.2.7 198.51.100.1 51234 80` CR LF, or `PROXY UNKNOWN` and anything up to CR LF.
private struct LineReader {
  private let bytes: UnsafePointer<UInt8>
  /// Up to the CR.
  private var end = 0
  private let count: Int
  private var position = 6

  init(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
    self.bytes = bytes
    self.count = min(count, ProxyHeader.maximumLineByteCount)
  }

  mutating func header() -> ProxyHeaderResult {
    while end < count && bytes[end] != 13 {
      // A line holds visible characters and spaces: the verdict need not wait for its end.
      if bytes[end] < 32 || bytes[end] > 126 { return .fault(.malformedLine) }
      end += 1
    }
    if end + 1 >= count { return count < ProxyHeader.maximumLineByteCount ? .incomplete : .fault(.tooLong) }
    if bytes[end + 1] != 10 { return .fault(.malformedLine) }
    let family = field()
    if Self.equals(family, "UNKNOWN") {
      return .complete(ProxyHeader(source: nil, destination: nil, byteCount: end + 2))
    }
    let isV4 = Self.equals(family, "TCP4")
    guard isV4 || Self.equals(family, "TCP6"), let source = address(isV4), let destination = address(isV4),
      let sourcePort = port(), let destinationPort = port(), position > end
    else { return .fault(.malformedLine) }
    return .complete(
      ProxyHeader(
        source: Endpoint(address: source, port: sourcePort),
        destination: Endpoint(address: destination, port: destinationPort), byteCount: end + 2))
  }

  /// Up to the next space or the end, behind which the position is then.
  private mutating func field() -> UnsafeBufferPointer<UInt8> {
    let start = min(position, end)
    var stop = start
    while stop < end && bytes[stop] != 32 { stop += 1 }
    position = stop + 1
    return UnsafeBufferPointer(start: bytes + start, count: stop - start)
  }

  private mutating func address(_ isV4: Bool) -> IPAddress? {
    guard let address = IPAddress(String(decoding: field(), as: UTF8.self)) else { return nil }
    if address.family == .v4 { return isV4 ? address : nil }
    if isV4 { return nil }
    let isMapped = address.high == 0 && address.low >> 32 == 0xffff
    return isMapped ? IPAddress(v4: UInt32(truncatingIfNeeded: address.low)) : address
  }

  private mutating func port() -> UInt16? {
    let digits = field()
    if digits.isEmpty || digits.count > 5 || digits.count > 1 && digits[0] == 48 { return nil }
    var value: UInt32 = 0
    for digit in digits {
      guard digit &- 48 < 10 else { return nil }
      value = value * 10 + UInt32(digit - 48)
    }
    return UInt16(exactly: value)
  }

  private static func equals(_ bytes: UnsafeBufferPointer<UInt8>, _ text: StaticString) -> Bool {
    guard bytes.count == text.utf8CodeUnitCount else { return false }
    for index in bytes.indices where bytes[index] != text.utf8Start[index] { return false }
    return true
  }
}
