// Dates of HTTP: `Sat, 21 Nov 2026 01:02:03 GMT` (RFC 9110, section 5.6.7). The two obsolete forms, `Saturday, 21-Nov-26
// 01:02:03 GMT` and `Sat Nov 21 01:02:03 2026`, are read too: they are brought into that form first.

package enum HTTPDate {
  package static let byteCount = 29

  private static var dayNames: StaticString { "ThuFriSatSunMonTueWed" }
  private static var monthNames: StaticString { "JanFebMarAprMayJunJulAugSepOctNovDec" }

  /// Writes `byteCount` bytes. Years 1970 to 9999.
  package static func write(_ unixSecond: Int64, to destination: UnsafeMutablePointer<UInt8>) {
    let second = min(max(unixSecond, 0), 253_402_300_799)
    let days = second / 86_400
    let inDay = second % 86_400
    // Civil date from days since 1970 (Hinnant's algorithm): eras of 400 years that begin in March.
    let shifted = days + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)

    var output = Output(destination)
    func two(_ value: Int64) {
      output.append(UInt8(48 + value / 10 % 10))
      output.append(UInt8(48 + value % 10))
    }
    let dayName = Int(days % 7) * 3
    output.append(dayNames.utf8Start, dayName, dayName + 3)
    output.append(", ")
    two(day)
    output.append(" ")
    let monthName = Int(month - 1) * 3
    output.append(monthNames.utf8Start, monthName, monthName + 3)
    output.append(" ")
    two(year / 100)
    two(year)
    output.append(" ")
    two(inDay / 3600)
    output.append(":")
    two(inDay / 60 % 60)
    output.append(":")
    two(inDay % 60)
    output.append(" GMT")
  }

  /// Nil for what is not exactly a date of one of the three forms. `now`, in seconds, tells the century of two digits.
  package static func parse(_ text: UnsafeBufferPointer<UInt8>, now: Int64) -> Int64? {
    if text.count == byteCount && text[3] == 44 { return parse(text) }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: byteCount) { usual in
      var output = Output(usual.baseAddress!)
      func append(_ from: Int, _ count: Int) { output.append(text.baseAddress!, from, from + count) }
      if text.count == 24 && text[3] == 32 && text[7] == 32 && text[10] == 32 && text[19] == 32 {
        append(0, 3)
        output.append(", ")
        output.append(text[8] == 32 ? 48 : text[8])
        append(9, 2)
        append(4, 4)
        append(20, 4)
        append(10, 9)
        output.append(" GMT")
        return parse(UnsafeBufferPointer(usual))
      }
      // Behind the name of the day, which has six to nine letters.
      let comma = text.count - 24
      guard (6...9).contains(comma), isDayName(text, comma), text[comma + 4] == 45, text[comma + 8] == 45 else {
        return nil
      }
      append(0, 3)
      append(comma, 4)
      output.append(32)
      append(comma + 5, 3)
      output.append(32)
      guard let year = year(number(text, comma + 9, 2), now) else { return nil }
      output.append(decimal: UInt64(year))
      append(comma + 11, 13)
      return parse(UnsafeBufferPointer(usual))
    }
  }

  /// Of the present century, or the one before where that would lie more than 50 years ahead.
  private static func year(_ twoDigits: Int64?, _ now: Int64) -> Int64? {
    guard let twoDigits else { return nil }
    let present = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: byteCount) { memory in
      write(now, to: memory.baseAddress!)
      return number(UnsafeBufferPointer(memory), 12, 4)!
    }
    let year = present / 100 * 100 + twoDigits
    return year > present + 50 ? year - 100 : year
  }

  private static func isDayName(_ text: UnsafeBufferPointer<UInt8>, _ count: Int) -> Bool {
    let names: [7 of StaticString] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    for index in names.indices where names[index].utf8CodeUnitCount == count {
      if (0..<count).allSatisfy({ text[$0] == names[index].utf8Start[$0] }) { return true }
    }
    return false
  }

  private static func parse(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
    guard text.count == byteCount, let month = month(text), let day = number(text, 5, 2), (1...31).contains(day),
      let year = number(text, 12, 4), year >= 1970, let hour = number(text, 17, 2), hour < 24,
      let minute = number(text, 20, 2), minute < 60, let second = number(text, 23, 2), second < 61
    else { return nil }
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = shiftedYear / 400
    let yearOfEra = shiftedYear % 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    let result = days * 86_400 + hour * 3600 + minute * 60 + min(second, 59)
    // Whatever else is not as we would write it (names, separators, the 31st of June) shows here.
    let again = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: byteCount) { copy in
      write(result, to: copy.baseAddress!)
      return second == 60 || (0..<byteCount).allSatisfy { copy[$0] == text[$0] }
    }
    return again ? result : nil
  }

  private static func month(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
    for month in 0..<12 {
      if (0..<3).allSatisfy({ text[8 + $0] == monthNames.utf8Start[month * 3 + $0] }) { return Int64(month + 1) }
    }
    return nil
  }

  private static func number(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ count: Int) -> Int64? {
    var value: Int64 = 0
    for index in start..<start + count {
      guard isDigit(text[index]) else { return nil }
      value = value * 10 + Int64(text[index] - 48)
    }
    return value
  }
}
