// One connection of the channel: its descriptor, its TLS session, what is read and what waits to be written. It moves bytes
// and says what came; who may speak, and what is done with it, is the loop's business.

internal import Glibc
internal import Kernel
internal import Primitives

/// Used on the channel's thread only.
final class ChannelConnection {
  enum Phase { case connecting, handshaking, awaitingHello, open }

  /// What waits to be written may grow to this; a peer that does not read beyond it is disconnected, and merges anew when
  /// it comes back. A whole document of intents fits.
  static let maximumOutboundByteCount = 6 * 1024 * 1024
  /// Read in one turn, so that one peer cannot keep the thread.
  private static let maximumReadsPerTurn = 16
  static let readByteCount = 16 * 1024

  let token: UInt64
  let address: IPAddress
  let isDialer: Bool
  /// Set when it is dialed, or by the look-up of an accepted one's key; proved from `awaitingHello` on.
  var peer: NodeName?
  var phase: Phase
  let startedAt: Instant
  var lastReceived: Instant
  var lastSent: Instant
  /// What the poller was told.
  var interest: Readiness
  /// Input may be left that the poller does not show.
  private(set) var hasMore = false

  private let descriptor: FileDescriptor
  var session: ChannelSession?
  private var decoder = ChannelFrameDecoder()
  private var outbound: [UInt8] = []
  private var outboundOffset = 0
  private var writeBlocked = false

  init(
    token: UInt64, descriptor: consuming FileDescriptor, address: IPAddress, peer: NodeName?, isDialer: Bool,
    now: Instant
  ) {
    self.token = token
    self.descriptor = descriptor
    self.address = address
    self.peer = peer
    self.isDialer = isDialer
    phase = isDialer ? .connecting : .handshaking
    interest = isDialer ? [.write] : [.read]
    startedAt = now
    lastReceived = now
    lastSent = now
  }

  var raw: Int32 { descriptor.raw }
  var isProved: Bool { phase == .awaitingHello || phase == .open }

  var wantedInterest: Readiness {
    switch phase {
    case .connecting: [.write]
    case .handshaking, .awaitingHello, .open: writeBlocked ? [.read, .write] : [.read]
    }
  }

  /// False if the peer does not take what waits already.
  func enqueue(_ frame: [UInt8]) -> Bool {
    guard outbound.count - outboundOffset + frame.count <= Self.maximumOutboundByteCount else { return false }
    outbound += frame
    return true
  }

  /// Goes on with connecting and the handshake. True when the peer is proved; throws when it never will be.
  func advanceHandshake() throws -> Bool {
    if phase == .connecting {
      if let fault = PeerSocket.pendingError(raw, "connect to \(address)") { throw fault }
      phase = .handshaking
    }
    guard phase == .handshaking, let session else { return false }
    switch session.handshake() {
    case .done:
      phase = .awaitingHello
      writeBlocked = false
      return true
    case .wantsRead: writeBlocked = false
    case .wantsWrite: writeBlocked = true
    case .ended: throw ChannelFault.unexpected("the connection was closed during the handshake (another key or name?)")
    case .failed(let why): throw ChannelFault.unexpected(why)
    }
    return false
  }

  /// Reads what is there, a bounded amount, and hands over each message. Throws when the connection is over.
  func receive(
    now: Instant, into buffer: UnsafeMutableRawBufferPointer, _ handle: (ChannelMessage) throws -> Void
  ) throws {
    guard isProved, let session else { return }
    hasMore = false
    for _ in 0..<Self.maximumReadsPerTurn {
      switch session.read(into: buffer) {
      case .done(let count):
        lastReceived = now
        decoder.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        while let message = try decoder.next() { try handle(message) }
      case .wantsRead: return
      case .wantsWrite:
        writeBlocked = true
        return
      case .ended: throw ChannelFault.unexpected("the peer closed the connection")
      case .failed(let why): throw ChannelFault.unexpected(why)
      }
    }
    hasMore = true
  }

  /// Writes what waits, as far as the socket takes it.
  func flush(now: Instant) throws {
    guard isProved, let session else { return }
    writeBlocked = false
    while outboundOffset < outbound.count {
      let outcome = outbound.withUnsafeBytes { session.write(UnsafeRawBufferPointer(rebasing: $0[outboundOffset...])) }
      switch outcome {
      case .done(let count):
        outboundOffset += count
        lastSent = now
      case .wantsRead: return
      case .wantsWrite:
        writeBlocked = true
        if outboundOffset > 256 * 1024 { dropWritten() }
        return
      case .ended: throw ChannelFault.unexpected("the peer closed the connection")
      case .failed(let why): throw ChannelFault.unexpected(why)
      }
    }
    dropWritten()
  }

  private func dropWritten() {
    outbound.removeFirst(outboundOffset)
    outboundOffset = 0
  }

  func sayGoodbye() { if isProved { session?.close() } }
}
