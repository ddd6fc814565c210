// Where lines of the log are put together: bytes with room that is made once per record, numbers and escapes written in
// place.

internal import Primitives

struct LogBuffer: ~Copyable {
  private(set) var bytes: UnsafeMutablePointer<UInt8>
  private(set) var count = 0
  private var capacity: Int

  init(capacity: Int) {
    self.capacity = capacity
    bytes = .allocate(capacity: capacity)
  }

  deinit { bytes.deallocate() }

  mutating func clear() { count = 0 }

  /// What is appended from here on fits, up to `byteCount` bytes.
  mutating func makeRoom(_ byteCount: Int) {
    if capacity - count >= byteCount { return }
    capacity = max(2 * capacity, count + byteCount)
    let moved = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
    moved.update(from: bytes, count: count)
    bytes.deallocate()
    bytes = moved
  }

  mutating func append(_ byte: UInt8) {
    bytes[count] = byte
    count += 1
  }

  mutating func append(_ text: StaticString) {
    (bytes + count).update(from: text.utf8Start, count: text.utf8CodeUnitCount)
    count += text.utf8CodeUnitCount
  }

  mutating func append(_ text: Text) {
    guard let start = text.baseAddress else { return }
    (bytes + count).update(from: start, count: text.count)
    count += text.count
  }

  mutating func append(_ address: IPAddress) {
    guard address.family == .v4 else {
      for byte in address.description.utf8 { append(byte) }
      return
    }
    var shift: UInt64 = 32
    while shift > 0 {
      shift -= 8
      append(decimal: address.low >> shift & 255)
      if shift > 0 { append(46) }
    }
  }

  mutating func append(decimal value: UInt64) {
    var digits = 1
    var rest = value / 10
    while rest > 0 {
      digits += 1
      rest /= 10
    }
    append(decimal: value, digits: digits)
  }

  mutating func append(decimal value: Int64) {
    if value < 0 { append(45) }
    append(decimal: value.magnitude)
  }

  /// The last `digits` digits, with zeroes before them.
  mutating func append(decimal value: UInt64, digits: Int) {
    var rest = value
    for place in (0..<digits).reversed() {
      bytes[count + place] = 48 + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
    count += digits
  }

  /// Microseconds as milliseconds: `12.345`.
  mutating func append(milliseconds value: UInt64) {
    append(decimal: value / 1_000)
    append(46)
    append(decimal: value % 1_000, digits: 3)
  }

  mutating func append(hexadecimal value: UInt64, digits: Int) {
    for place in (0..<digits).reversed() {
      append(Self.hexDigit(UInt8(truncatingIfNeeded: value >> UInt64(4 * place) & 15), isUpper: false))
    }
  }

  private static func hexDigit(_ value: UInt8, isUpper: Bool) -> UInt8 {
    value < 10 ? 48 + value : (isUpper ? 55 : 87) + value
  }

  // MARK: Escapes: at most six bytes for one

  static let largestEscape = 6

  /// As nginx and Apache do: what is not printable ASCII, quotes and backslashes as `\x22`.
  mutating func append(escaped text: Text) {
    for byte in text {
      if byte >= 32 && byte < 127 && byte != 34 && byte != 92 {
        append(byte)
      } else {
        append("\\x")
        append(hexadecimal: UInt64(byte), digits: 2)
      }
    }
  }

  /// As HAProxy does: what is not printable ASCII, quotes and `#` as `#22`; and backslashes, which it leaves: for others they
  /// would take the quote behind them away.
  mutating func append(marked text: Text) {
    for byte in text {
      if byte >= 32 && byte < 127 && byte != 34 && byte != 35 && byte != 92 {
        append(byte)
      } else {
        append(35)
        append(Self.hexDigit(byte >> 4, isUpper: true))
        append(Self.hexDigit(byte & 15, isUpper: true))
      }
    }
  }

  /// A JSON string with its quotes. What is no UTF-8 is written as the four characters `\xff`.
  mutating func append(json text: Text) {
    append(34)
    var index = 0
    while index < text.count {
      let byte = text[index]
      if byte >= 32 && byte < 127 {
        if byte == 34 || byte == 92 { append(92) }
        append(byte)
        index += 1
        continue
      }
      if byte < 128 {
        append("\\u00")
        append(hexadecimal: UInt64(byte), digits: 2)
        index += 1
        continue
      }
      let length = Self.utf8Length(text, index)
      if length == 0 {
        append("\\\\x")
        append(hexadecimal: UInt64(byte), digits: 2)
        index += 1
      } else {
        for offset in 0..<length { append(text[index + offset]) }
        index += length
      }
    }
    append(34)
  }

  /// Of the character beyond ASCII at `index` (RFC 3629); 0 if that is none, or a control character of Unicode.
  private static func utf8Length(_ text: Text, _ index: Int) -> Int {
    let first = text[index]
    let length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
    if first < 0xc2 || first > 0xf4 || index + length > text.count { return 0 }
    for offset in 1..<length where text[index + offset] & 0xc0 != 0x80 { return 0 }
    let second = text[index + 1]
    switch first {
    case 0xc2 where second < 0xa0: return 0
    case 0xe0 where second < 0xa0: return 0
    case 0xed where second > 0x9f: return 0
    case 0xf0 where second < 0x90: return 0
    case 0xf4 where second > 0x8f: return 0
    default: return length
    }
  }
}
