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

  @Test("a holder that is not heard is shown as the third member says, for as long as it says so")
  func shown() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    let (web, n1, n3) = (VIPIndex(0), bench.index(0), bench.index(2))
    func view(_ node: Int) -> VIPView {
      var status = StatusSnapshot()
      bench.nodes[node]!.node.snapshot(into: &status, now: bench.now)
      return status.vips[web.value]
    }
    #expect(view(1).holder == n1 && view(1).toldBy == nil)
    bench.cut = [[0, 1], [1, 0]]
    bench.nodes[1] = nil
    bench.run(.milliseconds(200))
    bench.start(1)
    bench.run(.seconds(1))
    #expect(view(1).holder == n1 && view(1).toldBy == n3 && view(1).position == .candidate)
    #expect(view(2).holder == n1 && view(2).toldBy == nil)
    bench.cut = []
    bench.run(.milliseconds(100))
    #expect(view(1).holder == n1 && view(1).toldBy == nil)
  }

  @Test("a one-way link hides no holder that took the VIP meanwhile, and its end is known where it is not heard")
  func shownOneWay() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    let (web, n1, n3) = (VIPIndex(0), bench.index(0), bench.index(2))
    func view() -> VIPView {
      var status = StatusSnapshot()
      bench.nodes[1]!.node.snapshot(into: &status, now: bench.now)
      return status.vips[web.value]
    }
    bench.cut = [[2, 1]]
    bench.command(0, .move(web, to: n3))
    bench.command(0, .handoverReady(web))
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [2])
    #expect(view().holder == n3 && view().toldBy == n1)
    bench.command(2, .move(web, to: n1))
    bench.command(2, .handoverReady(web))
    bench.run(.milliseconds(100))
    #expect(bench.holders() == [0])
    #expect(view().holder == n1 && view().toldBy == nil)
  }

  @Test("a node that nobody hears leaves a VIP to who says it holds it, and shows why; when that is gone it takes it")
  func unheard() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.nodes[2] = nil
    bench.run(.milliseconds(200))
    // From its start on nothing of it arrives anywhere.
    bench.cut = [[2, 0], [2, 1]]
    bench.start(2)
    bench.run(.seconds(12))
    #expect(bench.holders() == [0])
    var status = StatusSnapshot()
    bench.nodes[2]!.node.snapshot(into: &status, now: bench.now)
    #expect(status.vips[0].ineligible == .unheard)
    // The holder fails, and starts anew: another takes its place, which this one knows by its word only.
    bench.nodes[0] = nil
    bench.run(.seconds(1))
    #expect(bench.holders() == [1])
    bench.start(0)
    bench.run(.seconds(1))
    #expect(bench.holders() == [1])
    bench.nodes[0] = nil
    bench.nodes[1] = nil
    bench.run(.milliseconds(500))
    #expect(bench.holders() == [2])
  }

  @Test("nor when it is heard at last, and is told of many VIPs in turn") func unheardNoMore() {
    // The second ranks higher for about half of them, and gets none back by itself.
    var bench = Bench(count: 2, vips: 200, prefer: false)
    bench.run(.milliseconds(300))
    bench.nodes[1] = nil
    bench.run(.milliseconds(200))
    bench.cut = [[1, 0]]
    bench.start(1)
    bench.run(.seconds(8))
    bench.clear()
    bench.cut = []
    bench.run(.seconds(2))
    #expect(bench.acquisitions().isEmpty)
    #expect((0..<200).allSatisfy { bench.holders($0) == [0] })
  }

  @Test("nor what it gets by a reload meanwhile") func unheardReload() {
    var bench = Bench(count: 2, vips: 2)
    bench.run(.milliseconds(200))
    bench.nodes[1] = nil
    bench.run(.milliseconds(200))
    bench.cut = [[1, 0]]
    bench.start(1)
    bench.run(.seconds(6))
    var fewer = bench.configurations[1]
    fewer.vips.removeLast()
    bench.reload(1, fewer)
    bench.run(.seconds(1))
    bench.reload(1, bench.configurations[1])
    bench.requirements(1, .met)
    bench.run(.seconds(2))
    #expect(bench.holders(0) == [0] && bench.holders(1) == [0])
    bench.nodes[0] = nil
    bench.run(.milliseconds(500))
    #expect(bench.holders(0) == [1] && bench.holders(1) == [1])
  }

  @Test("a member that does not hear it, and does not hold it, keeps a node from nothing")
  func unheardByOthers() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    bench.nodes[0] = nil
    bench.nodes[1] = nil
    bench.start(1)
    bench.requirements(1, .unmet(strict: true))
    bench.cut = [[0, 1]]
    bench.run(.milliseconds(200))
    bench.start(0)
    bench.run(.milliseconds(5200))
    #expect(bench.holders() == [0])
  }

  @Test("a holder tells who claims its VIP beside it of that at once, whatever the number of its VIPs")
  func rival() {
    var bench = Bench(count: 2, vips: 200)
    bench.run(.seconds(3))
    #expect((0..<200).allSatisfy { bench.holders($0) == [0] })
    // It does not notice: its peer gives it up, forgets what it claims, and takes all.
    bench.standStill(0, .milliseconds(60))
    #expect((0..<200).allSatisfy { bench.holders($0) == [0, 1] })
    bench.run(.milliseconds(120))
    #expect((0..<200).allSatisfy { bench.holders($0) == [0] })
  }

  @Test("who is heard again, and does not know that it was not, is given time to tell what it holds")
  func revived() {
    var bench = Bench(count: 3, vips: 40)
    bench.run(.seconds(1))
    #expect((0..<40).allSatisfy { bench.holders($0) == [0] })
    bench.clear()
    // The second is gone, and the third does not know yet: it leaves it the first turn.
    bench.standStill(0, .milliseconds(20))
    bench.nodes[1] = nil
    bench.standStill(0, .milliseconds(17))
    #expect(bench.deaths == 1 && bench.acquisitions().isEmpty)
    bench.run(.milliseconds(500))
    #expect(bench.acquisitions().isEmpty)
    #expect((0..<40).allSatisfy { bench.holders($0) == [0] })
    // A holder that is not heard again is not waited for.
    bench.standStill(0, .milliseconds(37))
    bench.run(.milliseconds(1))
    bench.nodes[0] = nil
    bench.run(.milliseconds(60))
    #expect((0..<40).allSatisfy { bench.holders($0) == [2] })
  }

  @Test("what was recorded of a holder that is gone holds a lone node up while it is played, and takes nothing from it")
  func played() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    bench.command(0, .move(VIPIndex(0), to: bench.index(1)))
    bench.command(0, .handoverReady(VIPIndex(0)))
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [1])
    var recorded: [[UInt8]] = []
    for _ in 0..<100 {
      bench.run(.milliseconds(10))
      recorded.append(bench.sent[1])
    }
    bench.nodes[1] = nil
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [0])
    func play() {
      for bytes in recorded {
        bench.deliver(bytes, to: 0)
        bench.run(.milliseconds(10))
      }
    }
    play()
    #expect(bench.holders() == [0])
    bench.nodes[0] = nil
    bench.start(0)
    bench.run(.milliseconds(4600))
    play()
    #expect(bench.holders() == [])
    bench.run(.milliseconds(400))
    #expect(bench.holders() == [0])
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
