// Targets that routes write: another prefix for servers, and where a redirect leads. What a client sent appears in them only
// in an encoded form, so it can neither end a line nor turn a redirect to another site.

internal import HTTP1

/// `rewrite: {prefix: {from: /api, to: /}}`.
package struct PrefixRewrite: @unchecked Sendable {
  // Unchecked: the texts are never written.
  let from: Text
  let to: Text

  package init(from: Text, to: Text) {
    self.from = from
    self.to = to
  }

  /// An upper bound of what `write` writes.
  package func writtenByteBound(_ path: TargetPath) -> Int {
    to.count &+ 2 &+ max(path.sent.count, path.text.count &* 3) &+ path.query.count
  }

  /// Writes the target for the server: the part of the path behind `from` as it was sent, if `from` was sent literally and
  /// there are no "." or ".." segments; else the path that was matched, encoded anew. Returns the byte count; 0: the path
  /// does not start with `from`, the target stays.
  package func write(_ path: TargetPath, of bytes: UnsafePointer<UInt8>, to destination: UnsafeMutablePointer<UInt8>)
    -> Int
  {
    if !PathPrefix.holds(from, of: path.text) { return 0 }
    var output = TargetOutput(destination)
    output.append(to)
    let sent = Text(start: bytes + path.sent.offset, count: path.sent.count)
    if !path.hasDots && sent.count >= from.count && PathPrefix.holds(from, of: sent) {
      output.appendRest(Text(rebasing: sent[from.count...]), encoding: .none)
    } else {
      output.appendRest(Text(rebasing: path.text[from.count...]), encoding: .path)
    }
    if path.hasQuery {
      output.append(63)
      output.append(Text(start: bytes + path.query.offset, count: path.query.count))
    }
    return output.count
  }

  /// The same for a file's path: decoded, without query. Returns the byte count, that of the whole path where `from` does not
  /// match.
  package func writeDecoded(_ path: TargetPath, to destination: UnsafeMutablePointer<UInt8>) -> Int {
    var output = TargetOutput(destination)
    if PathPrefix.holds(from, of: path.text) {
      output.append(to)
      output.appendRest(Text(rebasing: path.text[from.count...]), encoding: .none)
    } else {
      output.append(path.text)
    }
    return output.count
  }
}

/// `redirect: {to: "https://www.{host}{uri}"}` in parts.
package struct RedirectTarget: @unchecked Sendable {
  // Unchecked: the texts are never written.
  package enum Part: @unchecked Sendable {
    case text(Text)
    /// Without port and without a dot at its end, in lower case.
    case host
    /// Path and query as they were sent.
    case uri
    case path
    /// Without "?".
    case query
    case scheme
    /// As the client named it, or the scheme's own.
    case port
  }

  package let parts: UnsafeBufferPointer<Part>

  package init(parts: UnsafeBufferPointer<Part>) { self.parts = parts }

  /// Writes the target with "/" behind its path: where a folder's index is. At most three times the head and 16 bytes.
  package static func writeFolder(
    _ path: TargetPath, of bytes: UnsafePointer<UInt8>, to destination: UnsafeMutablePointer<UInt8>
  ) -> Int {
    var output = TargetOutput(destination)
    output.appendSentPath(path, of: bytes)
    output.append(47)
    if path.hasQuery {
      output.append(63)
      output.append(Text(start: bytes + path.query.offset, count: path.query.count), encoding: .sent)
    }
    output.joinLeadingSlashes()
    return output.count
  }

  /// An upper bound of what `write` writes: a client's bytes may take three each, so this may be many times the target.
  package func writtenByteBound(_ path: TargetPath, _ host: TargetHost) -> Int {
    let sent = max(1, path.sent.count &* 3)
    let query = path.query.count &* 3
    var sum = 0
    for part in parts {
      switch part {
      case .text(let text): sum &+= text.count
      case .host: sum &+= host.name.count
      case .uri: sum &+= sent &+ 1 &+ query
      case .path: sum &+= sent
      case .query: sum &+= query
      case .scheme: sum &+= 5
      case .port: sum &+= max(3, host.port.count)
      }
    }
    return sum
  }

  /// Writes where the request is to go. Returns the byte count; 0: the request has no host, and it is asked for.
  package func write(
    _ path: TargetPath, _ host: TargetHost, isSecure: Bool, of bytes: UnsafePointer<UInt8>,
    to destination: UnsafeMutablePointer<UInt8>
  ) -> Int {
    var output = TargetOutput(destination)
    for part in parts {
      switch part {
      case .text(let text): output.append(text)
      case .host:
        if host.name.isEmpty { return 0 }
        for index in host.name.offset..<host.name.endOffset { output.append(lowercase(bytes[index])) }
      case .uri:
        output.appendSentPath(path, of: bytes)
        if path.hasQuery {
          output.append(63)
          output.append(Text(start: bytes + path.query.offset, count: path.query.count), encoding: .sent)
        }
      case .path: output.appendSentPath(path, of: bytes)
      case .query: output.append(Text(start: bytes + path.query.offset, count: path.query.count), encoding: .sent)
      case .scheme: output.append(isSecure ? "https" : "http")
      case .port:
        if host.port.isEmpty {
          output.append(isSecure ? "443" : "80")
        } else {
          output.append(Text(start: bytes + host.port.offset, count: host.port.count))
        }
      }
    }
    output.joinLeadingSlashes()
    return output.count
  }
}

private struct TargetOutput {
  enum Encoding {
    case none
    /// Of decoded bytes: all but what may stand in a path is encoded.
    case path
    /// Of bytes that a client sent in a target: only what browsers would take for something else is encoded.
    case sent
  }

  private let base: UnsafeMutablePointer<UInt8>
  private(set) var count = 0

  init(_ base: UnsafeMutablePointer<UInt8>) { self.base = base }

  mutating func append(_ byte: UInt8) {
    base[count] = byte
    count &+= 1
  }

  mutating func append(_ text: StaticString) {
    append(Text(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  mutating func append(_ text: Text, encoding: Encoding = .none) {
    for byte in text {
      switch encoding {
      case .none: append(byte)
      case .path: if Self.isOfPath(byte) { append(byte) } else { appendEncoded(byte) }
      case .sent: if Self.isSafe(byte) { append(byte) } else { appendEncoded(byte) }
      }
    }
  }

  /// What follows a prefix, with exactly one "/" between: "/" + "x", "/v2" + "/x", "/v2" + "".
  mutating func appendRest(_ rest: Text, encoding: Encoding) {
    var rest = rest
    let endsInSlash = count > 0 && base[count &- 1] == 47
    if endsInSlash {
      while rest.first == 47 { rest = Text(rebasing: rest[1...]) }
    } else if let first = rest.first, first != 47 {
      append(47)
    }
    append(rest, encoding: encoding)
  }

  mutating func appendSentPath(_ path: TargetPath, of bytes: UnsafePointer<UInt8>) {
    let sent = Text(start: bytes + path.sent.offset, count: path.sent.count)
    if sent.isEmpty { append(47) } else { append(sent, encoding: .sent) }
  }

  /// "//name" at the start of a redirect would lead to a host of that name.
  mutating func joinLeadingSlashes() {
    var first = 0
    while first &+ 1 < count && base[first] == 47 && base[first &+ 1] == 47 { first &+= 1 }
    if first == 0 { return }
    base.update(from: base + first, count: count &- first)
    count &-= first
  }

  private mutating func appendEncoded(_ byte: UInt8) {
    let digits: StaticString = "0123456789ABCDEF"
    append(37)
    append(digits.utf8Start[Int(byte &>> 4)])
    append(digits.utf8Start[Int(byte & 15)])
  }

  /// pchar of RFC 3986 and "/", as a bit per ASCII code.
  private static func isOfPath(_ byte: UInt8) -> Bool {
    let word: UInt64 = byte < 64 ? 0x2fff_ffd2_0000_0000 : 0x47ff_fffe_87ff_ffff
    return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
  }

  /// Visible ASCII without " < > \ ^ ` { | }.
  private static func isSafe(_ byte: UInt8) -> Bool {
    switch byte {
    case 33, 35...59, 61, 63...91, 93, 95, 97...122, 126: true
    default: false
    }
  }
}
