// IPv4 and IPv6 addresses, prefixes and endpoints, without the system's resolver or Foundation.

/// An IPv4 or IPv6 address. Sixteen bytes in network order; an IPv4 address occupies the last four.
package struct IPAddress: Hashable, Comparable, Codable, Sendable, CustomStringConvertible {
  package enum Family: UInt8, Codable, Sendable { case v4 = 4, v6 = 6 }

  package let family: Family
  package let high: UInt64
  package let low: UInt64

  package init(v4 value: UInt32) { family = .v4; high = 0; low = UInt64(value) }
  package init(v6High high: UInt64, low: UInt64) { family = .v6; self.high = high; self.low = low }

  package static let anyV4 = IPAddress(v4: 0)
  package static let anyV6 = IPAddress(v6High: 0, low: 0)

  /// The IPv4 address as a number in host order.
  package var v4Value: UInt32? { family == .v4 ? UInt32(truncatingIfNeeded: low) : nil }
  package var bitCount: Int { family == .v4 ? 32 : 128 }
  package var isUnspecified: Bool { high == 0 && low == 0 }
  package var isLoopback: Bool { family == .v4 ? low >> 24 == 127 : (high == 0 && low == 1) }
  /// fe80::/10, and 169.254.0.0/16.
  package var isLinkLocal: Bool { family == .v4 ? low >> 16 == 0xa9fe : high >> 54 == 0x3fa }
  /// ::ffff:0:0/96: an IPv4 address in the clothes of IPv6.
  package var isMapped: Bool { family == .v6 && high == 0 && low >> 32 == 0xffff }
  /// Can be the address of one host.
  package var isHost: Bool { !isUnspecified && !isMulticast && !isMapped && v4Value != 0xffff_ffff }
  package var isMulticast: Bool { family == .v4 ? (224...239).contains(low >> 24) : high >> 56 == 0xff }

  /// The bytes in network order: 4 or 16.
  package var bytes: [UInt8] { Array((family == .v4 ? allBytes[12...] : allBytes[...])) }

  private var allBytes: [UInt8] {
    var result: [UInt8] = []
    for word in [high, low] {
      for shift in stride(from: UInt64(56), through: 0, by: -8) {
        result.append(UInt8(truncatingIfNeeded: word >> shift))
      }
    }
    return result
  }

  /// Parses dotted-decimal IPv4 (four numbers, no leading zeros) or IPv6 (RFC 4291 section 2.2, with an embedded IPv4 tail;
  /// no zone). Nil if `text` is neither.
  package init?(_ text: some StringProtocol) {
    if text.utf8.contains(UInt8(ascii: ":")) {
      guard let value = Self.parseV6(Array(text.utf8)) else { return nil }
      self.init(v6High: value.high, low: value.low)
    } else {
      guard let value = Self.parseV4(Array(text.utf8)) else { return nil }
      self.init(v4: value)
    }
  }

  private static func parseV4(_ bytes: [UInt8]) -> UInt32? {
    let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var value: UInt32 = 0
    for part in parts {
      guard (1...3).contains(part.count), part.allSatisfy({ (48...57).contains($0) }) else { return nil }
      if part.count > 1, part.first == UInt8(ascii: "0") { return nil }
      let number = part.reduce(UInt32(0)) { $0 * 10 + UInt32($1 - 48) }
      guard number <= 255 else { return nil }
      value = value << 8 | number
    }
    return value
  }

  private static func parseV6(_ bytes: [UInt8]) -> (high: UInt64, low: UInt64)? {
    // Split at "::" if there is one; each side is a list of groups.
    var gapAt: Int?
    var index = 0
    while index + 1 < bytes.count {
      if bytes[index] == UInt8(ascii: ":"), bytes[index + 1] == UInt8(ascii: ":") {
        if gapAt != nil { return nil }
        gapAt = index
        index += 1
      }
      index += 1
    }
    let left: [UInt16]?
    let right: [UInt16]
    if let gapAt {
      left = gapAt == 0 ? [] : groups(Array(bytes[..<gapAt]), mayEndInV4: false)
      guard let tail = gapAt + 2 == bytes.count ? [] : groups(Array(bytes[(gapAt + 2)...]), mayEndInV4: true) else {
        return nil
      }
      right = tail
    } else {
      left = groups(bytes, mayEndInV4: true)
      right = []
    }
    guard let left else { return nil }
    let count = left.count + right.count
    guard gapAt == nil ? count == 8 : count <= 7 else { return nil }
    let all = left + [UInt16](repeating: 0, count: 8 - count) + right
    let high = all[0..<4].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
    let low = all[4..<8].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
    return (high, low)
  }

  private static func groups(_ bytes: [UInt8], mayEndInV4: Bool) -> [UInt16]? {
    let parts = bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    var result: [UInt16] = []
    for (position, part) in parts.enumerated() {
      if position == parts.count - 1, mayEndInV4, part.contains(UInt8(ascii: ".")) {
        guard let value = parseV4(Array(part)) else { return nil }
        result += [UInt16(truncatingIfNeeded: value >> 16), UInt16(truncatingIfNeeded: value)]
        continue
      }
      guard (1...4).contains(part.count), let text = String(validating: part, as: UTF8.self),
        let number = UInt16(text, radix: 16), part.first != UInt8(ascii: "+"), part.first != UInt8(ascii: "-")
      else { return nil }
      result.append(number)
    }
    return result
  }

  /// Dotted decimal, or RFC 5952 for IPv6 (lower case, longest run of zeros of at least two groups shortened).
  package var description: String {
    if family == .v4 { return bytes.map(String.init).joined(separator: ".") }
    let all: [UInt16] = stride(from: 0, to: 16, by: 2).map { UInt16(allBytes[$0]) << 8 | UInt16(allBytes[$0 + 1]) }
    var best = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, all[end] == 0 { end += 1 }
      if end - start > best.count { best = start..<end }
      start = max(end, start + 1)
    }
    func text(_ range: Range<Int>) -> String { all[range].map { String($0, radix: 16) }.joined(separator: ":") }
    return best.count >= 2 ? text(0..<best.lowerBound) + "::" + text(best.upperBound..<8) : text(0..<8)
  }

  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let address = IPAddress(text) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "not an IP address: \(text)"))
    }
    self = address
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  package static func < (left: IPAddress, right: IPAddress) -> Bool {
    (left.family.rawValue, left.high, left.low) < (right.family.rawValue, right.high, right.low)
  }
}

/// An address with the length of its network prefix: `192.0.2.100/24`.
package struct AddressPrefix: Hashable, Codable, Sendable, CustomStringConvertible {
  package let address: IPAddress
  /// 0 to 32, or 0 to 128.
  package let length: Int

  /// Nil if `length` does not fit the family.
  package init?(address: IPAddress, length: Int) {
    guard (0...address.bitCount).contains(length) else { return nil }
    self.address = address
    self.length = length
  }

  /// Parses `ADDRESS/LENGTH`. Nil if either part is missing or wrong.
  package init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let address = IPAddress(parts[0]), (1...3).contains(parts[1].utf8.count),
      parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let length = Int(parts[1])
    else { return nil }
    self.init(address: address, length: length)
  }

  package func contains(_ other: IPAddress) -> Bool {
    guard other.family == address.family else { return false }
    let highBits = address.family == .v4 ? 0 : min(length, 64)
    let lowBits = address.family == .v4 ? length + 32 : max(0, length - 64)
    func mask(_ bits: Int) -> UInt64 { bits == 0 ? 0 : ~0 << UInt64(64 - bits) }
    let lowMask = address.family == .v4 ? mask(lowBits) & 0xffff_ffff : mask(lowBits)
    return (address.high ^ other.high) & mask(highBits) == 0 && (address.low ^ other.low) & lowMask == 0
  }

  private var hostMask: (high: UInt64, low: UInt64) {
    let bits = address.bitCount - length
    func mask(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : bits >= 64 ? ~0 : 1 << UInt64(bits) - 1 }
    return (mask(bits - 64), mask(bits))
  }

  /// All bits behind the prefix are zero: the network itself, with IPv6 the address of whichever router answers first.
  package var isNetwork: Bool {
    let mask = hostMask
    return address.high & mask.high == 0 && address.low & mask.low == 0
  }

  /// All bits behind the prefix are one, which means something with IPv4 only.
  package var isBroadcast: Bool {
    let mask = hostMask
    return address.family == .v4 && address.low & mask.low == mask.low
  }

  package var description: String { "\(address)/\(length)" }
}

/// An address and a port: `192.0.2.1:80`, `[2001:db8::1]:80`.
package struct Endpoint: Hashable, Codable, Sendable, CustomStringConvertible {
  package let address: IPAddress
  package let port: UInt16

  package init(address: IPAddress, port: UInt16) {
    self.address = address
    self.port = port
  }

  /// Where heartbeats go unless said otherwise: 239.255.70.76 or ff02::7076, port 7076.
  package static func heartbeats(of family: IPAddress.Family) -> Endpoint {
    Endpoint(
      address: family == .v4 ? IPAddress(v4: 0xefff_464c) : IPAddress(v6High: 0xff02 << 48, low: 0x7076), port: 7076)
  }

  /// Parses `ADDRESS:PORT` with an IPv6 address in brackets. Nil if it is anything else, or the port is 0 or above 65,535.
  package init?(_ text: some StringProtocol) {
    guard let colon = text.lastIndex(of: ":"), let port = Self.parsePort(text[text.index(after: colon)...]) else {
      return nil
    }
    var host = String(text[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = String(host.dropFirst().dropLast())
      guard host.utf8.contains(UInt8(ascii: ":")) else { return nil }
    } else if host.utf8.contains(UInt8(ascii: ":")) {
      return nil
    }
    guard let address = IPAddress(host) else { return nil }
    self.init(address: address, port: port)
  }

  /// A decimal port, 1 to 65,535.
  package static func parsePort(_ text: some StringProtocol) -> UInt16? {
    guard (1...5).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }), let port = UInt16(text),
      port > 0
    else { return nil }
    return port
  }

  package var description: String { address.family == .v4 ? "\(address):\(port)" : "[\(address)]:\(port)" }
}
