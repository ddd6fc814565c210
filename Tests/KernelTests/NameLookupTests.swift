// Addresses of names, without a name server: what is an address already is its own, and localhost is in every hosts file.

import Kernel
import Primitives
import Testing

@Suite("Look-ups") struct NameLookupTests {
  @Test("both families, byte for byte", arguments: ["192.0.2.7", "2001:db8:1::fe:2", "::1"]) func numbers(
    _ text: String
  ) {
    #expect(NameLookup.addresses(of: text) == .success([IPAddress(text)!]))
  }

  @Test("what no host can have is left out", arguments: ["0.0.0.0", "::", "224.0.0.1", "fe80::1", "::ffff:192.0.2.1"])
  func unusable(_ text: String) {
    #expect(NameLookup.addresses(of: text) == .failure(NameFault(words: "none that a host can have")))
  }

  @Test("localhost, each address once, IPv4 first") func localhost() throws {
    let found = try NameLookup.addresses(of: "localhost").get()
    #expect(found.allSatisfy(\.isLoopback) && Set(found).count == found.count)
    #expect(found == found.filter { $0.family == .v4 } + found.filter { $0.family == .v6 })
  }
}
