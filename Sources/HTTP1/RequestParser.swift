// The strict parser of request heads: one pass over the bytes, a switch on the length of each field's name, a second
// pass only when Connection names fields. Nothing is allocated and nothing is counted by reference. `parse` is as long as the
// table of fields that mean something here: a case for each length, and what is more than a line in functions of its own.

extension RequestHead {
  /// Parses the head at the start of `bytes`, of which `count` have arrived; `scanSlack` more must be readable. Always from
  /// the beginning: with more bytes, call it again with all of them. A verdict other than `incomplete` does not change
  /// when more bytes come. `scratch` then belongs to this head until the next parse with it.
  package mutating func parse(
    _ bytes: UnsafePointer<UInt8>, count: Int, limits: HeadLimits, options: RequestOptions, scratch: HeadScratch
  ) -> HeadResult {
    self = RequestHead()
    let limited = min(count, limits.headByteCount)
    var authority = ByteRange.empty
    switch readRequestLine(bytes, limited, targetLimit: limits.targetByteCount, authority: &authority) {
    case .done: break
    case .fault(let fault): return .fault(fault)
    case .incomplete(let inTarget):
      if count < limits.headByteCount { return .incomplete }
      return .fault(inTarget ? .targetTooLong : .headTooLarge)
    }

    var cuts = CutList(scratch: scratch)
    var framingFields = FramingFields()
    var connection = ConnectionOptions()
    var hostFieldCount: Int32 = 0
    var position = Int(fieldsStart)
    let fieldLimit = Int32(truncatingIfNeeded: min(limits.fieldCount, scratch.capacity - 4))
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
      if field.hasUnderscore && !options.contains(.keepsUnderscoreNames) {
        cuts.append(field.line)
        continue
      }
      let name = bytes + field.nameStart
      switch field.nameCount {
      case 2: if matches(name, "te") { takeTE(bytes, field, &cuts) }
      case 4:
        if matches(name, "host") {
          hostFieldCount &+= 1
          if hostFieldCount > 1 { return .fault(.repeatedHost) }
          host = field.value
          if !isValidHost(bytes, host) { return .fault(.invalidHost) }
        }
      case 6:
        if matches(name, "cookie") {
          if cookie.isEmpty { cookie = field.value } else { flags.insert(.severalCookieFields) }
        } else if matches(name, "expect") {
          if equalsIgnoringCase(bytes, field.value, "100-continue") { flags.insert(.expectsContinue) }
        }
      case 7:
        if matches(name, "upgrade") {
          if upgrade.isEmpty { upgrade = field.value }
          cuts.append(field.line)
        }
      case 9: if matches(name, "forwarded") { takeForwarded(bytes, field, options, &cuts) }
      case 10:
        if matches(name, "connection") {
          if let fault = connection.take(bytes, field) { return .fault(fault) }
          cuts.append(field.line)
        } else if matches(name, "keep-alive") {
          cuts.append(field.line)
        }
      case 12:
        if (method == .options || method == .trace) && matches(name, "max-forwards") {
          if let fault = takeMaxForwards(bytes, field, &cuts) { return .fault(fault) }
        }
      case 14:
        if matches(name, "content-length") {
          if let fault = framingFields.takeLength(bytes, field) { return .fault(fault) }
        } else if matches(name, "x-forwarded-") {
          takeForwarded(bytes, field, options, &cuts)
        }
      case 16 where matches(name, "proxy-connection"): cuts.append(field.line)
      case 17 where matches(name, "transfer-encoding"):
        if let fault = framingFields.takeTransferEncoding(bytes, field) { return .fault(fault) }
        cuts.append(field.line)
      case 18 where matches(name, "proxy-authenticate"): cuts.append(field.line)
      case 19 where matches(name, "proxy-authorization"): cuts.append(field.line)
      case 13...:
        if matches(name, "x-forwarded-") {
          takeForwarded(bytes, field, options, &cuts)
        } else if field.nameCount > 17 && matches(name, "transfer-encoding") {
          // A parser in wide use compares no more than that.
          return .fault(.disguisedTransferEncoding)
        }
      default: break
      }
    }
    byteCount = Int32(truncatingIfNeeded: position &+ 2)
    return finish(bytes, framingFields, connection, &cuts, hostFieldCount: hostFieldCount, authority: authority)
  }

  /// The rules that need the whole head.
  @inline(__always)
  private mutating func finish(
    _ bytes: Bytes, _ fields: FramingFields, _ connection: ConnectionOptions, _ cuts: inout CutList,
    hostFieldCount: Int32, authority: ByteRange
  ) -> HeadResult {
    if hostFieldCount == 0 && !isOldVersion { return .fault(.missingHost) }
    if flags.contains(.absoluteForm) {
      if hostFieldCount == 0 { host = authority }
      let port: StaticString =
        equalsIgnoringCase(bytes, ByteRange(target.offset, target.offset + 5), "https") ? ":443" : ":80"
      if !equalsIgnoringCase(bytes, host.without(port, bytes), authority.without(port, bytes)) {
        return .fault(.hostMismatch)
      }
    }
    contentLength = fields.contentLength
    if fields.hasTransferEncoding {
      if let fault = fields.transferEncodingFault(oldVersion: isOldVersion) { return .fault(fault) }
      framing = .chunked
    } else if contentLength > 0 {
      framing = .counted
    }
    if fields.lengthFieldCount > 1 || fields.lengthIsOdd { rewriteLength(bytes, &cuts) }
    if isOldVersion {
      flags.remove(.expectsContinue)
      if connection.keepAlive && !connection.close { flags.insert(.keepAlive) }
    } else {
      if !connection.close { flags.insert(.keepAlive) }
      // An offer of h2c would let the client speak to the server past our rules. With a body, servers differ about where the
      // other protocol would begin.
      if connection.upgrade && !upgrade.isEmpty && framing == .none && !offersH2C(bytes) { flags.insert(.upgrade) }
    }
    if connection.nominationCount > 0 { cuts.cutNominated(bytes, fieldsStart: fieldsStart, end: byteCount) }
    cutCount = cuts.count
    return .complete
  }

  /// TE is of this hop; that trailers are welcome is passed on by the writer.
  @inline(never)
  private mutating func takeTE(_ bytes: Bytes, _ field: FieldLine, _ cuts: inout CutList) {
    cuts.append(field.line)
    var elements = ListElements(field.value)
    while let element = elements.next(bytes) {
      if equalsIgnoringCase(bytes, element, "trailers") { flags.insert(.acceptsTrailers) }
    }
  }

  @inline(never)
  private mutating func takeForwarded(
    _ bytes: Bytes, _ field: FieldLine, _ options: RequestOptions, _ cuts: inout CutList
  ) {
    if !options.contains(.trustedSource) {
      cuts.append(field.line)
      return
    }
    let name = bytes + field.nameStart
    switch field.nameCount {
    case 9 where options.contains(.addsForwarded):
      flags.insert(.mergesForwarded)
      cuts.append(field.line)
    case 15 where options.contains(.addsXForwarded) && matches(name, "x-forwarded-for"):
      flags.insert(.mergesForwardedFor)
      cuts.append(field.line)
    case 16 where matches(name, "x-forwarded-host"): flags.insert(.hasForwardedHost)
    case 17 where matches(name, "x-forwarded-proto"): flags.insert(.hasForwardedProto)
    default: break
    }
  }

  @inline(never)
  private mutating func takeMaxForwards(_ bytes: Bytes, _ field: FieldLine, _ cuts: inout CutList) -> HeadFault? {
    guard maxForwards < 0, field.valueEnd > field.valueStart, field.valueEnd - field.valueStart <= 9 else {
      return .invalidMaxForwards
    }
    var value: Int32 = 0
    for index in field.valueStart..<field.valueEnd {
      guard isDigit(bytes[index]) else { return .invalidMaxForwards }
      value = value * 10 + Int32(bytes[index] - 48)
    }
    maxForwards = value
    flags.insert(.rewritesMaxForwards)
    cuts.append(field.line)
    return nil
  }

  @inline(never)
  private mutating func rewriteLength(_ bytes: Bytes, _ cuts: inout CutList) {
    flags.insert(.rewritesLength)
    var walk = FieldWalk(fieldsStart, byteCount)
    while let field = walk.next(bytes) {
      if equalsIgnoringCase(bytes, field.name, "content-length") { cuts.insert(field.line) }
    }
  }

  private func offersH2C(_ bytes: Bytes) -> Bool {
    var elements = ListElements(upgrade)
    while let element = elements.next(bytes) {
      if element.count >= 3, equalsIgnoringCase(bytes, ByteRange(element.offset, element.offset + 3), "h2c") {
        return true
      }
    }
    return false
  }
}

extension ByteRange {
  /// Of an authority: without the port that its scheme has anyway (RFC 9110, section 4.2.3).
  fileprivate func without(_ port: StaticString, _ bytes: Bytes) -> ByteRange {
    let start = endOffset - port.utf8CodeUnitCount
    return start > offset && equalsIgnoringCase(bytes, ByteRange(start, endOffset), port)
      ? ByteRange(offset, start) : self
  }
}
