// Listening sockets as a load balancer wants them: one per worker on the same address, bound before the address is there.

internal import CLinux
internal import Glibc
package import Primitives

package enum ListeningSocket {
  /// How many sockets share one address.
  package struct Options: Sendable {
    package var count: Int
    /// Connections waiting to be accepted, per socket; the kernel caps it at net.core.somaxconn.
    package var backlog: Int32
    /// Sockets of this port take IPv6 only; always so, an IPv4 socket has its own.
    package init(count: Int, backlog: Int32 = 4096) {
      self.count = count
      self.backlog = backlog
    }
  }

  /// Throws EADDRINUSE if anybody listens there, or on an address and port that overlap, even one who would share the port
  /// (SO_REUSEPORT): `open` would join a stranger's group.
  package static func checkIsFree(_ endpoint: Endpoint) throws(SystemError) {
    // A socket that does not offer to share finds every listener.
    let probe = try bound(endpoint, sharing: false)
    let raw = probe.raw
    try checkedCall("listen on \(endpoint)") { listen(raw, 1) }
  }

  /// Binds and listens; non-blocking, close-on-exec, TCP_NODELAY and keep-alive inherited by what is accepted.
  package static func open(_ endpoint: Endpoint, _ options: Options) throws(SystemError) -> FileDescriptorList {
    var raws: [Int32] = []
    do throws(SystemError) {
      for _ in 0..<options.count {
        let socket = try bound(endpoint, sharing: true)
        let raw = socket.raw
        try set(raw, Int32(IPPROTO_TCP), TCP_NODELAY, 1, "TCP_NODELAY")
        try set(raw, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE")
        try checkedCall("listen on \(endpoint)") { listen(raw, options.backlog) }
        raws.append(socket.release())
      }
    } catch {
      for raw in raws { close(raw) }
      throw error
    }
    return FileDescriptorList(owning: raws)
  }

  private static func bound(_ endpoint: Endpoint, sharing: Bool) throws(SystemError) -> FileDescriptor {
    let isV4 = endpoint.address.family == .v4
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let socket = FileDescriptor(
      owning: try checkedCall("create a socket for \(endpoint)") { Glibc.socket(isV4 ? AF_INET : AF_INET6, kind, 0) })
    let raw = socket.raw
    try set(raw, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
    if sharing { try set(raw, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT") }
    if isV4 {
      try set(raw, Int32(IPPROTO_IP), IP_FREEBIND, 1, "IP_FREEBIND")
    } else {
      try set(raw, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1, "IPV6_V6ONLY")
      try set(raw, Int32(IPPROTO_IPV6), AFLOAT_IPV6_FREEBIND, 1, "IPV6_FREEBIND")
    }
    var address = afloat_socket_address()
    let bytes = endpoint.address.bytes
    let length = bytes.withUnsafeBufferPointer {
      afloat_fill_address(&address, isV4 ? 4 : 6, $0.baseAddress, endpoint.port)
    }
    try checkedCall("listen on \(endpoint)") { afloat_bind(raw, &address, length) }
    return socket
  }

  private static func set(_ raw: Int32, _ level: Int32, _ option: Int32, _ value: Int32, _ name: String)
    throws(SystemError)
  {
    var value = value
    try checkedCall("set \(name)") { setsockopt(raw, level, option, &value, socklen_t(MemoryLayout<Int32>.size)) }
  }
}

extension SystemError {
  package static let addressInUse = EADDRINUSE
  package static let accessDenied = EACCES
}
