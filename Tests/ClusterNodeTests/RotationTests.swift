// An exchange of the cluster's key, one node after another, and datagrams of another version.

import ClusterNode
import Election
import Membership
import Primitives
import Testing
import Wire

@Suite("An exchange of keys")
struct RotationTests {
  @Test(
    "from the old key by both to the new one alone, node by node, costs no heartbeat",
    arguments: [[8, 7], [7, 8]] as [[UInt32]])
  func rolling(both: [UInt32]) {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(500))
    let holders = bench.holders()
    bench.clear()
    for keys in [both, [8]] {
      for node in 0..<3 {
        bench.exchangeKeys(node, keys)
        bench.run(.milliseconds(200))
        #expect(bench.deaths == 0 && bench.acquisitions().isEmpty)
      }
    }
    #expect(bench.holders() == holders)
    #expect(bench.copies > 0)
    bench.copies = 0
    bench.run(.seconds(1))
    #expect(bench.copies == 0)
    let losses = bench.nodes.map { node in
      var status = StatusSnapshot()
      node!.node.snapshot(into: &status, now: bench.now)
      return status.members.compactMap(\.lossIn).max() ?? 0
    }
    #expect(losses == [0, 0, 0], "copies have the sequence of what they are copies of")
    #expect(bench.nodes.allSatisfy { $0!.node.dropped[.replayed] == 0 })
  }

  @Test("copies end as soon as every member was heard to use the new key")
  func copiesEnd() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(500))
    for node in 0..<3 { bench.exchangeKeys(node, [8, 7]) }
    bench.run(.milliseconds(100))
    bench.copies = 0
    bench.run(.seconds(1))
    #expect(bench.copies == 0)
    #expect(bench.sent.allSatisfy { Array($0[16..<20]) == [0, 0, 0, 8] }, "the first key signs")
  }

  @Test("a node that comes back with the old key only is heard and hears")
  func latecomer() {
    var bench = Bench(count: 2)
    bench.nodes[1] = nil
    bench.exchangeKeys(0, [8, 7])
    bench.run(.milliseconds(500))
    #expect(bench.copies > 0, "who is not there may not have the new key")
    bench.start(1)
    bench.run(.milliseconds(500))
    #expect(bench.holders().count == 1)
  }

  @Test("copies are replays when they come twice")
  func replayedCopies() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(500))
    bench.exchangeKeys(0, [8, 7])
    bench.exchangeKeys(1, [7, 8])
    bench.run(.milliseconds(50))
    let before = bench.nodes[1]!.node.dropped[.replayed]
    bench.deliver(bench.sent[0], to: 1)
    #expect(bench.nodes[1]!.node.dropped[.replayed] == before + 1)
  }
}

@Suite("A newer version of the datagram")
struct NewerVersionTests {
  /// What a later version may add: a minor version, flags, unknown parts in all places, bytes that are reserved now.
  private func newer(_ datagram: [UInt8]) -> [UInt8] {
    let body = Array(datagram.dropLast(16))
    var parts: [[UInt8]] = []
    var offset = 88
    while offset < body.count {
      let length = Int(body[offset + 2]) << 8 | Int(body[offset + 3])
      parts.append(Array(body[offset..<(offset + 4 + length)]))
      // The reserved bytes of reports of peers.
      if parts.last![1] == 1 {
        for entry in stride(from: 4, to: 4 + length, by: 32) {
          parts[parts.count - 1].replaceSubrange((entry + 30)..<(entry + 32), with: [9, 9])
        }
      }
      offset += 4 + length
    }
    let unknown: [UInt8] = [0x7f, 0x01, 0, 5, 1, 2, 3, 4, 5]
    var bytes = Array(body[..<88])
    bytes[5] = 3
    bytes[6] |= 0x80
    bytes += unknown + parts.flatMap { $0 + [0, 250, 0, 0] } + unknown
    bytes[20] = UInt8((bytes.count + 16) >> 8)
    bytes[21] = UInt8((bytes.count + 16) & 255)
    var tag = [UInt8](repeating: 0, count: 16)
    bytes.withUnsafeBytes { body in tag.withUnsafeMutableBytes { PlainAuthenticator().sign(body, into: $0) } }
    return bytes + tag
  }

  @Test("is understood as far as it is known") func mixed() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(500))
    bench.changes = { newer($0) }
    bench.clear()
    bench.run(.seconds(1))
    #expect(bench.deaths == 0 && bench.holders().count == 1)
    #expect(bench.nodes.allSatisfy { $0!.node.dropped[.malformedPart] == 0 && $0!.node.dropped[.wrongTag] == 0 })
    let first = bench.holders()[0]
    let other = 1 - first
    bench.command(first, .draining(true))
    bench.command(first, .handoverReady(VIPIndex(0)))
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [other], "releases are read too")
  }
}
