// Announcements: whole Ethernet frames through one interface.

internal import CLinux
internal import Glibc

/// A packet socket that sends and never receives. Needs CAP_NET_RAW to open.
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

  private init(owning descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

  /// Sends one frame, destination and source addresses included. Does not block.
  package borrowing func send(_ frame: UnsafeRawBufferPointer, interface index: UInt32) throws(SystemError) {
    let code = afloat_packet_send(descriptor.raw, index, frame.baseAddress, frame.count)
    guard code == 0 else { throw SystemError("send a frame through interface \(index)", code: code) }
  }
}
