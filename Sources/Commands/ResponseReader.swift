// The HTTP/1.1 answers of the local API, read strictly and within limits (RFC 9112): counted, chunked, or ended by close.
// The agent is trusted, what answers on a path that somebody typed is not.

/// A complete answer.
struct HTTPAnswer: Equatable, Sendable {
  var status: Int
  var body: [UInt8]
}

/// Why bytes are no answer.
struct AnswerFault: Error, Equatable, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Gathers bytes until the answer is complete.
package struct ResponseReader: Sendable {
  package static let maximumHeadByteCount = 64 * 1024
  package static let maximumBodyByteCount = 64 * 1024 * 1024

  private enum Body { case counted(Int), chunked, untilClose }
  private var bytes: [UInt8] = []
  private var status = 0
  private var body: Body?
  /// Where the body, or the next chunk's size line, starts.
  private var offset = 0
  private var chunks: [UInt8] = []
  private var answer: HTTPAnswer?

  package init() {}

  /// Takes more bytes; true when the answer is complete. Throws `AnswerFault`.
  package mutating func receive(_ more: [UInt8]) throws -> Bool {
    if answer != nil { return true }
    bytes += more
    while body == nil { if try !readHead() { return false } }
    return try readBody(isAtEnd: false)
  }

  /// The peer closed. Throws unless that ends the answer.
  package mutating func finish() throws -> (status: Int, body: [UInt8]) {
    if answer == nil {
      guard body != nil, try readBody(isAtEnd: true) else {
        throw AnswerFault(
          bytes.isEmpty ? "it closed the connection without an answer" : "its answer ends in the middle")
      }
    }
    return (answer!.status, answer!.body)
  }

  /// A line that ends with CR LF, without them; nil if it is not complete yet.
  private func line(at start: Int, limit: Int) throws -> (text: String, next: Int)? {
    let window = bytes[start..<min(bytes.count, start + limit)]
    guard let end = window.firstIndex(of: 10) else {
      guard window.count < limit else { throw AnswerFault("its answer has a line that never ends") }
      return nil
    }
    guard end > start, bytes[end - 1] == 13, let text = String(validating: bytes[start..<(end - 1)], as: UTF8.self)
    else {
      throw AnswerFault("what it answers is not HTTP")
    }
    return (text, end + 1)
  }

  /// False while the head is incomplete. Interim answers (1xx) are skipped.
  private mutating func readHead() throws -> Bool {
    var position = offset
    guard let first = try line(at: position, limit: Self.maximumHeadByteCount) else { return false }
    let parts = first.text.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count >= 2, parts[0] == "HTTP/1.1" || parts[0] == "HTTP/1.0", parts[1].utf8.count == 3,
      let code = Int(parts[1]), (100...599).contains(code)
    else { throw AnswerFault("what it answers is not HTTP") }
    position = first.next
    var length: Int?
    var isChunked = false
    while true {
      guard position - offset < Self.maximumHeadByteCount else { throw AnswerFault("its answer has an endless head") }
      guard let field = try line(at: position, limit: Self.maximumHeadByteCount) else { return false }
      position = field.next
      if field.text.isEmpty { break }
      guard let colon = field.text.firstIndex(of: ":"), colon > field.text.startIndex else {
        throw AnswerFault("its answer has a header without a name")
      }
      let value = field.text[field.text.index(after: colon)...].trimmed
      switch field.text[..<colon].lowercased() {
      case "content-length":
        guard (1...15).contains(value.utf8.count), value.utf8.allSatisfy({ (48...57).contains($0) }),
          let count = Int(value),
          length == nil || length == count
        else { throw AnswerFault("its answer has a wrong Content-Length") }
        length = count
      case "transfer-encoding":
        guard value.lowercased() == "chunked", !isChunked else {
          throw AnswerFault("its answer has an unknown Transfer-Encoding")
        }
        isChunked = true
      default: break
      }
    }
    guard length == nil || !isChunked else { throw AnswerFault("its answer has two lengths") }
    guard length ?? 0 <= Self.maximumBodyByteCount else { throw AnswerFault("its answer is too long") }
    offset = position
    if code < 200 {
      guard code != 101 else { throw AnswerFault("it switches protocols unasked") }
      return bytes.count > offset
    }
    status = code
    let isBodiless = code == 204 || code == 304
    body = isBodiless ? .counted(0) : isChunked ? .chunked : length.map { Body.counted($0) } ?? .untilClose
    return true
  }

  private mutating func readBody(isAtEnd: Bool) throws -> Bool {
    guard bytes.count - offset <= Self.maximumBodyByteCount + Self.maximumHeadByteCount else {
      throw AnswerFault("its answer is too long")
    }
    switch body {
    case .counted(let count):
      guard bytes.count - offset >= count else { return false }
      complete(Array(bytes[offset..<(offset + count)]))
    case .untilClose:
      guard bytes.count - offset <= Self.maximumBodyByteCount else { throw AnswerFault("its answer is too long") }
      guard isAtEnd else { return false }
      complete(Array(bytes[offset...]))
    case .chunked:
      while let size = try line(at: offset, limit: 1024) {
        let digits = size.text.prefix { $0 != ";" }.trimmed
        guard (1...7).contains(digits.utf8.count), digits.utf8.allSatisfy({ $0 != 43 && $0 != 45 }),
          let count = Int(digits, radix: 16)
        else { throw AnswerFault("its answer has a wrong chunk") }
        if count == 0 { return try readTrailers(at: size.next) }
        guard chunks.count + count <= Self.maximumBodyByteCount else { throw AnswerFault("its answer is too long") }
        guard bytes.count >= size.next + count + 2 else { return false }
        guard bytes[size.next + count] == 13, bytes[size.next + count + 1] == 10 else {
          throw AnswerFault("its answer has a wrong chunk")
        }
        chunks += bytes[size.next..<(size.next + count)]
        bytes.removeSubrange(..<(size.next + count + 2))
        offset = 0
      }
      return false
    case nil: return false
    }
    return true
  }

  private mutating func readTrailers(at start: Int) throws -> Bool {
    var position = start
    while let field = try line(at: position, limit: Self.maximumHeadByteCount) {
      if field.text.isEmpty {
        complete(chunks)
        return true
      }
      position = field.next
      guard position - start < Self.maximumHeadByteCount else { throw AnswerFault("its answer has endless trailers") }
    }
    return false
  }

  private mutating func complete(_ body: [UInt8]) {
    answer = HTTPAnswer(status: status, body: body)
    bytes = []
  }
}

extension Substring {
  /// Without spaces and tabs at both ends.
  fileprivate var trimmed: Substring {
    var text = self
    while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
    while let last = text.last, last == " " || last == "\t" { text.removeLast() }
    return text
  }
}
