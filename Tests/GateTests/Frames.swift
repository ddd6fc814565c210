// Ethernet frames for the gate's tests, built field by field as the standards draw them.

import Primitives

enum Frames {
  static let macs: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]

  static func ethernet(_ type: UInt16, tags: [UInt16] = [], _ payload: [UInt8]) -> [UInt8] {
    macs + tags.flatMap { [UInt8(0x81), 0x00] + big($0) } + big(type) + payload
  }

  static func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }

  /// RFC 791: UDP, no options.
  static func ipv4(from source: IPAddress, to destination: IPAddress, tags: [UInt16] = []) -> [UInt8] {
    ethernet(
      0x0800, tags: tags,
      [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0] + source.bytes + destination.bytes + [0, 7, 0, 7, 0, 8, 0, 0])
  }

  /// RFC 826. Operation 1: request, 2: reply.
  static func arp(_ operation: UInt16, sender: IPAddress, target: IPAddress, tags: [UInt16] = []) -> [UInt8] {
    ethernet(
      0x0806, tags: tags,
      [0, 1, 8, 0, 6, 4] + big(operation) + macs[6...] + sender.bytes + [0, 0, 0, 0, 0, 0] + target.bytes)
  }

  /// RFC 8200: `extensions` are (header, next header is filled in) of eight bytes each.
  static func ipv6(
    from source: IPAddress, to destination: IPAddress, next: UInt8 = 17, extensions: [UInt8] = [],
    _ payload: [UInt8] = [0, 7, 0, 7, 0, 8, 0, 0]
  ) -> [UInt8] {
    var headers: [UInt8] = []
    for (position, _) in extensions.enumerated() {
      let following = position + 1 < extensions.count ? extensions[position + 1] : next
      headers += [following, 0, 1, 4, 0, 0, 0, 0]
    }
    let body = headers + payload
    return ethernet(
      0x86dd,
      [0x60, 0, 0, 0] + big(UInt16(body.count)) + [extensions.first ?? next, 255] + source.bytes + destination.bytes
        + body)
  }

  static let fin: UInt8 = 1, syn: UInt8 = 2, reset: UInt8 = 4, ack: UInt8 = 16

  /// RFC 9293: a segment without options or data, between two addresses of one family.
  static func segment(
    _ flags: UInt8, from source: IPAddress, to destination: IPAddress, extensions: [UInt8] = [], fragment: UInt16 = 0
  ) -> [UInt8] {
    let segment: [UInt8] = big(50_000) + big(7000) + [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 16, 0, 0, 0, 0, 0]
    if source.family == .v6 {
      return ipv6(from: source, to: destination, next: 6, extensions: extensions, segment)
    }
    return ethernet(
      0x0800,
      [0x45, 0] + big(40) + [0, 1] + big(fragment) + [64, 6, 0, 0] + source.bytes + destination.bytes + segment)
  }

  /// A solicitation with the sender's hardware address as an option, and its checksum (RFC 4443 section 2.3).
  static func question(from source: IPAddress, about target: IPAddress) -> [UInt8] {
    var message: [UInt8] = [135, 0, 0, 0, 0, 0, 0, 0] + target.bytes + [1, 1] + macs[6...]
    let sum = checksum(message, from: source, to: target)
    (message[2], message[3]) = (UInt8(sum >> 8), UInt8(sum & 0xff))
    return ipv6(from: source, to: target, next: 58, message)
  }

  /// Of an ICMPv6 message; zero over one that has the right checksum in it.
  static func checksum(_ message: [UInt8], from source: IPAddress, to destination: IPAddress) -> UInt16 {
    let bytes = source.bytes + destination.bytes + [0, 0] + big(UInt16(message.count)) + [0, 0, 0, 58] + message
    var sum = stride(from: 0, to: bytes.count, by: 2).reduce(UInt32(0)) {
      $0 + UInt32(bytes[$1]) << 8 + UInt32($1 + 1 < bytes.count ? bytes[$1 + 1] : 0)
    }
    while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
    return ~UInt16(sum)
  }

  /// RFC 4861: a solicitation (135) or an advertisement (136).
  static func neighbour(
    _ type: UInt8, from source: IPAddress, to destination: IPAddress, target: IPAddress, extensions: [UInt8] = []
  ) -> [UInt8] {
    ipv6(
      from: source, to: destination, next: 58, extensions: extensions,
      [type, 0, 0, 0, 0, 0, 0, 0] + target.bytes)
  }
}
