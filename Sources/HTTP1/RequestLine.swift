// The first line of a request: METHOD SP TARGET SP VERSION CR LF (RFC 9112, section 3), and the rules for a host.

extension RequestHead {
  /// Longer methods are refused; the registry's longest has 17 bytes.
  static let maximumMethodByteCount = 32

  enum LineStep {
    case done
    /// `inTarget`: the method is complete, so what may grow too long is the target.
    case incomplete(inTarget: Bool)
    case fault(HeadFault)
  }

  /// Reads the line; on `done`, `fieldsStart` is after its CR LF.
  @inline(__always)
  mutating func readRequestLine(_ bytes: Bytes, _ count: Int, targetLimit: Int, authority: inout ByteRange) -> LineStep
  {
    var begin = 0
    if count > 0 && (bytes[0] == 13 || bytes[0] == 10) {
      if bytes[0] == 10 { return .fault(.bareLineEnd) }
      if count < 2 { return .incomplete(inTarget: false) }
      if bytes[1] != 10 { return .fault(.bareLineEnd) }
      begin = 2
    }
    start = Int32(truncatingIfNeeded: begin)
    var sawUnderscore = false
    let methodEnd = endOfToken(bytes, begin, count, &sawUnderscore)
    if methodEnd &- begin > Self.maximumMethodByteCount { return .fault(.invalidMethod) }
    if methodEnd >= count { return .incomplete(inTarget: false) }
    if bytes[methodEnd] != 32 || methodEnd == begin {
      return .fault(bytes[methodEnd] == 13 || bytes[methodEnd] == 10 ? .malformedRequestLine : .invalidMethod)
    }
    methodByteCount = Int32(truncatingIfNeeded: methodEnd &- begin)

    let targetStart = methodEnd &+ 1
    let targetEnd = firstOutsideTarget(bytes, targetStart, count)
    if targetEnd >= count { return .incomplete(inTarget: true) }
    if bytes[targetEnd] != 32 || targetEnd == targetStart { return .fault(targetFault(bytes[targetEnd])) }
    target = ByteRange(targetStart, targetEnd)
    path = target

    let version = targetEnd &+ 1
    if version &+ 10 > count { return shortVersion(bytes, version, count) }
    let text = word8(bytes + version)
    if text != literal8("HTTP/1.1") {
      if let fault = takeOtherVersion(bytes + version) { return .fault(fault) }
    }
    if word2(bytes + (version &+ 8)) != crlf {
      return .fault(bytes[version &+ 8] == 13 || bytes[version &+ 8] == 10 ? .bareLineEnd : .malformedRequestLine)
    }
    fieldsStart = Int32(truncatingIfNeeded: version &+ 10)

    let isConnect = takeMethod(bytes + begin)
    if isConnect { return .fault(.unsupportedMethod) }
    if bytes[targetStart] != 47 {
      if let fault = takeOtherForm(bytes, &authority) { return .fault(fault) }
    }
    return target.count > targetLimit ? .fault(.targetTooLong) : .done
  }

  @inline(never)
  private func targetFault(_ byte: UInt8) -> HeadFault {
    switch byte {
    case 32, 13: .malformedRequestLine
    case 10: .bareLineEnd
    case 35, 127...255: .invalidTarget
    default: .controlCharacter
    }
  }

  /// Fewer bytes than a version and its line end are there: nothing that cannot be part of them may be among them.
  @inline(never)
  private func shortVersion(_ bytes: Bytes, _ version: Int, _ count: Int) -> LineStep {
    for index in version..<max(version, min(count, version + 8)) where bytes[index] <= 32 || bytes[index] >= 127 {
      return .fault(.malformedVersion)
    }
    return .incomplete(inTarget: true)
  }

  /// HTTP/1.0, or 1.2 and later minor versions, which are treated as 1.1 (RFC 9110, section 2.5).
  @inline(never)
  private mutating func takeOtherVersion(_ version: Bytes) -> HeadFault? {
    let name: StaticString = "HTTP/"
    for index in 0..<5 where version[index] != name.utf8Start[index] { return .malformedVersion }
    guard isDigit(version[5]), version[6] == 46, isDigit(version[7]) else { return .malformedVersion }
    if version[5] != 49 { return .unsupportedVersion }
    if version[7] == 48 { flags.insert(.oldVersion) }
    flags.insert(.rewritesRequestLine)
    return nil
  }

  /// True for CONNECT.
  @inline(__always)
  private mutating func takeMethod(_ bytes: Bytes) -> Bool {
    switch methodByteCount {
    case 3:
      let word = word4(bytes)
      if word == literal4("GET ") { method = .get } else if word == literal4("PUT ") { method = .put }
    case 4:
      let word = word4(bytes)
      if word == literal4("POST") { method = .post } else if word == literal4("HEAD") { method = .head }
    case 5:
      let word = word4(bytes)
      if word == literal4("PATCH") && bytes[4] == 72 {
        method = .patch
      } else if word == literal4("TRACE") && bytes[4] == 69 {
        method = .trace
      }
    case 6:
      if word4(bytes) == literal4("DELE") && word2(bytes + 4) == literal2("TE") { method = .delete }
    case 7:
      let word = word8(bytes)
      if word == literal8("OPTIONS ") { method = .options }
      return word == literal8("CONNECT ")
    default: break
    }
    return false
  }

  /// `*` for OPTIONS, or absolute form: http or https, an authority without user, maybe a path.
  @inline(never)
  private mutating func takeOtherForm(_ bytes: Bytes, _ authority: inout ByteRange) -> HeadFault? {
    if target.count == 1 && bytes[target.offset] == 42 {
      if method != .options { return .invalidTarget }
      flags.insert(.asteriskForm)
      return nil
    }
    var after = target.offset
    if equalsIgnoringCase(bytes, ByteRange(after, min(after + 7, target.endOffset)), "http://") {
      after += 7
    } else if equalsIgnoringCase(bytes, ByteRange(after, min(after + 8, target.endOffset)), "https://") {
      after += 8
    } else {
      return .invalidTarget
    }
    var end = after
    while end < target.endOffset && bytes[end] != 47 && bytes[end] != 63 { end += 1 }
    authority = ByteRange(after, end)
    guard isValidHost(bytes, authority) else { return .invalidTarget }
    path = ByteRange(end, target.endOffset)
    flags.formUnion([.absoluteForm, .rewritesRequestLine])
    return nil
  }
}

/// uri-host [":" port] of RFC 9110, section 7.2, with a host that is not empty.
func isValidHost(_ bytes: Bytes, _ range: ByteRange) -> Bool {
  var index = range.offset
  let end = range.endOffset
  if index < end && bytes[index] == 91 {
    index += 1
    let first = index
    while index < end && (isHexadecimal(bytes[index]) || bytes[index] == 58 || bytes[index] == 46) { index += 1 }
    guard index < end, bytes[index] == 93, index - first >= 2 else { return false }
    index += 1
  } else {
    // unreserved, sub-delims and "%" of RFC 3986 as a bit per ASCII code.
    let first = index
    while index < end {
      let byte = bytes[index]
      let word: UInt64 = byte < 64 ? 0x2bff_7ff2_0000_0000 : 0x47ff_fffe_87ff_fffe
      if byte >= 128 || (word &>> UInt64(byte & 63)) & 1 == 0 { break }
      index &+= 1
    }
    if index == first { return false }
  }
  if index == end { return true }
  if bytes[index] != 58 || end - index > 6 { return false }
  index += 1
  while index < end {
    if !isDigit(bytes[index]) { return false }
    index += 1
  }
  return true
}

func isHexadecimal(_ byte: UInt8) -> Bool { isDigit(byte) || lowercased(byte) &- 97 < 6 }
