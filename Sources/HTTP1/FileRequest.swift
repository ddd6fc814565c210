// What a request for a file is answered with, by its conditions and range (RFC 9110, sections 13 and 14). One range is
// answered; several at once, and what is no range, are ignored, which the RFC allows: then the whole file goes out.

/// A version of a file: what ETag and Last-Modified tell clients.
package struct FileVersion: Equatable, Sendable {
  /// File systems note times by the kernel's tick, 10 ms at most: within it a file may change twice and look the same.
  private static let tickNanoseconds: Int64 = 20_000_000

  package let byteCount: Int64
  package let modifiedSecond: Int64
  package let modifiedNanosecond: Int64
  /// When it was looked at.
  package let nowSecond: Int64
  /// It has a tag: it has not been changed just now, so every later change will show.
  package let hasTag: Bool
  /// Of `writeTag`.
  package static let largestTagByteCount = 44

  /// `modifiedNanosecond`: of the second; `now`: nanoseconds since 1970.
  package init(byteCount: Int64, modifiedSecond: Int64, modifiedNanosecond: Int64, now: Int64) {
    self.byteCount = byteCount
    self.modifiedSecond = modifiedSecond
    self.modifiedNanosecond = modifiedNanosecond
    nowSecond = now / 1_000_000_000
    // Long ago; or in the future, which no change leaves behind.
    if modifiedSecond < nowSecond - 1 || modifiedSecond > nowSecond {
      hasTag = true
    } else {
      let age = now - modifiedSecond * 1_000_000_000 - modifiedNanosecond
      hasTag = age < 0 || age >= Self.tickNanoseconds
    }
  }

  /// Never after Date (RFC 9110, section 8.8.2.1).
  var lastModified: Int64 { min(modifiedSecond, nowSecond) }
  /// A second that is over cannot have another version to come (section 8.8.2.2).
  var hasStrongDate: Bool { lastModified < nowSecond }

  /// `"66f3a1b2-1dcd6500-1c00"`: second, nanosecond and size; the same on every node that has the same file, copied with its
  /// time. Returns its byte count.
  package func writeTag(to destination: UnsafeMutablePointer<UInt8>) -> Int {
    var output = Output(destination)
    output.append(34)
    output.append(hexadecimal: UInt64(bitPattern: modifiedSecond))
    output.append(45)
    output.append(hexadecimal: UInt64(bitPattern: modifiedNanosecond))
    output.append(45)
    output.append(hexadecimal: UInt64(bitPattern: byteCount))
    output.append(34)
    return output.count
  }
}

package enum FileAnswer: Equatable, Sendable {
  /// 200.
  case whole
  /// 206; at least one byte, within the file.
  case part(Range<Int64>)
  /// 304.
  case notModified
  /// 412.
  case preconditionFailed
  /// 416.
  case unsatisfiable
  /// 503 with the whole file, whatever was asked for: the page of a sorry site.
  case unavailable

  /// For GET and HEAD. `bytes` are those of the head's parse.
  package static func decide(
    _ head: RequestHead, of bytes: UnsafePointer<UInt8>, _ version: FileVersion
  ) -> FileAnswer {
    func value(_ name: StaticString) -> UnsafeBufferPointer<UInt8>? {
      var values = FieldValues(
        named: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), in: head)
      return values.next(bytes).map { UnsafeBufferPointer(start: bytes + $0.offset, count: $0.count) }
    }
    func date(_ name: StaticString) -> Int64? { value(name).flatMap { HTTPDate.parse($0, now: version.nowSecond) } }
    func tags(_ name: StaticString, weak: Bool) -> Bool? {
      var values = FieldValues(
        named: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), in: head)
      var found: Bool?
      while let range = values.next(bytes) {
        let list = UnsafeBufferPointer(start: bytes + range.offset, count: range.count)
        found = (found ?? false) || TagList.holds(list, version, weak: weak)
      }
      return found
    }
    if let matches = tags("if-match", weak: false) {
      if !matches { return .preconditionFailed }
    } else if let date = date("if-unmodified-since"), version.lastModified > date {
      return .preconditionFailed
    }
    if let matches = tags("if-none-match", weak: true) {
      if matches { return .notModified }
    } else if let date = date("if-modified-since"), version.lastModified <= date {
      return .notModified
    }
    guard head.method == .get, let range = value("range") else { return .whole }
    if let condition = value("if-range") {
      let isSame =
        condition.first == 34
        ? TagList.holds(condition, version, weak: false)
        : version.hasStrongDate && date("if-range") == version.lastModified
      if !isSame { return .whole }
    }
    return part(range, version.byteCount)
  }

  private static func part(_ text: UnsafeBufferPointer<UInt8>, _ size: Int64) -> FileAnswer {
    let unit: StaticString = "bytes="
    guard text.count > 6, (0..<6).allSatisfy({ lowercased(text[$0]) == unit.utf8Start[$0] }) else { return .whole }
    var index = 6
    func number() -> Int64? {
      let start = index
      var value: Int64 = 0
      while index < text.count && isDigit(text[index]) {
        // More than any file has is as good as that.
        if value < 1 << 60 / 10 { value = value * 10 + Int64(text[index] - 48) }
        index += 1
      }
      return index > start ? value : nil
    }
    let first = number()
    guard index < text.count, text[index] == 45 else { return .whole }
    index += 1
    let last = number()
    guard index == text.count else { return .whole }
    if let first {
      if let last, last < first { return .whole }
      return first < size ? .part(first..<min(size, (last ?? size - 1) + 1)) : .unsatisfiable
    }
    guard let last else { return .whole }
    return last > 0 && size > 0 ? .part(max(0, size - last)..<size) : .unsatisfiable
  }
}

/// The value of If-Match and its like: `*`, or entity tags with commas between.
private enum TagList {
  static func holds(_ text: UnsafeBufferPointer<UInt8>, _ version: FileVersion, weak: Bool) -> Bool {
    if text.count == 1 && text[0] == 42 { return true }
    if !version.hasTag { return false }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: FileVersion.largestTagByteCount) { own in
      let count = version.writeTag(to: own.baseAddress!)
      var index = 0
      while index < text.count {
        while index < text.count && (isBlank(text[index]) || text[index] == 44) { index += 1 }
        let isWeak = index + 1 < text.count && text[index] == 87 && text[index + 1] == 47
        if isWeak { index += 2 }
        guard index < text.count, text[index] == 34 else { return false }
        let start = index
        index += 1
        while index < text.count && text[index] != 34 { index += 1 }
        if index == text.count { return false }
        index += 1
        if (weak || !isWeak) && index - start == count && (0..<count).allSatisfy({ text[start + $0] == own[$0] }) {
          return true
        }
      }
      return false
    }
  }
}

/// The head of an answer about a file, up to what every answer has.
package enum FileHead {
  /// Of the largest.
  package static let byteCapacity = 512

  /// Writes status line and fields to `destination`, which has `byteCapacity` bytes; returns what was written.
  package static func write(
    _ answer: FileAnswer, _ version: FileVersion, _ type: StaticString, to destination: UnsafeMutablePointer<UInt8>
  ) -> UnsafeBufferPointer<UInt8> {
    var output = Output(destination)
    switch answer {
    case .whole:
      output.append("HTTP/1.1 200 OK\r\nContent-Length: ")
      output.append(decimal: UInt64(version.byteCount))
      output.append("\r\n")
    case .part(let range):
      output.append("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ")
      output.append(decimal: UInt64(range.lowerBound))
      output.append("-")
      output.append(decimal: UInt64(range.upperBound - 1))
      output.append("/")
      output.append(decimal: UInt64(version.byteCount))
      output.append("\r\nContent-Length: ")
      output.append(decimal: UInt64(range.upperBound - range.lowerBound))
      output.append("\r\n")
    case .unavailable:
      output.append("HTTP/1.1 503 Service Unavailable\r\nContent-Length: ")
      output.append(decimal: UInt64(version.byteCount))
      output.append("\r\nContent-Type: ")
      output.append(type)
      output.append("\r\n")
      return UnsafeBufferPointer(start: UnsafePointer(destination), count: output.count)
    case .notModified: output.append("HTTP/1.1 304 Not Modified\r\n")
    case .preconditionFailed: output.append("HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n")
    case .unsatisfiable:
      output.append("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nContent-Range: bytes */")
      output.append(decimal: UInt64(version.byteCount))
      output.append("\r\n")
    }
    if answer != .preconditionFailed && answer != .unsatisfiable {
      if answer != .notModified {
        output.append("Content-Type: ")
        output.append(type)
        output.append("\r\nAccept-Ranges: bytes\r\n")
      }
      output.append("Last-Modified: ")
      HTTPDate.write(version.lastModified, to: destination + output.count)
      output.count += HTTPDate.byteCount
      if version.hasTag {
        output.append("\r\nETag: ")
        output.count += version.writeTag(to: destination + output.count)
      }
      output.append("\r\n")
    }
    return UnsafeBufferPointer(start: UnsafePointer(destination), count: output.count)
  }
}
