// Announcements: whole Ethernet frames through one interface.

internal import CLinux
internal import Glibc

/// A packet socket that sends and never receives. Needs CAP_NET_RAW to open.
package struct PacketSocket: ~Copyable, Sendable {
  package let descriptor: FileDescriptor

  package init() throws(SystemError) {
    descriptor = FileDescriptor(owning: try checkedCall("open a packet socket") { afloat_packet_open() })
  }

  /// Sends one frame, destination and source addresses included. Does not block.
  package borrowing func send(_ frame: UnsafeRawBufferPointer, interface index: UInt32) throws(SystemError) {
    let code = afloat_packet_send(descriptor.raw, index, frame.baseAddress, frame.count)
    guard code == 0 else { throw SystemError("send a frame through interface \(index)", code: code) }
  }
}
