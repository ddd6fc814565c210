// The strict parser of response heads; the shape of RequestParser.swift. Whatever is wrong is the server's fault: 502,
// and its connection is closed.

extension ResponseHead {
  /// Parses the head at the start of `bytes`, of which `count` have arrived; `scanSlack` more must be readable.
  /// `isHeadRequest`: the answer is to HEAD, so no body follows whatever the fields say. Otherwise as for requests.
  package mutating func parse(
    _ bytes: UnsafePointer<UInt8>, count: Int, isHeadRequest: Bool, limits: HeadLimits, scratch: HeadScratch
  ) -> HeadResult {
    self = ResponseHead()
    let limited = min(count, limits.headByteCount)
    switch readStatusLine(bytes, limited) {
    case .complete: break
    case .incomplete: return count < limits.headByteCount ? .incomplete : .fault(.headTooLarge)
    case .fault(let fault): return .fault(fault)
    }

    var cuts = CutList(scratch: scratch)
    var framingFields = FramingFields()
    var connection = ConnectionOptions()
    var position = Int(fieldsStart)
    let fieldLimit = Int32(truncatingIfNeeded: min(limits.fieldCount, scratch.capacity - 4))
    // A 304 may say how long the content would be; clients are known that then wait for it.
    let cutsLength = status < 200 || status == 204 || status == 304
    var field = FieldLine()
    fields: while true {
      switch field.read(bytes, position, limited) {
      case .field: break
      case .endOfHead: break fields
      case .incomplete: return count < limits.headByteCount ? .incomplete : .fault(.headTooLarge)
      case .fault(let fault): return .fault(fault)
      }
      position = field.end
      fieldCount &+= 1
      if fieldCount > fieldLimit { return .fault(.tooManyFields) }
      let name = bytes + field.nameStart
      switch field.nameCount {
      case 4: if matches(name, "date") { flags.insert(.hasDate) }
      case 7:
        if matches(name, "upgrade") {
          if upgrade.isEmpty { upgrade = field.value }
          cuts.append(field.line)
        }
      case 10:
        if matches(name, "connection") {
          if let fault = connection.take(bytes, field) { return .fault(fault) }
          cuts.append(field.line)
        } else if matches(name, "keep-alive") {
          cuts.append(field.line)
        }
      case 14:
        if matches(name, "content-length") {
          if let fault = framingFields.takeLength(bytes, field) { return .fault(fault) }
          if cutsLength { cuts.append(field.line) }
        }
      case 16 where matches(name, "proxy-connection"): cuts.append(field.line)
      case 17 where matches(name, "transfer-encoding"):
        if let fault = framingFields.takeTransferEncoding(bytes, field) { return .fault(fault) }
        cuts.append(field.line)
      case 18 where matches(name, "proxy-authenticate"): cuts.append(field.line)
      case 19 where matches(name, "proxy-authorization"): cuts.append(field.line)
      // A parser in wide use compares no more than that.
      case 18... where matches(name, "transfer-encoding"): return .fault(.disguisedTransferEncoding)
      default: break
      }
    }
    byteCount = Int32(truncatingIfNeeded: position &+ 2)
    return finish(bytes, framingFields, connection, &cuts, isHeadRequest: isHeadRequest)
  }

  /// HTTP-version SP 3DIGIT [SP reason] CR LF (RFC 9112, section 4).
  @inline(__always)
  private mutating func readStatusLine(_ bytes: Bytes, _ count: Int) -> HeadResult {
    if count < 14 { return shortStatusLine(bytes, count) }
    let version = word8(bytes)
    if version != literal8("HTTP/1.1") {
      if let fault = takeOtherVersion(bytes) { return .fault(fault) }
    }
    let hundreds = bytes[9] &- 48
    let tens = bytes[10] &- 48
    let ones = bytes[11] &- 48
    guard bytes[8] == 32, hundreds >= 1, hundreds <= 9, tens <= 9, ones <= 9, bytes[12] == 32 || bytes[12] == 13
    else { return .fault(.malformedStatusLine) }
    status = Int32(hundreds) &* 100 &+ Int32(tens) &* 10 &+ Int32(ones)
    let end = firstControl(bytes, 12, count)
    if end >= count { return .incomplete }
    if bytes[end] != 13 { return .fault(bytes[end] == 10 ? .bareLineEnd : .controlCharacter) }
    if end &+ 1 >= count { return .incomplete }
    if bytes[end &+ 1] != 10 { return .fault(.bareLineEnd) }
    fieldsStart = Int32(truncatingIfNeeded: end &+ 2)
    return .complete
  }

  @inline(never)
  private func shortStatusLine(_ bytes: Bytes, _ count: Int) -> HeadResult {
    let name: StaticString = "HTTP/"
    for index in 0..<min(5, count) where bytes[index] != name.utf8Start[index] { return .fault(.malformedVersion) }
    return .incomplete
  }

  @inline(never)
  private mutating func takeOtherVersion(_ bytes: Bytes) -> HeadFault? {
    let name: StaticString = "HTTP/"
    for index in 0..<5 where bytes[index] != name.utf8Start[index] { return .malformedVersion }
    guard isDigit(bytes[5]), bytes[6] == 46, isDigit(bytes[7]) else { return .malformedVersion }
    if bytes[5] != 49 { return .unsupportedVersion }
    if bytes[7] == 48 { flags.insert(.oldVersion) }
    return nil
  }

  @inline(__always)
  private mutating func finish(
    _ bytes: Bytes, _ fields: FramingFields, _ connection: ConnectionOptions, _ cuts: inout CutList,
    isHeadRequest: Bool
  ) -> HeadResult {
    let isOld = flags.contains(.oldVersion)
    contentLength = fields.contentLength
    if fields.hasTransferEncoding {
      if let fault = fields.transferEncodingFault(oldVersion: isOld) { return .fault(fault) }
    }
    let hasBody = !(isHeadRequest || status < 200 || status == 204 || status == 304)
    if !hasBody {
      framing = .none
    } else if fields.hasTransferEncoding {
      framing = .chunked
    } else if contentLength >= 0 {
      framing = contentLength > 0 ? .counted : .none
    } else {
      framing = .untilClose
    }
    if fields.lengthFieldCount > 1 || fields.lengthIsOdd { rewriteLength(bytes, &cuts) }
    let persists = isOld ? connection.keepAlive && !connection.close : !connection.close
    // A body is announced where there can be none: the server may send it all the same, for the next client.
    let isContradictory =
      (status < 200 || status == 204) && (fields.hasTransferEncoding || fields.contentLength > 0)
    if persists && framing != .untilClose && !isContradictory { flags.insert(.keepAlive) }
    if status == 101 && connection.upgrade && !upgrade.isEmpty { flags.insert(.upgrade) }
    if connection.nominationCount > 0 { cuts.cutNominated(bytes, fieldsStart: fieldsStart, end: byteCount) }
    cutCount = cuts.count
    return .complete
  }

  @inline(never)
  private mutating func rewriteLength(_ bytes: Bytes, _ cuts: inout CutList) {
    // Where no length belongs, all of them are cut already and none is written.
    if status >= 200 && status != 204 && status != 304 { flags.insert(.rewritesLength) }
    var walk = FieldWalk(fieldsStart, byteCount)
    while let field = walk.next(bytes) {
      if equalsIgnoringCase(bytes, field.name, "content-length") { cuts.insert(field.line) }
    }
  }
}
