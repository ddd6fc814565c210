// Chunked bodies (RFC 9112, section 7.1), read strictly and passed on in canonical form: size in hexadecimal without
// leading zeros, no extension, CR LF. A body that came in that form already goes out as it came, without a copy; whatever
// else the sender wrote between the data never reaches the other side.

package enum BodyFault: UInt8, Sendable {
  case invalidChunkSize
  case chunkTooLarge
  case extensionTooLong
  case missingChunkEnd
  case invalidTrailer
  case trailersTooLarge

  package var words: StaticString {
    switch self {
    case .invalidChunkSize: "a chunk's size is not a hexadecimal number"
    case .chunkTooLarge: "a chunk is too large"
    case .extensionTooLong: "a chunk's extension is malformed or too long"
    case .missingChunkEnd: "a chunk is not followed by CR LF"
    case .invalidTrailer: "a trailer field is malformed"
    case .trailersTooLarge: "the trailers are too large"
    }
  }
}

package enum BodyStatus: Equatable, Sendable {
  /// The body goes on.
  case more
  /// The last consumed byte was the body's last.
  case end
  case fault(BodyFault)
}

/// What one pass over arrived bytes came to. Send `bytes[forward]` of what was passed in or, if `writtenCount` is not 0,
/// that many bytes of the scratch memory instead. After a fault send nothing.
package struct BodyStep: Sendable {
  package var status = BodyStatus.more
  /// Bytes that are done with. The rest, an unfinished size line or trailer section, must come again with more after it; it
  /// is never longer than `ChunkedBody.maximumHeldByteCount`.
  package var consumed = 0
  package var forward = ByteRange.empty
  package var writtenCount = 0
  /// Bytes of content among what is forwarded.
  package var payloadCount = 0
}

package enum ChunkedOutput: UInt8, Sendable {
  /// Chunks, with a chunked message's end and the trailers that may pass.
  case chunked
  /// Only the content, for a receiver of HTTP/1.0; the caller closes after it.
  case content
}

/// Where one chunked body stands. Sixteen bytes, no references.
package struct ChunkedBody: Sendable {
  /// 16 hexadecimal digits and an extension, or the trailers.
  static let maximumExtensionByteCount = 256
  static let maximumTrailerByteCount = 4096
  static let maximumTrailerCount = 32
  package static let maximumHeldByteCount = maximumTrailerByteCount + maximumExtensionByteCount + 32
  /// 2⁵⁶: far from overflow.
  static let maximumChunkDigits = 14

  enum Phase: UInt8 { case sizeLine, data, dataEnd, done }

  /// Of the current chunk.
  var remaining: Int64 = 0
  var phase = Phase.sizeLine
  /// Fields that were taken out of its head, or written anew there, must not come behind it.
  package var dropsTrailers = false

  package init() {}

  /// The scratch memory that `read` needs for `count` bytes.
  @inlinable package static func scratchByteCount(for count: Int) -> Int { count &+ 32 }

  /// Reads the `count` bytes that have arrived; `scanSlack` more must be readable. `scratch` has room for
  /// `scratchByteCount(for: count)` bytes and does not overlap them.
  package mutating func read(
    _ bytes: UnsafePointer<UInt8>, count: Int, output: ChunkedOutput, scratch: UnsafeMutablePointer<UInt8>
  ) -> BodyStep {
    let before = self
    var step = BodyStep()
    // Where the range that is forwarded as it came starts; -1 as long as nothing is.
    var from = -1
    var to = 0
    var position = 0
    while position < count {
      switch phase {
      case .sizeLine:
        var line = SizeLine()
        switch line.read(bytes, position, count) {
        case .incomplete: return finish(&step, position, from, to)
        case .fault(let fault): return fail(fault)
        case .complete: break
        }
        if line.size == 0 {
          return readEnd(bytes, position, line, count, output, from, to, &step, before, scratch)
        }
        if output == .chunked {
          if !line.isCanonical { return copy(before, bytes, count, output, scratch) }
          if from < 0 { from = position }
          to = line.end
        }
        position = line.end
        remaining = line.size
        phase = .data
      case .data:
        let here = Int(min(remaining, Int64(count &- position)))
        if output == .content && from >= 0 && to != position { return copy(before, bytes, count, output, scratch) }
        if from < 0 { from = position }
        position &+= here
        to = position
        remaining &-= Int64(here)
        step.payloadCount &+= here
        if remaining == 0 { phase = .dataEnd }
      case .dataEnd:
        if count &- position < 2 {
          if bytes[position] != 13 { return fail(.missingChunkEnd) }
          return finish(&step, position, from, to)
        }
        if word2(bytes + position) != crlf { return fail(.missingChunkEnd) }
        if output == .chunked {
          if from < 0 { from = position }
          to = position &+ 2
        }
        position &+= 2
        phase = .sizeLine
      case .done: return finish(&step, position, from, to)
      }
    }
    return finish(&step, position, from, to)
  }

  @inline(__always)
  private func finish(_ step: inout BodyStep, _ position: Int, _ from: Int, _ to: Int) -> BodyStep {
    step.consumed = position
    if from >= 0 { step.forward = ByteRange(from, to) }
    return step
  }

  @inline(never)
  private func fail(_ fault: BodyFault) -> BodyStep {
    var step = BodyStep()
    step.status = .fault(fault)
    return step
  }

  /// The last chunk and the trailers, once all of them are there.
  @inline(__always)
  private mutating func readEnd(
    _ bytes: Bytes, _ position: Int, _ line: SizeLine, _ count: Int, _ output: ChunkedOutput, _ from: Int, _ to: Int,
    _ step: inout BodyStep, _ before: ChunkedBody, _ scratch: UnsafeMutablePointer<UInt8>
  ) -> BodyStep {
    var trailers = Trailers()
    switch trailers.read(bytes, line.end, count) {
    case .incomplete: return finish(&step, position, from, to)
    case .fault(let fault): return fail(fault)
    case .complete: break
    }
    let areRight = trailers.allPass && !(dropsTrailers && trailers.end > line.end &+ 2)
    if output == .chunked && !(line.isCanonical && areRight) {
      return copy(before, bytes, count, output, scratch)
    }
    phase = .done
    step.status = .end
    if output == .content { return finish(&step, trailers.end, from, to) }
    return finish(&step, trailers.end, from < 0 ? position : from, trailers.end)
  }

  /// The long way: from where this pass began, everything goes to the scratch memory in canonical form.
  @inline(never)
  private mutating func copy(
    _ before: ChunkedBody, _ bytes: Bytes, _ count: Int, _ mode: ChunkedOutput,
    _ scratch: UnsafeMutablePointer<UInt8>
  ) -> BodyStep {
    self = before
    var step = BodyStep()
    var output = Output(scratch)
    var position = 0
    loop: while position < count {
      switch phase {
      case .sizeLine:
        var line = SizeLine()
        switch line.read(bytes, position, count) {
        case .incomplete: break loop
        case .fault(let fault): return fail(fault)
        case .complete: break
        }
        if line.size == 0 {
          var trailers = Trailers()
          switch trailers.read(bytes, line.end, count) {
          case .incomplete: break loop
          case .fault(let fault): return fail(fault)
          case .complete: break
          }
          if mode == .chunked {
            output.append("0\r\n")
            if !dropsTrailers { trailers.append(bytes, line.end, count, to: &output) }
            output.append("\r\n")
          }
          position = trailers.end
          phase = .done
          step.status = .end
          break loop
        }
        if mode == .chunked {
          output.append(bytes, line.digits.offset, line.digits.endOffset)
          output.append("\r\n")
        }
        remaining = line.size
        position = line.end
        phase = .data
      case .data:
        let here = Int(min(remaining, Int64(count - position)))
        output.append(bytes, position, position + here)
        position += here
        remaining -= Int64(here)
        step.payloadCount += here
        if remaining == 0 { phase = .dataEnd }
      case .dataEnd:
        if count - position < 2 {
          if bytes[position] != 13 { return fail(.missingChunkEnd) }
          break loop
        }
        if word2(bytes + position) != crlf { return fail(.missingChunkEnd) }
        if mode == .chunked { output.append("\r\n") }
        position += 2
        phase = .sizeLine
      case .done: break loop
      }
    }
    step.consumed = position
    step.writtenCount = output.count
    return step
  }
}

/// Frames a body of unknown length for a client of HTTP/1.1: `writeSizeLine`, the data, `separator`; at last `end`.
package enum ChunkEncoding {
  package static let maximumSizeLineByteCount = 18

  /// Size and CR LF; `count` is at least 1. Returns the byte count.
  package static func writeSizeLine(_ count: Int, to destination: UnsafeMutablePointer<UInt8>) -> Int {
    precondition(count > 0)
    var output = Output(destination)
    output.append(hexadecimal: UInt64(count))
    output.append("\r\n")
    return output.count
  }

  /// After the data of every chunk.
  package static var separator: StaticString { "\r\n" }
  package static var end: StaticString { "0\r\n\r\n" }
}
