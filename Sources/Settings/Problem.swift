// Errors of a configuration: where, what, and what would be right. A reader collects all of them, since an operator
// wants to fix a file once.

/// A place in a file, both counted from 1; columns count Unicode scalars, as editors do.
package struct Position: Equatable, Comparable, Sendable {
  package var line: Int
  package var column: Int

  package init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }

  package static func < (left: Position, right: Position) -> Bool {
    (left.line, left.column) < (right.line, right.column)
  }
}

/// One error at its place.
package struct Problem: Equatable, Sendable {
  package var position: Position
  package var message: String
  /// What would be right; printed in brackets.
  package var remedy: String?

  package init(_ position: Position, _ message: String, _ remedy: String? = nil) {
    self.position = position
    self.message = message
    self.remedy = remedy
  }
}

/// Why a configuration is refused: every problem that was found, in the order of the file.
package struct SettingsError: Error, Equatable, Sendable, CustomStringConvertible {
  /// More problems than these are counted, not kept.
  package static let maximumCount = 100

  /// As it was given, for messages.
  package var file: String
  package var problems: [Problem]
  /// Found beyond `maximumCount`.
  package var omitted: Int

  package init(file: String, problems: [Problem]) {
    self.file = file
    let sorted = problems.enumerated().sorted { ($0.element.position, $0.offset) < ($1.element.position, $1.offset) }
    self.problems = sorted.prefix(Self.maximumCount).map(\.element)
    omitted = max(0, problems.count - Self.maximumCount)
  }

  /// One line per problem: `FILE:LINE:COLUMN: message (what would be right)`.
  package var lines: [String] {
    let lines = problems.map { problem in
      "\(file):\(problem.position.line):\(problem.position.column): \(problem.message)"
        + (problem.remedy.map { " (\($0))" } ?? "")
    }
    return omitted == 0 ? lines : lines + ["\(file): and \(omitted) more errors"]
  }

  package var description: String { lines.joined(separator: "\n") }
}
