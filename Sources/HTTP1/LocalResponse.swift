// Answers of the balancer's own: short, correct, with the reason in words and an id that the log shows too.

package enum LocalResponse {
  /// Room for every answer with a reason of up to `maximumReasonByteCount`; longer reasons are cut off.
  package static let byteCapacity = 1024
  package static let maximumReasonByteCount = 256
  /// Of a `Date` line with its end.
  package static let largestDateByteCount = 6 + HTTPDate.byteCount + 2

  package static func phrase(_ status: Int) -> StaticString {
    switch status {
    case 100: "Continue"
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 203: "Non-Authoritative Information"
    case 204: "No Content"
    case 205: "Reset Content"
    case 206: "Partial Content"
    case 300: "Multiple Choices"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 304: "Not Modified"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 402: "Payment Required"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 406: "Not Acceptable"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 411: "Length Required"
    case 412: "Precondition Failed"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 415: "Unsupported Media Type"
    case 416: "Range Not Satisfiable"
    case 417: "Expectation Failed"
    case 421: "Misdirected Request"
    case 422: "Unprocessable Content"
    case 425: "Too Early"
    case 426: "Upgrade Required"
    case 428: "Precondition Required"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 451: "Unavailable For Legal Reasons"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    case ..<300: "Success"
    case ..<400: "Redirection"
    default: "Error"
    }
  }

  /// Writes a whole answer to `destination`, which has `byteCapacity` bytes; returns the byte count.
  /// - `reason`: the end of a sentence, "no server of pool app is up"; printable ASCII.
  /// - `date`: a whole line with its CR LF.
  /// - `withoutBody`: the request is HEAD.
  /// - `oldVersion`: the client speaks HTTP/1.0, so staying open has to be said.
  /// - `retryAfterSeconds`: Retry-After of a 503 or 429; 0 for none.
  /// - `givenID`: an id that stands in place of `requestID`, see `RequestID.isUsable`; empty: there is none.
  package static func write(
    status: Int, reason: StaticString, date: UnsafeBufferPointer<UInt8>, requestID: UInt64, closes: Bool,
    withoutBody: Bool = false, oldVersion: Bool = false, retryAfterSeconds: Int = 0,
    to destination: UnsafeMutablePointer<UInt8>, capacity: Int
  ) -> Int {
    let text = UnsafeBufferPointer(start: reason.utf8Start, count: reason.utf8CodeUnitCount)
    return write(
      status: status, reason: text, date: date, requestID: requestID, closes: closes, withoutBody: withoutBody,
      oldVersion: oldVersion, retryAfterSeconds: retryAfterSeconds, to: destination, capacity: capacity)
  }

  package static func write(
    status: Int, reason: UnsafeBufferPointer<UInt8>, date: UnsafeBufferPointer<UInt8>, requestID: UInt64,
    givenID: UnsafeBufferPointer<UInt8> = .init(start: nil, count: 0), closes: Bool, withoutBody: Bool = false,
    oldVersion: Bool = false, retryAfterSeconds: Int = 0, to destination: UnsafeMutablePointer<UInt8>, capacity: Int
  ) -> Int {
    precondition(capacity >= byteCapacity && status >= 200 && status <= 599)
    precondition(givenID.count <= RequestID.longestByteCount && date.count <= largestDateByteCount)
    let idCount = givenID.isEmpty ? 16 : givenID.count
    func appendID(_ output: inout Output) {
      if !givenID.isEmpty { return output.append(givenID) }
      Cookies.write(tag: requestID, to: destination + output.count)
      output.count += 16
    }
    let phrase = phrase(status)
    let reasonCount = min(reason.count, maximumReasonByteCount)
    // "503 Service Unavailable: REASON\nrequest 0123456789abcdef\n"
    let bodyCount = 3 + 1 + phrase.utf8CodeUnitCount + (reasonCount > 0 ? 2 + reasonCount : 0) + 1 + 8 + idCount + 1
    var output = Output(destination)
    output.append("HTTP/1.1 ")
    output.append(decimal: UInt64(status))
    output.append(32)
    output.append(phrase)
    output.append("\r\n")
    output.append(date)
    output.append("Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: ")
    output.append(decimal: UInt64(bodyCount))
    output.append("\r\nX-Request-ID: ")
    appendID(&output)
    output.append("\r\n")
    if retryAfterSeconds > 0 {
      output.append("Retry-After: ")
      output.append(decimal: UInt64(retryAfterSeconds))
      output.append("\r\n")
    }
    if closes {
      output.append("Connection: close\r\n")
    } else if oldVersion {
      output.append("Connection: keep-alive\r\n")
    }
    output.append("\r\n")
    if withoutBody { return output.count }
    output.append(decimal: UInt64(status))
    output.append(32)
    output.append(phrase)
    if reasonCount > 0 {
      output.append(": ")
      for index in 0..<reasonCount { output.append(reason[index] &- 32 < 95 ? reason[index] : 63) }
    }
    output.append("\nrequest ")
    appendID(&output)
    output.append(10)
    return output.count
  }

  /// The answer to OPTIONS whose Max-Forwards has come to 0: it ends here.
  package static func writeOptions(
    date: UnsafeBufferPointer<UInt8>, closes: Bool, to destination: UnsafeMutablePointer<UInt8>, capacity: Int
  ) -> Int {
    precondition(capacity >= byteCapacity && date.count <= largestDateByteCount)
    var output = Output(destination)
    output.append("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
    output.append(date)
    if closes { output.append("Connection: close\r\n") }
    output.append("\r\n")
    return output.count
  }

  /// Writes the rest of an answer whose status line and own fields are prepared: `fields` and `lines` are more of those,
  /// then what the connection needs, the empty line, and `body` unless `withoutBody`. `destination` has room for all that and 64 bytes more.
  package static func write(
    prepared head: UnsafeBufferPointer<UInt8>, fields: UnsafeBufferPointer<UInt8>, lines: UnsafeBufferPointer<UInt8>,
    date: UnsafeBufferPointer<UInt8>,
    body: UnsafeBufferPointer<UInt8>, closes: Bool, withoutBody: Bool, oldVersion: Bool,
    to destination: UnsafeMutablePointer<UInt8>, capacity: Int
  ) -> Int {
    precondition(capacity >= head.count + fields.count + lines.count + date.count + body.count + 64)
    var output = Output(destination)
    output.append(head)
    output.append(fields)
    output.append(lines)
    output.append(date)
    if closes {
      output.append("Connection: close\r\n")
    } else if oldVersion {
      output.append("Connection: keep-alive\r\n")
    }
    output.append("\r\n")
    if !withoutBody { output.append(body) }
    return output.count
  }
}
