// Gratuitous ARP (RFC 5227 section 3, RFC 826): "this address is at this MAC now". Both forms are sent, because some
// neighbours update their cache only on a request and others only on a reply.
//
//      0  destination MAC ff:ff:ff:ff:ff:ff (6)     20  operation: 1 request, 2 reply (2)
//      6  source MAC (6)                            22  sender MAC (6)
//     12  EtherType 08 06 (2)                       28  sender IPv4 address (4)
//     14  hardware type 00 01 (2)                   32  target MAC: zeros in a request, sender's in a reply (6)
//     16  protocol type 08 00 (2)                   38  target IPv4 address = sender's (4)
//     18  lengths 06 04 (2)                         42  zeros up to 60, the smallest Ethernet frame without its checksum

/// Six bytes, in the low 48 bits.
package struct MACAddress: Hashable, Sendable {
  package let value: UInt64
  package init(_ value: UInt64) { self.value = value & 0xffff_ffff_ffff }

  /// Nil unless there are six bytes.
  package init?(bytes: UnsafeRawBufferPointer) {
    guard bytes.count == 6 else { return nil }
    value = bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }
}

package enum ARPAnnouncement {
  package enum Operation: UInt16, CaseIterable, Sendable { case request = 1, reply = 2 }

  /// Without and with the padding to the smallest Ethernet frame. Send the padded form: the kernel does not pad what a
  /// packet socket sends on every driver.
  package static let byteCount = 42
  package static let paddedByteCount = 60

  /// Writes the padded frame; the first `byteCount` bytes are the frame without padding.
  /// - Parameters:
  ///   - address: IPv4, as a number in host order.
  ///   - buffer: at least `paddedByteCount` bytes.
  package static func encode(
    _ operation: Operation, address: UInt32, mac: MACAddress, into buffer: UnsafeMutableRawBufferPointer
  ) {
    precondition(buffer.count >= paddedByteCount, "the buffer is shorter than an ARP frame")
    for offset in 0..<paddedByteCount { buffer[offset] = 0 }
    buffer.set(mac: MACAddress(0xffff_ffff_ffff), at: 0)
    buffer.set(mac: mac, at: 6)
    buffer.set(UInt16(0x0806), at: 12)
    buffer.set(UInt16(1), at: 14)
    buffer.set(UInt16(0x0800), at: 16)
    buffer.set(UInt16(0x0604), at: 18)
    buffer.set(operation.rawValue, at: 20)
    buffer.set(mac: mac, at: 22)
    buffer.set(address, at: 28)
    buffer.set(mac: operation == .reply ? mac : MACAddress(0), at: 32)
    buffer.set(address, at: 38)
  }
}

extension UnsafeMutableRawBufferPointer {
  func set(mac: MACAddress, at offset: Int) {
    set(UInt16(truncatingIfNeeded: mac.value >> 32), at: offset)
    set(UInt32(truncatingIfNeeded: mac.value), at: offset + 2)
  }
}
