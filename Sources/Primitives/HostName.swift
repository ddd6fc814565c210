// Names of hosts that are looked up.

package enum HostName {
  /// At most 253 bytes in labels of letters, digits, `-` and `_` (1 to 63 each, no `-` at their ends), a dot at the end
  /// allowed; not all digits at its end, which would be a mistyped address.
  package static func isValid(_ text: some StringProtocol) -> Bool {
    var bytes = Array(text.utf8)
    if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
    if bytes.isEmpty || bytes.count > 253 { return false }
    let labels = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    let hyphen = UInt8(ascii: "-")
    return labels.allSatisfy { label in
      (1...63).contains(label.count) && label.first != hyphen && label.last != hyphen
        && label.allSatisfy { isLetter($0) || (48...57).contains($0) || $0 == hyphen || $0 == UInt8(ascii: "_") }
    } && (labels.last ?? []).contains(where: isLetter)
  }

  private static func isLetter(_ byte: UInt8) -> Bool { (97...122).contains(byte | 0x20) }
}
