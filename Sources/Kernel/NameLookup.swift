// Addresses of a name, as the system's resolver has them. A look-up waits for servers that may not answer: never on a thread
// that has anything else to do.

internal import CLinux
package import Primitives

package enum NameLookup {
  /// Of a name with more, the others are not seen.
  private static let largestCount = 256

  /// Bounds how long a look-up takes; before any thread is started.
  package static func limitTime() { afloat_limit_look_ups() }

  /// Addresses of hosts, in a stable order: IPv4 first, then by their bytes. Never empty: then it fails, in words.
  package static func addresses(of name: String) -> Result<[IPAddress], NameFault> {
    var list = [afloat_name_address](repeating: afloat_name_address(), count: largestCount)
    let count = afloat_look_up(name, &list, Int32(largestCount))
    guard count >= 0 else {
      return .failure(NameFault(words: afloat_look_up_words(count).map { String(cString: $0) } ?? "it failed"))
    }
    var found: [IPAddress] = []
    for entry in list.prefix(Int(count)) {
      let address = withUnsafeBytes(of: entry.address) { bytes in
        func word(_ range: Range<Int>) -> UInt64 { bytes[range].reduce(0) { $0 << 8 | UInt64($1) } }
        return entry.family == 4
          ? IPAddress(v4: UInt32(word(0..<4))) : IPAddress(v6High: word(0..<8), low: word(8..<16))
      }
      let isUsable = address.isHost && !(address.family == .v6 && address.isLinkLocal)
      if isUsable && !found.contains(address) { found.append(address) }
    }
    found.sort { ($0.family == .v4 ? 0 : 1, $0.high, $0.low) < ($1.family == .v4 ? 0 : 1, $1.high, $1.low) }
    return found.isEmpty ? .failure(NameFault(words: "none that a host can have")) : .success(found)
  }
}

/// Why a name has no addresses: "Name or service not known".
package struct NameFault: Error, Equatable, Sendable {
  package let words: String
  package init(words: String) { self.words = words }
}
