// Addresses of a name, as the system's resolver has them. A look-up waits for servers that may not answer: never on a thread
// that has anything else to do.

internal import CLinux
package import Primitives

package enum NameLookup {
  /// Of a name with more, the others are not seen.
  private static let largestCount = 256

  /// Bounds how long a look-up takes; before any thread is started.
  package static func limitTime() { afloat_limit_look_ups() }

  /// Addresses of hosts, in a stable order: IPv4 first, then by their bytes. Never none: then it fails, in words.
  package static func addresses(of name: String) -> Result<NameAnswer, NameFault> {
    var list = [afloat_name_address](repeating: afloat_name_address(), count: largestCount)
    let count = afloat_look_up(name, &list, Int32(largestCount))
    guard count >= 0 else {
      return .failure(NameFault(words: afloat_look_up_words(count).map { String(cString: $0) } ?? "it failed"))
    }
    return judge(
      name,
      list.prefix(Int(count)).map { entry in
        withUnsafeBytes(of: entry.address) { bytes in
          func word(_ range: Range<Int>) -> UInt64 { bytes[range].reduce(0) { $0 << 8 | UInt64($1) } }
          return entry.family == 4
            ? IPAddress(v4: UInt32(word(0..<4))) : IPAddress(v6High: word(0..<8), low: word(8..<16))
        }
      })
  }

  /// Sorts out what an answer holds. Who answers for a name must not lead requests to what listens on this node for itself
  /// alone, nor to what is no host; only `localhost` is the node.
  package static func judge(_ name: String, _ answer: [IPAddress]) -> Result<NameAnswer, NameFault> {
    let mayBeLoopback = name == "localhost" || name == "localhost."
    var found = NameAnswer(addresses: [])
    for address in answer {
      if let kind = address.kindOfNoServer, !(mayBeLoopback && address.isLoopback) {
        if found.refused == nil { found.refused = "\(address) is refused: it is \(kind)" }
      } else if !found.addresses.contains(address) {
        found.addresses.append(address)
      }
    }
    found.addresses.sort { ($0.family == .v4 ? 0 : 1, $0.high, $0.low) < ($1.family == .v4 ? 0 : 1, $1.high, $1.low) }
    return found.addresses.isEmpty ? .failure(NameFault(words: found.refused ?? "there is none")) : .success(found)
  }
}

extension IPAddress {
  /// What it is, where no name but `localhost` may lead to it.
  fileprivate var kindOfNoServer: String? {
    if isLoopback { return "a loopback address" }
    if isLinkLocal { return "a link-local address" }
    if isUnspecified { return "no address" }
    if isMulticast { return "a multicast address" }
    if isMapped { return "an IPv4 address written as IPv6" }
    return isHost ? nil : "a broadcast address"
  }
}

package struct NameAnswer: Equatable, Sendable {
  package var addresses: [IPAddress]
  /// Of those that were left out the first, with the reason: "127.0.0.1 is refused: it is a loopback address".
  package var refused: String?

  package init(addresses: [IPAddress], refused: String? = nil) {
    self.addresses = addresses
    self.refused = refused
  }
}

/// Why a name has no addresses: "Name or service not known".
package struct NameFault: Error, Equatable, Sendable {
  package let words: String
  package init(words: String) { self.words = words }
}
