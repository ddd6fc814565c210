// What a node drops, what it tells in its datagrams and its status, and what a reload keeps.

import ClusterNode
import Election
import Membership
import Primitives
import Testing
import Wire

@Suite("What a node accepts and tells")
struct WireStories {
  @Test("replays, foreign clusters, foreign keys and strangers are counted and change nothing")
  func drops() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    let good = bench.sent[0]
    bench.deliver(good, to: 1)
    #expect(bench.nodes[1]!.node.dropped[.replayed] == 1)
    bench.deliver(bench.sent[1], to: 1)
    #expect(bench.nodes[1]!.node.dropped[.ownName] == 1)
    var stranger = good
    stranger[24] ^= 1
    bench.deliver(stranger, to: 1)
    #expect(bench.nodes[1]!.node.dropped[.wrongTag] == 1)
    bench.deliver([1, 2, 3], to: 1)
    #expect(bench.nodes[1]!.node.dropped[.tooShort] == 1)
    #expect(bench.nodes[1]!.node.dropped.total == 3)
  }

  @Test("256 VIPs on three nodes are told in turn, and all find one holder")
  func manyVIPs() {
    var bench = Bench(count: 3, vips: 256, prefer: false)
    bench.run(.seconds(2))
    #expect((0..<256).allSatisfy { bench.holders($0).count == 1 })
    #expect(bench.sent.allSatisfy { $0.count <= DatagramLayout.maximumByteCount })
    let shares = (0..<3).map { node in (0..<256).filter { bench.holders($0) == [node] }.count }
    #expect(shares.allSatisfy { $0 > 40 }, "spread by themselves: \(shares)")
    bench.nodes[2] = nil
    bench.run(.milliseconds(300))
    #expect((0..<256).allSatisfy { bench.holders($0).count == 1 })
  }

  @Test("who hears whom is known of every pair, also where a link works in one direction only")
  func links() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(500))
    bench.cut = [[0, 1]]
    bench.run(.milliseconds(500))
    var status = StatusSnapshot()
    bench.nodes[2]!.node.snapshot(into: &status, now: bench.now)
    func age(_ hearer: Int, _ other: Int) -> TimeSpan? {
      let slot = bench.index(hearer).value * MemberIndex.limit + bench.index(other).value
      return status.links[slot].heardAt.map { bench.now - $0 }
    }
    for (hearer, other) in [(0, 1), (0, 2), (1, 2), (2, 0), (2, 1)] {
      #expect(age(hearer, other)! < .milliseconds(25), "n\(hearer + 1) hears n\(other + 1)")
    }
    #expect(age(1, 0)! > .milliseconds(400), "n2 does not hear n1 any more")
    let slot = bench.index(1).value * MemberIndex.limit + bench.index(2).value
    #expect(status.links[slot].loss == 0)
    bench.nodes[1] = nil
    bench.run(.milliseconds(300))
    bench.nodes[2]!.node.snapshot(into: &status, now: bench.now)
    #expect(age(1, 2) == nil, "a dead member's word means nothing")
  }

  @Test("status says who holds it, why, and how the peers are")
  func status() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(500))
    bench.nodes[0] = nil
    bench.run(.milliseconds(100))
    var status = StatusSnapshot()
    bench.nodes[2]!.node.snapshot(into: &status, now: bench.now)
    #expect(status.vips[0].holder == bench.index(1))
    #expect(status.vips[0].cause == .holderDead(bench.index(0)))
    #expect(status.vips[0].cause.words { "member \($0.value + 1)" } == "member 1 fell silent")
    #expect(status.members[bench.index(0).value].state == .dead)
    #expect(status.members[bench.index(1).value].state == .alive)
    #expect(status.members[bench.index(1).value].lossIn == 0)
    #expect(bench.nodes[2]!.node.softwareVersion(bench.index(1)) == "1.0")
    #expect(!status.vips[1].isConfigured)
  }

  @Test("a reload keeps the slots of names that stay, and lets go of VIPs that do not")
  func reload() {
    var bench = Bench(count: 1, vips: 3)
    bench.run(.milliseconds(10))
    #expect((0..<3).allSatisfy { bench.holders($0) == [0] })
    var changed = bench.configurations[0]
    changed.vips.remove(at: 1)
    changed.vips.append(.init(name: "new"))
    var effects = EffectBuffer()
    bench.nodes[0]!.node.reconfigure(changed, authenticator: PlainAuthenticator(), now: bench.now, effects: &effects)
    #expect(effects.effects.contains(.release(VIPIndex(1), cause: .unconfigured)))
    #expect(bench.nodes[0]!.node.vipIndex("web2") == VIPIndex(2))
    #expect(bench.nodes[0]!.node.vipIndex("web1") == nil)
    #expect(bench.nodes[0]!.node.vipIndex("new") == VIPIndex(3), "not the slot that was freed just now")
    #expect(bench.nodes[0]!.node.isHolder(VIPIndex(0)) && bench.nodes[0]!.node.isHolder(VIPIndex(2)))
  }

  @Test("what a reload makes of VIPs comes when the shell knows their slots, not in the middle of it")
  func order() {
    var bench = Bench(count: 1)
    bench.run(.milliseconds(10))
    var changed = bench.configurations[0]
    changed.vips.append(.init(name: "new"))
    var effects = EffectBuffer()
    bench.nodes[0]!.node.reconfigure(changed, authenticator: PlainAuthenticator(), now: bench.now, effects: &effects)
    #expect(effects.isEmpty, "nothing is acquired yet")
    bench.nodes[0]!.node.advance(now: bench.now, effects: &effects)
    let new = bench.nodes[0]!.node.vipIndex("new")!
    #expect(effects.effects.contains { if case .acquire(new, _) = $0 { true } else { false } }, "and now at once")
  }

  @Test("whoever gets a new VIP later asks first who has it", arguments: [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
  func newcomers(order: [Int]) {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.clear()
    for index in order {
      var changed = bench.configurations[index]
      changed.vips.append(.init(name: "new", prefer: bench.configurations.map(\.node)))
      changed.digest = 7
      bench.reload(index, changed)
      // Long enough for the first to take it, too short for every VIP's turn to be told.
      bench.run(.milliseconds(50))
    }
    bench.run(.milliseconds(300))
    #expect(bench.made.count { if case .acquire = $0.effect { true } else { false } } == 1)
    #expect(bench.holders(1) == [order[0]] && bench.holders() == [0])
  }
}
