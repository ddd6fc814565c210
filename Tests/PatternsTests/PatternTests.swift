// Patterns: what they find, what they say of mistakes, and that no text makes a match run away.

import Patterns
import Testing

@Suite("Patterns") struct PatternTests {
  private func search(_ pattern: String, _ text: [UInt8]) throws -> PatternResult {
    let compiled = try Pattern(pattern)
    let matcher = PatternMatcher()
    defer {
      compiled.deallocate()
      matcher.deallocate()
    }
    return text.withUnsafeBufferPointer { matcher.search(compiled, in: $0) }
  }

  @Test(
    "a pattern is found anywhere in the text, in bytes",
    arguments: [
      ("b", "abc", PatternResult.found), ("^b", "abc", .absent), ("^/v[0-9]+/", "/v12/x", .found),
      ("\\.(png|jpe?g)$", "/a/b.jpeg", .found), ("\\.png$", "/a.png\n", .absent), ("", "", .found), ("x", "", .absent),
      ("(?i)^/ADMIN", "/admin", .found), ("ä", "/ä", .found), ("^..$", "ä", .found),
    ])
  func finds(_ pattern: String, _ text: String, _ expected: PatternResult) throws {
    #expect(try search(pattern, Array(text.utf8)) == expected)
  }

  @Test("bytes that are no UTF-8 and zeros are text like any other") func anyBytes() throws {
    #expect(try search("\\xff\\x00$", [1, 0xff, 0]) == .found)
    #expect(try search("^[^/]+$", [0xc0, 0x80, 0]) == .found)
  }

  @Test(
    "a mistake is told with its place",
    arguments: [("^/(a|b", 6, "missing closing parenthesis"), ("[z-a]", 3, "range out of order in character class")])
  func mistakes(_ pattern: String, _ offset: Int, _ words: String) {
    #expect(throws: PatternFault(offset: offset, message: words)) { try Pattern(pattern) }
  }

  @Test("patterns that are too long or ask for UTF are refused") func refused() {
    #expect(throws: PatternFault.self) { try Pattern(String(repeating: "a", count: 1025)) }
    #expect(throws: PatternFault.self) { try Pattern("(*UTF)a") }
  }

  @Test("a match that would take for ever is given up") func boundedTime() throws {
    let text = [UInt8](repeating: 97, count: 4000) + [98]
    #expect(try search("^(a+)+$", text) == .tooHard)
  }
}
