// What `afloat doctor` prints: the verdict, then finding by finding, with what to do below each that is not well.

package import Doctor

extension Views {
  /// The first line is the verdict.
  package func diagnosis(_ diagnosis: Diagnosis) -> String {
    func count(_ level: Finding.Level) -> Int { diagnosis.findings.count { $0.level == level } }
    let (failures, warnings) = (count(.failure), count(.warning))
    let parts = [
      failures > 0 ? Words.count(failures, "thing") + " would not work" : nil,
      warnings > 0 ? Words.count(warnings, "warning") : nil,
    ].compactMap { $0 }
    let tone: Style.Tone =
      switch diagnosis.verdict {
      case .ok: .good
      case .warning: .warning
      case .failure: .bad
      }
    let place = diagnosis.node.map { " on \(Words.printable($0))" } ?? ""
    var text = style.paint(diagnosis.verdict.rawValue, tone)
    text +=
      (parts.isEmpty
        ? ": nothing found that keeps Afloat from working\(place)" : ": " + parts.joined(separator: ", ") + place)
    text += "\n\n"
    let width = Finding.Area.allCases.map(\.rawValue.count).max() ?? 0
    var last: Finding.Area?
    for finding in diagnosis.findings {
      let area = finding.area == last ? "" : finding.area.rawValue
      last = finding.area
      let level = word(finding.level)
      text += style.paint(area, .strong) + String(repeating: " ", count: width - area.count + 2)
      text += style.paint(level.word, level.tone) + String(repeating: " ", count: 9 - level.word.count)
      text += Words.printable(finding.message) + "\n"
      if let remedy = finding.remedy {
        text +=
          String(repeating: " ", count: width + 2 + 9) + style.paint("do:", .quiet) + " " + Words.printable(remedy)
          + "\n"
      }
    }
    return text
  }

  private func word(_ level: Finding.Level) -> (word: String, tone: Style.Tone) {
    switch level {
    case .ok: ("ok", .good)
    case .note: ("note", .quiet)
    case .warning: ("warning", .warning)
    case .failure: ("FAILURE", .bad)
    }
  }
}
