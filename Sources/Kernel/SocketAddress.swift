// An IPv4 or IPv6 address and port in the kernel's form, as a plain value: the data plane keeps one per server and per
// connection without converting on the way.

internal import CLinux
internal import Glibc
package import Primitives

package struct SocketAddress: Sendable {
  // The larger of the two forms; an IPv4 address lies in its first 16 bytes.
  var storage = sockaddr_in6()
  var length = socklen_t(MemoryLayout<sockaddr_in6>.size)

  /// Room for an address that a call fills in.
  package init() {}

  package init(_ endpoint: Endpoint) {
    if let value = endpoint.address.v4Value {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = endpoint.port.bigEndian
      address.sin_addr.s_addr = value.bigEndian
      withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_in.self) }
      length = socklen_t(MemoryLayout<sockaddr_in>.size)
    } else {
      storage.sin6_family = sa_family_t(AF_INET6)
      storage.sin6_port = endpoint.port.bigEndian
      withUnsafeMutableBytes(of: &storage.sin6_addr) {
        $0.storeBytes(of: endpoint.address.high.bigEndian, toByteOffset: 0, as: UInt64.self)
        $0.storeBytes(of: endpoint.address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
    }
  }

  package var isV4: Bool { Int32(storage.sin6_family) == AF_INET }

  /// The address without the port; an IPv4-mapped IPv6 address counts as IPv4.
  package var address: IPAddress {
    var copy = storage
    if isV4 {
      return withUnsafeBytes(of: &copy) {
        IPAddress(v4: UInt32(bigEndian: $0.load(as: sockaddr_in.self).sin_addr.s_addr))
      }
    }
    let (high, low) = withUnsafeBytes(of: &copy.sin6_addr) {
      (
        UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
        UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      )
    }
    if high == 0, low >> 32 == 0xffff { return IPAddress(v4: UInt32(truncatingIfNeeded: low)) }
    return IPAddress(v6High: high, low: low)
  }

  // Both forms keep the port at the same place.
  package var port: UInt16 { UInt16(bigEndian: storage.sin6_port) }
}
