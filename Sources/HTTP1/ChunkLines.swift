// The lines between a chunked body's data: sizes with their extensions, and the trailer section.

enum LineResult {
  case incomplete
  case complete
  case fault(BodyFault)
}

/// chunk-size [chunk-ext] CR LF.
struct SizeLine {
  var size: Int64 = 0
  /// The digits without leading zeros, in the case that they came in: writing them is the same however a body is split.
  var digits = ByteRange.empty
  /// After the CR LF.
  var end = 0
  /// No leading zeros, no extension: what we would write ourselves.
  var isCanonical = true

  @inline(__always)
  mutating func read(_ bytes: Bytes, _ start: Int, _ count: Int) -> LineResult {
    var index = start
    while index < count {
      let byte = bytes[index]
      let digit: UInt8
      if byte &- 48 < 10 {
        digit = byte &- 48
      } else if (byte | 0x20) &- 97 < 6 {
        digit = (byte | 0x20) &- 87
      } else {
        break
      }
      if index &- start == 16 { return .fault(.chunkTooLarge) }
      size = size &<< 4 | Int64(digit)
      index &+= 1
    }
    // Leading zeros do not count.
    if size >> Int64(4 * ChunkedBody.maximumChunkDigits) != 0 { return .fault(.chunkTooLarge) }
    if index >= count { return .incomplete }
    if index == start { return .fault(.invalidChunkSize) }
    var significant = start
    while significant &+ 1 < index && bytes[significant] == 48 { significant &+= 1 }
    if significant > start { isCanonical = false }
    digits = ByteRange(significant, index)
    if bytes[index] != 13 { return readExtension(bytes, index, count) }
    if index &+ 1 >= count { return .incomplete }
    if bytes[index &+ 1] != 10 { return .fault(.invalidChunkSize) }
    end = index &+ 2
    return .complete
  }

  /// *( BWS ";" BWS name [ BWS "=" BWS value ] ): taken for its bounds and for bytes that may stand in a line.
  @inline(never)
  private mutating func readExtension(_ bytes: Bytes, _ start: Int, _ count: Int) -> LineResult {
    isCanonical = false
    var index = start
    while index < count && isBlank(bytes[index]) && index - start <= ChunkedBody.maximumExtensionByteCount {
      index += 1
    }
    if index - start > ChunkedBody.maximumExtensionByteCount { return .fault(.extensionTooLong) }
    if index >= count { return .incomplete }
    if bytes[index] != 59 { return .fault(.invalidChunkSize) }
    let limit = min(count, start + ChunkedBody.maximumExtensionByteCount + 1)
    let stop = firstControl(bytes, index, limit)
    if stop - start > ChunkedBody.maximumExtensionByteCount { return .fault(.extensionTooLong) }
    if stop >= count { return .incomplete }
    if bytes[stop] != 13 { return .fault(.extensionTooLong) }
    if stop + 1 >= count { return .incomplete }
    if bytes[stop + 1] != 10 { return .fault(.extensionTooLong) }
    end = stop + 2
    return .complete
  }
}

/// *( field-line CR LF ) CR LF.
struct Trailers {
  /// After the empty line.
  var end = 0
  /// None has to be left out.
  var allPass = true

  @inline(__always)
  mutating func read(_ bytes: Bytes, _ start: Int, _ count: Int) -> LineResult {
    if start &+ 2 <= count && word2(bytes + start) == crlf {
      end = start &+ 2
      return .complete
    }
    return readFields(bytes, start, count)
  }

  @inline(never)
  private mutating func readFields(_ bytes: Bytes, _ start: Int, _ count: Int) -> LineResult {
    let limit = min(count, start + ChunkedBody.maximumTrailerByteCount)
    var position = start
    var fieldCount = 0
    var field = FieldLine()
    while true {
      switch field.read(bytes, position, limit) {
      case .field: break
      case .endOfHead:
        end = position + 2
        return .complete
      case .incomplete:
        return limit < start + ChunkedBody.maximumTrailerByteCount ? .incomplete : .fault(.trailersTooLarge)
      case .fault: return .fault(.invalidTrailer)
      }
      fieldCount += 1
      if fieldCount > ChunkedBody.maximumTrailerCount { return .fault(.trailersTooLarge) }
      if !Self.mayPass(bytes, field) { allPass = false }
      position = field.end
    }
  }

  /// Copies the fields that may pass, of a section that `read` has found complete.
  func append(_ bytes: Bytes, _ start: Int, _ count: Int, to output: inout Output) {
    var position = start
    var field = FieldLine()
    while position < end - 2, case .field = field.read(bytes, position, count) {
      if Self.mayPass(bytes, field) { output.append(bytes, field.nameStart, field.end) }
      position = field.end
    }
  }

  /// RFC 9110, section 6.5.1: nothing that frames, routes, authenticates or is of one hop. Names with "_" neither, nor an id
  /// of the request, which is given in its head.
  private static func mayPass(_ bytes: Bytes, _ field: FieldLine) -> Bool {
    if field.hasUnderscore { return false }
    let name = ByteRange(field.nameStart, field.nameStart + field.nameCount)
    if name.count > 12 && matches(bytes + name.offset, "x-forwarded-") { return false }
    if name.count > 6 && matches(bytes + name.offset, "proxy-") { return false }
    let names: [22 of StaticString] = [
      "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "via",
      "forwarded", "cookie", "set-cookie", "authorization", "www-authenticate", "cache-control", "expect",
      "max-forwards", "content-encoding", "content-type", "content-range", "range", "x-request-id",
    ]
    for index in names.indices where equalsIgnoringCase(bytes, name, names[index]) { return false }
    return true
  }
}
