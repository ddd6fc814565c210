// The Date field of answers, written once per second.

internal import HTTP1
internal import Kernel

/// `Date: Sat, 21 Nov 2026 01:02:03 GMT` with its CR LF (RFC 9110, section 5.6.7).
struct DateLine {
  static let byteCount = 6 + HTTPDate.byteCount + 2
  private let memory: UnsafeMutablePointer<UInt8>
  private var second: Int64 = -1

  init() {
    memory = .allocate(capacity: Self.byteCount)
    memory.initialize(repeating: 32, count: Self.byteCount)
  }

  /// The line for the present second. Valid until the next call.
  mutating func text() -> Text { text(unixSecond: Clock.unixNanoseconds / 1_000_000_000) }

  /// The same for a second of the caller's.
  mutating func text(unixSecond: Int64) -> Text {
    if unixSecond != second {
      second = unixSecond
      write()
    }
    return Text(start: memory, count: Self.byteCount)
  }

  private func write() {
    let start: StaticString = "Date: "
    memory.update(from: start.utf8Start, count: 6)
    HTTPDate.write(second, to: memory + 6)
    memory[6 + HTTPDate.byteCount] = 13
    memory[7 + HTTPDate.byteCount] = 10
  }
}
