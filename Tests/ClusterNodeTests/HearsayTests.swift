// Members that hear each other only through others or not for a while, and VIPs whose requirements nobody meets.

import ClusterNode
import Election
import Membership
import Primitives
import Testing
import Wire

@Suite("What is not heard directly")
struct HearsayStories {
  @Test("nobody takes what a third member hears somebody hold, though it has never heard of that one itself")
  func thirdParty() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.cut = [[0, 1], [1, 0]]
    bench.nodes[1] = nil
    bench.run(.milliseconds(200))
    bench.start(1)
    bench.run(.seconds(2))
    #expect(bench.holders() == [0])
    bench.nodes[0] = nil
    bench.run(.milliseconds(100))
    #expect(bench.holders() == [1])
  }

  @Test("a holder tells what it claims to a member that did not hear it for a while")
  func forgotten() {
    var bench = Bench(count: 3, vips: 40)
    bench.run(.milliseconds(200))
    // Nobody hears it and it hears everybody: they give it up, and have not acted when it is heard again.
    bench.requirements(1, .unmet(strict: true))
    bench.requirements(2, .unmet(strict: true))
    bench.cut = [[0, 1], [0, 2]]
    bench.run(.milliseconds(200))
    bench.cut = []
    bench.run(.milliseconds(25))
    bench.clear()
    bench.requirements(1, .met)
    bench.requirements(2, .met)
    bench.run(.milliseconds(100))
    #expect(bench.acquisitions().isEmpty)
  }

  @Test("a holder announces again when it hears a member itself that only others heard")
  func heardAgain() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.cut = [[0, 1], [1, 0]]
    bench.run(.seconds(2))
    bench.clear()
    bench.cut = []
    bench.run(.milliseconds(100))
    let announcers = bench.made.compactMap { if case .announce = $0.effect { $0.node } else { nil } }
    #expect(announcers.contains(0))
    #expect(bench.deaths == 0)
  }
}

@Suite("What nobody meets")
struct UnmetStories {
  @Test("where nobody has what is required, the highest rank takes it after a while, and gives it to who has it again")
  func lastResort() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    for node in [2, 1, 0] { bench.requirements(node, .unmet(strict: false)) }
    #expect(bench.holders() == [0], "the last holder keeps it")
    bench.nodes[0] = nil
    bench.run(.milliseconds(900))
    #expect(bench.holders().isEmpty)
    bench.run(.milliseconds(300))
    #expect(bench.holders() == [1])
    bench.requirements(2, .met)
    bench.run(.milliseconds(10))
    #expect(bench.holders() == [2])
  }

  @Test("what two lack at the same moment does not leave the VIP to nobody")
  func missingAtOnce() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    bench.cut = [[1, 0]]
    bench.requirements(1, .unmet(strict: false))
    bench.requirements(0, .unmet(strict: false))
    #expect(bench.holders() == [1], "given before the other's word came")
    bench.cut = []
    bench.run(.seconds(1))
    #expect(bench.holders() == [1])
  }
}
