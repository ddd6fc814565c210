// Large clusters: what a heartbeat tells, in how many datagrams, and how soon everything is known.

import ClusterNode
import Election
import Membership
import Primitives
import Testing
import Wire

@Suite("What a heartbeat tells")
struct TellingTests {
  @Test("64 members and 256 VIPs: no datagram is longer than its limit, everybody is reported in every heartbeat")
  func large() {
    var bench = Bench(count: 64, vips: 256, prefer: false, deadAfter: 1)
    bench.run(.milliseconds(75))
    #expect(bench.largest <= DatagramLayout.maximumByteCount)
    var status = StatusSnapshot()
    bench.nodes[17]!.node.snapshot(into: &status, now: bench.now)
    #expect(status.members.allSatisfy { $0.isSelf || $0.state == .alive && $0.hearsUs })
    #expect((0..<256).allSatisfy { bench.holders($0).count == 1 })
    bench.clear()
    bench.run(.milliseconds(11))
    let sends = bench.made.count { $0.effect == .send }
    #expect(sends <= 64 * 2 * 5, "at most five datagrams in a heartbeat of a calm cluster, not \(sends) in two")
  }

  @Test("a calm cluster's datagrams stay small, and every VIP is told within 16 heartbeats")
  func calm() {
    var bench = Bench(count: 3, vips: 200, prefer: false)
    bench.run(.seconds(1))
    var told: Set<[UInt8]> = []
    for _ in 0..<16 {
      bench.clear()
      bench.run(.milliseconds(10))
      #expect(bench.made.count { $0.node == 0 && $0.effect == .send } == 1)
      #expect(bench.sent[0].count < 500)
      told.formUnion(vipEntries(bench.sent[0]))
    }
    #expect(told.count == 200)
  }

  @Test(
    "200 VIPs that change hands at once are told at once, in whatever order the datagrams come: nobody else takes one",
    arguments: [Bench.Order.kept, .reversed, .firstLast])
  func takeover(order: Bench.Order) {
    // All prefer n1, then n2: the third must hear of 200 claims before its turn, an interval later.
    var bench = Bench(count: 3, vips: 200, prefer: true)
    bench.order = order
    bench.run(.seconds(1))
    #expect((0..<200).allSatisfy { bench.holders($0) == [0] })
    bench.clear()
    bench.nodes[0] = nil
    bench.run(.milliseconds(100))
    #expect((0..<200).allSatisfy { bench.holders($0) == [1] })
    #expect(bench.acquisitions().count == 200, "each was taken once")
  }

  @Test(
    "64 VIPs that are drained go to whom the holder names, in whatever order the datagrams come",
    arguments: [Bench.Order.kept, .reversed, .firstLast])
  func drain(order: Bench.Order) {
    var bench = Bench(count: 3, vips: 64, gated: true, keepsConnections: true)
    bench.run(.seconds(1))
    #expect((0..<64).allSatisfy { bench.holders($0) == [0] })
    bench.order = order
    bench.clear()
    bench.command(0, .draining(true))
    bench.run(.milliseconds(200))
    #expect(bench.made.count { if case .acquire(_, .drained) = $0.effect { true } else { false } } == 64)
    #expect(bench.made.count { if case .passUnknown = $0.effect { true } else { false } } == 64)
  }

  @Test("a node that comes knows every holder before it may take anything")
  func newcomer() {
    var bench = Bench(count: 2, vips: 256, prefer: true)
    bench.nodes[0] = nil
    bench.run(.seconds(6))
    #expect((0..<256).allSatisfy { bench.holders($0) == [1] })
    bench.clear()
    bench.start(0)
    bench.run(.seconds(1))
    #expect(bench.acquisitions().isEmpty)
    #expect((0..<256).allSatisfy { bench.holders($0) == [1] })
  }

  private func vipEntries(_ datagram: [UInt8]) -> [[UInt8]] {
    var offset = 88
    while offset < datagram.count - 16 {
      let length = Int(datagram[offset + 2]) << 8 | Int(datagram[offset + 3])
      if datagram[offset + 1] == 2 {
        return stride(from: offset + 4, to: offset + 4 + length, by: 16).map { Array(datagram[$0..<($0 + 8)]) }
      }
      offset += 4 + length
    }
    return []
  }
}
