// What a parse says about a request head: offsets into the buffer, decisions about the body and the connection, and how
// many parts the rewrite leaves out. A plain value without references; RequestParser.swift fills it.

package enum RequestMethod: UInt8, Sendable {
  case get, head, post, put, delete, options, trace, patch, other

  /// RFC 9110, section 9.2.1.
  @inlinable package var isSafe: Bool { self == .get || self == .head || self == .options || self == .trace }
  /// RFC 9110, section 9.2.2: sending it twice is as good as once.
  @inlinable package var isIdempotent: Bool { isSafe || self == .put || self == .delete }

  /// Whether `count` bytes, of a request that is not parsed or that no parse takes, begin one of HEAD: no answer to it has a
  /// body.
  package static func isHead(_ bytes: UnsafePointer<UInt8>, count: Int) -> Bool {
    let start = count >= 2 && bytes[0] == 13 && bytes[1] == 10 ? 2 : 0
    let name: StaticString = "HEAD "
    return count - start >= 5 && (0..<5).allSatisfy { bytes[start + $0] == name.utf8Start[$0] }
  }
}

package struct RequestFlags: OptionSet, Sendable {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The client's connection may carry another request.
  @inlinable package static var keepAlive: Self { Self(rawValue: 1 << 0) }
  /// HTTP/1.0: no chunked answer, no 100.
  @inlinable package static var oldVersion: Self { Self(rawValue: 1 << 1) }
  /// `Expect: 100-continue` in HTTP/1.1.
  @inlinable package static var expectsContinue: Self { Self(rawValue: 1 << 2) }
  /// Connection names `upgrade` and the field `upgrade` says to what (never h2c).
  @inlinable package static var upgrade: Self { Self(rawValue: 1 << 3) }
  @inlinable package static var acceptsTrailers: Self { Self(rawValue: 1 << 4) }
  @inlinable package static var severalCookieFields: Self { Self(rawValue: 1 << 5) }
  @inlinable package static var absoluteForm: Self { Self(rawValue: 1 << 6) }
  @inlinable package static var asteriskForm: Self { Self(rawValue: 1 << 7) }
  /// Content-Length was repeated or a list of equal numbers: it is cut and written anew.
  @inlinable package static var rewritesLength: Self { Self(rawValue: 1 << 8) }
  /// These came from a trusted source and are kept, so we do not add ours.
  @inlinable package static var hasForwardedProto: Self { Self(rawValue: 1 << 9) }
  @inlinable package static var hasForwardedHost: Self { Self(rawValue: 1 << 10) }
  /// Max-Forwards is cut and written anew, one lower.
  @inlinable package static var rewritesMaxForwards: Self { Self(rawValue: 1 << 11) }
  /// X-Forwarded-For or Forwarded fields are cut, to be written as one field with our element at the end.
  @inlinable package static var mergesForwardedFor: Self { Self(rawValue: 1 << 12) }
  @inlinable package static var mergesForwarded: Self { Self(rawValue: 1 << 13) }
  /// The request line is not simply copied: absolute form, or another version than HTTP/1.1.
  @inlinable package static var rewritesRequestLine: Self { Self(rawValue: 1 << 14) }
}

/// How the listener treats what it parses.
package struct RequestOptions: OptionSet, Sendable {
  package let rawValue: UInt8
  @inlinable package init(rawValue: UInt8) { self.rawValue = rawValue }

  /// The peer's X-Forwarded-* and Forwarded fields are believed: kept, and appended to. Otherwise they are removed.
  @inlinable package static var trustedSource: Self { Self(rawValue: 1 << 0) }
  /// Fields with "_" in their name are passed on. CGI and its heirs cannot tell them from "-".
  @inlinable package static var keepsUnderscoreNames: Self { Self(rawValue: 1 << 1) }
  /// The listener's style of forwarding: X-Forwarded-For, -Proto and -Host, or Forwarded, or both, or none.
  @inlinable package static var addsXForwarded: Self { Self(rawValue: 1 << 2) }
  @inlinable package static var addsForwarded: Self { Self(rawValue: 1 << 3) }
}

package struct RequestHead: Sendable {
  /// From the first byte of the buffer to the end of the empty line, with an empty line before the request if there was one.
  package var byteCount: Int32 = 0
  /// Where the request line starts: 0, or 2 after an empty line.
  package var start: Int32 = 0
  package var methodByteCount: Int32 = 0
  /// As it was received.
  package var target = ByteRange.empty
  /// Path and query of the target; in absolute form it may be empty or lack the leading "/".
  package var path = ByteRange.empty
  /// The end of the request line, after its CR LF.
  package var fieldsStart: Int32 = 0
  /// The value of Host; empty when an HTTP/1.0 request has none (in absolute form: its authority).
  package var host = ByteRange.empty
  /// The value of the first Cookie field.
  package var cookie = ByteRange.empty
  /// The value of the first Upgrade field.
  package var upgrade = ByteRange.empty
  /// The declared length of the body, -1 when none is declared.
  package var contentLength: Int64 = -1
  /// Of OPTIONS and TRACE: hops left, -1 when there is no limit. At 0 the balancer answers itself.
  package var maxForwards: Int32 = -1
  package var flags = RequestFlags()
  package var fieldCount: Int32 = 0
  var cutCount: Int32 = 0
  package var method = RequestMethod.other
  package var framing = BodyFraming.none

  package init() {}

  @inlinable package var keepsAlive: Bool { flags.contains(.keepAlive) }
  @inlinable package var isOldVersion: Bool { flags.contains(.oldVersion) }
}
