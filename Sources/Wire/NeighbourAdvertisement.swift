// Unsolicited neighbour advertisement (RFC 4861 section 7.2.6): "this IPv6 address is at this MAC now", to all nodes of the
// link, with the override flag, so that neighbours whose caches name another holder replace what they have.
//
//      0  destination MAC 33:33:00:00:00:01 (6)     54  ICMPv6 type 136, code 0 (2)
//      6  source MAC (6)                            56  checksum (2)
//     12  EtherType 86 dd (2)                       58  flags: override 20 00 00 00 (4)
//     14  version 6, class, flow: 60 00 00 00 (4)   62  target: the address (16)
//     18  payload length 32 (2)                     78  option: target link-layer address 02, length 01 (2)
//     20  next header 58, hop limit 255 (2)         80  MAC (6)
//     22  source: the address (16)                  86  end
//     38  destination ff02::1 (16)

package import Primitives

package enum NeighbourAdvertisement {
  package static let byteCount = 86

  /// Writes the frame.
  /// - Parameters:
  ///   - address: IPv6.
  ///   - buffer: at least `byteCount` bytes.
  package static func encode(address: IPAddress, mac: MACAddress, into buffer: UnsafeMutableRawBufferPointer) {
    precondition(buffer.count >= byteCount, "the buffer is shorter than an advertisement")
    precondition(address.family == .v6, "neighbour discovery is for IPv6")
    for offset in 0..<byteCount { buffer[offset] = 0 }
    buffer.set(mac: MACAddress(0x3333_0000_0001), at: 0)
    buffer.set(mac: mac, at: 6)
    buffer.set(UInt16(0x86dd), at: 12)
    buffer.set(UInt32(0x6000_0000), at: 14)
    buffer.set(UInt16(32), at: 18)
    buffer.set(UInt16(58 << 8 | 255), at: 20)
    buffer.set(address.high, at: 22)
    buffer.set(address.low, at: 30)
    buffer.set(UInt64(0xff02) << 48, at: 38)
    buffer.set(UInt64(1), at: 46)
    buffer.set(UInt16(136 << 8), at: 54)
    buffer.set(UInt32(0x2000_0000), at: 58)
    buffer.set(address.high, at: 62)
    buffer.set(address.low, at: 70)
    buffer.set(UInt16(0x0201), at: 78)
    buffer.set(mac: mac, at: 80)
    buffer.set(checksum(UnsafeRawBufferPointer(buffer)), at: 56)
  }

  /// Over the pseudo-header (RFC 8200 section 8.1: addresses, length 32, next header 58) and the message.
  private static func checksum(_ frame: UnsafeRawBufferPointer) -> UInt16 {
    var sum: UInt32 = 32 + 58
    for offset in stride(from: 22, to: byteCount, by: 2) { sum += UInt32(frame.u16(offset)) }
    while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
    return ~UInt16(truncatingIfNeeded: sum)
  }
}
