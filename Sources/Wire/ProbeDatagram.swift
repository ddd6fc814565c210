// The datagram by which two doctors (`afloat doctor`) on different nodes find out whether they hear each other. It goes where
// heartbeats go, so that what stops those stops it as well; electors drop it. Numbers are in network byte order.
//
//      0                   1                   2                   3
//      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//     +---------------+---------------+---------------+---------------+
//   0 |      'A'      |      'F'      |      'L'      |      'D'      |
//     +---------------+---------------+---------------+---------------+
//   4 |  version = 1  |    entries    |        length with tag        |
//     +---------------+---------------+---------------+---------------+
//   8 |                      cluster id (64 bits)                     |
//     +---------------+---------------+---------------+---------------+
//  16 |                      sender (64 bits)                         |
//     +---------------+---------------+---------------+---------------+
//  24 |                 sender's run, random (64 bits)                |
//     +---------------+---------------+---------------+---------------+
//  32 |            key id             |              zero             |
//     +---------------+---------------+---------------+---------------+
//  40 | entries: peer (64), the peer's run (64), probes of it heard   |
//     | by multicast (32), by unicast (32)                            |
//     +---------------+---------------+---------------+---------------+
//   n |           tag (128 bits) over bytes 0 to n - 1                |
//     +---------------+---------------+---------------+---------------+

import Primitives

/// What the sender has heard of another doctor. Only somebody who heard that very run can name its number, so an entry with
/// one's own is news of now.
package struct ProbeEntry: Hashable, Sendable {
  package static let byteCount = 24
  package var peer: UInt64
  package var run: UInt64
  package var multicasts: UInt32
  package var unicasts: UInt32

  package init(peer: UInt64, run: UInt64, multicasts: UInt32, unicasts: UInt32) {
    self.peer = peer
    self.run = run
    self.multicasts = multicasts
    self.unicasts = unicasts
  }
}

package struct ProbeDatagram: Equatable, Sendable {
  package static let magic: UInt32 = 0x4146_4c44
  package static let version: UInt8 = 1
  package static let headerByteCount = 40
  /// What fits a datagram; a doctor that hears more of them tells of some in each.
  package static let entryLimit =
    (DatagramLayout.maximumByteCount - headerByteCount - DatagramLayout.tagByteCount) / ProbeEntry.byteCount

  /// `StableHash` of the cluster's and the sender's names.
  package var cluster: UInt64
  package var sender: UInt64
  package var run: UInt64
  package var entries: [ProbeEntry]

  package init(cluster: UInt64, sender: UInt64, run: UInt64, entries: [ProbeEntry]) {
    self.cluster = cluster
    self.sender = sender
    self.run = run
    self.entries = entries
  }

  /// Whether bytes are meant as a probe, whatever they are worth.
  package static func isMeant(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.count >= 4 && bytes.u32(0) == magic }

  /// The signed bytes. Precondition: at most `entryLimit` entries.
  package func encode<Authenticator: DatagramAuthenticator>(authenticator: inout Authenticator) -> [UInt8] {
    precondition(entries.count <= Self.entryLimit, "more entries than a datagram takes")
    let signedByteCount = Self.headerByteCount + entries.count * ProbeEntry.byteCount
    let total = signedByteCount + DatagramLayout.tagByteCount
    var bytes = [UInt8](repeating: 0, count: total)
    bytes.withUnsafeMutableBytes { buffer in
      buffer.set(Self.magic, at: 0)
      buffer.set(Self.version, at: 4)
      buffer.set(UInt8(entries.count), at: 5)
      buffer.set(UInt16(total), at: 6)
      buffer.set(cluster, at: 8)
      buffer.set(sender, at: 16)
      buffer.set(run, at: 24)
      buffer.set(authenticator.signingKeyID, at: 32)
      for (position, entry) in entries.enumerated() {
        let offset = Self.headerByteCount + position * ProbeEntry.byteCount
        buffer.set(entry.peer, at: offset)
        buffer.set(entry.run, at: offset + 8)
        buffer.set(entry.multicasts, at: offset + 16)
        buffer.set(entry.unicasts, at: offset + 20)
      }
      authenticator.sign(
        UnsafeRawBufferPointer(rebasing: buffer[..<signedByteCount]),
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[signedByteCount...]))
    }
    return bytes
  }

  /// Checks everything, in the order of cost; the first check that fails is the reason.
  package static func open<Authenticator: DatagramAuthenticator>(
    _ bytes: UnsafeRawBufferPointer, cluster: UInt64, authenticator: inout Authenticator
  ) -> Result<ProbeDatagram, DropReason> {
    guard bytes.count >= headerByteCount + DatagramLayout.tagByteCount else { return .failure(.tooShort) }
    guard bytes.count <= DatagramLayout.maximumByteCount else { return .failure(.tooLong) }
    guard bytes.u32(0) == magic else { return .failure(.wrongMagic) }
    guard bytes.u8(4) == version else { return .failure(.wrongVersion) }
    let count = Int(bytes.u8(5))
    let signedByteCount = headerByteCount + count * ProbeEntry.byteCount
    guard signedByteCount + DatagramLayout.tagByteCount == bytes.count, Int(bytes.u16(6)) == bytes.count else {
      return .failure(.wrongLength)
    }
    guard bytes.u64(8) == cluster else { return .failure(.wrongCluster) }
    let verdict = authenticator.verify(
      UnsafeRawBufferPointer(rebasing: bytes[..<signedByteCount]),
      tag: UnsafeRawBufferPointer(rebasing: bytes[signedByteCount...]), keyID: bytes.u32(32))
    switch verdict {
    case .valid: break
    case .unknownKey: return .failure(.unknownKey)
    case .wrongTag: return .failure(.wrongTag)
    }
    let entries = (0..<count).map { position in
      let offset = headerByteCount + position * ProbeEntry.byteCount
      return ProbeEntry(
        peer: bytes.u64(offset), run: bytes.u64(offset + 8), multicasts: bytes.u32(offset + 16),
        unicasts: bytes.u32(offset + 20))
    }
    return .success(
      ProbeDatagram(cluster: cluster, sender: bytes.u64(16), run: bytes.u64(24), entries: entries))
  }
}

extension DatagramLayout {
  /// Whom a heartbeat or a probe says to come from, believed by nobody: for words about datagrams that were dropped.
  package static func claimedSender(_ bytes: UnsafeRawBufferPointer) -> UInt64? {
    if ProbeDatagram.isMeant(bytes) { return bytes.count >= ProbeDatagram.headerByteCount ? bytes.u64(16) : nil }
    guard bytes.count >= minimumByteCount, bytes.u32(Offset.magic) == magic else { return nil }
    return bytes.u64(Offset.sender)
  }
}
