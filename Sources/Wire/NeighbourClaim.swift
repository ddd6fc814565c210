// Who says to have an address, out of neighbour discovery (RFC 4861 sections 4.3 and 4.4).
//
//      0  ICMPv6 type: 135 solicitation, 136 advertisement; code 0 (2)
//      2  checksum (2)
//      4  an advertisement's flags, or zero (4)
//      8  target (16)
//     24  options: type, length in units of 8 bytes, value; 1 source and 2 target link-layer address (6 bytes of Ethernet)

package import Primitives

/// An address and who claims it.
package struct NeighbourClaim: Hashable, Sendable {
  package var address: IPAddress
  package var claimant: MACAddress

  /// Longer ones are cut; what matters comes first.
  package static let longestMessage = 128
  private static let headerByteCount = 24

  package init(address: IPAddress, claimant: MACAddress) {
    self.address = address
    self.claimant = claimant
  }

  /// An advertisement claims its target; a solicitation the address that it comes from. Nil for everything else, for what a
  /// router let through (its hop limit is below 255), for what names no hardware address, and for what is malformed.
  /// - Parameters:
  ///   - message: ICMPv6, with a checksum that is right.
  ///   - source: of the packet; all zeros in a solicitation that only asks whether an address is free.
  package init?(message: UnsafeRawBufferPointer, source: IPAddress, hopLimit: Int?) {
    guard message.count >= Self.headerByteCount, hopLimit == 255, message.u8(1) == 0 else { return nil }
    let option: UInt8
    switch message.u8(0) {
    case 135:
      address = source
      option = 1
    case 136:
      address = IPAddress(v6High: message.u64(8), low: message.u64(16))
      option = 2
    default: return nil
    }
    guard address.isHost, let claimant = Self.hardwareAddress(message, option: option) else { return nil }
    self.claimant = claimant
  }

  private static func hardwareAddress(_ message: UnsafeRawBufferPointer, option: UInt8) -> MACAddress? {
    var offset = headerByteCount
    while message.count - offset >= 8 {
      let byteCount = Int(message.u8(offset + 1)) * 8
      // RFC 4861 section 7.1.2: an option without length makes the whole message void.
      guard byteCount > 0, message.count - offset >= byteCount else { return nil }
      if message.u8(offset) == option {
        return MACAddress(UInt64(message.u16(offset + 2)) << 32 | UInt64(message.u32(offset + 4)))
      }
      offset += byteCount
    }
    return nil
  }
}
