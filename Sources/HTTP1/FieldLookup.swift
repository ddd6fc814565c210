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

extension RequestHead {
  /// The values of the first Referer and the first User-Agent; empty where there is none.
  package func refererAndAgent(in bytes: UnsafePointer<UInt8>) -> (referer: ByteRange, agent: ByteRange) {
    var found: (referer: ByteRange, agent: ByteRange) = (.empty, .empty)
    var walk = FieldWalk(fieldsStart, byteCount)
    while let field = walk.next(bytes) {
      switch field.name.count {
      case 7 where found.referer.isEmpty && equalsIgnoringCase(bytes, field.name, "referer"):
        found.referer = field.value
      case 10 where found.agent.isEmpty && equalsIgnoringCase(bytes, field.name, "user-agent"):
        found.agent = field.value
      default: continue
      }
    }
    return found
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
