// Fuzzes what reads ARP frames and neighbour discovery of strangers. The first byte chooses: an ARP frame follows it, or a hop
// limit, a source address and an ICMPv6 message.

import Primitives
import Wire

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzNeighbours(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  guard size >= 1 else { return 0 }
  let bytes = UnsafeRawBufferPointer(start: data + 1, count: size - 1)
  if data[0] & 1 == 0 { arp(bytes) } else { discovery(bytes) }
  return 0
}

func arp(_ bytes: UnsafeRawBufferPointer) {
  guard let packet = ARPPacket(frame: bytes) else { return }
  require(bytes.count >= ARPAnnouncement.byteCount, "a packet without all its bytes")
  require(bytes[12] == 8 && bytes[13] == 6, "what is no ARP was read as ARP")
  var sender = packet.sender.value
  for offset in stride(from: 27, through: 22, by: -1) {
    require(bytes[offset] == UInt8(truncatingIfNeeded: sender), "the sender is another")
    sender >>= 8
  }
  require(packet.sender.description.utf8.count == 17, "a hardware address has 17 characters")
}

func discovery(_ bytes: UnsafeRawBufferPointer) {
  guard bytes.count >= 17 else { return }
  func word(_ offset: Int) -> UInt64 {
    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }
  let source = IPAddress(v6High: word(1), low: word(9))
  let message = UnsafeRawBufferPointer(rebasing: bytes[17...])
  // Most inputs would end at the hop limit otherwise.
  let hops = bytes[0] == 0 ? nil : Int(bytes[0] | 0xf0)
  guard let claim = NeighbourClaim(message: message, source: source, hopLimit: hops) else { return }
  require(hops == 255, "it came through a router")
  require(message.count >= 32, "no option fits")
  require(message[0] == 135 || message[0] == 136, "another message claims something")
  require(claim.address.isHost, "nobody can have that address")
  require(message[0] == 136 || claim.address == source, "a solicitation claims another's address")
}
