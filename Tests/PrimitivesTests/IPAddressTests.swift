// Addresses: what is accepted, how it is written, and what a prefix contains.

import Primitives
import Testing

@Suite("IP addresses")
struct IPAddressTests {
  @Test(
    "are parsed and written in canonical form",
    arguments: [
      ("192.0.2.1", "192.0.2.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
      ("2001:DB8::1", "2001:db8::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("::", "::"), ("::1", "::1"),
      ("1::", "1::"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("::ffff:192.0.2.1", "::ffff:c000:201"),
      ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ])
  func canonical(input: String, output: String) {
    #expect(IPAddress(input)?.description == output)
  }

  @Test(
    "refuse what is not one",
    arguments: [
      "", "1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1.2.3.4 ", "a.b.c.d", "+1.2.3.4", "1..2.3", ":", ":::",
      "1:2",
      "1::2::3", "12345::", "::g", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", "::1%eth0", "::1.2.3", "1.2.3.4::", "::-1",
      "1:2:3:4:5:6:7:8::", "٣.1.1.1",
    ])
  func refused(input: String) {
    #expect(IPAddress(input) == nil)
  }

  @Test("survive a round trip through text for seeded random values")
  func roundTrip() {
    var random = SeededRandom(seed: 1)
    for _ in 0..<20_000 {
      var high = random.next()
      var low = random.next()
      for shift in stride(from: UInt64(0), to: 64, by: 16) {
        if random.chance(1, in: 2) { high &= ~(0xffff << shift) }
        if random.chance(1, in: 2) { low &= ~(0xffff << shift) }
      }
      let six = IPAddress(v6High: high, low: low)
      #expect(IPAddress(six.description) == six)
      let four = IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))
      #expect(IPAddress(four.description) == four)
    }
  }

  @Test("give their bytes in network order")
  func bytes() {
    #expect(IPAddress("192.0.2.1")!.bytes == [192, 0, 2, 1])
    #expect(IPAddress("2001:db8::1")!.bytes == [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
  }

  @Test(
    "belong to a prefix or not",
    arguments: [
      ("192.0.2.0/24", "192.0.2.255", true), ("192.0.2.0/24", "192.0.3.0", false), ("0.0.0.0/0", "203.0.113.9", true),
      ("192.0.2.1/32", "192.0.2.1", true), ("192.0.2.1/32", "192.0.2.2", false), ("192.0.2.0/25", "192.0.2.128", false),
      ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
      ("2001:db8::/65", "2001:db8:0:0:8000::", false), ("2001:db8::/65", "2001:db8:0:0:7fff::", true),
      ("::/0", "192.0.2.1", false), ("::/0", "::1", true),
    ])
  func prefix(prefix: String, address: String, inside: Bool) throws {
    #expect(try #require(AddressPrefix(prefix)).contains(try #require(IPAddress(address))) == inside)
  }

  @Test("endpoints take a port and brackets for IPv6", arguments: ["192.0.2.1:80", "[2001:db8::1]:65535"])
  func endpoint(text: String) {
    #expect(Endpoint(text)?.description == text)
  }

  @Test(
    "endpoints refuse anything else",
    arguments: [
      "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "2001:db8::1:80", "[192.0.2.1]:80", ":80", "a:80",
      "1.1.1.1:+8",
    ])
  func badEndpoint(text: String) {
    #expect(Endpoint(text) == nil)
  }

  @Test(
    "prefixes refuse wrong lengths",
    arguments: ["192.0.2.0", "192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/-1", "1.2.3.4/8/8"])
  func badPrefix(text: String) {
    #expect(AddressPrefix(text) == nil)
  }
}
