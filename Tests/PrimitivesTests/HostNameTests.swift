// Which texts are names of hosts.

import Primitives
import Testing

@Suite("Host names") struct HostNameTests {
  @Test(
    "names",
    arguments: ["a", "localhost", "app.example", "app.example.", "A-1.b_2.c3", "1.2.3.4x", "xn--bcher-kva.example"]
  ) func valid(_ text: String) { #expect(HostName.isValid(text)) }

  @Test(
    "what is none",
    arguments: [
      "", ".", "a..b", ".a", "-a", "a-.b", "192.0.2.1", "a.1", "a b", "a/b", "[::1]", "ä.example",
      String(repeating: "a", count: 64), Array(repeating: "abcdefg", count: 32).joined(separator: "."),
    ]) func invalid(_ text: String)
  { #expect(!HostName.isValid(text)) }
}
