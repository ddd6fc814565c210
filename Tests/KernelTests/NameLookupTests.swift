// Addresses of names, without a name server: what is an address already is its own, and localhost is in every hosts file.

import Kernel
import Primitives
import Testing

@Suite("Look-ups") struct NameLookupTests {
  @Test("both families, byte for byte", arguments: ["192.0.2.7", "2001:db8:1::fe:2"]) func numbers(_ text: String) {
    #expect(NameLookup.addresses(of: text) == .success(NameAnswer(addresses: [IPAddress(text)!])))
  }

  @Test(
    "what no server can have, or only this node for itself, is refused in words",
    arguments: [
      ("0.0.0.0", "no address"), ("::", "no address"), ("224.0.0.1", "a multicast address"),
      ("ff02::1", "a multicast address"), ("255.255.255.255", "a broadcast address"),
      ("fe80::1", "a link-local address"), ("169.254.1.1", "a link-local address"), ("127.0.0.1", "a loopback address"),
      ("127.9.9.9", "a loopback address"), ("::1", "a loopback address"),
      ("::ffff:192.0.2.1", "an IPv4 address written as IPv6"),
    ])
  func unusable(_ text: String, _ kind: String) throws {
    let address = try #require(IPAddress(text))
    let words = "\(address) is refused: it is \(kind)"
    #expect(NameLookup.judge("app.example", [address]) == .failure(NameFault(words: words)))
    #expect(NameLookup.judge("not-localhost", [address]) == .failure(NameFault(words: words)))
    let other = IPAddress("192.0.2.1")!
    #expect(
      NameLookup.judge("app.example", [address, other, other])
        == .success(NameAnswer(addresses: [other], refused: words)))
    let isOwn = address.isLoopback
    #expect(
      NameLookup.judge("localhost", [address])
        == (isOwn ? .success(NameAnswer(addresses: [address])) : .failure(NameFault(words: words))))
  }

  @Test("an answer of nothing is a failure") func nothing() {
    #expect(NameLookup.judge("app.example", []) == .failure(NameFault(words: "there is none")))
  }

  @Test("localhost, each address once, IPv4 first") func localhost() throws {
    let found = try NameLookup.addresses(of: "localhost").get().addresses
    #expect(found.allSatisfy(\.isLoopback) && Set(found).count == found.count)
    #expect(found == found.filter { $0.family == .v4 } + found.filter { $0.family == .v6 })
  }
}
