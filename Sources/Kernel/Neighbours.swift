// The neighbours that this host's ARP cache knows (/proc/net/arp): whose hardware address one is.

package import Primitives

package enum Neighbours {
  /// IPv4 addresses that the cache has for a hardware address (six bytes in the low 48 bits).
  package static func addresses(of hardwareAddress: UInt64) -> [IPAddress] {
    guard let bytes = try? Files.read("/proc/net/arp", limit: 1 << 20) else { return [] }
    return addresses(of: hardwareAddress, in: String(decoding: bytes, as: UTF8.self))
  }

  /// The same, from the text of that file: address, type, flags, hardware address, mask, device; a heading comes first.
  package static func addresses(of hardwareAddress: UInt64, in table: String) -> [IPAddress] {
    table.split(separator: "\n").dropFirst().compactMap { line in
      let columns = line.split(separator: " ")
      guard columns.count >= 4, let address = IPAddress(String(columns[0])) else { return nil }
      let bytes = columns[3].split(separator: ":").map { UInt64($0, radix: 16) }
      guard bytes.count == 6 else { return nil }
      let found = bytes.reduce(UInt64(0)) { $0 << 8 | ($1 ?? 0x100) }
      return found == hardwareAddress ? address : nil
    }
  }
}
