// A cookie by its name, and Host in a head of ours, for the few configurations that ask for them: walks over the head, which
// cost nothing where nobody asks.

extension RequestHead {
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
