// Reading a heartbeat. `open` checks everything that can be checked without knowing the node's state: lengths, cluster,
// key, tag, and the shape of every part. What it returns can be read without further checks, and nothing is copied.

import Primitives

/// An authenticated datagram. Points into the receive buffer: valid only while that is.
package struct Datagram {
  package let header: HeartbeatHeader
  package let peers: Entries<PeerReport>
  /// Of the first of `peers`, in their order; none from senders that do not tell.
  package let patiences: Entries<Patience>
  package let vips: Entries<VIPReport>
  package let releases: Entries<ReleaseNotice>
  package let resign: ResignReason?
  /// UTF-8, unchecked, 0 to 32 bytes.
  package let softwareVersion: UnsafeRawBufferPointer

  package static let softwareVersionLimit = 32

  /// The checks stand in the order of their cost; the first that fails is the reason. A part type may occur once; a
  /// second one of a known type is malformed.
  package static func open<Authenticator: DatagramAuthenticator>(
    _ bytes: UnsafeRawBufferPointer, clusterID: UInt64, authenticator: inout Authenticator
  ) -> Result<Datagram, DropReason> {
    typealias Offset = DatagramLayout.Offset
    guard bytes.count >= DatagramLayout.minimumByteCount else { return .failure(.tooShort) }
    guard bytes.count <= DatagramLayout.maximumByteCount else { return .failure(.tooLong) }
    guard bytes.u32(Offset.magic) == DatagramLayout.magic else { return .failure(.wrongMagic) }
    guard bytes.u8(Offset.version) == DatagramLayout.version else { return .failure(.wrongVersion) }
    guard Int(bytes.u16(Offset.length)) == bytes.count, bytes.u8(Offset.fragment) == 0, bytes.u8(Offset.fragments) == 1
    else { return .failure(.wrongLength) }
    guard bytes.u64(Offset.cluster) == clusterID else { return .failure(.wrongCluster) }

    let signed = UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count - DatagramLayout.tagByteCount)])
    let tag = UnsafeRawBufferPointer(rebasing: bytes[signed.count...])
    switch authenticator.verify(signed, tag: tag, keyID: bytes.u32(Offset.key)) {
    case .valid: break
    case .unknownKey: return .failure(.unknownKey)
    case .wrongTag: return .failure(.wrongTag)
    }
    guard let datagram = Datagram(authenticated: signed) else { return .failure(.malformedPart) }
    return .success(datagram)
  }

  /// Nil if a part is malformed.
  private init?(authenticated bytes: UnsafeRawBufferPointer) {
    typealias Offset = DatagramLayout.Offset
    let empty = UnsafeRawBufferPointer(start: nil, count: 0)
    var peers = empty
    var patiences = empty
    var vips = empty
    var releases = empty
    var version = empty
    var resign: ResignReason?
    var seen: UInt64 = 0
    var offset = DatagramLayout.headerByteCount
    while offset < bytes.count {
      guard bytes.count - offset >= DatagramLayout.partHeaderByteCount else { return nil }
      let type = bytes.u16(offset)
      let length = Int(bytes.u16(offset + 2))
      offset += DatagramLayout.partHeaderByteCount
      guard bytes.count - offset >= length else { return nil }
      let value = UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + length)])
      offset += length
      guard let known = PartType(rawValue: type) else { continue }
      let bit = UInt64(1) << UInt64(known.rawValue)
      guard seen & bit == 0 else { return nil }
      seen |= bit
      switch known {
      case .peers:
        guard length % PeerReport.byteCount == 0 else { return nil }
        peers = value
      case .patiences:
        guard length % Patience.byteCount == 0 else { return nil }
        patiences = value
      case .vips:
        guard length % VIPReport.byteCount == 0 else { return nil }
        vips = value
      case .releases:
        guard length % ReleaseNotice.byteCount == 0 else { return nil }
        releases = value
      case .resign:
        guard length == 4 else { return nil }
        resign = ResignReason(rawValue: value.u8(0)) ?? .died
      case .softwareVersion:
        guard (1...Self.softwareVersionLimit).contains(length) else { return nil }
        version = value
      }
    }
    self.peers = Entries(bytes: peers)
    self.patiences = Entries(bytes: patiences)
    self.vips = Entries(bytes: vips)
    self.releases = Entries(bytes: releases)
    self.resign = resign
    softwareVersion = version
    header = HeartbeatHeader(
      flags: HeartbeatFlags(rawValue: bytes.u16(Offset.flags)), clusterID: bytes.u64(Offset.cluster),
      keyID: bytes.u32(Offset.key), sender: bytes.u64(Offset.sender),
      boot: BootID(high: bytes.u64(Offset.boot), low: bytes.u64(Offset.boot + 8)), sequence: bytes.u64(Offset.sequence),
      sendTimeNanoseconds: Int64(bitPattern: bytes.u64(Offset.sendTime)),
      intervalMicroseconds: bytes.u32(Offset.interval), detectionMicroseconds: bytes.u32(Offset.detection),
      configurationDigest: bytes.u64(Offset.configuration), intentsDigest: bytes.u64(Offset.intents))
  }
}

/// A fixed-size entry of a part.
package protocol WireEntry {
  static var byteCount: Int { get }
  /// Precondition: `bytes` has `byteCount` bytes from `offset`.
  init(_ bytes: UnsafeRawBufferPointer, at offset: Int)
}

/// The entries of one part, read in place.
package struct Entries<Entry: WireEntry> {
  @usableFromInline let bytes: UnsafeRawBufferPointer
  @inlinable package var count: Int { bytes.count / Entry.byteCount }
  @inlinable package subscript(position: Int) -> Entry {
    precondition(position >= 0 && position < count, "no such entry")
    return Entry(bytes, at: position * Entry.byteCount)
  }
}

extension PeerReport: WireEntry {
  @inlinable package init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    self.init(
      peer: bytes.u64(offset), bootFold: bytes.u64(offset + 8), lastSequence: bytes.u64(offset + 16),
      ageMicroseconds: bytes.u32(offset + 24), loss: bytes.u8(offset + 28), multicastPaths: bytes.u8(offset + 29),
      roundTrip: bytes.u16(offset + 30))
  }
}

extension Patience: WireEntry {
  @inlinable package init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    self.init(microseconds: bytes.u32(offset))
  }
}

extension VIPReport: WireEntry {
  /// A role that this version does not know reads as idle.
  @inlinable package init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    self.init(
      vip: bytes.u64(offset), priority: bytes.u16(offset + 8), role: Role(rawValue: bytes.u8(offset + 10)) ?? .idle,
      eligible: bytes.u8(offset + 11) & 1 == 1, passesUnknown: bytes.u8(offset + 11) & 2 == 2,
      holder: bytes.u8(offset + 11) & 4 == 4 ? bytes.u32(offset + 12) : 0,
      isUnconfigured: bytes.u8(offset + 11) & 8 == 8,
      term: bytes.u8(offset + 11) & 4 == 4 ? 0 : bytes.u32(offset + 12))
  }
}

extension ReleaseNotice: WireEntry {
  @inlinable package init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    self.init(
      vip: bytes.u64(offset), successor: bytes.u64(offset + 8), serial: bytes.u32(offset + 16),
      cause: Cause(rawValue: bytes.u8(offset + 20)) ?? .unsaid, keepsConnections: bytes.u8(offset + 21) & 1 == 1)
  }
}
