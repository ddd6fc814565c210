// Refusing new connections to an address without an answer, while everything else goes on: the client's kernel sends its
// SYN again, and by then the address is elsewhere. A closed listener would answer with a reset instead.

internal import CLinux
internal import Glibc
package import Primitives

extension StreamSocket {
  /// At most this many addresses of each family can be filtered at a time.
  package static let maximumFilteredAddresses = Int(AFLOAT_MAXIMUM_FILTERED)

  /// From now on `listener` ignores SYNs to `addresses` (classic BPF, needs no privilege). Replaces an earlier filter.
  package static func dropNewConnections(_ listener: Int32, to addresses: [IPAddress]) throws(SystemError) {
    var v4: [in_addr] = []
    var v6: [in6_addr] = []
    for address in addresses {
      if let value = address.v4Value {
        v4.append(in_addr(s_addr: value.bigEndian))
      } else {
        var binary = in6_addr()
        withUnsafeMutableBytes(of: &binary) {
          $0.storeBytes(of: address.high.bigEndian, toByteOffset: 0, as: UInt64.self)
          $0.storeBytes(of: address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        v6.append(binary)
      }
    }
    try checkedCall("filter new connections") {
      afloat_drop_opening_segments(listener, v4, Int32(v4.count), v6, Int32(v6.count))
    }
  }

  /// Removes the filter, if there is one.
  package static func acceptNewConnections(_ listener: Int32) throws(SystemError) {
    try checkedCall("remove the filter of new connections") { afloat_accept_opening_segments(listener) }
  }
}
