// The kernel's own list of TCP connections: what is really open, whoever serves it.

internal import Glibc
package import Primitives

package enum ConnectionTable {
  /// Connections of this network namespace that are open (either side may still send) on one of these local addresses and
  /// ports (nil: any). Reads a table of all connections: for an occasional look, not for a hot path.
  package static func openCount(addresses: Set<IPAddress>, ports: Set<UInt16>?) throws(SystemError) -> Int {
    try openCounts(addresses: addresses, ports: ports).values.reduce(0, +)
  }

  /// The same by address; nothing for those without any.
  package static func openCounts(
    addresses: Set<IPAddress>, ports: Set<UInt16>? = nil
  ) throws(SystemError) -> [IPAddress: Int] {
    var counts: [IPAddress: Int] = [:]
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
      guard let bytes = try Files.readIfThere(path) else { continue }
      count(table: bytes, addresses: addresses, ports: ports, into: &counts)
    }
    return counts
  }

  /// The same of a table's text (proc_pid_net(5)): `sl: LOCAL:PORT REMOTE:PORT STATE …` in hexadecimal, addresses as 32-bit
  /// words in the machine's byte order.
  package static func openCount(table: [UInt8], addresses: Set<IPAddress>, ports: Set<UInt16>?) -> Int {
    var counts: [IPAddress: Int] = [:]
    count(table: table, addresses: addresses, ports: ports, into: &counts)
    return counts.values.reduce(0, +)
  }

  private static func count(
    table: [UInt8], addresses: Set<IPAddress>, ports: Set<UInt16>?, into counts: inout [IPAddress: Int]
  ) {
    for line in table.split(separator: UInt8(ascii: "\n")).dropFirst() {
      let words = line.split(separator: UInt8(ascii: " "), maxSplits: 4)
      guard words.count == 5 else { continue }
      let state = words[3]
      // ESTABLISHED 01, CLOSE_WAIT 08: we can still send; FIN_WAIT1 and 2 are on their way out.
      guard state.elementsEqual("01".utf8) || state.elementsEqual("08".utf8) else { continue }
      let local = words[1].split(separator: UInt8(ascii: ":"))
      guard local.count == 2, let port = hexadecimal(local[1]),
        ports?.contains(UInt16(truncatingIfNeeded: port)) ?? true,
        let address = address(local[0]), addresses.contains(address)
      else { continue }
      counts[address, default: 0] += 1
    }
  }

  private static func address(_ text: ArraySlice<UInt8>) -> IPAddress? {
    var words: [UInt32] = []
    var rest = text
    while rest.count >= 8 {
      guard let value = hexadecimal(rest.prefix(8)) else { return nil }
      // The word's bytes lie in network order in memory and are printed as a number of this machine.
      words.append(UInt32(bigEndian: UInt32(truncatingIfNeeded: value)))
      rest = rest.dropFirst(8)
    }
    guard rest.isEmpty else { return nil }
    if words.count == 1 { return IPAddress(v4: words[0]) }
    guard words.count == 4 else { return nil }
    let high = UInt64(words[0]) << 32 | UInt64(words[1])
    let low = UInt64(words[2]) << 32 | UInt64(words[3])
    if high == 0, low >> 32 == 0xffff { return IPAddress(v4: words[3]) }
    return IPAddress(v6High: high, low: low)
  }

  private static func hexadecimal(_ text: ArraySlice<UInt8>) -> UInt64? {
    guard (1...8).contains(text.count) else { return nil }
    var value: UInt64 = 0
    for byte in text {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(byte - UInt8(ascii: "0"))
      case UInt8(ascii: "A")...UInt8(ascii: "F"): value = value << 4 | UInt64(byte - UInt8(ascii: "A") + 10)
      default: return nil
      }
    }
    return value
  }
}
