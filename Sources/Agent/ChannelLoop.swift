// The channel's thread: one epoll instance, all peers. It accepts, dials, keeps time limits and passes messages on; the
// bytes of one connection are `ChannelConnection`'s business.

internal import Kernel
internal import Primitives

/// Lives on its thread only.
final class ChannelLoop {
  static let maximumUnprovedCount = 16
  static let maximumUnprovedPerAddress = 2
  private static let wakeToken: UInt64 = 0
  private static let listenerToken: UInt64 = 1
  private static let listenRetry = TimeSpan.seconds(1)

  private struct PeerState {
    var address: IPAddress
    /// The proved connection that counts.
    var current: UInt64?
    /// The one being dialed or proved by us.
    var dialing: UInt64?
    var attempts = 0
    var backOff: TimeSpan
    var dialAt: Instant
  }

  private let link: ClusterLink
  private var settings: ClusterLink.Settings
  private let tls: ChannelTLS
  private let poller: Poller
  private var listener: FileDescriptor?
  private var listenAt: Instant
  private var connections: [UInt64: ChannelConnection] = [:]
  private var peers: [NodeName: PeerState] = [:]
  private var nextToken: UInt64 = 2
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: ChannelConnection.readByteCount, alignment: 16)

  init(link: ClusterLink, settings: ClusterLink.Settings) throws {
    self.link = link
    self.settings = settings
    tls = try ChannelTLS()
    poller = try Poller(capacity: 128)
    listenAt = Clock.monotonic
    try poller.add(link.wake.descriptor.raw, .read, token: Self.wakeToken)
    setPeers(now: Clock.monotonic)
  }

  deinit { buffer.deallocate() }

  /// Until `stop`.
  func run() throws {
    while true {
      for call in link.takeCalls() {
        switch call {
        case .send(let frame, let peer): send(frame, to: peer)
        case .update(let settings): update(settings)
        case .stop:
          for token in connections.keys.sorted() { close(token, "the agent ends") }
          return
        }
      }
      let now = Clock.monotonic
      let next = keepTime(now)
      let ready = connections.values.contains { $0.hasMore } ? .zero : max(.zero, next - now)
      let count = poller.wait(timeout: ready)
      let woken = Clock.monotonic
      for index in 0..<count { handle(poller.token(index), woken) }
      for connection in connections.values where connection.hasMore { advance(connection, woken) }
    }
  }

  private func handle(_ token: UInt64, _ now: Instant) {
    switch token {
    case Self.wakeToken: link.wake.clear()
    case Self.listenerToken: accept(now)
    // An event of a connection that was closed earlier in the same batch finds nothing.
    default: if let connection = connections[token] { advance(connection, now) }
    }
  }

  // MARK: settings

  private func setPeers(now: Instant) {
    let wanted = Dictionary(
      settings.peers.prefix(ClusterLink.maximumPeerCount).map { ($0.name, $0.address) }, uniquingKeysWith: { $1 })
    for (name, state) in peers where wanted[name] != state.address {
      for connection in connections.values where connection.peer == name {
        close(connection.token, "no longer a member")
      }
      peers[name] = nil
      link.forget(name)
    }
    for (name, address) in wanted where peers[name] == nil {
      peers[name] = PeerState(address: address, backOff: settings.timing.firstBackOff, dialAt: now)
    }
  }

  private func update(_ new: ClusterLink.Settings) {
    let old = settings
    settings = new
    if new.address != old.address || new.port != old.port {
      listener = nil
      listenAt = Clock.monotonic
    }
    if new.keys != old.keys || new.address != old.address || new.port != old.port || new.node != old.node {
      for token in connections.keys.sorted() { close(token, "the configuration changed") }
    }
    setPeers(now: Clock.monotonic)
  }

  // MARK: time

  /// Does what is due and returns when it wants to be called next.
  private func keepTime(_ now: Instant) -> Instant {
    var next = now + .seconds(60)
    if listener == nil {
      if now >= listenAt { listen(now) }
      if listener == nil { next = min(next, listenAt) }
    }
    for connection in connections.values.sorted(by: { $0.token < $1.token }) {
      let limit =
        connection.phase == .open
        ? connection.lastReceived + settings.timing.silence : connection.startedAt + settings.timing.handshake
      if now >= limit {
        close(
          connection.token,
          connection.phase == .open
            ? "nothing heard for \(settings.timing.silence.milliseconds) ms" : "the handshake took too long")
        continue
      }
      next = min(next, limit)
      guard connection.phase == .open else { continue }
      if now >= connection.lastSent + settings.timing.keepAlive {
        enqueue(.keepAlive, on: connection, now)
        // What could not be written counts as said: the peer's silence is what ends such a connection.
        connection.lastSent = now
      }
      next = min(next, connection.lastSent + settings.timing.keepAlive)
    }
    for (name, state) in peers where settings.node < name && state.current == nil && state.dialing == nil {
      if now >= state.dialAt { dial(name, now) }
      if let after = peers[name], after.dialing == nil { next = min(next, after.dialAt) }
    }
    return next
  }

  private func listen(_ now: Instant) {
    let endpoint = Endpoint(address: settings.address, port: settings.port)
    do {
      try ListeningSocket.checkIsFree(endpoint)
      var list = try ListeningSocket.open(endpoint, .init(count: 1, backlog: 64))
      guard let socket = list.takeFirst() else { return }
      try poller.add(socket.raw, .read, token: Self.listenerToken)
      listener = consume socket
      link.setListenFault(nil)
    } catch {
      link.setListenFault("the channel between agents: \(error)")
      listenAt = now + Self.listenRetry
    }
  }

  // MARK: connections

  private func accept(_ now: Instant) {
    guard let raw = listener?.raw else { return }
    for _ in 0..<64 {
      do {
        guard let accepted = try PeerSocket.accept(raw) else { return }
        let address = accepted.address
        let unproved = connections.values.filter { !$0.isDialer && !$0.isProved }
        // Strangers are told nothing; a member's few connections are proved one by one.
        guard peers.values.contains(where: { $0.address == address }), unproved.count < Self.maximumUnprovedCount,
          unproved.count(where: { $0.address == address }) < Self.maximumUnprovedPerAddress
        else { continue }
        let connection = ChannelConnection(
          token: nextToken, descriptor: accepted.takeDescriptor(), address: address, peer: nil, isDialer: false,
          now: now)
        nextToken += 1
        connection.session = try ChannelSession(tls, descriptor: connection.raw) { [unowned self, unowned connection] in
          self.key(for: $0, on: connection)
        }
        try register(connection)
        advance(connection, now)
      } catch {
        // Out of descriptors: the listener is opened again in a second, the waiting peers try again.
        listener = nil
        listenAt = now + Self.listenRetry
        link.setListenFault("the channel between agents: \(error)")
        return
      }
    }
  }

  /// The key of an identity that somebody shows; nil for everybody whom we do not await at that address.
  private func key(for bytes: UnsafeBufferPointer<UInt8>, on connection: ChannelConnection) -> [UInt8]? {
    guard let identity = ChannelKeys.Identity(bytes), identity.listener == settings.node,
      identity.dialer < settings.node, peers[identity.dialer]?.address == connection.address
    else { return nil }
    connection.peer = identity.dialer
    return settings.keys.preSharedKey(for: identity)
  }

  private func dial(_ name: NodeName, _ now: Instant) {
    guard var state = peers[name] else { return }
    let identity = settings.keys.identity(attempt: state.attempts, dialer: settings.node, listener: name)
    state.attempts += 1
    peers[name] = state
    do {
      guard let key = settings.keys.preSharedKey(for: identity) else {
        preconditionFailure("the identity was made of one of our keys")
      }
      let socket = try PeerSocket.connect(
        from: settings.address, to: Endpoint(address: state.address, port: settings.port))
      let connection = ChannelConnection(
        token: nextToken, descriptor: socket, address: state.address, peer: name, isDialer: true, now: now)
      nextToken += 1
      connection.session = try ChannelSession(tls, descriptor: connection.raw, identity: identity, key: key)
      try register(connection)
      peers[name]?.dialing = connection.token
    } catch {
      link.setConnected(name, fault: "\(error)")
      backOff(name, now)
    }
  }

  private func register(_ connection: ChannelConnection) throws {
    try poller.add(connection.raw, connection.interest, token: connection.token)
    connections[connection.token] = connection
  }

  /// Doubles up to the limit, with a quarter of jitter to either side.
  private func backOff(_ name: NodeName, _ now: Instant) {
    guard let state = peers[name] else { return }
    let quarter = max(1, state.backOff.nanoseconds / 4)
    peers[name]?.dialAt = now + state.backOff + .nanoseconds(Int64.random(in: -quarter...quarter))
    peers[name]?.backOff = min(settings.timing.longestBackOff, state.backOff * 2)
  }

  private func close(_ token: UInt64, _ why: String) {
    guard let connection = connections.removeValue(forKey: token) else { return }
    connection.sayGoodbye()
    poller.remove(connection.raw)
    let now = Clock.monotonic
    guard let name = connection.peer, let state = peers[name] else { return }
    if state.dialing == token { peers[name]?.dialing = nil }
    if state.current == token {
      peers[name]?.current = nil
      link.setConnected(name, fault: why)
      // One that lasted is forgiven its earlier failures.
      if now - connection.startedAt > settings.timing.silence { peers[name]?.backOff = settings.timing.firstBackOff }
      link.handler(.disconnected(name, why: why))
    } else if state.current == nil, connection.isDialer {
      link.setConnected(name, fault: why)
    }
    if connection.isDialer { backOff(name, now) }
  }

  private func advance(_ connection: ChannelConnection, _ now: Instant) {
    do {
      if try connection.advanceHandshake() { enqueue(.hello(link.makeHello()), on: connection, now) }
      try connection.receive(now: now, into: buffer) { try receive($0, on: connection) }
      try connection.flush(now: now)
    } catch {
      close(connection.token, "\(error)")
      return
    }
    updateInterest(connection)
  }

  private func updateInterest(_ connection: ChannelConnection) {
    // It may have been closed by a message that it brought.
    guard connections[connection.token] != nil, connection.interest != connection.wantedInterest else { return }
    connection.interest = connection.wantedInterest
    do {
      try poller.modify(connection.raw, connection.interest, token: connection.token)
    } catch { close(connection.token, "\(error)") }
  }

  private func receive(_ message: ChannelMessage, on connection: ChannelConnection) throws {
    guard let peer = connection.peer, connections[connection.token] != nil else { return }
    switch message {
    case .hello(let hello):
      guard connection.phase == .awaitingHello, hello.node == peer else {
        throw ChannelFault.unexpected("\(peer) introduced itself as \(hello.node)")
      }
      connection.phase = .open
      let older = peers[peer]?.current
      peers[peer]?.current = connection.token
      if peers[peer]?.dialing == connection.token { peers[peer]?.dialing = nil }
      // Stay with the key that worked.
      if let attempts = peers[peer]?.attempts, attempts > 0 { peers[peer]?.attempts = attempts - 1 }
      if let older { close(older, "replaced by a new connection") }
      link.setConnected(peer, fault: nil)
      link.handler(.connected(peer, hello))
    case .keepAlive: break
    default:
      guard connection.phase == .open else { throw ChannelFault.unexpected("\(peer) did not introduce itself") }
      link.handler(.message(peer, message))
    }
  }

  // MARK: sending

  private func enqueue(_ message: ChannelMessage, on connection: ChannelConnection, _ now: Instant) {
    guard let frame = try? ChannelFrame.encode(message) else { return }
    send(frame, on: connection, now)
  }

  private func send(_ frame: [UInt8], to peer: NodeName?) {
    let now = Clock.monotonic
    for (name, state) in peers where peer == nil || peer == name {
      if let token = state.current, let connection = connections[token] { send(frame, on: connection, now) }
    }
  }

  private func send(_ frame: [UInt8], on connection: ChannelConnection, _ now: Instant) {
    guard connection.enqueue(frame) else {
      close(connection.token, "it does not take what is sent to it")
      return
    }
    do {
      try connection.flush(now: now)
    } catch {
      close(connection.token, "\(error)")
      return
    }
    updateInterest(connection)
  }
}
