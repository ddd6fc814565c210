// What `afloat config diff` prints.

import Commands
import Testing

@Suite struct TextDifferenceTests {
  private func lines(_ old: String, _ new: String) -> [String] {
    TextDifference.lines(from: old, to: new, style: Style(isColoured: false))
  }

  @Test func `changed lines stand between three of their neighbours on each side`() {
    let old = (1...20).map { "line \($0)" }.joined(separator: "\n")
    let new = old.replacing("line 10\n", with: "other\nmore\n")
    #expect(
      lines(old, new) == [
        "  line 7", "  line 8", "  line 9", "- line 10", "+ other", "+ more", "  line 11", "  line 12", "  line 13",
      ])
  }

  @Test(arguments: [("", ""), ("a\n", "a\n")])
  func `equal texts have no difference`(old: String, new: String) { #expect(lines(old, new).isEmpty) }

  @Test func `changes that are far apart are parted, and control characters do not reach the terminal`() {
    let old = (1...20).map { "\($0)" }.joined(separator: "\n")
    let new = old.replacing("1\n2\n", with: "\u{1b}[2J\n2\n").replacing("19\n20", with: "19\n21")
    let result = lines(old, new)
    #expect(result.contains("…"))
    #expect(!result.joined().contains("\u{1b}"))
    #expect(result.first == "- 1" && result.last == "+ 21")
  }
}
