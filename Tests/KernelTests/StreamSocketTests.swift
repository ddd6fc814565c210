// The data plane's sockets on loopback: addresses keep their meaning, results are counts or negative error numbers, and a
// filter lets SYNs to one address go unanswered while another is served.

import Kernel
import Primitives
import Testing

struct StreamSocketTests {
  /// A listening socket on all IPv4 addresses, and its port.
  private func listening() throws -> (raw: Int32, port: UInt16) {
    let endpoint = Endpoint(address: .anyV4, port: 0)
    var list = try ListeningSocket.open(endpoint, .init(count: 1, backlog: 16))
    let raw = list.takeFirst()!.release()
    return (raw, StreamSocket.localAddress(raw)!.port)
  }

  /// Tries `accept` for a while; negative if nobody came.
  private func accepted(_ listener: Int32, within: TimeSpan = .seconds(2)) -> (raw: Int32, peer: SocketAddress) {
    var peer = SocketAddress()
    let deadline = Clock.monotonic + within
    while true {
      let raw = StreamSocket.accept(listener, &peer)
      if raw >= 0 || Clock.monotonic > deadline { return (raw, peer) }
    }
  }

  private func received(_ raw: Int32) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 64)
    while true {
      let count = bytes.withUnsafeMutableBufferPointer { StreamSocket.receive(raw, $0.baseAddress!, $0.count) }
      if count >= 0 { return Array(bytes.prefix(count)) }
      if count != StreamSocket.wouldBlock {
        Issue.record("receive: \(StreamSocket.words(for: Int32(-count)))")
        return []
      }
    }
  }

  @Test(arguments: ["192.0.2.1:80", "[2001:db8::1]:443", "[::1]:65535", "0.0.0.0:1"])
  func `an address keeps its meaning in the kernel's form`(text: String) {
    let endpoint = Endpoint(text)!
    let address = SocketAddress(endpoint)
    #expect(address.address == endpoint.address && address.port == endpoint.port)
    #expect(address.isV4 == (endpoint.address.family == .v4))
  }

  @Test func `an address of IPv4 within IPv6 counts as IPv4`() {
    let mapped = Endpoint(address: IPAddress(v6High: 0, low: 0xffff_c000_0201), port: 80)
    #expect(SocketAddress(mapped).address == IPAddress("192.0.2.1"))
  }

  @Test func `bytes and the end of a stream arrive`() throws {
    let (listener, port) = try listening()
    defer { StreamSocket.close(listener) }
    let client = StreamSocket.connect(to: SocketAddress(Endpoint("127.0.0.1:\(port)")!))
    #expect(client >= 0)
    let (server, peer) = accepted(listener)
    #expect(server >= 0 && peer.address == IPAddress("127.0.0.1"))
    #expect(StreamSocket.pendingError(client) == 0 && !StreamSocket.hasInput(server))
    #expect(StreamSocket.send(client, Array("one two".utf8), 7) == 7)
    #expect(received(server) == Array("one two".utf8))
    StreamSocket.shutdownWriting(client)
    #expect(received(server) == [])
    #expect(StreamSocket.hasInput(server))
    StreamSocket.close(server)
    StreamSocket.close(client)
  }

  @Test func `a refused connection says so`() throws {
    let (listener, port) = try listening()
    StreamSocket.close(listener)
    let client = StreamSocket.connect(to: SocketAddress(Endpoint("127.0.0.1:\(port)")!))
    guard client >= 0 else { return }
    #expect(StreamSocket.words(for: StreamSocket.pendingError(client)) == "connection refused")
    StreamSocket.close(client)
  }

  @Test func `an aborted connection is not an end`() throws {
    let (listener, port) = try listening()
    defer { StreamSocket.close(listener) }
    let client = StreamSocket.connect(to: SocketAddress(Endpoint("127.0.0.1:\(port)")!))
    let (server, _) = accepted(listener)
    StreamSocket.closeAbortively(client)
    var byte: UInt8 = 0
    var result = StreamSocket.receive(server, &byte, 1)
    while result == StreamSocket.wouldBlock { result = StreamSocket.receive(server, &byte, 1) }
    #expect(result < 0)
    StreamSocket.close(server)
  }

  @Test func `a filter ignores SYNs to its addresses only, until it is removed`() throws {
    let (listener, port) = try listening()
    defer { StreamSocket.close(listener) }
    let leaving = IPAddress("127.0.3.1")!
    do throws(SystemError) {
      try StreamSocket.dropNewConnections(listener, to: [IPAddress("2001:db8::1")!, leaving, IPAddress("127.0.3.9")!])
    } catch {
      // Some kernels let only the privileged attach a filter.
      #expect(error.code == SystemError.permissionDenied && !Privileges.isRoot)
      return
    }
    let ignored = StreamSocket.connect(to: SocketAddress(Endpoint(address: leaving, port: port)))
    #expect(accepted(listener, within: .milliseconds(200)).raw < 0)
    let served = StreamSocket.connect(to: SocketAddress(Endpoint("127.0.3.2:\(port)")!))
    let (first, _) = accepted(listener)
    #expect(first >= 0)
    try StreamSocket.acceptNewConnections(listener)
    try StreamSocket.acceptNewConnections(listener)
    let again = StreamSocket.connect(to: SocketAddress(Endpoint(address: leaving, port: port)))
    let (second, _) = accepted(listener)
    #expect(second >= 0)
    for raw in [ignored, served, first, again, second] where raw >= 0 { StreamSocket.close(raw) }
  }
}
