// Chunked bodies: literal verdicts, every way to split them, and a slow reader beside the fast one on mutated bodies.

import Testing

@testable import HTTP1

struct ReadBody: Equatable {
  var status: BodyStatus
  var consumed: Int
  var forwarded: [UInt8]
  var payloadCount: Int
}

/// Reads `bytes` as they would arrive in pieces that end at `cuts`, keeping what is held back as the contract says.
func readBody(_ bytes: [UInt8], output: ChunkedOutput = .chunked, cuts: [Int] = []) -> ReadBody {
  var body = ChunkedBody()
  var result = ReadBody(status: .more, consumed: 0, forwarded: [], payloadCount: 0)
  for end in cuts + [bytes.count] {
    let piece = Array(bytes[result.consumed..<max(end, result.consumed)])
    var scratch = [UInt8](repeating: 0, count: ChunkedBody.scratchByteCount(for: piece.count))
    let step = withPadded(piece, filler: 48) { pointer, count in
      scratch.withUnsafeMutableBufferPointer {
        body.read(pointer, count: count, output: output, scratch: $0.baseAddress!)
      }
    }
    precondition(step.writtenCount <= scratch.count && step.consumed <= piece.count)
    precondition(step.forward.endOffset <= step.consumed)
    result.status = step.status
    if case .fault = step.status { return result }
    result.forwarded +=
      step.writtenCount > 0 ? scratch[..<step.writtenCount] : piece[step.forward.offset..<step.forward.endOffset]
    result.consumed += step.consumed
    result.payloadCount += step.payloadCount
    precondition(piece.count - step.consumed <= ChunkedBody.maximumHeldByteCount || step.status == .end)
    if step.status == .end { return result }
  }
  return result
}

/// The same, slowly: all chunks of a whole body, or nil.
func referenceBody(_ bytes: [UInt8]) -> (payload: [UInt8], chunks: [Int], trailers: [String], end: Int)? {
  var position = 0
  var payload: [UInt8] = []
  var chunks: [Int] = []
  func line(maximum: Int) -> [UInt8]? {
    guard let end = bytes[position...].firstIndex(of: 10), end > position, bytes[end - 1] == 13 else { return nil }
    let line = Array(bytes[position..<(end - 1)])
    if line.contains(where: { ($0 < 32 && $0 != 9) || $0 == 127 }) { return nil }
    position = end + 1
    return line
  }
  while true {
    guard let text = line(maximum: 300) else { return nil }
    let digits = text.prefix { "0123456789abcdefABCDEF".utf8.contains($0) }
    let rest = text.dropFirst(digits.count)
    guard (1...16).contains(digits.count), let size = UInt64(String(decoding: digits, as: UTF8.self), radix: 16),
      size < 1 << 56,
      rest.isEmpty || rest.first(where: { $0 != 32 && $0 != 9 }) == 59, rest.count <= 256
    else { return nil }
    if size == 0 { break }
    guard size <= UInt64(bytes.count - position) else { return nil }
    payload += bytes[position..<(position + Int(size))]
    chunks.append(Int(size))
    position += Int(size)
    guard position + 2 <= bytes.count, bytes[position] == 13, bytes[position + 1] == 10 else { return nil }
    position += 2
  }
  var trailers: [String] = []
  let start = position
  while true {
    guard let text = line(maximum: 4096) else { return nil }
    if text.isEmpty { break }
    guard let colon = text.firstIndex(of: 58), colon > 0, text[..<colon].allSatisfy({ Reference.token.contains($0) })
    else { return nil }
    trailers.append(Reference.string(text[...]))
  }
  return position - start > 4096 || trailers.count > 32 ? nil : (payload, chunks, trailers, position)
}

struct RefusedBody: Sendable, CustomTestStringConvertible {
  let bytes: String
  let fault: BodyFault
  init(_ bytes: String, _ fault: BodyFault) {
    self.bytes = bytes
    self.fault = fault
  }
  var testDescription: String { "\(fault): \(bytes.debugDescription.prefix(60))" }
}

/// A body, what goes out in chunks, and its content.
struct ForwardedBody: Sendable {
  let input: String
  let chunked: String
  let content: String
  init(_ input: String, _ chunked: String, _ content: String) {
    self.input = input
    self.chunked = chunked
    self.content = content
  }
}

@Suite struct ChunkedBodyTests {
  static let forwarded: [ForwardedBody] = [
    ForwardedBody("3\nabc\n0\n\n", "3\nabc\n0\n\n", "abc"),
    ForwardedBody("A\n0123456789\n1\nx\n0\n\n", "A\n0123456789\n1\nx\n0\n\n", "0123456789x"),
    ForwardedBody("0003\nabc\n0\n\n", "3\nabc\n0\n\n", "abc"),
    ForwardedBody("3;a=b\nabc\n0;c\n\n", "3\nabc\n0\n\n", "abc"),
    ForwardedBody("3 ; a=\"b\"\nabc\n1\nd\n000\n\n", "3\nabc\n1\nd\n0\n\n", "abcd"),
    ForwardedBody(
      "3;\nabc\n0A\n0123456789\n000a\n0123456789\n0\n\n", "3\nabc\nA\n0123456789\na\n0123456789\n0\n\n",
      "abc01234567890123456789"),
    ForwardedBody("0\n\n", "0\n\n", ""),
    ForwardedBody("1\na\n0\nX: 1\nY-Sum: 2\n\n", "1\na\n0\nX: 1\nY-Sum: 2\n\n", "a"),
    ForwardedBody(
      "1\na\n0\nContent-Length: 1\nX: 1\nhost: b\nA_B: 1\nX-Forwarded-For: 1\nx-request-ID: 1\nY: 2\n\n",
      "1\na\n0\nX: 1\nY: 2\n\n", "a"),
  ]

  static let refused: [RefusedBody] = [
    RefusedBody("x\r\n", .invalidChunkSize),
    RefusedBody("\r\n", .invalidChunkSize),
    RefusedBody("-1\r\n", .invalidChunkSize),
    RefusedBody("+1\r\n", .invalidChunkSize),
    RefusedBody("0x1\r\n", .invalidChunkSize),
    RefusedBody(" 1\r\n", .invalidChunkSize),
    RefusedBody("1 \r\n", .invalidChunkSize),
    RefusedBody("1\n", .invalidChunkSize),
    RefusedBody("1\rx", .invalidChunkSize),
    RefusedBody("1_0\r\n", .invalidChunkSize),
    RefusedBody("1,\r\n", .invalidChunkSize),
    RefusedBody("\u{0}1\r\n", .invalidChunkSize),
    RefusedBody("100000000000000\r\n", .chunkTooLarge),
    RefusedBody("fffffffffffffffff\r\n", .chunkTooLarge),
    RefusedBody("8000000000000000\r\n", .chunkTooLarge),
    RefusedBody("00000000000000001\r\n", .chunkTooLarge),
    RefusedBody("1;a\nb\r\n", .extensionTooLong),
    RefusedBody("1;a\rb\r\n", .extensionTooLong),
    RefusedBody("1;\u{0}\r\n", .extensionTooLong),
    RefusedBody("1;" + String(repeating: "a", count: 300), .extensionTooLong),
    RefusedBody("1" + String(repeating: " ", count: 300), .extensionTooLong),
    RefusedBody("1\r\nab\r\n", .missingChunkEnd),
    RefusedBody("1\r\na\n0\r\n", .missingChunkEnd),
    RefusedBody("1\r\na\rb", .missingChunkEnd),
    RefusedBody("0\r\nX\r\n\r\n", .invalidTrailer),
    RefusedBody("0\r\nX : 1\r\n\r\n", .invalidTrailer),
    RefusedBody("0\r\n X: 1\r\n\r\n", .invalidTrailer),
    RefusedBody("0\r\nX: 1\n\r\n", .invalidTrailer),
    RefusedBody("0\r\nX: \u{1}\r\n\r\n", .invalidTrailer),
    RefusedBody("0\r\n\rX", .invalidTrailer),
    RefusedBody("0\r\n" + String(repeating: "X: 1\r\n", count: 33) + "\r\n", .trailersTooLarge),
    RefusedBody("0\r\nX: " + String(repeating: "a", count: 5000), .trailersTooLarge),
  ]

  @Test(
    "a malformed body is refused with its reason",
    arguments: refused)
  func refuses(_ entry: RefusedBody) {
    let (text, fault) = (entry.bytes, entry.fault)
    for output in [ChunkedOutput.chunked, .content] {
      #expect(readBody(Array(text.utf8), output: output).status == .fault(fault))
      // However it arrives.
      let count = text.utf8.count
      #expect(readBody(Array(text.utf8), output: output, cuts: Array(1..<min(count, 400))).status == .fault(fault))
    }
  }

  @Test(
    "a body goes out in canonical form, or as content only",
    arguments: forwarded)
  func forwards(_ entry: ForwardedBody) {
    let (input, chunked, content) = (entry.input, entry.chunked, entry.content)
    let bytes = input.wire
    for (output, expected) in [(ChunkedOutput.chunked, chunked.wire), (.content, Array(content.utf8))] {
      let whole = readBody(bytes + Array("NEXT".utf8), output: output)
      #expect(
        whole == ReadBody(status: .end, consumed: bytes.count, forwarded: expected, payloadCount: content.utf8.count))
      for first in 0...bytes.count {
        for second in first...bytes.count {
          #expect(readBody(bytes, output: output, cuts: [first, second]) == whole, "cut at \(first) and \(second)")
        }
      }
      #expect(readBody(bytes, output: output, cuts: Array(0...bytes.count)) == whole)
    }
  }

  @Test("a canonical body is forwarded without a copy")
  func noCopy() {
    let bytes = "400\r\n".utf8 + [UInt8](repeating: 120, count: 1024) + "\r\n0\r\n\r\n".utf8
    var body = ChunkedBody()
    withPadded(Array(bytes)) { pointer, count in
      var none: UInt8 = 0
      let step = body.read(pointer, count: count, output: .chunked, scratch: &none)
      #expect(step.writtenCount == 0 && step.forward == ByteRange(0, count) && step.status == .end)
    }
    // In the middle of a large chunk too, and as content.
    var large = ChunkedBody()
    let start = Array("100000\r\n".utf8) + [UInt8](repeating: 120, count: 500)
    withPadded(start) { pointer, count in
      var none: UInt8 = 0
      let step = large.read(pointer, count: count, output: .content, scratch: &none)
      #expect(step.writtenCount == 0 && step.forward == ByteRange(8, count) && step.consumed == count)
    }
    withPadded([UInt8](repeating: 120, count: 500)) { pointer, count in
      var none: UInt8 = 0
      let step = large.read(pointer, count: count, output: .chunked, scratch: &none)
      #expect(step.writtenCount == 0 && step.forward == ByteRange(0, 500) && step.payloadCount == 500)
    }
  }

  @Test("mutated bodies are read as the slow reader reads them", arguments: 0..<4)
  func comparison(_ part: UInt64) {
    let seeds = [
      "3\nabc\n0\n\n", "5;x=y\nhello\n0a\n0123456789\n0\nX: 1\nContent-Length: 2\n\n", "1\na\n1\nb\n1\nc\n0\n\n",
      "00f\n0123456789abcde\n0\n\n",
    ]
    var ended = 0
    for seed in (part * 3_000)..<((part + 1) * 3_000) {
      var mutator = Mutator(seed: seed)
      let bytes = mutator.mutate(seeds[mutator.pick(seeds.count)].wire)
      let comment = Comment(rawValue: "seed \(seed): \(Reference.string(bytes[...]).debugDescription)")
      let slow = referenceBody(bytes)
      for output in [ChunkedOutput.chunked, .content] {
        let fast = readBody(bytes, output: output)
        #expect((fast.status == .end) == (slow != nil), comment)
        let cuts = (0..<mutator.pick(6)).map { _ in mutator.pick(bytes.count + 1) }.sorted()
        let pieces = readBody(bytes, output: output, cuts: cuts)
        if fast.status == .end {
          #expect(pieces == fast, comment)
        } else {
          #expect(pieces.status == fast.status, comment)
        }
        guard fast.status == .end, let slow else { continue }
        ended += 1
        #expect(fast.consumed == slow.end && fast.payloadCount == slow.payload.count, comment)
        if output == .content {
          #expect(fast.forwarded == slow.payload, comment)
        } else if let again = referenceBody(fast.forwarded) {
          #expect(
            again.payload == slow.payload && again.chunks == slow.chunks && again.end == fast.forwarded.count, comment)
          #expect(again.trailers == slow.trailers.filter { again.trailers.contains($0) }, comment)
          #expect(!again.trailers.contains { $0.lowercased().hasPrefix("content-length") }, comment)
        } else {
          Issue.record("what was written is not valid, \(comment)")
        }
      }
    }
    #expect(ended > 300)
  }

  @Test("size lines of our own are read back")
  func encoding() {
    for count in [1, 9, 10, 15, 16, 255, 256, 4095, 65_536, 1 << 40] {
      var line = [UInt8](repeating: 0, count: ChunkEncoding.maximumSizeLineByteCount)
      let written = line.withUnsafeMutableBufferPointer { ChunkEncoding.writeSizeLine(count, to: $0.baseAddress!) }
      #expect(Array(line[..<written]) == Array((String(count, radix: 16) + "\r\n").utf8))
    }
  }
}
