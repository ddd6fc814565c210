// Two texts line by line, as diff -u shows them.

package enum TextDifference {
  /// Lines round a change.
  private static let context = 3

  private enum Line {
    case both(Substring), removed(Substring), added(Substring)

    var isChange: Bool { if case .both = self { false } else { true } }
  }

  /// Empty if they are the same.
  package static func lines(from old: String, to new: String, style: Style) -> [String] {
    let before = old.split(separator: "\n", omittingEmptySubsequences: false)
    let after = new.split(separator: "\n", omittingEmptySubsequences: false)
    let all = merged(before, after)
    var isShown = all.map(\.isChange)
    for (place, line) in all.enumerated() where line.isChange {
      for near in max(0, place - context)...min(all.count - 1, place + context) { isShown[near] = true }
    }
    var result: [String] = []
    for (place, line) in all.enumerated() where isShown[place] {
      if place > 0, !isShown[place - 1], !result.isEmpty { result.append(style.paint("…", .quiet)) }
      switch line {
      case .both(let text): result.append("  " + Words.printable(String(text)))
      case .removed(let text): result.append(style.paint("- " + Words.printable(String(text)), .bad))
      case .added(let text): result.append(style.paint("+ " + Words.printable(String(text)), .good))
      }
    }
    return result
  }

  private static func merged(_ before: [Substring], _ after: [Substring]) -> [Line] {
    let difference = after.difference(from: before)
    var removed: Set<Int> = []
    var inserted: Set<Int> = []
    for change in difference {
      switch change {
      case .remove(let offset, _, _): removed.insert(offset)
      case .insert(let offset, _, _): inserted.insert(offset)
      }
    }
    var lines: [Line] = []
    var (left, right) = (0, 0)
    while left < before.count || right < after.count {
      if removed.contains(left) {
        lines.append(.removed(before[left]))
        left += 1
      } else if inserted.contains(right) {
        lines.append(.added(after[right]))
        right += 1
      } else {
        lines.append(.both(before[left]))
        left += 1
        right += 1
      }
    }
    return lines
  }
}
