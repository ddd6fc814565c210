// What commands print with --json where it does not come from the agent as it is.

internal import FoundationEssentials

enum JSONLine {
  /// One line, with its end; keys in order.
  static func text(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
  }
}
