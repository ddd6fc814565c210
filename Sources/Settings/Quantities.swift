// Durations, sizes and shares as operators write them: `10ms`, `2s`, `5m`, `1h`; `512B`, `16KiB`; `20%`.

package import Primitives

package enum Quantities {
  /// A whole number and one of ms, s, m, h. Nil for anything else, or beyond 10,000 hours.
  package static func duration(_ text: String) -> TimeSpan? {
    guard let (count, unit) = split(text) else { return nil }
    let factor: Int64
    switch unit {
    case "ms": factor = 1_000_000
    case "s": factor = 1_000_000_000
    case "m": factor = 60_000_000_000
    case "h": factor = 3_600_000_000_000
    default: return nil
    }
    let (product, overflow) = count.multipliedReportingOverflow(by: factor)
    guard !overflow, product <= 36_000_000_000_000_000 else { return nil }
    return .nanoseconds(product)
  }

  /// A whole number and one of B, KiB, MiB, GiB. Nil for anything else, or beyond 1,024 GiB.
  package static func size(_ text: String) -> Int64? {
    guard let (count, unit) = split(text) else { return nil }
    let shift: Int64
    switch unit {
    case "B": shift = 0
    case "KiB": shift = 10
    case "MiB": shift = 20
    case "GiB": shift = 30
    default: return nil
    }
    let (product, overflow) = count.multipliedReportingOverflow(by: 1 << shift)
    guard !overflow, product <= 1 << 40 else { return nil }
    return product
  }

  /// 0 to 100 from `20%`.
  package static func percent(_ text: String) -> Int? {
    guard let (count, unit) = split(text), unit == "%", count <= 100 else { return nil }
    return Int(count)
  }

  /// In the largest unit that gives a whole number.
  package static func text(_ span: TimeSpan) -> String {
    let milliseconds = span.milliseconds
    if milliseconds == 0 { return "0s" }
    for (unit, factor) in [("h", Int64(3_600_000)), ("m", 60_000), ("s", 1_000)] where milliseconds % factor == 0 {
      return "\(milliseconds / factor)\(unit)"
    }
    return "\(milliseconds)ms"
  }

  package static func text(byteCount: Int64) -> String {
    for (unit, shift) in [("GiB", Int64(30)), ("MiB", 20), ("KiB", 10)]
    where byteCount > 0 && byteCount % (1 << shift) == 0 {
      return "\(byteCount >> shift)\(unit)"
    }
    return "\(byteCount)B"
  }

  private static func split(_ text: String) -> (count: Int64, unit: String)? {
    let digits = text.utf8.prefix { (48...57).contains($0) }
    guard (1...15).contains(digits.count), let count = Int64(String(decoding: digits, as: UTF8.self)) else {
      return nil
    }
    return (count, String(decoding: text.utf8.dropFirst(digits.count), as: UTF8.self))
  }
}
