// "Did you mean": the nearest known word to one that is not known.

enum Spelling {
  /// Words longer than this are not compared.
  static let maximumLength = 64

  /// The candidate with the fewest edits, if it is near enough to be meant: one edit for short words, two or three for
  /// longer ones.
  static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
    let letters = Array(word.lowercased().utf8)
    guard letters.count <= maximumLength else { return nil }
    var best: (word: String, distance: Int)?
    for candidate in candidates where candidate.utf8.count <= maximumLength {
      let distance = distance(letters, Array(candidate.lowercased().utf8))
      let allowed = min(3, max(1, max(letters.count, candidate.utf8.count) / 3))
      if distance <= allowed, distance < best?.distance ?? .max { best = (candidate, distance) }
    }
    return best?.word
  }

  /// Edits (insert, delete, change, swap of neighbours) that turn one word into the other.
  static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var beforePrevious: [Int] = []
    var previous = Array(0...right.count)
    for (row, byte) in left.enumerated() {
      var current = [row + 1]
      for (column, other) in right.enumerated() {
        var cost = min(previous[column + 1] + 1, current[column] + 1, previous[column] + (byte == other ? 0 : 1))
        if row > 0, column > 0, byte == right[column - 1], left[row - 1] == other {
          cost = min(cost, beforePrevious[column - 1] + 1)
        }
        current.append(cost)
      }
      beforePrevious = previous
      previous = current
    }
    return previous[right.count]
  }
}
