// Finds the affinity cookie in a request: name=value pairs between semicolons (RFC 6265, section 4.2.1). What a client
// sends is read leniently, as servers do; only a value of sixteen hexadecimal digits in lower case is a tag.

/// A cookie's name, in memory of the caller's that outlives it; at least one byte.
package struct CookieName {
  let bytes: UnsafePointer<UInt8>
  let count: Int

  package init(_ bytes: UnsafeBufferPointer<UInt8>) {
    precondition(bytes.count > 0)
    self.bytes = bytes.baseAddress!
    count = bytes.count
  }
}

package enum Cookies {
  /// The value of the first pair named `name` that starts at or after `from` in `field`, the value of a Cookie field;
  /// quotes round it are left out. Nil if there is none.
  package static func value(
    of name: CookieName, in field: ByteRange, from: Int32, of bytes: UnsafePointer<UInt8>
  ) -> ByteRange? {
    var index = max(field.offset, Int(from))
    let end = field.endOffset
    let first = name.bytes[0]
    while index < end {
      while index < end && (isBlank(bytes[index]) || bytes[index] == 59) { index &+= 1 }
      let value = index &+ name.count &+ 1
      if value <= end && bytes[index] == first && bytes[value &- 1] == 61 && equal(bytes + index, name) {
        var stop = value
        while stop < end && bytes[stop] != 59 { stop &+= 1 }
        var last = stop
        while last > value && isBlank(bytes[last &- 1]) { last &-= 1 }
        if last &- value >= 2 && bytes[value] == 34 && bytes[last &- 1] == 34 {
          return ByteRange(value &+ 1, last &- 1)
        }
        return ByteRange(value, last)
      }
      while index < end && bytes[index] != 59 { index &+= 1 }
    }
    return nil
  }

  @inline(__always)
  private static func equal(_ bytes: Bytes, _ name: CookieName) -> Bool {
    var index = 0
    while index < name.count {
      if bytes[index] != name.bytes[index] { return false }
      index &+= 1
    }
    return true
  }

  /// The tag that `range` spells: exactly sixteen digits, 0–9 and a–f.
  package static func tag(in range: ByteRange, of bytes: UnsafePointer<UInt8>) -> UInt64? {
    if range.count != 16 { return nil }
    var tag: UInt64 = 0
    for index in range.offset..<range.endOffset {
      let byte = bytes[index]
      let digit: UInt8
      if byte &- 48 < 10 { digit = byte &- 48 } else if byte &- 97 < 6 { digit = byte &- 87 } else { return nil }
      tag = tag &<< 4 | UInt64(digit)
    }
    return tag
  }

  /// Writes a tag as it stands in the cookie, 16 bytes.
  package static func write(tag: UInt64, to destination: UnsafeMutablePointer<UInt8>) {
    for index in 0..<16 {
      let digit = UInt8(truncatingIfNeeded: (tag &>> UInt64(60 - 4 * index)) & 15)
      destination[index] = digit < 10 ? 48 + digit : 87 + digit
    }
  }
}

extension RequestHead {
  /// A client with cookies of several paths or domains may send the name more than once.
  package static let maximumTagCount = 8

  /// The `occurrence`th (from 0) well-formed tag in cookies named `name`. Ask for the next while a tag is of no known
  /// server, up to `maximumTagCount`.
  package func tag(named name: CookieName, occurrence: Int = 0, in bytes: UnsafePointer<UInt8>) -> UInt64? {
    if cookie.isEmpty { return nil }
    var left = occurrence
    if let tag = Self.tag(named: name, skipping: &left, field: cookie, bytes) { return tag }
    if !flags.contains(.severalCookieFields) { return nil }
    var walk = FieldWalk(fieldsStart, byteCount)
    while let field = walk.next(bytes) {
      if field.value.start <= cookie.start || !equalsIgnoringCase(bytes, field.name, "cookie") { continue }
      if let tag = Self.tag(named: name, skipping: &left, field: field.value, bytes) { return tag }
    }
    return nil
  }

  @inline(__always)
  private static func tag(
    named name: CookieName, skipping left: inout Int, field: ByteRange, _ bytes: Bytes
  ) -> UInt64? {
    var from = field.start
    while let value = Cookies.value(of: name, in: field, from: from, of: bytes) {
      if let tag = Cookies.tag(in: value, of: bytes) {
        if left == 0 { return tag }
        left -= 1
      }
      from = value.end
    }
    return nil
  }
}
