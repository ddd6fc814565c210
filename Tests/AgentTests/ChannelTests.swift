// Two and three ends of the channel in one process, over real sockets on loopback addresses.

import Agent
import Control
import Intents
import Kernel
import Primitives
import Synchronization
import Testing

private let n1 = NodeName("n1")!
private let n2 = NodeName("n2")!
private let n3 = NodeName("n3")!

/// A loopback network of its own for each test, so that runs beside each other do not meet.
private struct Network {
  private static let count = Atomic<UInt32>(0)
  let third: UInt32
  let port: UInt16

  init() {
    let number = Self.count.add(1, ordering: .relaxed).newValue
    third = number % 200
    port = UInt16.random(in: 20_000...30_000)
  }

  func address(_ node: NodeName) -> IPAddress {
    IPAddress(v4: 127 << 24 | 77 << 16 | third << 8 | UInt32(node.text.utf8.last! - 48))
  }

  func settings(
    _ node: NodeName, keys: [[UInt8]] = [key(1)], peers: [NodeName], cluster: String = "zone-a"
  ) -> ClusterLink.Settings {
    var settings = ClusterLink.Settings(
      node: node, address: address(node), port: port, keys: ChannelKeys(cluster: cluster, clusterKeys: keys),
      peers: peers.map { .init(name: $0, address: address($0)) })
    settings.timing.firstBackOff = .milliseconds(20)
    settings.timing.longestBackOff = .milliseconds(100)
    return settings
  }
}

private func key(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: 32) }

/// One end that notes what happened.
private final class End: Sendable {
  struct Seen {
    var connected: [NodeName] = []
    var disconnected: [(NodeName, String)] = []
    var messages: [(NodeName, ChannelMessage)] = []
  }
  private final class Notes: Sendable {
    let seen = Mutex(Seen())
  }
  let link: ClusterLink
  private let notes = Notes()
  var seen: Seen { notes.seen.withLock { $0 } }

  init(_ settings: ClusterLink.Settings) throws {
    let node = settings.node
    let notes = notes
    link = try ClusterLink(
      settings, hello: { ChannelHello(node: node, version: "0", intentsDigest: 7) },
      handler: { event in
        notes.seen.withLock {
          switch event {
          case .connected(let peer, _): $0.connected.append(peer)
          case .disconnected(let peer, let why): $0.disconnected.append((peer, why))
          case .message(let peer, let message): $0.messages.append((peer, message))
          }
        }
      })
    try link.start()
  }

  deinit { link.stop() }
}

/// Waits for a condition; far longer than it ever takes.
private func eventually(_ what: Comment, _ condition: () -> Bool) async {
  for _ in 0..<2_000 {
    if condition() { return }
    try? await Task.sleep(for: .milliseconds(5))
  }
  Issue.record(what)
}

@Suite struct `Channel between agents` {
  @Test func `connects each pair once and carries messages both ways`() async throws {
    let network = Network()
    let a = try End(network.settings(n1, peers: [n2, n3]))
    let b = try End(network.settings(n2, peers: [n1, n3]))
    let c = try End(network.settings(n3, peers: [n1, n2]))
    await eventually("all connected") {
      a.link.connected == [n2, n3] && b.link.connected == [n1, n3] && c.link.connected == [n1, n2]
    }
    let report = NodeReport(node: n1, intentsDigest: 9, vipsHeld: ["web"], clientConnections: 3)
    #expect(a.link.send(.report(report), to: nil))
    #expect(c.link.send(.command(id: 5, .move(APIMoveRequest(vip: "web", to: "n1"))), to: n2))
    await eventually("messages arrive") { b.seen.messages.count == 2 && c.seen.messages.count == 1 }
    #expect(c.seen.messages[0] == (n1, .report(report)))
    #expect(b.seen.messages.contains { $0 == (n3, .command(id: 5, .move(APIMoveRequest(vip: "web", to: "n1")))) })
    #expect(a.link.warnings == [])
    #expect(a.seen.connected.count == 2)
    #expect(!a.link.send(.keepAlive, to: NodeName("n9")!))
  }

  @Test func `carries a large document in parts, in order`() async throws {
    let network = Network()
    let a = try End(network.settings(n1, peers: [n2]))
    let b = try End(network.settings(n2, peers: [n1]))
    var document = Intents()
    for index in 0..<2_000 {
      let drain = DrainIntent(reason: String(repeating: "r", count: 150), sinceUnixNanoseconds: 1, by: "root@n1")
      try document.setDrain(drain, of: NodeName("node\(index)")!, author: n1)
    }
    await eventually("connected") { a.link.connected == [n2] }
    let parts = document.parts(maximumByteCount: 32 * 1024)
    for part in parts { #expect(a.link.send(.intents(part), to: n2)) }
    await eventually("all parts arrive") { b.seen.messages.count == parts.count }
    var merged = Intents()
    for case (_, .intents(let part)) in b.seen.messages { try merged.admit(part) }
    #expect(merged == document)
    // Longer than a frame.
    #expect(!a.link.send(.intents(document), to: n2))
  }

  @Test(arguments: ["key", "cluster", "name"]) func `refuses a member with another`(_ wrong: String) async throws {
    let network = Network()
    let a = try End(network.settings(n1, peers: [n2]))
    var settings = network.settings(n2, peers: [n1])
    switch wrong {
    case "key": settings = network.settings(n2, keys: [key(2)], peers: [n1])
    case "cluster": settings = network.settings(n2, peers: [n1], cluster: "zone-b")
    default:
      settings = network.settings(n3, peers: [n1])
      settings.address = network.address(n2)
    }
    let b = try End(settings)
    await eventually("refusal is noticed") { a.link.warnings.contains { !$0.contains("not heard from") } }
    try await Task.sleep(for: .milliseconds(200))
    #expect(a.seen.connected.isEmpty && b.seen.connected.isEmpty)
    #expect(a.link.connected.isEmpty && b.link.connected.isEmpty)
  }

  @Test func `finds a common key while a key is being replaced`() async throws {
    let network = Network()
    let a = try End(network.settings(n1, keys: [key(2), key(1)], peers: [n2, n3]))
    let b = try End(network.settings(n2, keys: [key(1)], peers: [n1, n3]))
    let c = try End(network.settings(n3, keys: [key(1), key(2)], peers: [n1, n2]))
    await eventually("all connected") {
      a.link.connected == [n2, n3] && b.link.connected == [n1, n3] && c.link.connected == [n1, n2]
    }
  }

  @Test func `connects again after a peer was restarted`() async throws {
    let network = Network()
    let a = try End(network.settings(n1, peers: [n2]))
    for round in 1...3 {
      let b = try End(network.settings(n2, peers: [n1]))
      await eventually("connected in round \(round)") { a.link.connected == [n2] && b.link.connected == [n1] }
      b.link.stop()
      await eventually("loss is noticed in round \(round)") { a.seen.disconnected.count >= round }
    }
    #expect(a.link.warnings.count == 1)
  }

  @Test func `a member that left the configuration is disconnected`() async throws {
    let network = Network()
    let a = try End(network.settings(n1, peers: [n2, n3]))
    let b = try End(network.settings(n2, peers: [n1]))
    let c = try End(network.settings(n3, peers: [n1]))
    await eventually("connected") { a.link.connected == [n2, n3] }
    a.link.update(network.settings(n1, peers: [n3]))
    await eventually("n2 is gone") { a.link.connected == [n3] && b.link.connected.isEmpty }
    #expect(c.seen.disconnected.isEmpty)
    a.link.update(network.settings(n1, peers: [n2, n3]))
    await eventually("n2 is back") { a.link.connected == [n2, n3] && b.link.connected == [n1] }
  }
}
