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

  /// RFC 4861: a solicitation (135) or an advertisement (136).
  static func neighbour(
    _ type: UInt8, from source: IPAddress, to destination: IPAddress, target: IPAddress, extensions: [UInt8] = []
  ) -> [UInt8] {
    ipv6(
      from: source, to: destination, next: 58, extensions: extensions,
      [type, 0, 0, 0, 0, 0, 0, 0] + target.bytes)
  }
}
