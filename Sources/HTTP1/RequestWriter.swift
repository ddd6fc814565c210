// The head that goes to the server: the one that came, in its order, without the cuts, and our own lines at the end.
// The usual case is a few copies; absolute form, old versions and trusted proxies before us take the longer way.

/// What is added to every request. The buffers live in memory of the caller's.
package struct RequestAdditions {
  /// Nil: nothing is said about the client.
  package var forwarding: ForwardingText?
  /// A whole line with its CR LF, "Via: 1.1 n1\r\n", or empty.
  package var via: UnsafeBufferPointer<UInt8>
  /// Host for an HTTP/1.0 request without one: the server's address, without a line end.
  package var defaultHost: UnsafeBufferPointer<UInt8>
  /// Another target than the one that came; empty: that one.
  package var target = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
  /// Whole lines with their CR LF, or empty.
  package var lines = UnsafeBufferPointer<UInt8>(start: nil, count: 0)

  package init(
    forwarding: ForwardingText? = nil, via: UnsafeBufferPointer<UInt8> = .init(start: nil, count: 0),
    defaultHost: UnsafeBufferPointer<UInt8> = .init(start: nil, count: 0)
  ) {
    self.forwarding = forwarding
    self.via = via
    self.defaultHost = defaultHost
  }
}

extension RequestHead {
  /// An upper bound of what `write` writes.
  package func writtenByteBound(_ additions: RequestAdditions) -> Int {
    // Host and upgrade are at most copied thrice more; fixed texts are under 256 bytes.
    Int(byteCount) &+ host.count &* 2 &+ upgrade.count &+ additions.via.count &+ additions.defaultHost.count &* 3
      &+ ForwardingText.byteCapacity &+ additions.target.count &+ additions.lines.count &+ 256
  }

  /// Writes the head for the server to `destination`, which has room for `writtenByteBound`; returns the byte count.
  /// `bytes` and `scratch` are those of the parse. `options` are those of the parse too.
  package func write(
    from bytes: UnsafePointer<UInt8>, scratch: HeadScratch, options: RequestOptions, additions: RequestAdditions,
    to destination: UnsafeMutablePointer<UInt8>, capacity: Int
  ) -> Int {
    precondition(capacity >= writtenByteBound(additions))
    var output = Output(destination)
    var copied = Int(start)
    if flags.contains(.rewritesRequestLine) || !additions.target.isEmpty {
      writeRequestLine(bytes, additions.target, to: &output)
      copied = Int(fieldsStart)
    }
    var index = 0
    while index < Int(cutCount) {
      let cut = scratch.cuts[index]
      output.append(bytes, copied, cut.offset)
      copied = cut.endOffset
      index &+= 1
    }
    output.append(bytes, copied, Int(byteCount) &- 2)
    let special: RequestFlags = [
      .rewritesLength, .rewritesMaxForwards, .upgrade, .acceptsTrailers, .mergesForwardedFor, .mergesForwarded,
    ]
    if !flags.isDisjoint(with: special) || !hasHostField {
      writeSpecialFields(bytes, options, additions, to: &output)
    }
    if framing == .chunked { output.append("Transfer-Encoding: chunked\r\n") }
    if let forwarding = additions.forwarding { writeForwarding(bytes, forwarding, options, additions, to: &output) }
    output.append(additions.lines)
    output.append(additions.via)
    output.append(13)
    output.append(10)
    return output.count
  }

  @inline(never)
  private func writeRequestLine(_ bytes: Bytes, _ target: UnsafeBufferPointer<UInt8>, to output: inout Output) {
    output.append(bytes, Int(start), Int(start) + Int(methodByteCount))
    output.append(32)
    if target.isEmpty {
      if path.isEmpty {
        output.append(method == .options ? "*" : "/")
      } else if bytes[path.offset] == 63 {
        output.append(47)
      }
      output.append(bytes, path.offset, path.endOffset)
    } else {
      output.append(target)
    }
    output.append(" HTTP/1.1\r\n")
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

  @inline(never)
  private func writeSpecialFields(
    _ bytes: Bytes, _ options: RequestOptions, _ additions: RequestAdditions, to output: inout Output
  ) {
    if flags.contains(.rewritesLength) {
      output.append("Content-Length: ")
      output.append(decimal: UInt64(contentLength))
      output.append("\r\n")
    }
    if flags.contains(.rewritesMaxForwards) {
      output.append("Max-Forwards: ")
      output.append(decimal: UInt64(max(0, maxForwards - 1)))
      output.append("\r\n")
    }
    if !hasHostField {
      output.append("Host: ")
      if host.isEmpty {
        output.append(additions.defaultHost)
      } else {
        output.append(bytes, host.offset, host.endOffset)
      }
      output.append("\r\n")
    }
    let upgrades = flags.contains(.upgrade)
    if flags.contains(.acceptsTrailers) {
      output.append("TE: trailers\r\n")
      output.append(upgrades ? "Connection: TE, upgrade\r\n" : "Connection: TE\r\n")
    } else if upgrades {
      output.append("Connection: upgrade\r\n")
    }
    if upgrades {
      output.append("Upgrade: ")
      output.append(bytes, upgrade.offset, upgrade.endOffset)
      output.append("\r\n")
    }
  }

  /// False for HTTP/1.0 without Host, where it is empty or the authority of the target.
  private var hasHostField: Bool { host.start >= fieldsStart }

  @inline(__always)
  private func writeForwarding(
    _ bytes: Bytes, _ text: ForwardingText, _ options: RequestOptions, _ additions: RequestAdditions,
    to output: inout Output
  ) {
    if options.contains(.addsXForwarded) {
      if flags.isDisjoint(with: [.mergesForwardedFor, .hasForwardedProto, .hasForwardedHost]) && !host.isEmpty {
        output.append(text.bytes, 0, text.hostEnd)
        output.append(bytes, host.offset, host.endOffset)
        output.append("\r\n")
      } else {
        writeXForwardedAfterOthers(bytes, text, to: &output)
      }
    }
    if options.contains(.addsForwarded) { writeForwarded(bytes, text, to: &output) }
  }

  @inline(never)
  private func writeXForwardedAfterOthers(_ bytes: Bytes, _ text: ForwardingText, to output: inout Output) {
    if flags.contains(.mergesForwardedFor) {
      output.append("X-Forwarded-For: ")
      appendValues(bytes, of: "x-forwarded-for", to: &output)
      output.append(text.bytes, 17, text.forEnd)
    } else {
      output.append(text.bytes, 0, text.forEnd)
    }
    if !flags.contains(.hasForwardedProto) { output.append(text.bytes, text.forEnd, text.protoEnd) }
    if !flags.contains(.hasForwardedHost) && !host.isEmpty {
      output.append(text.bytes, text.protoEnd, text.hostEnd)
      output.append(bytes, host.offset, host.endOffset)
      output.append("\r\n")
    }
  }

  @inline(never)
  private func writeForwarded(_ bytes: Bytes, _ text: ForwardingText, to output: inout Output) {
    if flags.contains(.mergesForwarded) {
      output.append("Forwarded: ")
      appendValues(bytes, of: "forwarded", to: &output)
      output.append(text.bytes, text.hostEnd + 11, text.end)
    } else {
      output.append(text.bytes, text.hostEnd, text.end)
    }
    if host.isEmpty {
      // Without `;host="`.
      output.count -= 7
      output.append("\r\n")
    } else {
      output.append(bytes, host.offset, host.endOffset)
      output.append("\"\r\n")
    }
  }

  /// The values of all fields of that name, each followed by ", ".
  private func appendValues(_ bytes: Bytes, of name: StaticString, to output: inout Output) {
    var walk = FieldWalk(fieldsStart, byteCount)
    while let field = walk.next(bytes) {
      if field.value.isEmpty || !equalsIgnoringCase(bytes, field.name, name) { continue }
      output.append(bytes, field.value.offset, field.value.endOffset)
      output.append(", ")
    }
  }
}
