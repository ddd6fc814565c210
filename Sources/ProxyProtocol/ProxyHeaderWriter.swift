// The PROXY protocol towards servers: what they are told, ahead of everything else on a connection, about who is connected.

package import Primitives

extension ProxyHeader {
  /// The header for a connection of the client at `source` to `destination`, at most 107 bytes long. Two families make both
  /// addresses IPv6, the IPv4 one as ::ffff:a.b.c.d.
  package static func bytes(_ version: ProxyHeaderVersion, source: Endpoint, destination: Endpoint) -> [UInt8] {
    let isV4 = source.address.family == .v4 && destination.address.family == .v4
    let addresses = [source, destination].map { isV4 ? $0.address : $0.address.asV6 }
    switch version {
    case .v1:
      let words = ["PROXY", isV4 ? "TCP4" : "TCP6", addresses[0].description, addresses[1].description]
      return Array("\(words.joined(separator: " ")) \(source.port) \(destination.port)\r\n".utf8)
    case .v2:
      let ports = [source.port, destination.port].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
      return start(command: 0x21, family: isV4 ? 0x11 : 0x21, byteCount: isV4 ? 12 : 36)
        + addresses.flatMap(\.bytes) + ports
    }
  }

  /// The header of a connection that is our own, such as a health check.
  package static func bytesOfOwn(_ version: ProxyHeaderVersion) -> [UInt8] {
    switch version {
    case .v1: Array("PROXY UNKNOWN\r\n".utf8)
    case .v2: start(command: 0x20, family: 0, byteCount: 0)
    }
  }

  private static func start(command: UInt8, family: UInt8, byteCount: UInt8) -> [UInt8] {
    Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [command, family, 0, byteCount]
  }
}

extension IPAddress {
  fileprivate var asV6: IPAddress {
    v4Value.map { IPAddress(v6High: 0, low: 0xffff_0000_0000 | UInt64($0)) } ?? self
  }
}
