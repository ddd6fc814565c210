// Framing of the channel between agents: a 4-byte length in network order, then that many bytes of one message.
//
//   +--------+--------+--------+--------+-----------------
//   |        length (1 … 65,536)        | message …
//   +--------+--------+--------+--------+-----------------

internal import Control

package enum ChannelFrame {
  /// Longer messages are never sent, and end the connection when received.
  package static let maximumByteCount = 65_536
  static let headerByteCount = 4

  /// Nil if the message is too long to be sent.
  package static func encode(_ message: ChannelMessage) throws -> [UInt8]? {
    let bytes = try MessageCoding.encode(message)
    guard (1...maximumByteCount).contains(bytes.count) else { return nil }
    let count = UInt32(bytes.count)
    return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) } + bytes
  }
}

/// What ends a connection because the other side does not speak our language.
package enum ChannelFault: Error, Equatable, Sendable, CustomStringConvertible {
  case frameLength(Int)
  case notAMessage(String)
  case unexpected(String)

  package var description: String {
    switch self {
    case .frameLength(let count): "frame of \(count) bytes (1 to \(ChannelFrame.maximumByteCount) are allowed)"
    case .notAMessage(let why): "not a message: \(why)"
    case .unexpected(let why): why
    }
  }
}

/// Cuts a stream of bytes into messages. Holds at most one frame and what came in one read behind it.
package struct ChannelFrameDecoder: Sendable {
  private var buffer: [UInt8] = []
  private var offset = 0
  /// Messages of a kind that this version does not know, skipped.
  package private(set) var unknownCount = 0

  package init() {}

  package mutating func append(_ bytes: UnsafeRawBufferPointer) {
    if offset > 0 {
      buffer.removeFirst(offset)
      offset = 0
    }
    buffer.append(contentsOf: bytes)
  }

  /// The next whole message; nil when more bytes are needed. Throws when nothing after this can be trusted.
  package mutating func next() throws(ChannelFault) -> ChannelMessage? {
    while buffer.count - offset >= ChannelFrame.headerByteCount {
      let count = buffer[offset..<(offset + 4)].reduce(0) { $0 << 8 | Int($1) }
      guard (1...ChannelFrame.maximumByteCount).contains(count) else { throw .frameLength(count) }
      let start = offset + ChannelFrame.headerByteCount
      guard buffer.count - start >= count else { return nil }
      offset = start + count
      do {
        return try MessageCoding.decode(ChannelMessage.self, from: Array(buffer[start..<offset]))
      } catch let fault as MessageFault {
        throw .notAMessage(fault.description)
      } catch {
        // A well-formed value of another shape: a message of a later version.
        unknownCount += 1
      }
    }
    return nil
  }
}
