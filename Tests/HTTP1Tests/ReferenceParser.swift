// The rules for heads once more, slowly and obviously: split into lines, split at the colon, look each rule up. The fast
// parsers are held against it on thousands of mutated messages.

@testable import HTTP1

struct ReferenceField: Equatable {
  var name: String
  var value: String
}

/// What both parsers must agree on.
struct ReferenceHead: Equatable {
  var byteCount: Int
  var first: [String]
  var framing: BodyFraming
  var contentLength: Int64
  var keepsAlive: Bool
  /// What is passed on, in order.
  var kept: [ReferenceField]
  var host: String
}

enum Reference {
  static let token = Set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
  static let hostBytes = Set("-._~!$&'()*+,;=%0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)

  /// Latin-1, so that every byte is one scalar.
  static func string(_ bytes: ArraySlice<UInt8>) -> String {
    String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
  }

  static func trim(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var bytes = bytes
    while let first = bytes.first, first == 32 || first == 9 { bytes = bytes.dropFirst() }
    while let last = bytes.last, last == 32 || last == 9 { bytes = bytes.dropLast() }
    return bytes
  }

  static func list(_ values: [ArraySlice<UInt8>]) -> [String] {
    values.flatMap { $0.split(separator: 44, omittingEmptySubsequences: false) }.map { string(trim($0)).lowercased() }
  }

  /// The first line, and the fields with names in lower case; nil unless the head is complete and well-formed.
  static func lines(_ bytes: [UInt8], skipsEmptyLine: Bool, limits: HeadLimits)
    -> (byteCount: Int, first: ArraySlice<UInt8>, fields: [(name: String, value: ArraySlice<UInt8>)])?
  {
    var rest = bytes[...]
    if skipsEmptyLine, rest.starts(with: [13, 10]) { rest = rest.dropFirst(2) }
    var found: [ArraySlice<UInt8>] = []
    while true {
      guard let end = rest.firstIndex(of: 10), end > rest.startIndex, rest[end - 1] == 13 else { return nil }
      let line = rest[rest.startIndex..<(end - 1)]
      if line.contains(where: { ($0 < 32 && $0 != 9) || $0 == 127 }) { return nil }
      rest = rest[(end + 1)...]
      if line.isEmpty { break }
      found.append(line)
    }
    guard let first = found.first, rest.startIndex <= limits.headByteCount, found.count - 1 <= limits.fieldCount else {
      return nil
    }
    var fields: [(String, ArraySlice<UInt8>)] = []
    for line in found.dropFirst() {
      guard let colon = line.firstIndex(of: 58) else { return nil }
      let name = line[line.startIndex..<colon]
      guard !name.isEmpty, name.allSatisfy({ token.contains($0) }) else { return nil }
      fields.append((string(name).lowercased(), trim(line[(colon + 1)...])))
    }
    return (rest.startIndex, first, fields)
  }

  static func isHost(_ bytes: ArraySlice<UInt8>) -> Bool {
    var rest = bytes
    if rest.first == 91 {
      guard let close = rest.firstIndex(of: 93) else { return false }
      let inside = rest[(rest.startIndex + 1)..<close]
      guard inside.count >= 2, inside.allSatisfy({ "0123456789abcdefABCDEF:.".utf8.contains($0) }) else { return false }
      rest = rest[(close + 1)...]
    } else {
      let name = rest.prefix { hostBytes.contains($0) }
      if name.isEmpty { return false }
      rest = rest.dropFirst(name.count)
    }
    if rest.isEmpty { return true }
    return rest.first == 58 && rest.count <= 6 && rest.dropFirst().allSatisfy { (48...57).contains($0) }
  }

  /// The body's framing; nil if the fields contradict the rules. −1: no length.
  static func framing(_ fields: [(name: String, value: ArraySlice<UInt8>)], isOld: Bool) -> (Bool, Int64)? {
    if fields.contains(where: { $0.name.hasPrefix("transfer-encoding") && $0.name.utf8.count > 17 }) { return nil }
    let lengths = fields.filter { $0.name == "content-length" }.map(\.value)
    var length: Int64 = -1
    for text in list(lengths) {
      guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }), let value = Int64(text) else { return nil }
      if length >= 0 && length != value { return nil }
      length = value
    }
    let encodings = fields.filter { $0.name == "transfer-encoding" }.map(\.value)
    if encodings.isEmpty { return (false, length) }
    if isOld || !lengths.isEmpty || list(encodings) != ["chunked"] { return nil }
    return (true, -1)
  }

  static let protected: Set<String> = [
    "host", "content-length", "via", "forwarded", "cookie", "set-cookie", "authorization", "cache-control", "date",
    "expect", "max-forwards", "content-type",
  ]
  static let hopByHop: Set<String> = [
    "connection", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding", "proxy-authenticate",
    "proxy-authorization",
  ]

  /// The options of Connection; nil if they are malformed.
  static func connection(_ fields: [(name: String, value: ArraySlice<UInt8>)]) -> (Set<String>, nominated: Set<String>)?
  {
    let values = fields.filter { $0.name == "connection" }.map(\.value)
    let all = list(values).filter { !$0.isEmpty }
    for text in all where !text.unicodeScalars.allSatisfy({ $0.value < 128 && token.contains(UInt8($0.value)) }) {
      return nil
    }
    let others = all.filter { !["close", "keep-alive", "upgrade", "te"].contains($0) }
    if others.count > 32 { return nil }
    return (
      Set(all), Set(others.filter { !protected.contains($0) && !($0.hasPrefix("x-forwarded-") && $0.utf8.count > 12) })
    )
  }

  static func request(_ bytes: [UInt8], limits: HeadLimits, options: RequestOptions) -> ReferenceHead? {
    guard let (byteCount, first, fields) = lines(bytes, skipsEmptyLine: true, limits: limits) else { return nil }
    let parts = first.split(separator: 32, omittingEmptySubsequences: false)
    guard parts.count == 3 else { return nil }
    let (method, target, version) = (parts[0], parts[1], string(parts[2]))
    guard (1...32).contains(method.count), method.allSatisfy({ token.contains($0) }), string(method) != "CONNECT" else {
      return nil
    }
    guard version.utf8.count == 8, version.hasPrefix("HTTP/1."), let minor = version.utf8.last,
      (48...57).contains(minor)
    else { return nil }
    let isOld = minor == 48
    guard (1...limits.targetByteCount).contains(target.count),
      target.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "#") })
    else { return nil }

    let hosts = fields.filter { $0.name == "host" }.map(\.value)
    guard hosts.count <= 1, hosts.allSatisfy(isHost), hosts.count == 1 || isOld else { return nil }
    var host = hosts.first.map(string) ?? ""
    var path = string(target)
    if path == "*" {
      if string(method) != "OPTIONS" { return nil }
    } else if !path.hasPrefix("/") {
      let scheme = ["http://", "https://"].first { path.lowercased().hasPrefix($0) }
      guard let scheme else { return nil }
      let authority = target.dropFirst(scheme.utf8.count).prefix { $0 != 47 && $0 != 63 }
      guard isHost(authority) else { return nil }
      if hosts.isEmpty { host = string(authority) }
      let port = scheme == "http://" ? ":80" : ":443"
      let names = [host, string(authority)].map { name in
        let name = name.lowercased()
        return name.hasSuffix(port) ? String(name.dropLast(port.count)) : name
      }
      if names[0] != names[1] { return nil }
      path = string(target.dropFirst(scheme.utf8.count + authority.count))
      if path.isEmpty {
        path = string(method) == "OPTIONS" ? "*" : "/"
      } else if path.hasPrefix("?") {
        path = "/" + path
      }
    }
    let countsHops = ["OPTIONS", "TRACE"].contains(string(method))
    if countsHops {
      let hops = fields.filter { $0.name == "max-forwards" }.map(\.value)
      guard hops.count <= 1, hops.allSatisfy({ (1...9).contains($0.count) && $0.allSatisfy { (48...57).contains($0) } })
      else { return nil }
    }
    guard let (chunked, length) = framing(fields, isOld: isOld), let (tokens, nominated) = connection(fields) else {
      return nil
    }

    let kept = fields.filter { field in
      if hopByHop.contains(field.name) || field.name == "te" || nominated.contains(field.name) { return false }
      if field.name.contains("_") && !options.contains(.keepsUnderscoreNames) { return false }
      if field.name == "forwarded" || (field.name.hasPrefix("x-forwarded-") && field.name.utf8.count > 12) {
        return false
      }
      return field.name != "content-length" && !(countsHops && field.name == "max-forwards")
    }
    return ReferenceHead(
      byteCount: byteCount, first: [string(method), path, "HTTP/1.1"],
      framing: chunked ? .chunked : length > 0 ? .counted : .none, contentLength: length,
      keepsAlive: !tokens.contains("close") && (!isOld || tokens.contains("keep-alive")),
      kept: kept.map { ReferenceField(name: $0.name, value: string($0.value)) }, host: host)
  }

  static func response(_ bytes: [UInt8], isHeadRequest: Bool, limits: HeadLimits) -> ReferenceHead? {
    guard let (byteCount, first, fields) = lines(bytes, skipsEmptyLine: false, limits: limits) else { return nil }
    let line = Array(first)
    guard line.count >= 12, string(line[0..<7]) == "HTTP/1.", (48...57).contains(line[7]), line[8] == 32,
      (49...57).contains(line[9]), line[9..<12].allSatisfy({ (48...57).contains($0) }),
      line.count == 12 || line[12] == 32
    else { return nil }
    let isOld = line[7] == 48
    let status = Int(string(line[9..<12]))!
    guard let (chunked, length) = framing(fields, isOld: isOld), let (tokens, nominated) = connection(fields) else {
      return nil
    }
    let bodyless = isHeadRequest || status < 200 || status == 204 || status == 304
    let framing: BodyFraming =
      bodyless ? .none : chunked ? .chunked : length > 0 ? .counted : length == 0 ? .none : .untilClose
    let isContradictory = (status < 200 || status == 204) && (chunked || length > 0)
    let persists = !tokens.contains("close") && (!isOld || tokens.contains("keep-alive")) && !isContradictory
    return ReferenceHead(
      byteCount: byteCount, first: [String(status)], framing: framing, contentLength: length,
      keepsAlive: persists && framing != .untilClose,
      kept: fields.filter { !hopByHop.contains($0.name) && !nominated.contains($0.name) && $0.name != "content-length" }
        .map { ReferenceField(name: $0.name, value: string($0.value)) },
      host: "")
  }
}
