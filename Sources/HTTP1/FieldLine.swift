// One field line of a head, and the field rules that both directions share: Content-Length, Transfer-Encoding,
// Connection. RFC 9112 sections 5 to 7, in the strict reading.

/// A validated field line: token, colon, value without control characters, CR LF.
struct FieldLine {
  var nameStart = 0
  var nameCount = 0
  /// Without white space at either end.
  var valueStart = 0
  var valueEnd = 0
  /// After the CR LF.
  var end = 0
  var hasUnderscore = false

  @inline(__always) var value: ByteRange { ByteRange(valueStart, valueEnd) }
  @inline(__always) var line: ByteRange { ByteRange(nameStart, end) }
}

enum FieldStep {
  case field
  case endOfHead
  case incomplete
  case fault(HeadFault)
}

extension FieldLine {
  /// Reads the line at `start`. Offsets beyond `count` are looked at only within the slack.
  @inline(__always)
  mutating func read(_ bytes: Bytes, _ start: Int, _ count: Int) -> FieldStep {
    if start >= count { return .incomplete }
    hasUnderscore = false
    let colon = endOfToken(bytes, start, count, &hasUnderscore)
    if colon >= count { return .incomplete }
    if bytes[colon] != 58 || colon == start { return endOrFault(bytes, start, colon, count) }
    let lineEnd = firstControl(bytes, colon &+ 1, count)
    if lineEnd &+ 1 >= count {
      return lineEnd < count && bytes[lineEnd] != 13 ? controlFault(bytes[lineEnd]) : .incomplete
    }
    if word2(bytes + lineEnd) != crlf { return controlFault(bytes[lineEnd]) }
    nameStart = start
    nameCount = colon &- start
    var first = colon &+ 1
    while isBlank(bytes[first]) { first &+= 1 }
    var last = lineEnd
    while last > first && isBlank(bytes[last &- 1]) { last &-= 1 }
    valueStart = first
    valueEnd = last
    end = lineEnd &+ 2
    return .field
  }

  private func controlFault(_ byte: UInt8) -> FieldStep {
    .fault(byte == 13 || byte == 10 ? .bareLineEnd : .controlCharacter)
  }

  /// The line has no name before a colon: the empty line, or a fault.
  @inline(never)
  private func endOrFault(_ bytes: Bytes, _ start: Int, _ stop: Int, _ count: Int) -> FieldStep {
    let byte = bytes[stop]
    if stop == start {
      if byte == 13 {
        if start &+ 1 >= count { return .incomplete }
        return bytes[start &+ 1] == 10 ? .endOfHead : .fault(.bareLineEnd)
      }
      if byte == 10 { return .fault(.bareLineEnd) }
      return .fault(isBlank(byte) ? .foldedLine : .invalidFieldName)
    }
    return .fault(isBlank(byte) ? .spaceBeforeColon : .invalidFieldName)
  }
}

/// What the framing fields of a head have said so far.
struct FramingFields {
  var contentLength: Int64 = -1
  var lengthFieldCount: Int32 = 0
  /// Not ": ", digits without a zero before them, CR LF: written anew, because not every parser reads other forms.
  var lengthIsOdd = false
  var hasTransferEncoding = false
  /// The last coding seen is chunked.
  var endsInChunked = false
  var hasOtherCoding = false
  var chunkedTwice = false

  /// Takes a Content-Length value: digits, or a list of equal numbers.
  @inline(__always)
  mutating func takeLength(_ bytes: Bytes, _ field: FieldLine) -> HeadFault? {
    lengthFieldCount &+= 1
    var value: Int64 = 0
    var index = field.valueStart
    // 18 digits never overflow.
    if index == field.valueEnd || field.valueEnd &- index > 18 { return takeLengthList(bytes, field) }
    let isPlain =
      index == field.nameStart &+ field.nameCount &+ 2 && bytes[index &- 1] == 32 && field.valueEnd &+ 2 == field.end
      && (bytes[index] != 48 || index &+ 1 == field.valueEnd)
    if !isPlain { lengthIsOdd = true }
    while index < field.valueEnd {
      let digit = bytes[index] &- 48
      if digit > 9 { return takeLengthList(bytes, field) }
      value = value &* 10 &+ Int64(digit)
      index &+= 1
    }
    return agree(value)
  }

  private mutating func agree(_ value: Int64) -> HeadFault? {
    if contentLength >= 0 && contentLength != value { return .conflictingContentLength }
    contentLength = value
    return nil
  }

  @inline(never)
  private mutating func takeLengthList(_ bytes: Bytes, _ field: FieldLine) -> HeadFault? {
    var elements = ListElements(field.value)
    while let element = elements.next(bytes) {
      if element.isEmpty { return .invalidContentLength }
      var value: Int64 = 0
      for index in element.offset..<element.endOffset {
        guard isDigit(bytes[index]) else { return .invalidContentLength }
        let (product, overflow) = value.multipliedReportingOverflow(by: 10)
        let (sum, carry) = product.addingReportingOverflow(Int64(bytes[index] - 48))
        if overflow || carry { return .invalidContentLength }
        value = sum
      }
      if let fault = agree(value) { return fault }
    }
    lengthIsOdd = true
    return nil
  }

  /// Takes a Transfer-Encoding value; the fields of a head form one list.
  @inline(never)
  mutating func takeTransferEncoding(_ bytes: Bytes, _ field: FieldLine) -> HeadFault? {
    hasTransferEncoding = true
    var elements = ListElements(field.value)
    while let element = elements.next(bytes) {
      if element.isEmpty { return .invalidTransferEncoding }
      let isChunked = equalsIgnoringCase(bytes, element, "chunked")
      if endsInChunked {
        if isChunked { return .repeatedTransferEncoding }
        return .invalidTransferEncoding
      }
      if isChunked { endsInChunked = true } else { hasOtherCoding = true }
    }
    return nil
  }

  /// The verdict at the end of the head on Transfer-Encoding, if there was one.
  func transferEncodingFault(oldVersion: Bool) -> HeadFault? {
    if oldVersion { return .transferEncodingInOldVersion }
    if lengthFieldCount > 0 { return .lengthAndTransferEncoding }
    if !endsInChunked { return .invalidTransferEncoding }
    return hasOtherCoding ? .unknownTransferCoding : nil
  }
}

/// The comma-separated elements of a value, without white space round them. Yields empty ones too.
struct ListElements {
  private var position: Int
  private let end: Int
  private var isDone = false

  init(_ range: ByteRange) {
    position = range.offset
    end = range.endOffset
  }

  mutating func next(_ bytes: Bytes) -> ByteRange? {
    if isDone { return nil }
    var stop = position
    while stop < end && bytes[stop] != 44 { stop += 1 }
    var first = position
    var last = stop
    while first < last && isBlank(bytes[first]) { first += 1 }
    while last > first && isBlank(bytes[last - 1]) { last -= 1 }
    isDone = stop >= end
    position = stop + 1
    return ByteRange(first, last)
  }
}
