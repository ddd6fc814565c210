// Whom heartbeats are sent to, and what a network costs that carries only some of them.

import ClusterNode
import Election
import Membership
import Primitives
import Testing
import Wire

/// Every ordered pair of `count` nodes.
private func allPairs(_ count: Int) -> Set<[Int]> {
  Set((0..<count).flatMap { from in (0..<count).filter { $0 != from }.map { [from, $0] } })
}

@Suite("Whom heartbeats go to")
struct AddressingTests {
  @Test("where multicasts get through nothing else is sent once everybody knows it")
  func multicastOnly() {
    var bench = Bench(count: 4)
    bench.run(.milliseconds(500))
    bench.unicasts = 0
    bench.run(.seconds(2))
    #expect(bench.unicasts == 0)
  }

  @Test(
    "multicasts that cease for all, for one node or for one direction move nothing and kill nobody", arguments: 0..<5)
  func multicastCeases(which: Int) {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(500))
    let holders = bench.holders()
    #expect(holders.count == 1)
    bench.clear()
    switch which {
    case 0: bench.multicastCut = allPairs(3)
    case 1: bench.multicastCut = [[0, 1], [0, 2]]
    case 2: bench.multicastCut = [[1, 0], [2, 0]]
    case 3: bench.multicastCut = [[0, 1]]
    default: bench.multicastCut = [[0, 1], [1, 0]]
    }
    bench.run(.seconds(3))
    #expect(bench.holders() == holders)
    #expect(bench.acquisitions().isEmpty)
    #expect(bench.deaths == 0)
    // One more datagram per heartbeat, member and direction at the most.
    #expect(bench.unicasts <= 2 * bench.multicastCut.count * 310)
    bench.multicastCut = []
    bench.run(.milliseconds(200))
    bench.unicasts = 0
    bench.run(.seconds(1))
    #expect(bench.unicasts == 0, "multicasts are back")
  }

  @Test("two nodes whose multicasts never get through find each other, and one holds")
  func neverMulticast() {
    var bench = Bench(count: 2)
    bench.multicastCut = allPairs(2)
    bench.run(.milliseconds(300))
    #expect(bench.holders().count == 1)
  }

  @Test("without multicasts a silent node is found dead as soon as with them")
  func deathByUnicast() {
    for transport in [ClusterConfiguration.Transport.multicast, .unicast] {
      var bench = Bench(count: 3, transport: transport)
      bench.multicastCut = allPairs(3)
      bench.run(.milliseconds(500))
      let holder = bench.holders()[0]
      let struck = bench.now
      bench.clear()
      bench.nodes[holder] = nil
      bench.run(.milliseconds(200))
      let taken = bench.acquisitions()
      #expect(taken.count == 1)
      #expect(taken[0].at - struck <= bench.configurations[0].detectionTime + .milliseconds(10))
    }
  }

  @Test("with unicast nothing goes to the group, and every member is addressed each time, dead or alive")
  func unicastOnly() {
    var bench = Bench(count: 3, transport: .unicast)
    bench.multicastCut = allPairs(3)
    bench.run(.milliseconds(500))
    #expect(!bench.nodes[0]!.node.destinations.group)
    bench.nodes[2] = nil
    bench.run(.milliseconds(500))
    let destinations = bench.nodes[0]!.node.destinations
    #expect(destinations.members[0].nonzeroBitCount == 2)
    #expect(destinations.members[1] == 0, "one interface")
    bench.run(.seconds(1))
    #expect(bench.holders().count == 1)
  }

  @Test("a node that knows only multicast and one that is told to use unicast find each other")
  func mixedTransports() {
    var bench = Bench(count: 2)
    var changed = bench.configurations[1]
    changed.transport = .unicast
    var effects = EffectBuffer()
    bench.nodes[1]!.node.reconfigure(changed, authenticator: PlainAuthenticator(), now: bench.now, effects: &effects)
    bench.run(.milliseconds(500))
    #expect(bench.holders().count == 1)
    #expect(bench.nodes[0]!.node.destinations.members[0].nonzeroBitCount == 1)
  }

  @Test("copies that come by several ways are no replays; a second copy by the same way is one")
  func copies() {
    var bench = Bench(count: 2, transport: .unicast, paths: 2)
    bench.run(.milliseconds(500))
    #expect(bench.nodes[0]!.node.dropped[.replayed] == 0)
    #expect(bench.nodes[0]!.node.destinations.members[1].nonzeroBitCount == 1, "over the second interface too")
    let good = bench.sent[1]
    bench.deliver(good, to: 0)
    #expect(bench.nodes[0]!.node.dropped[.replayed] == 0, "its first copy by multicast")
    bench.deliver(good, to: 0)
    bench.deliver(good, to: 0, over: Arrival(path: 1, isMulticast: false))
    #expect(bench.nodes[0]!.node.dropped[.replayed] == 2)
  }

  @Test("what was recorded long ago proves nothing of a way by which it never came")
  func oldRecordings() {
    var bench = Bench(count: 2, transport: .unicast)
    bench.run(.milliseconds(500))
    let old = bench.sent[1]
    bench.run(.seconds(10))
    bench.deliver(old, to: 0)
    #expect(bench.nodes[0]!.node.dropped[.replayed] == 1)
  }

  @Test("a path that is cut costs nothing while another one works", arguments: [0, 1])
  func onePathCut(path: Int) {
    var bench = Bench(count: 3, paths: 2)
    bench.run(.milliseconds(500))
    let holders = bench.holders()
    #expect(holders.count == 1)
    bench.clear()
    bench.pathCut = Set(allPairs(3).map { $0 + [path] })
    bench.run(.seconds(1))
    #expect(bench.holders() == holders && bench.acquisitions().isEmpty)
    // Each pair over another path: still everybody hears everybody.
    bench.pathCut = Set(allPairs(3).map { $0 + [($0[0] + $0[1]) % 2] })
    bench.run(.seconds(1))
    #expect(bench.holders() == holders && bench.acquisitions().isEmpty)
    bench.pathCut = []
    bench.run(.milliseconds(200))
    bench.unicasts = 0
    bench.run(.seconds(1))
    #expect(bench.unicasts == 0)
    #expect(bench.nodes.allSatisfy { $0!.node.dropped[.replayed] == 0 })
  }

  @Test("what is shown of each path is when something came there, and whether it was a multicast")
  func pathsShown() {
    var bench = Bench(count: 2, paths: 2)
    bench.run(.milliseconds(500))
    func age(_ shown: (PathView) -> Instant?, _ path: Int) -> TimeSpan? {
      var status = StatusSnapshot()
      bench.nodes[0]!.node.snapshot(into: &status, now: bench.now)
      return shown(status.paths[bench.index(1).value * Arrival.pathLimit + path]).map { bench.now - $0 }
    }
    for path in 0..<2 {
      #expect(age(\.heardAt, path)! <= .milliseconds(10) && age(\.multicastAt, path)! <= .milliseconds(10))
    }
    bench.pathCut = [[1, 0, 1]]
    bench.run(.milliseconds(500))
    #expect(age(\.heardAt, 0)! <= .milliseconds(10) && age(\.heardAt, 1)! >= .milliseconds(490))
    bench.pathCut = []
    bench.multicastCut = [[1, 0]]
    bench.run(.milliseconds(500))
    for path in 0..<2 {
      #expect(age(\.heardAt, path)! <= .milliseconds(10) && age(\.multicastAt, path)! >= .milliseconds(490))
    }
  }
}
