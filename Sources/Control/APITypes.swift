// Building blocks of the JSON that the local API speaks (GET and POST under /v1/) and that `--json` prints: moments as
// RFC 3339 text, and optional fields that are written as `null` instead of being left out, so that a script can rely on
// the key.

/// An optional field that is written as `null` when it has no value; absent or null when read is no value.
@propertyWrapper
package struct OrNull<Value: Codable & Equatable & Sendable>: Codable, Equatable, Sendable {
  package var wrappedValue: Value?

  package init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    wrappedValue = container.decodeNil() ? nil : try container.decode(Value.self)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}

extension KeyedDecodingContainer {
  /// Found by the compiler's own `init(from:)`: an absent key is no value.
  package func decode<Value>(_ type: OrNull<Value>.Type, forKey key: Key) throws -> OrNull<Value> {
    OrNull(wrappedValue: try decodeIfPresent(Value.self, forKey: key))
  }
}

/// A list that an older agent does not give is empty.
@propertyWrapper
package struct OrEmpty<Element: Codable & Equatable & Sendable>: Codable, Equatable, Sendable {
  package var wrappedValue: [Element]

  package init(wrappedValue: [Element]) { self.wrappedValue = wrappedValue }
  package init(from decoder: any Decoder) throws { wrappedValue = try [Element](from: decoder) }
  package func encode(to encoder: any Encoder) throws { try wrappedValue.encode(to: encoder) }
}

extension KeyedDecodingContainer {
  /// Found by the compiler's own `init(from:)`, as for `OrNull`.
  package func decode<Element>(_ type: OrEmpty<Element>.Type, forKey key: Key) throws -> OrEmpty<Element> {
    OrEmpty(wrappedValue: try decodeIfPresent([Element].self, forKey: key) ?? [])
  }
}

/// A moment on the wall clock: `2026-11-21T01:02:03.456Z` in JSON, always UTC with milliseconds.
package struct APITime: Codable, Hashable, Comparable, Sendable, CustomStringConvertible {
  /// Since 1970-01-01T00:00:00Z, without leap seconds.
  package var unixNanoseconds: Int64

  package init(unixNanoseconds: Int64) { self.unixNanoseconds = unixNanoseconds }

  /// Parses `YYYY-MM-DDTHH:MM:SS[.fraction]Z`. Nil for anything else.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    func number(_ range: Range<Int>) -> Int64? {
      guard range.upperBound <= bytes.count else { return nil }
      var value: Int64 = 0
      for byte in bytes[range] {
        guard (48...57).contains(byte) else { return nil }
        value = value * 10 + Int64(byte - 48)
      }
      return value
    }
    guard bytes.count >= 20, bytes[4] == 45, bytes[7] == 45, bytes[10] == 84, bytes[13] == 58, bytes[16] == 58,
      bytes.last == 90, let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
      let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
      // Int64 nanoseconds reach from 1677 to 2262.
      (1970...2261).contains(year), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
      second < 60
    else { return nil }
    var fraction: Int64 = 0
    let digits = bytes[19..<(bytes.count - 1)]
    if let point = digits.first {
      guard point == 46, (2...10).contains(digits.count), let value = number(20..<(bytes.count - 1)) else { return nil }
      fraction = value
      for _ in 0..<(10 - digits.count) { fraction *= 10 }
    }
    let days = Self.dayNumber(year: year, month: month, day: day)
    unixNanoseconds = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + fraction
  }

  package var description: String {
    let milliseconds = Self.floorDivide(unixNanoseconds, 1_000_000)
    let seconds = Self.floorDivide(milliseconds, 1_000)
    let days = Self.floorDivide(seconds, 86_400)
    let ofDay = seconds - days * 86_400
    let date = Self.date(dayNumber: days)
    func pad(_ value: Int64, _ width: Int) -> String {
      let text = String(value)
      return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }
    return pad(date.year, 4) + "-" + pad(date.month, 2) + "-" + pad(date.day, 2) + "T" + pad(ofDay / 3_600, 2) + ":"
      + pad(ofDay / 60 % 60, 2) + ":" + pad(ofDay % 60, 2) + "." + pad(milliseconds - seconds * 1_000, 3) + "Z"
  }

  package init(from decoder: any Decoder) throws {
    let text = try decoder.singleValueContainer().decode(String.self)
    guard let time = APITime(text) else {
      throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "not a time: \(text)"))
    }
    self = time
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }

  package static func < (left: APITime, right: APITime) -> Bool { left.unixNanoseconds < right.unixNanoseconds }

  private static func floorDivide(_ value: Int64, _ by: Int64) -> Int64 {
    value >= 0 ? value / by : -((by - 1 - value) / by)
  }

  /// Days since 1970-01-01 in the proleptic Gregorian calendar; years start in March, so that the leap day comes last.
  private static func dayNumber(year: Int64, month: Int64, day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = floorDivide(shifted, 400)
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func date(dayNumber: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = dayNumber + 719_468
    let era = floorDivide(shifted, 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let year = yearOfEra + era * 400 + (month >= 10 ? 1 : 0)
    return (year, month < 10 ? month + 3 : month - 9, dayOfYear - (153 * month + 2) / 5 + 1)
  }
}

/// What an operator needs to know first.
package enum APIVerdict: String, Codable, Sendable {
  case ok = "OK"
  case degraded = "DEGRADED"
  case noQuorum = "NO QUORUM"
  case critical = "CRITICAL"

  /// Exit status of `afloat status`.
  package var exitStatus: Int32 {
    switch self {
    case .ok: 0
    case .degraded: 1
    case .noQuorum, .critical: 2
    }
  }
}

/// Body of every answer that is not 2xx.
package struct APIError: Error, Codable, Equatable, Sendable {
  /// Operation, subject, cause and remedy in one sentence.
  package var error: String
  /// For a refusal that can be overridden: the options that do it, for instance `--force --yes`.
  package var override: String?
  /// Every error of a configuration, with its place.
  package var lines: [String]?

  package init(error: String, override: String? = nil, lines: [String]? = nil) {
    self.error = error
    self.override = override
    self.lines = lines
  }
}
