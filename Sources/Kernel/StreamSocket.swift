// TCP sockets for the data plane. Thousands of connections live in slabs of plain structs, so these calls take raw
// descriptors: the slab owns them and closes each in one place. Results are counts or negative error numbers, because a
// refused read is an ordinary event here and must not cost a thrown error.

internal import CLinux
internal import Glibc

package enum StreamSocket {
  /// Result of a call that would block.
  @inlinable package static var wouldBlock: Int { -11 }  // EAGAIN; a constant, because it is compared on the hot path
  /// Of a failed send's result: the connection broke off (a reset, a time-out, no way to the host) before the other side had
  /// ended its direction. That is told once: a receive after it says 0, as at the end of a stream. EPIPE comes after such an
  /// end, which is one.
  package static func isBrokenOff(_ result: Int) -> Bool { result != -Int(EPIPE) }

  /// Results of `accept` when this process, or the system, has no descriptor left.
  package static func isOutOfDescriptors(_ result: Int32) -> Bool { result == -EMFILE || result == -ENFILE }

  /// Results of `connect` when this node has no port, descriptor or memory left: the other side has no part in it.
  package static func isExhausted(_ result: Int32) -> Bool {
    isOutOfDescriptors(result) || result == -EADDRNOTAVAIL || result == -ENOBUFS || result == -ENOMEM
      || result == -EAGAIN
  }

  /// Of a result of `connect` or a pending error: nobody listens there.
  package static func isRefused(_ result: Int32) -> Bool { abs(result) == ECONNREFUSED }

  /// Bytes read into `buffer`, 0 at the end of the stream, or a negative error number.
  package static func receive(_ raw: Int32, _ buffer: UnsafeMutablePointer<UInt8>, _ room: Int) -> Int {
    afloat_receive(raw, buffer, room, 0)
  }

  /// Whether something, or the end, waits to be read; nothing is taken.
  package static func hasInput(_ raw: Int32) -> Bool {
    var byte: UInt8 = 0
    return afloat_receive(raw, &byte, 1, Int32(MSG_PEEK)) != wouldBlock
  }

  /// Bytes sent that the peer has not confirmed; 0 if nobody knows.
  package static func undelivered(_ raw: Int32) -> Int32 { max(0, afloat_undelivered(raw)) }

  /// Bytes taken by the kernel, or a negative error number. Never raises SIGPIPE.
  package static func send(_ raw: Int32, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
    afloat_send(raw, bytes, count, 0)
  }

  /// A non-blocking, close-on-exec connection from the listener's queue and its peer, or a negative error number.
  package static func accept(_ listener: Int32, _ peer: inout SocketAddress) -> Int32 {
    while true {
      peer.length = socklen_t(MemoryLayout<sockaddr_in6>.size)
      let flags = Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
      let raw = afloat_accept4(listener, &peer.storage, &peer.length, flags)
      if raw >= 0 { return raw }
      let code = errno
      // ECONNABORTED: that one went away while it waited; the next may be fine.
      if code != EINTR && code != ECONNABORTED { return -code }
    }
  }

  /// Starts a connection without delay for small segments. A descriptor, connected or about to be (write readiness or an
  /// error tells), or a negative error number.
  package static func connect(to address: SocketAddress) -> Int32 {
    let raw = open(v4: address.isV4)
    if raw < 0 { return raw }
    sendWithoutDelay(raw)
    return connect(raw, to: address)
  }

  /// A socket that is connected to nobody yet, or a negative error number.
  package static func open(v4: Bool) -> Int32 {
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let raw = socket(v4 ? AF_INET : AF_INET6, kind, 0)
    return raw < 0 ? -errno : raw
  }

  /// For a connection that is about to be made, on which this side says something once, as soon as it is there: the
  /// handshake's last acknowledgement goes with it, where it costs no packet of its own.
  package static func acknowledgeLater(_ raw: Int32) {
    var off: Int32 = 0
    setsockopt(raw, Int32(IPPROTO_TCP), TCP_QUICKACK, &off, socklen_t(MemoryLayout<Int32>.size))
  }

  /// Ends a connection with a reset; the socket may be connected to another address then. False if it is of no more use.
  package static func dissolve(_ raw: Int32) -> Bool {
    var nobody = sockaddr()
    nobody.sa_family = sa_family_t(AF_UNSPEC)
    return afloat_connect(raw, &nobody, socklen_t(MemoryLayout<sockaddr>.size)) == 0
  }

  /// Whether a connection that was begun has been made.
  package static func isConnected(_ raw: Int32) -> Bool {
    var address = SocketAddress()
    return afloat_getpeername(raw, &address.storage, &address.length) == 0
  }

  /// What was received and not acknowledged yet is, now.
  package static func acknowledgeAtOnce(_ raw: Int32) {
    var on: Int32 = 1
    setsockopt(raw, Int32(IPPROTO_TCP), TCP_QUICKACK, &on, socklen_t(MemoryLayout<Int32>.size))
  }

  /// The socket itself, connected or about to be, or a negative error number: then it has been closed.
  package static func connect(_ raw: Int32, to address: SocketAddress) -> Int32 {
    var address = address
    if afloat_connect(raw, &address.storage, address.length) == 0 { return raw }
    let code = errno
    if code == EINPROGRESS || code == EINTR { return raw }
    Glibc.close(raw)
    return -code
  }

  /// TCP_NODELAY; on a listener its connections inherit it.
  package static func sendWithoutDelay(_ raw: Int32) {
    var on: Int32 = 1
    setsockopt(raw, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
  }

  /// TCP_DEFER_ACCEPT on a listener: a connection is not there to be accepted before the client has sent something, or a
  /// second has gone by. 0 for the usual.
  package static func acceptWithData(_ raw: Int32, _ isOn: Bool) {
    var seconds: Int32 = isOn ? 1 : 0
    setsockopt(raw, Int32(IPPROTO_TCP), TCP_DEFER_ACCEPT, &seconds, socklen_t(MemoryLayout<Int32>.size))
  }

  /// The pending error of a connection (how a connect ended), as a positive error number; 0 if none.
  package static func pendingError(_ raw: Int32) -> Int32 {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(raw, SOL_SOCKET, SO_ERROR, &code, &length) == 0 ? code : errno
  }

  package static func localAddress(_ raw: Int32) -> SocketAddress? {
    var address = SocketAddress()
    return afloat_getsockname(raw, &address.storage, &address.length) == 0 ? address : nil
  }

  /// Sends the end of our stream; the other direction stays open.
  package static func shutdownWriting(_ raw: Int32) { shutdown(raw, Int32(SHUT_WR)) }

  package static func close(_ raw: Int32) { Glibc.close(raw) }

  /// Closes with a reset, so that the peer never takes what it got for a complete stream.
  package static func closeAbortively(_ raw: Int32) {
    var abort = linger(l_onoff: 1, l_linger: 0)
    setsockopt(raw, SOL_SOCKET, SO_LINGER, &abort, socklen_t(MemoryLayout<linger>.size))
    Glibc.close(raw)
  }

  /// Nobody answered, or no way leads there.
  package static func isUnreachable(_ code: Int32) -> Bool {
    code == EHOSTUNREACH || code == ENETUNREACH || code == EHOSTDOWN || code == ETIMEDOUT
  }

  /// The cause in words, for people.
  package static func words(for code: Int32) -> String { SystemError("", code: code).cause }
}
