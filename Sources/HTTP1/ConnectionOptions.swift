// The Connection field (RFC 9110, section 7.6.1): what it says about the connection, and the fields that it names away.

struct ConnectionOptions {
  /// Fields that Connection may name in one head; more is an attack on the loop below.
  static let maximumNominations = 32

  var close = false
  var keepAlive = false
  var upgrade = false
  /// Other names: they are fields of this hop, to be cut in a second pass.
  var nominationCount: Int32 = 0

  @inline(__always)
  mutating func take(_ bytes: Bytes, _ field: FieldLine) -> HeadFault? {
    let count = field.valueEnd &- field.valueStart
    if count == 10 && matches(bytes + field.valueStart, "keep-alive") {
      keepAlive = true
      return nil
    }
    if count == 5 && matches(bytes + field.valueStart, "close") {
      close = true
      return nil
    }
    return takeList(bytes, field.value)
  }

  @inline(never)
  private mutating func takeList(_ bytes: Bytes, _ value: ByteRange) -> HeadFault? {
    var elements = ListElements(value)
    while let element = elements.next(bytes) {
      if element.isEmpty { continue }
      for index in element.offset..<element.endOffset where !isTokenByte(bytes[index]) { return .invalidConnection }
      if equalsIgnoringCase(bytes, element, "close") {
        close = true
      } else if equalsIgnoringCase(bytes, element, "keep-alive") {
        keepAlive = true
      } else if equalsIgnoringCase(bytes, element, "upgrade") {
        upgrade = true
      } else if !equalsIgnoringCase(bytes, element, "te") {
        nominationCount &+= 1
        if nominationCount > Self.maximumNominations { return .invalidConnection }
      }
    }
    return nil
  }
}

/// The cuts of a head, in ascending order, adjacent ones merged.
struct CutList {
  let scratch: HeadScratch
  var count: Int32

  /// `count`: cuts that are in the scratch already.
  init(scratch: HeadScratch, count: Int32 = 0) {
    self.scratch = scratch
    self.count = count
  }

  /// After the last one. Room: the parsers refuse a head with more fields than the scratch has room for.
  @inline(__always)
  mutating func append(_ range: ByteRange) {
    let last = Int(count) &- 1
    if last >= 0 && scratch.cuts[last].end == range.start {
      scratch.cuts[last].end = range.end
      return
    }
    precondition(last &+ 1 < scratch.capacity)
    scratch.cuts[last &+ 1] = range
    count &+= 1
  }

  /// Anywhere; nothing if it is already cut.
  mutating func insert(_ range: ByteRange) {
    var position = Int(count)
    while position > 0 && scratch.cuts[position - 1].start > range.start { position -= 1 }
    if position > 0 && scratch.cuts[position - 1].end >= range.end { return }
    precondition(Int(count) < scratch.capacity)
    var index = Int(count)
    while index > position {
      scratch.cuts[index] = scratch.cuts[index - 1]
      index -= 1
    }
    scratch.cuts[position] = range
    count += 1
  }

  /// Cuts the fields that the head's Connection fields name, except those that hold the message together and ours.
  /// Returns how often it walked the head for that: at most once for each nomination that was counted.
  @inline(never) @discardableResult
  mutating func cutNominated(_ bytes: Bytes, fieldsStart: Int32, end: Int32) -> Int {
    var walks = 0
    var outer = FieldWalk(fieldsStart, end)
    while let connection = outer.next(bytes) {
      if !equalsIgnoringCase(bytes, connection.name, "connection") { continue }
      var elements = ListElements(connection.value)
      while let element = elements.next(bytes) {
        if element.isEmpty || Self.isProtected(bytes, element) { continue }
        walks += 1
        var inner = FieldWalk(fieldsStart, end)
        while let field = inner.next(bytes) {
          if equalsIgnoringCase(bytes, field.name, element) { insert(field.line) }
        }
      }
    }
    return walks
  }

  /// Cuts the fields of these names, which are in lower case.
  @inline(never)
  mutating func cut(
    _ names: UnsafeBufferPointer<UnsafeBufferPointer<UInt8>>, _ bytes: Bytes, fieldsStart: Int32, end: Int32
  ) {
    var walk = FieldWalk(fieldsStart, end)
    while let field = walk.next(bytes) {
      for name in names where equalsIgnoringCase(bytes, field.name, name) { insert(field.line) }
    }
  }

  /// Fields that Connection may not name away, and the options that `ConnectionOptions` does not count as nominations:
  /// any number of those may come, so they must cost no walk.
  private static func isProtected(_ bytes: Bytes, _ name: ByteRange) -> Bool {
    if name.count > 12 && matches(bytes + name.offset, "x-forwarded-") { return true }
    let names: [17 of StaticString] = [
      "close", "keep-alive", "upgrade", "te", "host", "content-length", "via", "forwarded", "cookie", "set-cookie",
      "authorization", "cache-control", "date",
      "expect", "max-forwards", "content-type", "x-request-id",
    ]
    for index in names.indices where equalsIgnoringCase(bytes, name, names[index]) { return true }
    return false
  }
}

/// Walks the field lines of a head that has been parsed and found valid.
struct FieldWalk {
  private var position: Int
  private let end: Int

  /// `end` is the end of the head, after the empty line.
  init(_ fieldsStart: Int32, _ end: Int32) {
    position = Int(fieldsStart)
    self.end = Int(end) - 2
  }

  mutating func next(_ bytes: Bytes) -> (name: ByteRange, value: ByteRange, line: ByteRange)? {
    if position >= end { return nil }
    let start = position
    var colon = start
    while bytes[colon] != 58 { colon += 1 }
    var stop = colon
    while bytes[stop] != 10 { stop += 1 }
    position = stop + 1
    var first = colon + 1
    var last = stop - 1
    while first < last && isBlank(bytes[first]) { first += 1 }
    while last > first && isBlank(bytes[last - 1]) { last -= 1 }
    return (ByteRange(start, colon), ByteRange(first, last), ByteRange(start, stop + 1))
  }
}
