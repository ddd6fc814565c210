// Announcements, and the claims of others: whole Ethernet frames.

internal import CLinux
internal import Glibc

/// A packet socket that sends; it receives once `watchClaims` has said what. Needs CAP_NET_RAW to open.
package struct PacketSocket: ~Copyable, Sendable {
  package let descriptor: FileDescriptor

  package init() throws(SystemError) {
    descriptor = FileDescriptor(owning: try checkedCall("open a packet socket") { afloat_packet_open() })
  }

  /// The packet socket that the parent passed as descriptor `raw`; nil if there is none, or it is something else.
  /// Whoever holds the last descriptor of a packet socket waits for 5 to 15 ms when it is closed (the kernel's
  /// synchronize_net; measured), and a process only counts as ended after that: so the parent keeps one.
  package static func inherited(at raw: Int32) -> PacketSocket? {
    var domain: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(raw, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0, domain == AF_PACKET else { return nil }
    return PacketSocket(owning: FileDescriptor(owning: raw))
  }

  /// From now on ARP packets arrive, from all interfaces, whose sender says to have one of `addresses` (IPv4, numbers in
  /// host order); every ARP packet where those are more than the filter takes. Call again for another set.
  package borrowing func watchClaims(of addresses: [UInt32]) throws(SystemError) {
    var step: UnsafePointer<CChar>?
    let code = afloat_packet_watch_claims(descriptor.raw, addresses, Int32(clamping: addresses.count), &step)
    guard code == 0 else { throw SystemError(step.map { String(cString: $0) } ?? "watch ARP packets", code: code) }
  }

  /// The next frame that arrived, cut to the room, and its interface; nil when none waits. Does not block.
  package borrowing func receive(_ room: UnsafeMutableRawBufferPointer) -> (byteCount: Int, interface: UInt32)? {
    var interface: UInt32 = 0
    let count = afloat_packet_receive(descriptor.raw, room.baseAddress, room.count, &interface)
    return count < 0 ? nil : (count, interface)
  }

  private init(owning descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

  /// Sends one frame, destination and source addresses included. Does not block.
  package borrowing func send(_ frame: UnsafeRawBufferPointer, interface index: UInt32) throws(SystemError) {
    let code = afloat_packet_send(descriptor.raw, index, frame.baseAddress, frame.count)
    guard code == 0 else { throw SystemError("send a frame through interface \(index)", code: code) }
  }
}
