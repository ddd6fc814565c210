// TCP between members: connect from the own address, accept with the peer's address, non-blocking throughout.

internal import CLinux
internal import Glibc
package import Primitives

package enum PeerSocket {
  /// Starts to connect from `source` (any port) to `endpoint`: writable when it is decided, `pendingError` tells how.
  package static func connect(from source: IPAddress, to endpoint: Endpoint) throws(SystemError) -> FileDescriptor {
    let isV4 = endpoint.address.family == .v4
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let socket = FileDescriptor(
      owning: try checkedCall("create a socket for \(endpoint)") { Glibc.socket(isV4 ? AF_INET : AF_INET6, kind, 0) })
    let raw = socket.raw
    var on: Int32 = 1
    for option in [TCP_NODELAY] {
      setsockopt(raw, Int32(IPPROTO_TCP), option, &on, socklen_t(MemoryLayout<Int32>.size))
    }
    var (address, length) = Self.address(Endpoint(address: source, port: 0))
    try checkedCall("connect from \(source)") { afloat_bind(raw, &address, length) }
    (address, length) = Self.address(endpoint)
    if afloat_connect(raw, &address, length) != 0, errno != EINPROGRESS, errno != EINTR {
      throw .last("connect to \(endpoint)")
    }
    return socket
  }

  /// One waiting connection and where it comes from; nil when none is left (or it went away while it waited).
  package static func accept(_ listener: Int32) throws(SystemError) -> PeerConnection? {
    var storage = sockaddr_in6()
    var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
    let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let raw = afloat_accept4(listener, &storage, &length, flags)
    guard raw >= 0 else {
      if [EAGAIN, EINTR, ECONNABORTED].contains(errno) { return nil }
      throw .last("accept a connection of a member")
    }
    let socket = FileDescriptor(owning: raw)
    if Int32(storage.sin6_family) == AF_INET {
      let address = withUnsafeBytes(of: &storage) { $0.load(as: sockaddr_in.self).sin_addr.s_addr }
      return PeerConnection(descriptor: socket, address: IPAddress(v4: UInt32(bigEndian: address)))
    }
    let (high, low) = withUnsafeBytes(of: &storage.sin6_addr) {
      (
        UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
        UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      )
    }
    return PeerConnection(descriptor: socket, address: IPAddress(v6High: high, low: low))
  }

  /// Whether a connect has ended, well or not. Does not wait.
  package static func isDecided(_ raw: Int32) -> Bool {
    var event = pollfd(fd: raw, events: Int16(POLLOUT), revents: 0)
    return poll(&event, 1, 0) > 0
  }

  /// How a connect ended, or what broke a connection; nil if nothing did.
  package static func pendingError(_ raw: Int32, _ operation: @autoclosure () -> String) -> SystemError? {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    if getsockopt(raw, SOL_SOCKET, SO_ERROR, &code, &length) != 0 { return .last(operation()) }
    return code == 0 ? nil : SystemError(operation(), code: code)
  }

  /// Libraries that write to sockets without MSG_NOSIGNAL must not end the process: blocks SIGPIPE for the calling thread.
  package static func blockBrokenPipeSignal() {
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  private static func address(_ endpoint: Endpoint) -> (afloat_socket_address, socklen_t) {
    var address = afloat_socket_address()
    let length = endpoint.address.bytes.withUnsafeBufferPointer {
      afloat_fill_address(&address, endpoint.address.family == .v4 ? 4 : 6, $0.baseAddress, endpoint.port)
    }
    return (address, length)
  }
}

/// An accepted connection.
package struct PeerConnection: ~Copyable {
  package var descriptor: FileDescriptor
  package let address: IPAddress

  package consuming func takeDescriptor() -> FileDescriptor { descriptor }
}
