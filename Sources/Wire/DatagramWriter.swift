// Writing a heartbeat into a caller's buffer. The size limit is hard: an entry that would not fit with the tag behind it
// is refused, and the caller tells it in a later datagram.

import Primitives

/// Use: `header` first, then parts (`begin`, entries, `end`), then `finish`. Allocates nothing.
package struct DatagramWriter {
  private let buffer: UnsafeMutableRawBufferPointer
  private var offset = DatagramLayout.headerByteCount
  private var partStart: Int?

  /// Precondition: `buffer` has at least `DatagramLayout.maximumByteCount` bytes; more are not used.
  package init(buffer: UnsafeMutableRawBufferPointer) {
    precondition(buffer.count >= DatagramLayout.maximumByteCount, "the buffer is shorter than the largest datagram")
    self.buffer = buffer
  }

  /// Bytes left before the tag, for values and part headers.
  package var remaining: Int { DatagramLayout.maximumByteCount - DatagramLayout.tagByteCount - offset }

  package mutating func header(_ header: HeartbeatHeader) {
    typealias Offset = DatagramLayout.Offset
    buffer.set(DatagramLayout.magic, at: Offset.magic)
    buffer.set(DatagramLayout.version, at: Offset.version)
    buffer.set(UInt8(0), at: Offset.version + 1)
    buffer.set(header.flags.rawValue, at: Offset.flags)
    buffer.set(header.clusterID, at: Offset.cluster)
    buffer.set(header.keyID, at: Offset.key)
    buffer.set(UInt16(0), at: Offset.length)
    buffer.set(UInt8(0), at: Offset.fragment)
    buffer.set(UInt8(1), at: Offset.fragments)
    buffer.set(header.sender, at: Offset.sender)
    buffer.set(header.boot.high, at: Offset.boot)
    buffer.set(header.boot.low, at: Offset.boot + 8)
    buffer.set(header.sequence, at: Offset.sequence)
    buffer.set(header.sendTimeNanoseconds, at: Offset.sendTime)
    buffer.set(header.intervalMicroseconds, at: Offset.interval)
    buffer.set(header.detectionMicroseconds, at: Offset.detection)
    buffer.set(header.configurationDigest, at: Offset.configuration)
    buffer.set(header.intentsDigest, at: Offset.intents)
  }

  /// Opens a part. False, and nothing is written, unless its header and `byteCount` bytes of value fit.
  package mutating func begin(_ type: PartType, roomFor byteCount: Int) -> Bool {
    precondition(partStart == nil, "the part before was not ended")
    guard remaining >= DatagramLayout.partHeaderByteCount + byteCount else { return false }
    partStart = offset
    buffer.set(type.rawValue, at: offset)
    buffer.set(UInt16(0), at: offset + 2)
    offset += DatagramLayout.partHeaderByteCount
    return true
  }

  package mutating func end() {
    guard let start = partStart else { preconditionFailure("no part is open") }
    partStart = nil
    let length = offset - start - DatagramLayout.partHeaderByteCount
    if length == 0 {
      offset = start
    } else {
      buffer.set(UInt16(length), at: start + 2)
    }
  }

  /// False, and nothing is written, if it does not fit. The same for the other entries.
  package mutating func append(_ report: PeerReport) -> Bool {
    guard let at = take(PeerReport.byteCount) else { return false }
    buffer.set(report.peer, at: at)
    buffer.set(report.bootFold, at: at + 8)
    buffer.set(report.lastSequence, at: at + 16)
    buffer.set(report.ageMicroseconds, at: at + 24)
    buffer.set(UInt32(report.loss) << 24 | UInt32(report.multicastPaths) << 16 | UInt32(report.roundTrip), at: at + 28)
    return true
  }

  package mutating func append(_ patience: Patience) -> Bool {
    guard let at = take(Patience.byteCount) else { return false }
    buffer.set(patience.microseconds, at: at)
    return true
  }

  package mutating func append(_ report: VIPReport) -> Bool {
    guard let at = take(VIPReport.byteCount) else { return false }
    buffer.set(report.vip, at: at)
    buffer.set(report.priority, at: at + 8)
    buffer.set(report.role.rawValue, at: at + 10)
    let flags: UInt8 =
      (report.eligible ? 1 : 0) | (report.passesUnknown ? 2 : 0) | (report.holder == 0 ? 0 : 4)
      | (report.isUnconfigured ? 8 : 0)
    buffer.set(flags, at: at + 11)
    buffer.set(report.holder == 0 ? report.term : report.holder, at: at + 12)
    return true
  }

  package mutating func append(_ notice: ReleaseNotice) -> Bool {
    guard let at = take(ReleaseNotice.byteCount) else { return false }
    buffer.set(notice.vip, at: at)
    buffer.set(notice.successor, at: at + 8)
    buffer.set(notice.serial, at: at + 16)
    buffer.set(UInt32(notice.cause.rawValue) << 24 | (notice.keepsConnections ? 1 << 16 : 0), at: at + 20)
    return true
  }

  /// A whole part of one value, for the short ones. False if it does not fit.
  package mutating func part(_ type: PartType, _ value: UnsafeRawBufferPointer) -> Bool {
    guard begin(type, roomFor: value.count), let at = take(value.count) else { return false }
    UnsafeMutableRawBufferPointer(rebasing: buffer[at..<(at + value.count)]).copyMemory(from: value)
    end()
    return true
  }

  package mutating func resign(_ reason: ResignReason) -> Bool {
    guard begin(.resign, roomFor: 4), let at = take(4) else { return false }
    buffer.set(UInt32(reason.rawValue) << 24, at: at)
    end()
    return true
  }

  /// Sets the length, signs, and returns the length of the datagram.
  package mutating func finish<Authenticator: DatagramAuthenticator>(authenticator: inout Authenticator) -> Int {
    precondition(partStart == nil, "a part is still open")
    let total = offset + DatagramLayout.tagByteCount
    buffer.set(UInt16(total), at: DatagramLayout.Offset.length)
    authenticator.sign(
      UnsafeRawBufferPointer(rebasing: buffer[..<offset]),
      into: UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<total]))
    return total
  }

  /// Signs a finished datagram once more, with the other key. Precondition: there is one.
  package static func signWithOtherKey<Authenticator: DatagramAuthenticator>(
    _ datagram: UnsafeMutableRawBufferPointer, authenticator: inout Authenticator
  ) {
    guard let keyID = authenticator.otherKeyID else { preconditionFailure("there is no other key") }
    datagram.set(keyID, at: DatagramLayout.Offset.key)
    let end = datagram.count - DatagramLayout.tagByteCount
    authenticator.signWithOther(
      UnsafeRawBufferPointer(rebasing: datagram[..<end]),
      into: UnsafeMutableRawBufferPointer(rebasing: datagram[end...]))
  }

  private mutating func take(_ byteCount: Int) -> Int? {
    guard remaining >= byteCount else { return nil }
    defer { offset += byteCount }
    return offset
  }
}
