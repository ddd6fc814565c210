// What strangers, and members that misbehave, can do to the channel: nothing.

import Agent
import Control
import Intents
import Kernel
import Primitives
import Synchronization
import Testing

import func Glibc.read

@Suite struct `Frames of the channel` {
  @Test func `come out as they went in, however they are cut`() throws {
    let messages: [ChannelMessage] = [
      .keepAlive, .hello(ChannelHello(node: NodeName("n1")!, version: "1", intentsDigest: .max)), .intents(Intents()),
      .answer(id: 3, .recorded(digest: 5)),
      .answer(id: 4, .refused(status: 409, APIError(error: "no", override: "--force"))),
      .report(NodeReport(node: NodeName("n1")!, intentsDigest: 0, servers: [])),
    ]
    let stream = try messages.flatMap { try #require(try ChannelFrame.encode($0)) }
    for seed in UInt64(0)..<200 {
      var random = SeededRandom(seed: seed)
      var decoder = ChannelFrameDecoder()
      var result: [ChannelMessage] = []
      var offset = 0
      while offset < stream.count {
        let end = min(stream.count, offset + Int.random(in: 1...40, using: &random))
        stream[offset..<end].withUnsafeBytes { decoder.append($0) }
        while let message = try decoder.next() { result.append(message) }
        offset = end
      }
      #expect(result == messages, "seed \(seed)")
    }
  }

  @Test(arguments: [[0, 0, 0, 0], [0, 1, 0, 1], [255, 255, 255, 255]] as [[UInt8]])
  func `of a forbidden length end the connection at once`(_ bytes: [UInt8]) {
    var decoder = ChannelFrameDecoder()
    bytes.withUnsafeBytes { decoder.append($0) }
    #expect(throws: ChannelFault.self) { try decoder.next() }
  }

  @Test func `of unknown kinds are skipped and counted`() throws {
    let later = try MessageCoding.encode(["later": ["x": 1]])
    var decoder = ChannelFrameDecoder()
    let stream = [0, 0, 0, UInt8(later.count)] + later + (try #require(try ChannelFrame.encode(.keepAlive)))
    stream.withUnsafeBytes { decoder.append($0) }
    #expect(try decoder.next() == .keepAlive)
    #expect(decoder.unknownCount == 1)
  }

  @Test func `of garbage never crash and never grow the decoder`() throws {
    let valid = try #require(
      try ChannelFrame.encode(.report(NodeReport(node: NodeName("n1")!, intentsDigest: 1, vipsHeld: ["web"]))))
    var refused = 0
    for seed in UInt64(0)..<20_000 {
      var random = SeededRandom(seed: seed)
      var bytes: [UInt8]
      if random.chance(1, in: 3) {
        bytes = (0..<Int.random(in: 1...200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        if random.chance(1, in: 2) { bytes = [0, 0, 0, UInt8(min(bytes.count, 255))] + bytes }
      } else {
        bytes = valid
        for _ in 0..<Int.random(in: 1...8, using: &random) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
      }
      var decoder = ChannelFrameDecoder()
      bytes.withUnsafeBytes { decoder.append($0) }
      do { while try decoder.next() != nil {} } catch { refused += 1 }
    }
    #expect(refused > 1_000)
  }

  @Test func `identities are read strictly`() {
    let (n1, n2) = (NodeName("n1")!, NodeName("n2")!)
    let identity = ChannelKeys.Identity(keyID: "00112233", dialer: n1, listener: n2)
    #expect(ChannelKeys.Identity(Array(identity.text.utf8)) == identity)
    for text in [
      "", "afloat-channel-1 k n1", "afloat-channel-1 k n1 n2 n3", "afloat-channel-2 k n1 n2",
      "afloat-channel-1  n1 n2 ",
      "afloat-channel-1 k n1 \u{0}", String(repeating: "x", count: 300),
    ] {
      #expect(ChannelKeys.Identity(Array(text.utf8)) == nil, "\(text)")
    }
    #expect(ChannelKeys.Identity([0xff, 0xfe]) == nil)
    let keys = ChannelKeys(cluster: "a", clusterKeys: [[UInt8](repeating: 1, count: 32)])
    let first = keys.identity(attempt: 0, dialer: n1, listener: n2)
    let key = keys.preSharedKey(for: first)
    #expect(key?.count == 32)
    #expect(keys.preSharedKey(for: identity) == nil)
    #expect(keys.preSharedKey(for: keys.identity(attempt: 0, dialer: n2, listener: n1)) != key)
    let other = ChannelKeys(cluster: "b", clusterKeys: [[UInt8](repeating: 1, count: 32)])
    #expect(other.preSharedKey(for: first) != key)
  }
}

/// A listening end and what it saw, on a loopback network of its own.
private final class Victim: Sendable {
  final class Notes: Sendable {
    let connected = Atomic<Int>(0)
    let disconnected = Mutex<[String]>([])
    let messages = Atomic<Int>(0)
  }
  let link: ClusterLink
  let notes = Notes()
  let keys = ChannelKeys(cluster: "zone-a", clusterKeys: [[UInt8](repeating: 1, count: 32)])
  let port = UInt16.random(in: 30_000...39_000)
  private static let count = Atomic<UInt32>(0)
  let own: IPAddress
  let member: IPAddress
  var endpoint: Endpoint { Endpoint(address: own, port: port) }

  init(_ change: (inout ClusterLink.Timing) -> Void = { _ in }) throws {
    let network: UInt32 = 127 << 24 | 78 << 16 | (Self.count.add(1, ordering: .relaxed).newValue % 200) << 8
    own = IPAddress(v4: network | 2)
    member = IPAddress(v4: network | 1)
    var settings = ClusterLink.Settings(
      node: NodeName("n2")!, address: own, port: port, keys: keys,
      peers: [.init(name: NodeName("n1")!, address: member)])
    // Limits that a test is not about must not be met by a machine that is busy with something else.
    settings.timing.handshake = .seconds(60)
    settings.timing.silence = .seconds(60)
    change(&settings.timing)
    let notes = notes
    link = try ClusterLink(
      settings, hello: { ChannelHello(node: NodeName("n2")!, version: "0", intentsDigest: 0) },
      handler: { event in
        switch event {
        case .connected: notes.connected.add(1, ordering: .relaxed)
        case .disconnected(_, let why): notes.disconnected.withLock { $0.append(why) }
        case .message: notes.messages.add(1, ordering: .relaxed)
        }
      })
    try link.start()
  }

  deinit { link.stop() }

  /// A raw connection, made once the victim listens.
  func connect(from source: IPAddress) async throws -> FileDescriptor {
    for _ in 0..<400 {
      let socket = try PeerSocket.connect(from: source, to: endpoint)
      try await Task.sleep(for: .milliseconds(10))
      if PeerSocket.pendingError(socket.raw, "connect") == nil { return socket }
    }
    throw ChannelFault.unexpected("nobody listens")
  }

  /// Reads until the victim closes; what it said.
  func drain(_ socket: borrowing FileDescriptor) async throws -> [UInt8]? {
    var said: [UInt8] = []
    for _ in 0..<1_000 {
      var chunk = [UInt8](repeating: 0, count: 4096)
      let raw = socket.raw
      let room = chunk.count
      do {
        if let count = try retryingCall(
          "read", { chunk.withUnsafeMutableBytes { Glibc.read(raw, $0.baseAddress!, room) } })
        {
          if count == 0 { return said }
          said += chunk[..<count]
        }
      } catch { return said }  // reset
      try await Task.sleep(for: .milliseconds(5))
    }
    return nil
  }
}

@Suite struct `Channel and strangers` {
  @Test func `an address that is no member's is closed without a byte`() async throws {
    let victim = try Victim()
    let socket = try await victim.connect(from: IPAddress("127.78.255.9")!)
    #expect(try await victim.drain(socket) == [])
  }

  @Test func `garbage from a member's address gets an alert at most, and a real member still connects`() async throws {
    let victim = try Victim { $0.handshake = .milliseconds(300) }
    for seed in UInt64(0)..<20 {
      var random = SeededRandom(seed: seed)
      let socket = try await victim.connect(from: victim.member)
      var bytes = (0..<Int.random(in: 1...2_000, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      // Half of them begin like a TLS record.
      if seed % 2 == 0 { bytes = [22, 3, 1, UInt8(bytes.count >> 8), UInt8(bytes.count & 255)] + bytes }
      try? socket.writeAll(bytes)
      let said = try #require(try await victim.drain(socket), "closed in time")
      #expect(said.count <= 64)
    }
    // As the agent does, until it has worked: the time for a handshake is short here.
    for attempt in 1...50 {
      do {
        let socket = try await victim.connect(from: victim.member)
        let session = try await Dialer(victim, socket)
        try await session.send(.hello(ChannelHello(node: NodeName("n1")!, version: "0", intentsDigest: 0)))
        try await session.expect { victim.notes.connected.load(ordering: .relaxed) == 1 }
        break
      } catch let fault as ChannelFault where attempt < 50 { _ = fault }
    }
  }

  @Test func `a member that introduces itself as another is disconnected`() async throws {
    let victim = try Victim()
    let socket = try await victim.connect(from: victim.member)
    let session = try await Dialer(victim, socket)
    try await session.send(.hello(ChannelHello(node: NodeName("n3")!, version: "0", intentsDigest: 0)))
    try await session.expectEnd()
    #expect(victim.notes.connected.load(ordering: .relaxed) == 0)
  }

  @Test func `a member that speaks before it introduced itself is disconnected`() async throws {
    let victim = try Victim()
    let socket = try await victim.connect(from: victim.member)
    let session = try await Dialer(victim, socket)
    try await session.send(.intents(Intents()))
    try await session.expectEnd()
    #expect(victim.notes.messages.load(ordering: .relaxed) == 0)
  }

  @Test(arguments: [[0, 1, 0, 1, 9, 9], [0, 0, 0, 2, 77, 77]] as [[UInt8]])
  func `a proved member that sends a wrong frame is disconnected`(_ bytes: [UInt8]) async throws {
    let victim = try Victim()
    let socket = try await victim.connect(from: victim.member)
    let session = try await Dialer(victim, socket)
    try await session.send(.hello(ChannelHello(node: NodeName("n1")!, version: "0", intentsDigest: 0)))
    try await session.expect { victim.notes.connected.load(ordering: .relaxed) == 1 }
    try await session.sendRaw(bytes)
    try await session.expectEnd()
    try await session.expect { victim.notes.disconnected.withLock { $0.count } == 1 }
  }

  @Test func `a member that falls silent is disconnected, and hears keep-alives until then`() async throws {
    let victim = try Victim {
      $0.silence = .milliseconds(600)
      $0.keepAlive = .milliseconds(100)
    }
    let socket = try await victim.connect(from: victim.member)
    let session = try await Dialer(victim, socket)
    try await session.send(.hello(ChannelHello(node: NodeName("n1")!, version: "0", intentsDigest: 0)))
    let heard = try await session.expectEnd()
    #expect(heard.first == .hello(ChannelHello(node: NodeName("n2")!, version: "0", intentsDigest: 0)))
    #expect(heard.dropFirst().allSatisfy { $0 == .keepAlive } && heard.count >= 3)
    try await session.expect { victim.notes.disconnected.withLock { $0 } == ["nothing heard for 600 ms"] }
  }
}

/// The dialing side by hand.
private final class Dialer {
  private let session: ChannelSession
  private let victim: Victim

  init(_ victim: Victim, _ socket: borrowing FileDescriptor) async throws {
    self.victim = victim
    // As the agent: the victim may hang up while the dialer still writes.
    Host.ignoreBrokenPipes()
    let identity = victim.keys.identity(attempt: 0, dialer: NodeName("n1")!, listener: NodeName("n2")!)
    session = try ChannelSession(
      ChannelTLS(), descriptor: socket.raw, identity: identity, key: victim.keys.preSharedKey(for: identity)!)
    for _ in 0..<1_000 {
      switch session.handshake() {
      case .done: return
      case .wantsRead, .wantsWrite: try await Task.sleep(for: .milliseconds(5))
      default: throw ChannelFault.unexpected("handshake failed")
      }
    }
    throw ChannelFault.unexpected("handshake took too long")
  }

  func send(_ message: ChannelMessage) async throws { try await sendRaw(try ChannelFrame.encode(message)!) }

  func sendRaw(_ bytes: [UInt8]) async throws {
    let outcome = bytes.withUnsafeBytes { session.write($0) }
    #expect(outcome == .done(bytes.count))
  }

  func expect(_ condition: () -> Bool) async throws {
    for _ in 0..<2_000 {
      if condition() { return }
      try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record("it did not happen")
  }

  /// Reads until the other side ends the connection; what it said.
  @discardableResult
  func expectEnd() async throws -> [ChannelMessage] {
    var decoder = ChannelFrameDecoder()
    var messages: [ChannelMessage] = []
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16_384, alignment: 16)
    defer { buffer.deallocate() }
    for _ in 0..<2_000 {
      switch session.read(into: buffer) {
      case .done(let count):
        decoder.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        while let message = try decoder.next() { messages.append(message) }
      case .wantsRead, .wantsWrite: try await Task.sleep(for: .milliseconds(5))
      case .ended, .failed: return messages
      }
    }
    Issue.record("the connection goes on")
    return messages
  }
}
