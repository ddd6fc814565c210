// The path of a request as servers will understand it, which is what routes match: a rule on /admin must hold for
// /%61dmin, //admin and /public/../admin as well. In this order, once: the query is left out, %XX is decoded, empty
// segments are dropped (// is /), "." and ".." are resolved. What has no clear meaning is refused: a "%" without two
// hexadecimal digits, %00, and ".." above the root. Neither case nor "\" nor ";" is touched: they mean different things
// to different servers.

package import HTTP1

package struct TargetPath {
  /// Starts with "/"; decoded, without query. For `OPTIONS *` empty. In the message, or in the area that `read` was given.
  package private(set) var text: UnsafeBufferPointer<UInt8>
  /// As it was sent, without query; empty for `OPTIONS *` and for an absolute form without a path.
  package private(set) var sent: ByteRange
  /// Without the "?"; empty also where there is a "?" and nothing behind it.
  package private(set) var query: ByteRange
  package private(set) var hasQuery: Bool
  /// There were "." or ".." segments, encoded or not.
  package private(set) var hasDots = false

  /// Reads the path of a head that has been parsed from `bytes`. `area` has room for as many bytes as the head, and belongs
  /// to the result. Nil: the path is ambiguous, the request must be refused.
  package static func read(
    _ head: RequestHead, of bytes: UnsafePointer<UInt8>, area: UnsafeMutablePointer<UInt8>
  ) -> TargetPath? {
    let end = head.path.endOffset
    if head.flags.contains(.asteriskForm) { return TargetPath(UnsafeBufferPointer(start: area, count: 0), end) }
    var position = head.path.offset
    var isPlain = true
    var previous: UInt8 = 0
    while position < end && bytes[position] != 63 {
      let byte = bytes[position]
      if byte == 37 || previous == 47 && (byte == 47 || byte == 46) { isPlain = false }
      previous = byte
      position &+= 1
    }
    let start = head.path.offset
    if position == start {
      area[0] = 47
      var root = TargetPath(UnsafeBufferPointer(start: area, count: 1), start)
      root.takeQuery(position, end)
      return root
    }
    var path = TargetPath(UnsafeBufferPointer(start: bytes + start, count: position &- start), start)
    path.sent = ByteRange(start, position)
    path.takeQuery(position, end)
    if isPlain { return path }
    guard let decoded = decode(bytes + start, position &- start, area) else { return nil }
    return path.resolve(area, decoded) ? path : nil
  }

  private init(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) {
    self.text = text
    sent = ByteRange(start, start)
    query = sent
    hasQuery = false
  }

  private mutating func takeQuery(_ mark: Int, _ end: Int) {
    hasQuery = mark < end
    query = hasQuery ? ByteRange(mark &+ 1, end) : .empty
  }

  /// Returns the count of decoded bytes; nil for what is no encoding, or a zero.
  private static func decode(
    _ bytes: UnsafePointer<UInt8>, _ count: Int, _ area: UnsafeMutablePointer<UInt8>
  ) -> Int? {
    var written = 0
    var index = 0
    while index < count {
      var byte = bytes[index]
      index &+= 1
      if byte == 37 {
        guard index &+ 2 <= count, let high = digit(bytes[index]), let low = digit(bytes[index &+ 1]) else {
          return nil
        }
        byte = high &<< 4 | low
        if byte == 0 { return nil }
        index &+= 2
      }
      area[written] = byte
      written &+= 1
    }
    return written
  }

  /// Resolves segments in place. False for ".." above the root.
  private mutating func resolve(_ area: UnsafeMutablePointer<UInt8>, _ count: Int) -> Bool {
    var written = 0
    var position = 0
    // The path ends in "/": the last segment was empty or dots.
    var isFolder = false
    while position < count {
      while position < count && area[position] == 47 { position &+= 1 }
      var end = position
      while end < count && area[end] != 47 { end &+= 1 }
      let length = end &- position
      isFolder = true
      if length == 1 && area[position] == 46 {
        hasDots = true
      } else if length == 2 && area[position] == 46 && area[position &+ 1] == 46 {
        hasDots = true
        if written == 0 { return false }
        repeat { written &-= 1 } while area[written] != 47
      } else if length > 0 {
        area[written] = 47
        (area + (written &+ 1)).update(from: area + position, count: length)
        written &+= length &+ 1
        isFolder = end < count
      }
      position = end
    }
    if isFolder || written == 0 {
      area[written] = 47
      written &+= 1
    }
    text = UnsafeBufferPointer(start: area, count: written)
    return true
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 48...57: byte &- 48
    case 65...70: byte &- 55
    case 97...102: byte &- 87
    default: nil
    }
  }
}

/// The host of a request for comparisons: without port, without a dot at its end. In the case that it came in.
package struct TargetHost {
  package private(set) var name: ByteRange
  /// Digits; empty without a port.
  package private(set) var port: ByteRange

  package init(_ head: RequestHead, of bytes: UnsafePointer<UInt8>) {
    var end = head.host.endOffset
    var index = end
    port = .empty
    while index > head.host.offset && bytes[index &- 1] &- 48 < 10 { index &-= 1 }
    if index > head.host.offset && bytes[index &- 1] == 58 {
      port = ByteRange(index, end)
      end = index &- 1
    }
    if end > head.host.offset &+ 1 && bytes[end &- 1] == 46 { end &-= 1 }
    name = ByteRange(head.host.offset, end)
  }
}
