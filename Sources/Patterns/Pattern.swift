// Regular expressions over raw bytes, by PCRE2: compiled once, when a configuration is read, and matched without a String.
// Patterns are an operator's, texts are strangers': the time and memory of a match are bounded, and a match that hits a
// bound is neither found nor absent, so that a rule which refuses cannot be evaded by a text that is too hard.

internal import CPCRE2

/// Why a pattern cannot be compiled.
package struct PatternFault: Error, Equatable, Sendable {
  /// In bytes from the start of the pattern.
  package let offset: Int
  /// PCRE2's words: "missing closing parenthesis".
  package let message: String

  package init(offset: Int, message: String) {
    self.offset = offset
    self.message = message
  }
}

/// A compiled pattern. A plain pointer: whoever compiled it calls `deallocate`, when no thread matches with it any more.
package struct Pattern: @unchecked Sendable {
  // Unchecked: PCRE2 only reads a compiled pattern.
  fileprivate let code: OpaquePointer

  /// Longer patterns are refused, in bytes.
  package static let maximumByteCount = 1024

  /// Perl's syntax. Bytes, not characters: "." is one byte. "$" is the very end. Groups without names do not capture.
  package init(_ text: String) throws(PatternFault) {
    let bytes = Array(text.utf8)
    guard bytes.count <= Self.maximumByteCount else {
      throw PatternFault(offset: Self.maximumByteCount, message: "it is longer than \(Self.maximumByteCount) bytes")
    }
    var code: Int32 = 0
    var offset = 0
    // The text is any bytes, so the pattern must not ask for UTF.
    let options = PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP
    let compiled = pcre2_compile_8(bytes, bytes.count, options, &code, &offset, nil)
    guard let compiled else {
      var words = [UInt8](repeating: 0, count: 256)
      let count = pcre2_get_error_message_8(code, &words, words.count)
      throw PatternFault(
        offset: min(offset, bytes.count),
        message: String(decoding: words.prefix(max(0, Int(count))), as: UTF8.self))
    }
    // Where the system forbids it, matches are interpreted: slower, within the same bounds.
    _ = pcre2_jit_compile_8(compiled, PCRE2_JIT_COMPLETE)
    self.code = compiled
  }

  package func deallocate() { pcre2_code_free_8(code) }
}

package enum PatternResult: Sendable {
  case found
  case absent
  /// A bound was hit.
  case tooHard
}

/// The memory of matches: one per thread.
package struct PatternMatcher {
  /// Steps of one match. In a hundred microseconds' order.
  private static let stepLimit: UInt32 = 50_000
  private static let memoryLimitKibibytes: UInt32 = 256
  private static let stackByteCount = 256 * 1024

  private let data: OpaquePointer
  private let context: OpaquePointer
  private let stack: OpaquePointer?

  package init() {
    // Nil only without memory for a few hundred bytes.
    data = pcre2_match_data_create_8(1, nil)!
    context = pcre2_match_context_create_8(nil)!
    pcre2_set_match_limit_8(context, Self.stepLimit)
    pcre2_set_depth_limit_8(context, Self.stepLimit)
    pcre2_set_heap_limit_8(context, Self.memoryLimitKibibytes)
    stack = pcre2_jit_stack_create_8(32 * 1024, Self.stackByteCount, nil)
    if let stack { pcre2_jit_stack_assign_8(context, nil, UnsafeMutableRawPointer(stack)) }
  }

  package func deallocate() {
    pcre2_match_data_free_8(data)
    pcre2_match_context_free_8(context)
    if let stack { pcre2_jit_stack_free_8(stack) }
  }

  /// Whether `pattern` matches anywhere in `text`.
  package func search(_ pattern: Pattern, in text: UnsafeBufferPointer<UInt8>) -> PatternResult {
    let empty: StaticString = ""
    let start = text.baseAddress ?? empty.utf8Start
    let result = pcre2_match_8(pattern.code, start, text.count, 0, 0, data, context)
    // 0: found, with more groups than there is room for.
    if result >= 0 { return .found }
    return result == PCRE2_ERROR_NOMATCH ? .absent : .tooHard
  }
}
