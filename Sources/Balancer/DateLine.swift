// The Date field of answers, written once per second.

internal import Kernel

/// `Date: Sat, 21 Nov 2026 01:02:03 GMT` with its CR LF (RFC 9110, section 5.6.7).
struct DateLine {
  static let byteCount = 37
  private let memory: UnsafeMutablePointer<UInt8>
  private var second: Int64 = -1

  init() {
    memory = .allocate(capacity: Self.byteCount)
    memory.initialize(repeating: 32, count: Self.byteCount)
  }

  /// The line for the present second. Valid until the next call.
  mutating func text(unixSecond: Int64) -> Text {
    if unixSecond != second {
      second = unixSecond
      write()
    }
    return Text(start: memory, count: Self.byteCount)
  }

  private func write() {
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

    var position = 0
    func put(_ text: StaticString, from: Int = 0, count: Int? = nil) {
      for index in from..<(from + (count ?? text.utf8CodeUnitCount)) {
        memory[position] = text.utf8Start[index]
        position += 1
      }
    }
    func put(_ number: Int64, digits: Int) {
      for digit in 0..<digits {
        var value = number
        for _ in 0..<(digits - 1 - digit) { value /= 10 }
        memory[position] = UInt8(48 + value % 10)
        position += 1
      }
    }
    put("Date: ")
    put("ThuFriSatSunMonTueWed", from: Int(days % 7) * 3, count: 3)
    put(", ")
    put(day, digits: 2)
    put(" ")
    put("JanFebMarAprMayJunJulAugSepOctNovDec", from: Int(month - 1) * 3, count: 3)
    put(" ")
    put(year, digits: 4)
    put(" ")
    put(inDay / 3_600, digits: 2)
    put(":")
    put(inDay / 60 % 60, digits: 2)
    put(":")
    put(inDay % 60, digits: 2)
    put(" GMT\r\n")
    precondition(position == Self.byteCount)
  }
}
