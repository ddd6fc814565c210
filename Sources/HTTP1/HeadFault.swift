// Why a message is refused: one closed list for both directions. A request's fault is answered with `status` and the
// connection closed; a response's fault is a 502 whatever `status` says.

package enum HeadFault: UInt8, CaseIterable, Sendable {
  case malformedRequestLine
  case invalidMethod
  case invalidTarget
  case targetTooLong
  case unsupportedMethod
  case malformedVersion
  case unsupportedVersion
  case malformedStatusLine
  case bareLineEnd
  case controlCharacter
  case foldedLine
  case spaceBeforeColon
  case invalidFieldName
  case headTooLarge
  case tooManyFields
  case missingHost
  case repeatedHost
  case invalidHost
  case hostMismatch
  case invalidContentLength
  case conflictingContentLength
  case lengthAndTransferEncoding
  case transferEncodingInOldVersion
  case invalidTransferEncoding
  case unknownTransferCoding
  case invalidConnection
  case invalidMaxForwards
  case repeatedTransferEncoding
  case disguisedTransferEncoding

  /// The status that a client is answered with.
  package var status: Int {
    switch self {
    case .targetTooLong: 414
    case .headTooLarge, .tooManyFields: 431
    case .unsupportedMethod, .unknownTransferCoding: 501
    case .unsupportedVersion: 505
    default: 400
    }
  }

  /// What was wrong, as the end of a sentence: "the request was refused: …".
  package var words: StaticString {
    switch self {
    case .malformedRequestLine: "the first line is not METHOD TARGET VERSION"
    case .invalidMethod: "the method is not a token"
    case .invalidTarget: "the target is not a path, an http or https address, or *"
    case .targetTooLong: "the target is too long"
    case .unsupportedMethod: "CONNECT is not served here"
    case .malformedVersion: "the version is malformed"
    case .unsupportedVersion: "only HTTP/1.0 and HTTP/1.1 are spoken here"
    case .malformedStatusLine: "the status line is malformed"
    case .bareLineEnd: "a line does not end in CR LF, or holds a bare CR"
    case .controlCharacter: "a control character stands in the head"
    case .foldedLine: "a field line starts with white space"
    case .spaceBeforeColon: "white space stands before a colon"
    case .invalidFieldName: "a field name is empty or not a token"
    case .headTooLarge: "the head is too large"
    case .tooManyFields: "the head has too many fields"
    case .missingHost: "the Host field is missing"
    case .repeatedHost: "the Host field is repeated"
    case .invalidHost: "the Host field is not a host and port"
    case .hostMismatch: "the target names another host than the Host field"
    case .invalidContentLength: "Content-Length is not a number, or too large"
    case .conflictingContentLength: "Content-Length is given twice and differs"
    case .lengthAndTransferEncoding: "Content-Length and Transfer-Encoding are both given"
    case .transferEncodingInOldVersion: "Transfer-Encoding is not part of HTTP/1.0"
    case .invalidTransferEncoding: "Transfer-Encoding does not end in chunked"
    case .unknownTransferCoding: "a transfer coding other than chunked is used"
    case .invalidConnection: "the Connection field is malformed or names too many fields"
    case .invalidMaxForwards: "Max-Forwards is not a number"
    case .repeatedTransferEncoding: "chunked is applied twice"
    case .disguisedTransferEncoding: "a field's name begins with Transfer-Encoding and goes on"
    }
  }
}

package enum HeadResult: Equatable, Sendable {
  /// Valid so far, more bytes are needed.
  case incomplete
  case complete
  case fault(HeadFault)
}

/// How a message's body ends.
package enum BodyFraming: UInt8, Sendable {
  /// There is no body.
  case none
  /// `contentLength` bytes follow, at least one.
  case counted
  case chunked
  /// All that comes until the server closes (responses only).
  case untilClose
}

/// What a head may cost. One byte more is refused with 431 or 414.
package struct HeadLimits: Equatable, Sendable {
  package var headByteCount: Int
  package var fieldCount: Int
  package var targetByteCount: Int

  package init(headByteCount: Int = 16 * 1024, fieldCount: Int = 100, targetByteCount: Int = 8 * 1024) {
    self.headByteCount = headByteCount
    self.fieldCount = fieldCount
    self.targetByteCount = targetByteCount
  }
}

/// Room for the parts of a head that are not passed on, filled by a parse and read by the write that follows it. One per
/// thread is enough, as long as a head is written before the next one is parsed. A head with more fields than it has
/// room for is refused as having too many.
package struct HeadScratch {
  let cuts: UnsafeMutablePointer<ByteRange>
  let capacity: Int

  /// `fieldCount`: the largest `HeadLimits.fieldCount` that it is used with.
  package init(fieldCount: Int = 1_000) {
    capacity = fieldCount + 4
    cuts = .allocate(capacity: capacity)
    cuts.initialize(repeating: .empty, count: capacity)
  }

  package func deallocate() { cuts.deallocate() }
}
