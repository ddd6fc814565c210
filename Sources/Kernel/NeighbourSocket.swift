// Neighbour discovery of others (RFC 4861), as it arrives: who says to have which IPv6 address.

internal import CLinux
internal import Glibc
package import Primitives

/// A socket that receives neighbour solicitations and advertisements. Needs CAP_NET_RAW to open.
package struct NeighbourSocket: ~Copyable, Sendable {
  package let descriptor: FileDescriptor

  package struct Message {
    /// May be more than the room.
    package var byteCount: Int
    package var interface: UInt32
    package var source: IPAddress
    /// Nil where the kernel does not say.
    package var hopLimit: Int?
  }

  package init() throws(SystemError) {
    descriptor = FileDescriptor(
      owning: try checkedCall("open a socket for neighbour discovery") { afloat_neighbours_open() })
  }

  /// The next message (ICMPv6, its checksum verified by the kernel); nil when none waits. Does not block.
  package borrowing func receive(_ room: UnsafeMutableRawBufferPointer) -> Message? {
    var interface: UInt32 = 0
    var hopLimit: Int32 = -1
    var words: (UInt64, UInt64) = (0, 0)
    let count = withUnsafeMutableBytes(of: &words) {
      afloat_neighbours_receive(
        descriptor.raw, room.baseAddress, room.count, &interface,
        $0.baseAddress!.assumingMemoryBound(to: UInt8.self), &hopLimit)
    }
    guard count >= 0 else { return nil }
    return Message(
      byteCount: count, interface: interface,
      source: IPAddress(v6High: UInt64(bigEndian: words.0), low: UInt64(bigEndian: words.1)),
      hopLimit: hopLimit < 0 ? nil : Int(hopLimit))
  }
}
