// Hashes and random numbers that must never change: they name things on the wire and rank servers on every node.

import Primitives
import Testing

@Suite("Stable hashes and seeded randomness")
struct HashTests {
  @Test("SipHash-2-4 matches the vectors of its paper")
  func sipHash() {
    // Key 00 01 … 0f, message 00 01 … (n-1): appendix A of the paper and the reference implementation's vectors.
    let key: (UInt64, UInt64) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
    func tag(_ count: UInt8) -> UInt64 { SipHash.tag(Array(0..<count), key: key) }
    #expect(tag(0) == 0x726f_db47_dd0e_0e31)
    #expect(tag(1) == 0x74f8_39c5_93dc_67fd)
    #expect(tag(8) == 0x93f5_f579_9a93_2462)
    #expect(tag(15) == 0xa129_ca61_49be_45e5)
  }

  @Test("names hash to the same number in every version")
  func names() {
    #expect(StableHash.hash("") == StableHash.mix(0xcbf2_9ce4_8422_2325))
    // FNV-1a of "a" is af63dc4c8601ec8c.
    #expect(StableHash.hash("a") == StableHash.mix(0xaf63_dc4c_8601_ec8c))
    #expect(StableHash.combine(1, 2) != StableHash.combine(2, 1))
  }

  @Test("one seed gives one run, another seed another")
  func seeds() {
    var first = SeededRandom(seed: 7)
    var second = SeededRandom(seed: 7)
    var third = SeededRandom(seed: 8)
    let run = (0..<100).map { _ in first.next() }
    #expect(run == (0..<100).map { _ in second.next() })
    #expect(run != (0..<100).map { _ in third.next() })
  }

  @Test("numbers below a bound: each of them, about as often as the others")
  func below() {
    var random = SeededRandom(seed: 5)
    var counts = [Int](repeating: 0, count: 7)
    for _ in 0..<7_000 { counts[Int(random.below(7))] += 1 }
    #expect(counts.allSatisfy { (850...1150).contains($0) }, "\(counts)")
    #expect(random.below(1) == 0)
  }
}

@Suite("Names and time")
struct NameTests {
  @Test("valid names", arguments: ["n1", "zone-a.node_7", "A", String(repeating: "x", count: 63)])
  func valid(text: String) { #expect(NodeName(text)?.text == text) }

  @Test("invalid names", arguments: ["", "-a", ".a", "a b", "ü", "a/b", String(repeating: "x", count: 64)])
  func invalid(text: String) { #expect(NodeName(text) == nil) }

  @Test("names are ordered by their bytes")
  func order() { #expect(NodeName("n10")! < NodeName("n2")!) }

  @Test("the distant future stays there")
  func future() {
    #expect(Instant.distantFuture + .seconds(1) == .distantFuture)
    #expect(Instant(nanoseconds: 5) + .nanoseconds(-3) == Instant(nanoseconds: 2))
  }
}
