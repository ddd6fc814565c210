// What the tests share: text to padded bytes, one call to parse or rewrite, and mutations of messages by seed.

import Primitives

@testable import HTTP1

extension String {
  /// Reads `\r\n` style text: every newline in a multi-line literal stands for CR LF.
  var wire: [UInt8] { Array(replacingNewlines.utf8) }
  private var replacingNewlines: String {
    var result = ""
    for scalar in unicodeScalars { result += scalar == "\n" ? "\r\n" : String(scalar) }
    return result
  }
}

/// Calls `body` with the bytes in memory of exactly their size and slack, filled with `filler`, so that a parser that
/// trusts what comes after the end is found out.
func withPadded<Result>(_ bytes: [UInt8], filler: UInt8 = 0x41, _ body: (UnsafePointer<UInt8>, Int) -> Result) -> Result
{
  let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count + scanSlack)
  defer { memory.deallocate() }
  memory.initialize(repeating: filler, count: bytes.count + scanSlack)
  for index in bytes.indices { memory[index] = bytes[index] }
  return body(UnsafePointer(memory), bytes.count)
}

/// In memory that stays.
func kept(_ text: String) -> UnsafeBufferPointer<UInt8> {
  let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: text.utf8.count)
  _ = memory.initialize(from: text.utf8)
  return UnsafeBufferPointer(memory)
}

func text(_ range: ByteRange, _ bytes: [UInt8]) -> String {
  String(decoding: bytes[range.offset..<range.endOffset], as: UTF8.self)
}

struct ParsedRequest {
  var result: HeadResult
  var head: RequestHead
  /// What goes to the server, if the head is complete.
  var written: [UInt8]
}

let testAddress = IPAddress("192.0.2.7")!

func parseRequest(
  _ bytes: [UInt8], limits: HeadLimits = HeadLimits(), options: RequestOptions = [.addsXForwarded],
  address: IPAddress = testAddress, filler: UInt8 = 0x41
) -> ParsedRequest {
  let scratch = HeadScratch(fieldCount: max(limits.fieldCount, 1))
  defer { scratch.deallocate() }
  return withPadded(bytes, filler: filler) { pointer, count in
    var head = RequestHead()
    let result = head.parse(pointer, count: count, limits: limits, options: options, scratch: scratch)
    if result != .complete { return ParsedRequest(result: result, head: head, written: []) }
    let storage = UnsafeMutablePointer<UInt8>.allocate(capacity: ForwardingText.byteCapacity)
    defer { storage.deallocate() }
    let via = Array("Via: 1.1 n1\r\n".utf8)
    let host = Array("198.51.100.1:8080".utf8)
    return via.withUnsafeBufferPointer { via in
      host.withUnsafeBufferPointer { host in
        let additions = RequestAdditions(
          forwarding: ForwardingText(address: address, isSecure: false, storage: storage), via: via, defaultHost: host)
        let bound = head.writtenByteBound(additions)
        var output = [UInt8](repeating: 0, count: bound)
        let written = output.withUnsafeMutableBufferPointer {
          head.write(
            from: pointer, scratch: scratch, options: options, additions: additions, to: $0.baseAddress!,
            capacity: bound)
        }
        precondition(written <= bound, "the bound does not hold")
        return ParsedRequest(result: result, head: head, written: Array(output[..<written]))
      }
    }
  }
}

struct ParsedResponse {
  var result: HeadResult
  var head: ResponseHead
  var written: [UInt8]
}

func parseResponse(
  _ bytes: [UInt8], isHeadRequest: Bool = false, limits: HeadLimits = HeadLimits(),
  additions: ResponseAdditions = ResponseAdditions(), filler: UInt8 = 0x41
) -> ParsedResponse {
  let scratch = HeadScratch(fieldCount: max(limits.fieldCount, 1))
  defer { scratch.deallocate() }
  return withPadded(bytes, filler: filler) { pointer, count in
    var head = ResponseHead()
    let result = head.parse(pointer, count: count, isHeadRequest: isHeadRequest, limits: limits, scratch: scratch)
    if result != .complete { return ParsedResponse(result: result, head: head, written: []) }
    var additions = additions
    if head.framing == .chunked && additions.framing == .asReceived { additions.framing = .chunked }
    let bound = head.writtenByteBound(additions)
    var output = [UInt8](repeating: 0, count: bound)
    let written = output.withUnsafeMutableBufferPointer {
      head.write(from: pointer, scratch: scratch, additions: additions, to: $0.baseAddress!, capacity: bound)
    }
    precondition(written <= bound, "the bound does not hold")
    return ParsedResponse(result: result, head: head, written: Array(output[..<written]))
  }
}

/// Small changes of the kind that attackers and broken programs make.
struct Mutator {
  var random: SeededRandom
  private let interesting: [[UInt8]] = [
    [0], [9], [10], [13], [13, 10], [32], [0x7f], [0x80], [0xff], Array(":".utf8), Array(",".utf8), Array(";".utf8),
    Array("#".utf8), Array("@".utf8), Array("_".utf8), Array("0".utf8), Array("-".utf8), Array("chunked".utf8),
    Array("\r\nContent-Length: 5".utf8), Array("\r\nTransfer-Encoding: chunked".utf8), Array("\r\n folded".utf8),
    Array("\r\nConnection: close, x-a".utf8), Array("\r\nHost: b".utf8), Array("\r\nX_Y: 1".utf8),
    Array("HTTP/1.0".utf8), Array("http://a".utf8), Array("\r\nConnection: host, te, x-forwarded-for".utf8),
    Array("\r\nX-Forwarded-For: 1".utf8), Array("\r\nForwarded: for=a".utf8), Array("\r\nUpgrade: websocket".utf8),
    Array("\r\nConnection: upgrade".utf8), Array("\r\nTE: trailers".utf8), Array("\r\nMax-Forwards: 3".utf8),
  ]

  init(seed: UInt64) { random = SeededRandom(seed: seed) }

  mutating func pick(_ count: Int) -> Int { count == 0 ? 0 : Int(random.next() % UInt64(count)) }

  mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
    var result = bytes
    for _ in 0...pick(3) {
      let at = pick(result.count + 1)
      switch pick(7) {
      case 0: if at < result.count { result[at] = UInt8(truncatingIfNeeded: random.next()) }
      case 1: if at < result.count { result.remove(at: at) }
      case 2: result.insert(contentsOf: interesting[pick(interesting.count)], at: at)
      case 3:
        // At the end of a line, where it has most meaning.
        if let end = result[at...].firstIndex(of: 13) {
          result.insert(contentsOf: interesting[pick(interesting.count)], at: end)
        }
      case 4:
        if at < result.count {
          let piece = interesting[pick(interesting.count)]
          result.replaceSubrange(at..<min(result.count, at + piece.count), with: piece)
        }
      case 5:
        let end = min(result.count, at + pick(40))
        result.insert(contentsOf: result[at..<end], at: pick(result.count + 1))
      default: if at < result.count { result[at] ^= 0x20 }
      }
    }
    return result
  }
}
