// Sockets that serve one check after another: of which server an event is, and that nothing of one check is taken for
// another's.

import Control
import Glibc
import Kernel
import Primitives
import Testing

@testable import Balancer

struct CheckSocketTests {
  private func listening() throws -> (raw: Int32, address: SocketAddress) {
    var list = try ListeningSocket.open(Endpoint(address: .anyV4, port: 0), .init(count: 1, backlog: 16))
    let raw = list.takeFirst()!.release()
    let port = StreamSocket.localAddress(raw)!.port
    return (raw, SocketAddress(Endpoint(address: IPAddress("127.0.0.1")!, port: port)))
  }

  private func owners(_ poller: borrowing Poller, _ sockets: CheckSockets) -> [EventToken] {
    let count = poller.wait(timeout: .milliseconds(500))
    return (0..<count).compactMap { sockets.owner(of: EventToken(rawValue: poller.event($0).token)) }
  }

  @Test func `one that was dissolved serves another server, and its peer is reset`() throws {
    let (first, second) = (try listening(), try listening())
    defer { for raw in [first.raw, second.raw] { StreamSocket.close(raw) } }
    let poller = try Poller(capacity: 8)
    let sockets = CheckSockets()
    let one = EventToken(.server, index: 1, generation: 1)
    let two = EventToken(.server, index: 2, generation: 2)

    let place = sockets.connect(to: first.address, speaks: false)
    try sockets.watch(place, poller, one)
    #expect(owners(poller, sockets).contains(one))
    let raw = sockets.descriptor(place)
    var peer = SocketAddress()
    let served = StreamSocket.accept(first.raw, &peer)
    defer { StreamSocket.close(served) }
    sockets.end(place, abortively: true)
    #expect(owners(poller, sockets).isEmpty, "nobody waits for what is left of it")
    var byte: UInt8 = 0
    #expect(StreamSocket.receive(served, &byte, 1) == -Int(ECONNRESET))

    #expect(sockets.connect(to: second.address, speaks: false) == place && sockets.descriptor(place) == raw)
    try sockets.watch(place, poller, two)
    #expect(owners(poller, sockets).contains(two))
    let next = StreamSocket.accept(second.raw, &peer)
    defer { StreamSocket.close(next) }
    #expect(StreamSocket.send(raw, Array("hello".utf8), 5) == 5)
    var bytes = [UInt8](repeating: 0, count: 8)
    #expect(bytes.withUnsafeMutableBufferPointer { StreamSocket.receive(next, $0.baseAddress!, 8) } == 5)
    sockets.end(place, abortively: false)
    #expect(bytes.withUnsafeMutableBufferPointer { StreamSocket.receive(next, $0.baseAddress!, 8) } == 0)
    #expect(sockets.connect(to: first.address, speaks: false) == place, "the place is free, for another socket")
    #expect(sockets.owner(of: EventToken(.client, index: place, generation: 0)) == nil, "which is not the one before")
  }

  @Test(arguments: [[], Array("hello".utf8)]) func `where no answer is expected a connection suffices`(send: [UInt8])
    throws
  {
    let silent = try listening()
    defer { StreamSocket.close(silent.raw) }
    let poller = try Poller(capacity: 8)
    let address = silent.address
    let server = ServerConfiguration(name: "s", endpoint: Endpoint(address: address.address, port: address.port))
    let pool = PoolConfiguration(
      name: "app", balance: .roundRobin, affinity: .none, servers: [server],
      check: .init(kind: .tcp(send: send, expect: [])))
    var probe = HealthProbe(server, pool, scripts: ScriptRuns(), sockets: CheckSockets())
    #expect(probe.start(now: Clock.monotonic) == nil)
    try probe.watch(poller, EventToken(.server, index: 1))
    #expect(poller.wait(timeout: .seconds(2)) == 1)
    let outcome = probe.advance(poller.event(0).readiness, now: Clock.monotonic, ProbeMemory())
    #expect(outcome.map { "\($0)".contains("connected in") } == true)
    probe.close()
  }

  @Test func `what is left of one check does not make the next succeed`() throws {
    let (up, silent) = (try listening(), try listening())
    defer { for raw in [up.raw, silent.raw] { StreamSocket.close(raw) } }
    // Whoever connects to it gets no answer.
    try StreamSocket.dropNewConnections(silent.raw, to: [silent.address.address])
    let poller = try Poller(capacity: 8)
    let sockets = CheckSockets()
    func probe(_ address: SocketAddress) -> HealthProbe {
      let server = ServerConfiguration(name: "s", endpoint: Endpoint(address: address.address, port: address.port))
      let pool = PoolConfiguration(
        name: "app", balance: .roundRobin, affinity: .none, servers: [server],
        check: .init(kind: .tcp(send: [], expect: [])))
      return HealthProbe(server, pool, scripts: ScriptRuns(), sockets: sockets)
    }
    for _ in 0..<5 {
      var first = probe(up.address)
      #expect(first.start(now: Clock.monotonic) == nil)
      try first.watch(poller, EventToken(.server, index: 1))
      #expect(poller.wait(timeout: .seconds(2)) == 1)
      let outcome = first.advance(.allEdges, now: Clock.monotonic, ProbeMemory())
      #expect(outcome.map { "\($0)".contains("connected in") } == true)
      first.close()
      var second = probe(silent.address)
      #expect(second.start(now: Clock.monotonic) == nil)
      try second.watch(poller, EventToken(.server, index: 2))
      _ = poller.wait(timeout: .milliseconds(20))
      #expect(second.advance(.allEdges, now: Clock.monotonic, ProbeMemory()) == nil)
      second.close()
    }
  }
}
