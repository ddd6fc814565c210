// The head that goes to the client: the server's, in its order, without the cuts, with what this hop says at the end.

/// How the body goes to the client.
package enum OutgoingFraming: UInt8, Sendable {
  /// As it came: counted, or none.
  case asReceived
  /// To a client of HTTP/1.1, when the server's is chunked or ends by close.
  case chunked
  /// To a client of HTTP/1.0 when the length is not known; the connection is closed after it.
  case untilClose
}

/// What the head says about the client's connection.
package enum OutgoingConnection: UInt8, Sendable {
  /// Nothing: it stays open (HTTP/1.1).
  case implied
  case close
  /// Said to a client of HTTP/1.0 that asked for it.
  case keepAlive
  /// With 101: Connection: upgrade and the server's Upgrade field.
  case upgrade
}

/// What is added to a response. Each buffer is empty, or holds whole lines with their CR LF in memory of the caller's.
package struct ResponseAdditions {
  package var framing: OutgoingFraming
  package var connection: OutgoingConnection
  package var via = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
  /// Set-Cookie for affinity.
  package var cookie = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
  /// The listener's `served_by_header`.
  package var servedBy = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
  /// Date, written only if the server sent none.
  package var date = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
  /// What a route adds.
  package var lines = UnsafeBufferPointer<UInt8>(start: nil, count: 0)

  package init(framing: OutgoingFraming = .asReceived, connection: OutgoingConnection = .implied) {
    self.framing = framing
    self.connection = connection
  }
}

extension ResponseHead {
  package func writtenByteBound(_ additions: ResponseAdditions) -> Int {
    Int(byteCount) &+ upgrade.count &+ additions.via.count &+ additions.cookie.count &+ additions.servedBy.count
      &+ additions.date.count &+ additions.lines.count &+ 192
  }

  /// Leaves out the fields of these names, which are in lower case, when the head is written. `bytes` and `scratch` are
  /// those of the parse.
  package mutating func cut(
    _ names: UnsafeBufferPointer<UnsafeBufferPointer<UInt8>>, from bytes: UnsafePointer<UInt8>, scratch: HeadScratch
  ) {
    var cuts = CutList(scratch: scratch, count: cutCount)
    cuts.cut(names, bytes, fieldsStart: fieldsStart, end: byteCount)
    cutCount = cuts.count
  }

  /// Writes the head for the client to `destination`, which has room for `writtenByteBound`; returns the byte count.
  /// `bytes` and `scratch` are those of the parse.
  package func write(
    from bytes: UnsafePointer<UInt8>, scratch: HeadScratch, additions: ResponseAdditions,
    to destination: UnsafeMutablePointer<UInt8>, capacity: Int
  ) -> Int {
    precondition(capacity >= writtenByteBound(additions))
    var output = Output(destination)
    var copied = 0
    var index = 0
    while index < Int(cutCount) {
      let cut = scratch.cuts[index]
      output.append(bytes, copied, cut.offset)
      copied = cut.endOffset
      index &+= 1
    }
    output.append(bytes, copied, Int(byteCount) &- 2)
    // The version is that of this hop.
    destination[7] = 49
    if flags.contains(.rewritesLength) && additions.framing == .asReceived {
      output.append("Content-Length: ")
      output.append(decimal: UInt64(contentLength))
      output.append("\r\n")
    }
    if additions.framing == .chunked { output.append("Transfer-Encoding: chunked\r\n") }
    switch additions.connection {
    case .implied: break
    case .close: output.append("Connection: close\r\n")
    case .keepAlive: output.append("Connection: keep-alive\r\n")
    case .upgrade:
      output.append("Connection: upgrade\r\nUpgrade: ")
      output.append(bytes, upgrade.offset, upgrade.endOffset)
      output.append("\r\n")
    }
    output.append(additions.via)
    output.append(additions.cookie)
    output.append(additions.servedBy)
    output.append(additions.lines)
    if !flags.contains(.hasDate) { output.append(additions.date) }
    output.append(13)
    output.append(10)
    return output.count
  }
}
