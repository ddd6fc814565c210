// What a parse says about a response head; ResponseParser.swift fills it.

package struct ResponseFlags: OptionSet, Sendable {
  package let rawValue: UInt32
  @inlinable package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The server's connection may carry another request once the body has been read.
  @inlinable package static var keepAlive: Self { Self(rawValue: 1 << 0) }
  @inlinable package static var oldVersion: Self { Self(rawValue: 1 << 1) }
  @inlinable package static var hasDate: Self { Self(rawValue: 1 << 2) }
  /// Status 101, with Connection: upgrade and an Upgrade field: what follows is a tunnel if the request asked for one.
  @inlinable package static var upgrade: Self { Self(rawValue: 1 << 3) }
  @inlinable package static var rewritesLength: Self { Self(rawValue: 1 << 4) }
}

package struct ResponseHead: Sendable {
  /// To the end of the empty line.
  package var byteCount: Int32 = 0
  /// 100 to 999.
  package var status: Int32 = 0
  /// The declared length, -1 when none is declared. For an answer to HEAD and for 304 the body's length elsewhere.
  package var contentLength: Int64 = -1
  package var fieldsStart: Int32 = 0
  /// The value of the first Upgrade field.
  package var upgrade = ByteRange.empty
  package var flags = ResponseFlags()
  package var fieldCount: Int32 = 0
  var cutCount: Int32 = 0
  /// With the request's method and the status taken into account.
  package var framing = BodyFraming.none

  package init() {}

  @inlinable package var keepsAlive: Bool { flags.contains(.keepAlive) }
  /// 1xx other than 101: the final answer is still to come.
  @inlinable package var isInterim: Bool { status < 200 && status != 101 }
}
