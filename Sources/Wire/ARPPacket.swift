// ARP packets of others, as they arrive (RFC 826): who says to have which address. The layout is drawn in ARPAnnouncement.

package struct ARPPacket: Hashable, Sendable {
  /// 1 asks, 2 answers; others exist and are nobody's business here.
  package var operation: UInt16
  package var sender: MACAddress
  /// IPv4, as numbers in host order; 0 for one that only asks whether an address is free (RFC 5227).
  package var senderAddress: UInt32
  package var targetAddress: UInt32

  /// Nil unless the frame is a whole ARP packet of Ethernet and IPv4. What follows it is padding.
  package init?(frame: UnsafeRawBufferPointer) {
    guard frame.count >= ARPAnnouncement.byteCount, frame.u16(12) == 0x0806, frame.u16(14) == 1,
      frame.u16(16) == 0x0800,
      frame.u16(18) == 0x0604
    else { return nil }
    operation = frame.u16(20)
    sender = MACAddress(UInt64(frame.u16(22)) << 32 | UInt64(frame.u32(24)))
    senderAddress = frame.u32(28)
    targetAddress = frame.u32(38)
  }
}

extension MACAddress: CustomStringConvertible {
  /// `02:00:5e:00:53:01`.
  package var description: String {
    (0..<6).map { position in
      let digits = String(value >> UInt64(40 - 8 * position) & 0xff, radix: 16)
      return digits.count < 2 ? "0" + digits : digits
    }.joined(separator: ":")
  }
}
