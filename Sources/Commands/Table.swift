// Text for people: aligned columns, colour only where it is wanted, times and numbers in words.

package import Control

/// What the words are for.
package struct Style: Sendable {
  package enum Tone: Sendable { case good, warning, bad, quiet, strong }
  package var isColoured: Bool

  package init(isColoured: Bool) { self.isColoured = isColoured }

  func paint(_ text: String, _ tone: Tone?) -> String {
    guard isColoured, let tone, !text.isEmpty else { return text }
    let code =
      switch tone {
      case .good: "32"
      case .warning: "33"
      case .bad: "31"
      case .quiet: "2"
      case .strong: "1"
      }
    return "\u{1b}[\(code)m\(text)\u{1b}[0m"
  }
}

struct Cell: ExpressibleByStringInterpolation {
  var text: String
  var tone: Style.Tone?

  init(_ text: String, _ tone: Style.Tone? = nil) {
    // Names and causes come from other nodes: no control character reaches the terminal.
    self.text = Words.printable(text)
    self.tone = tone
  }
  init(stringLiteral value: String) { self.init(value) }
}

/// Columns as wide as their widest cell, two spaces apart; the last one is not padded.
struct Table {
  enum Alignment { case left, right }
  var columns: [(title: String, alignment: Alignment)]
  var rows: [[Cell]] = []

  init(_ columns: [(title: String, alignment: Alignment)]) { self.columns = columns }

  mutating func add(_ cells: Cell...) {
    precondition(cells.count == columns.count, "one cell per column")
    rows.append(cells)
  }

  func text(_ style: Style) -> String {
    let titles = columns.map { Cell($0.title, .quiet) }
    let widths = columns.indices.map { index in ([titles] + rows).map { $0[index].text.count }.max() ?? 0 }
    return ([titles] + rows).map { row -> String in
      var line = ""
      for (index, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[index] - cell.text.count)
        let painted = style.paint(cell.text, cell.tone)
        if columns[index].alignment == .right { line += padding + painted } else { line += painted }
        if index < row.count - 1 { line += (columns[index].alignment == .left ? padding : "") + "  " }
      }
      while line.last == " " { line.removeLast() }
      return line + "\n"
    }.joined()
  }
}

package enum Words {
  /// `12 s`, `3 m`, `5 h`, `4 d`; `0 s` for anything shorter than a second.
  package static func span(seconds: Int64) -> String {
    switch seconds {
    case ..<60: "\(max(0, seconds)) s"
    case ..<3_600: "\(seconds / 60) m"
    case ..<172_800: "\(seconds / 3_600) h"
    default: "\(seconds / 86_400) d"
    }
  }

  /// `just now`, `12 s ago`; a moment in the future is `just now` (clocks differ).
  package static func ago(_ time: APITime?, now: APITime) -> String {
    guard let time else { return "-" }
    let seconds = (now.unixNanoseconds - time.unixNanoseconds) / 1_000_000_000
    return seconds < 1 ? "just now" : "\(span(seconds: seconds)) ago"
  }

  /// `in 9 m`, or `now`.
  static func until(_ time: APITime, now: APITime) -> String {
    let seconds = (time.unixNanoseconds - now.unixNanoseconds) / 1_000_000_000
    return seconds < 1 ? "now" : "in \(span(seconds: seconds))"
  }

  /// Two to three digits: `0.21 ms`, `3.4 ms`, `120 ms`, `2.5 s`.
  package static func milliseconds(_ value: Double?) -> String {
    guard let value, value.isFinite else { return "-" }
    if value >= 1_000 { return decimal(value / 1_000, 1) + " s" }
    return decimal(value, value < 1 ? 2 : value < 100 ? 1 : 0) + " ms"
  }

  static func percent(_ share: Double?) -> String {
    guard let share, share.isFinite else { return "-" }
    let percent = share * 100
    return percent == 0 ? "0%" : percent < 0.1 ? "<0.1%" : decimal(percent, percent < 10 ? 1 : 0) + "%"
  }

  static func decimal(_ value: Double, _ places: Int) -> String {
    let factor = places == 0 ? 1.0 : places == 1 ? 10.0 : 100.0
    // Beyond 2^53 nothing is left behind the point anyway.
    guard abs(value) < 1e12 else { return "\(value)" }
    let scaled = Int64((value * factor).rounded())
    if places == 0 { return "\(scaled)" }
    let fraction = String(abs(scaled) % Int64(factor))
    let sign = scaled < 0 ? "-" : ""
    return "\(sign)\(abs(scaled) / Int64(factor))." + String(repeating: "0", count: places - fraction.count) + fraction
  }

  /// `1 server`, `2 servers`.
  static func count(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

  /// Control characters replaced, so that a name or a cause cannot steer the terminal.
  static func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: text.unicodeScalars.map { isControl($0) ? "\u{fffd}" : $0 })
    return String(view)
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 32 || (127...159).contains(scalar.value) || (0x2028...0x202e).contains(scalar.value)
  }
}
