// The channel between agents: one authenticated, encrypted TCP connection per pair of members, on the member's address and
// the group's port. The lower name dials. A thread of its own moves the bytes; this is how the rest of the agent talks to it.
//
// Limits, and what happens there: 64 peers (more are not connected, and a warning says so); 4,096 calls waiting for the thread
// (`send` returns false); 6 MiB waiting for one peer (disconnected); 16 unproved connections at once, 2 per address (closed
// at once); 5 s for a handshake; 10 s of silence (disconnected).

package import Kernel
package import Primitives
internal import Synchronization

package final class ClusterLink: Sendable {
  package struct Peer: Equatable, Sendable {
    package var name: NodeName
    package var address: IPAddress

    package init(name: NodeName, address: IPAddress) {
      self.name = name
      self.address = address
    }
  }

  package struct Timing: Equatable, Sendable {
    package var handshake = TimeSpan.seconds(5)
    package var keepAlive = TimeSpan.seconds(2)
    package var silence = TimeSpan.seconds(10)
    package var firstBackOff = TimeSpan.milliseconds(100)
    package var longestBackOff = TimeSpan.seconds(2)
    package init() {}
  }

  package struct Settings: Equatable, Sendable {
    package var node: NodeName
    package var address: IPAddress
    package var port: UInt16
    package var keys: ChannelKeys
    /// The other members.
    package var peers: [Peer]
    package var timing = Timing()

    package init(node: NodeName, address: IPAddress, port: UInt16, keys: ChannelKeys, peers: [Peer]) {
      self.node = node
      self.address = address
      self.port = port
      self.keys = keys
      self.peers = peers
    }
  }

  /// Comes on the channel's thread, in order: quick work only.
  package enum Event: Sendable {
    case connected(NodeName, ChannelHello)
    case disconnected(NodeName, why: String)
    case message(NodeName, ChannelMessage)
  }

  package static let maximumPeerCount = 64
  package static let maximumWaitingCallCount = 4096

  enum Call: Sendable {
    /// A whole frame; to everybody where `to` is nil.
    case send(frame: [UInt8], to: NodeName?)
    case update(Settings)
    case stop
  }

  private struct Shared {
    var calls: [Call] = []
    var connected: Set<NodeName> = []
    /// Why a peer is not connected, for `status`.
    var faults: [NodeName: String] = [:]
    var listenFault: String?
    var peers: [NodeName] = []
  }

  private let shared = Mutex(Shared())
  let wake: WakeUp
  private let first: Settings
  let makeHello: @Sendable () -> ChannelHello
  let handler: @Sendable (Event) -> Void

  /// `hello` gives what we say first on each connection.
  package init(
    _ settings: Settings, hello: @escaping @Sendable () -> ChannelHello, handler: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    wake = try WakeUp()
    first = settings
    makeHello = hello
    self.handler = handler
    shared.withLock { $0.peers = settings.peers.map(\.name) }
  }

  /// Starts the thread. Call once. A listening socket that cannot be had is tried again, and is a warning until then.
  package func start() throws(SystemError) {
    let settings = first
    try Threads.start("channel") { [self] in
      PeerSocket.blockBrokenPipeSignal()
      do {
        try ChannelLoop(link: self, settings: settings).run()
      } catch {
        shared.withLock { $0.listenFault = "the channel between agents does not run: \(error)" }
      }
    }
  }

  /// Takes over changed members, addresses or keys: what did not change stays connected.
  package func update(_ settings: Settings) {
    shared.withLock {
      $0.peers = settings.peers.map(\.name)
      $0.calls.append(.update(settings))
    }
    wake.signal()
  }

  /// Closes everything and ends the thread; no event comes after it has.
  package func stop() {
    shared.withLock { $0.calls.append(.stop) }
    wake.signal()
  }

  package var connected: Set<NodeName> { shared.withLock { $0.connected } }

  /// For `status`: who is not connected, and why.
  package var warnings: [String] {
    shared.withLock { shared in
      var lines: [String] = shared.listenFault.map { [$0] } ?? []
      if shared.peers.count > Self.maximumPeerCount {
        lines.append("only \(Self.maximumPeerCount) of \(shared.peers.count) members are connected by the channel")
      }
      for peer in shared.peers.sorted() where !shared.connected.contains(peer) {
        lines.append("agent of \(peer) is not connected: \(shared.faults[peer] ?? "not heard from yet")")
      }
      return lines
    }
  }

  /// Queues a message for a peer, or for everyone who is connected (nil). False, and nothing sent, if the peer is not
  /// connected, the message is longer than a frame or too much waits. True is no promise that it arrives.
  @discardableResult
  package func send(_ message: ChannelMessage, to peer: NodeName?) -> Bool {
    guard let frame = try? ChannelFrame.encode(message) else { return false }
    let queued = shared.withLock { shared in
      if let peer, !shared.connected.contains(peer) { return false }
      guard shared.calls.count < Self.maximumWaitingCallCount else { return false }
      shared.calls.append(.send(frame: frame, to: peer))
      return true
    }
    if queued { wake.signal() }
    return queued
  }

  // MARK: the thread's side

  func takeCalls() -> [Call] {
    shared.withLock { shared in
      defer { shared.calls.removeAll() }
      return shared.calls
    }
  }

  func setConnected(_ peer: NodeName, fault: String?) {
    shared.withLock { shared in
      shared.faults[peer] = fault
      if fault == nil { shared.connected.insert(peer) } else { shared.connected.remove(peer) }
    }
  }

  func forget(_ peer: NodeName) {
    shared.withLock { shared in
      shared.faults[peer] = nil
      shared.connected.remove(peer)
    }
  }

  func setListenFault(_ fault: String?) { shared.withLock { $0.listenFault = fault } }
}
