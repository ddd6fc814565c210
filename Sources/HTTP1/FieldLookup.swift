// Fields and a cookie by their names, and Host in a head of ours, for the few configurations that ask for them: walks over the
// head, which cost nothing where nobody asks.

/// The values of all fields of one name, in their order.
package struct FieldValues {
  private var walk: FieldWalk
  private let name: UnsafeBufferPointer<UInt8>

  /// `name` in lower case.
  package init(named name: UnsafeBufferPointer<UInt8>, in head: RequestHead) {
    walk = FieldWalk(head.fieldsStart, head.byteCount)
    self.name = name
  }

  /// `bytes` are those of the parse.
  package mutating func next(_ bytes: UnsafePointer<UInt8>) -> ByteRange? { nextField(bytes)?.value }

  fileprivate mutating func nextField(_ bytes: Bytes) -> (value: ByteRange, line: ByteRange)? {
    while let field = walk.next(bytes) {
      if equalsIgnoringCase(bytes, field.name, name) { return (field.value, field.line) }
    }
    return nil
  }
}

/// The same of the fields that servers get: without those that are cut because nobody has to believe them (X-Forwarded-* and
/// Forwarded of strangers), because CGI takes them for others ("_" in the name) or because they are of this hop. What decides
/// about a request must not look at others: any client can send them, and no server will know.
package struct PassedFieldValues {
  private enum WhereCut {
    case hidden
    /// The server gets a line of ours that says the same.
    case writtenAnew
    /// The same of the field with this value only.
    case writtenOnce(ByteRange)
  }

  private var values: FieldValues
  private let whereCut: WhereCut
  private let cuts: UnsafePointer<ByteRange>
  private let cutCount: Int
  private var nextCut = 0

  /// `name` in lower case; `scratch` is that of the head's parse.
  package init(named name: UnsafeBufferPointer<UInt8>, in head: RequestHead, scratch: HeadScratch) {
    values = FieldValues(named: name, in: head)
    whereCut = Self.whereCut(name, head)
    cuts = UnsafePointer(scratch.cuts)
    cutCount = Int(head.cutCount)
  }

  /// `bytes` are those of the parse.
  package mutating func next(_ bytes: UnsafePointer<UInt8>) -> ByteRange? {
    while let field = values.nextField(bytes) {
      if !isCut(field.line) { return field.value }
      switch whereCut {
      case .hidden: continue
      case .writtenAnew: return field.value
      case .writtenOnce(let value): if field.value == value { return value }
      }
    }
    return nil
  }

  /// Asked in the order of the lines, which is that of the cuts.
  private mutating func isCut(_ line: ByteRange) -> Bool {
    while nextCut < cutCount && cuts[nextCut].end <= line.start { nextCut += 1 }
    return nextCut < cutCount && cuts[nextCut].start <= line.start
  }

  private static func whereCut(_ name: UnsafeBufferPointer<UInt8>, _ head: RequestHead) -> WhereCut {
    let range = ByteRange(0, name.count)
    func isCalled(_ text: StaticString) -> Bool {
      name.count > 0 && equalsIgnoringCase(name.baseAddress!, range, text)
    }
    if isCalled("upgrade") { return head.flags.contains(.upgrade) ? .writtenOnce(head.upgrade) : .hidden }
    if isCalled("x-forwarded-for") { return head.flags.contains(.mergesForwardedFor) ? .writtenAnew : .hidden }
    if isCalled("forwarded") { return head.flags.contains(.mergesForwarded) ? .writtenAnew : .hidden }
    let names: [5 of StaticString] = ["connection", "te", "content-length", "transfer-encoding", "max-forwards"]
    for index in names.indices where isCalled(names[index]) { return .writtenAnew }
    return .hidden
  }
}

extension RequestHead {
  /// A trusted forwarder says that its client came by https.
  package func cameByHTTPS(in bytes: UnsafePointer<UInt8>) -> Bool {
    if !flags.contains(.hasForwardedProto) { return false }
    let name: StaticString = "x-forwarded-proto"
    var values = FieldValues(
      named: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), in: self)
    guard let value = values.next(bytes) else { return false }
    // Of several forwarders the one that the client spoke to comes first.
    var elements = ListElements(value)
    return elements.next(bytes).map { equalsIgnoringCase(bytes, $0, "https") } ?? false
  }

  /// The value of the first cookie called `name`; nil if there is none.
  package func value(ofCookie name: CookieName, in bytes: UnsafePointer<UInt8>) -> ByteRange? {
    if cookie.isEmpty { return nil }
    if let value = Cookies.value(of: name, in: cookie, from: cookie.start, of: bytes) { return value }
    if !flags.contains(.severalCookieFields) { return nil }
    var walk = FieldWalk(fieldsStart, byteCount)
    while let field = walk.next(bytes) {
      if field.value.start <= cookie.start || !equalsIgnoringCase(bytes, field.name, "cookie") { continue }
      if let value = Cookies.value(of: name, in: field.value, from: field.value.start, of: bytes) { return value }
    }
    return nil
  }
}

/// What the access log takes from a request's fields: the values of the first of each name, empty where there is none.
package struct LoggedFields {
  package var referer = ByteRange.empty
  package var agent = ByteRange.empty
  package var requestID = ByteRange.empty
  /// Fields called X-Request-ID.
  package var requestIDCount = 0
}

extension RequestHead {
  package func loggedFields(in bytes: UnsafePointer<UInt8>) -> LoggedFields {
    var found = LoggedFields()
    var walk = FieldWalk(fieldsStart, byteCount)
    while let field = walk.next(bytes) {
      switch field.name.count {
      case 7 where found.referer.isEmpty && equalsIgnoringCase(bytes, field.name, "referer"):
        found.referer = field.value
      case 10 where found.agent.isEmpty && equalsIgnoringCase(bytes, field.name, "user-agent"):
        found.agent = field.value
      case 12 where equalsIgnoringCase(bytes, field.name, "x-request-id"):
        if found.requestIDCount == 0 { found.requestID = field.value }
        found.requestIDCount &+= 1
      default: continue
      }
    }
    return found
  }
}

/// Ids of requests that others have given.
package enum RequestID {
  package static let longestByteCount = 128

  /// Letters, digits and what UUIDs, trace ids and Base64 are written with: it can stand in a field and in a line of the log
  /// as it is.
  package static func isUsable(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    guard (1...longestByteCount).contains(text.count) else { return false }
    return text.allSatisfy { byte in
      switch byte {
      case 48...57, 65...90, 97...122: true
      case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "~"), UInt8(ascii: ":"),
        UInt8(ascii: "/"), UInt8(ascii: "+"), UInt8(ascii: "="), UInt8(ascii: "@"), UInt8(ascii: ","):
        true
      default: false
      }
    }
  }

  package static let lineByteCount = 14 + 16 + 2

  /// Writes the whole line `X-Request-ID: 0123456789abcdef` with its end: `lineByteCount` bytes.
  package static func writeLine(_ id: UInt64, to destination: UnsafeMutablePointer<UInt8>) {
    var output = Output(destination)
    output.append("X-Request-ID: ")
    Cookies.write(tag: id, to: destination + output.count)
    output.count += 16
    output.append("\r\n")
  }
}

package enum HostField {
  /// Where the value of Host stands in a head of `count` bytes that `RequestHead.write` has written; empty if there is none.
  package static func range(in head: UnsafePointer<UInt8>, count: Int) -> ByteRange {
    // The request line holds no line feed of its own.
    var start = 0
    while start < count && head[start] != 10 { start &+= 1 }
    var walk = FieldWalk(Int32(truncatingIfNeeded: start &+ 1), Int32(truncatingIfNeeded: count))
    while let field = walk.next(head) {
      if equalsIgnoringCase(head, field.name, "host") { return field.value }
    }
    return .empty
  }
}
