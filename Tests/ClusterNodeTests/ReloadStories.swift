// Configurations that differ, addresses that are refused, plans that cross a yield, and VIP slots that are used again.

import ClusterNode
import Election
import Membership
import Primitives
import Testing
import Wire

@Suite("A VIP that one configuration loses")
struct LostVIPStories {
  private func lost(_ bench: inout Bench, _ index: Int) {
    var changed = bench.configurations[index]
    changed.vips.removeLast()
    changed.digest = 1
    bench.reload(index, changed)
  }

  @Test("passes at once to a node that has it still")
  func holder() {
    var bench = Bench(count: 3, vips: 2)
    bench.run(.milliseconds(200))
    #expect(bench.holders(1) == [0])
    lost(&bench, 0)
    #expect(bench.holders(1) == [1])
    #expect(bench.holders(0) == [0])
  }

  @Test("has a holder again also where nobody heard that it was let go")
  func unheard() {
    var bench = Bench(count: 3, vips: 2, deadAfter: 8)
    bench.run(.milliseconds(400))
    #expect(bench.holders(1) == [0])
    // Five heartbeats say so, and nobody hears them.
    bench.cut = [[0, 1], [0, 2]]
    lost(&bench, 0)
    bench.run(.milliseconds(60))
    bench.cut = []
    bench.run(.milliseconds(500))
    #expect(bench.deaths == 0)
    #expect(bench.holders(1).isEmpty)
    bench.run(.milliseconds(5000))
    #expect(bench.holders(1) == [1])
  }

  @Test("has no candidate there any more", arguments: [true, false])
  func candidate(isHeard: Bool) {
    var bench = Bench(count: 2, failback: .after(.milliseconds(300)), vips: 2, deadAfter: 8)
    bench.command(0, .draining(true))
    bench.run(.milliseconds(1500))
    #expect(bench.holders(1) == [1])
    bench.command(0, .draining(false))
    bench.run(.milliseconds(100))
    if !isHeard { bench.cut = [[0, 1]] }
    lost(&bench, 0)
    bench.run(.milliseconds(60))
    bench.cut = []
    bench.clear()
    bench.run(.seconds(10))
    #expect(bench.deaths == 0 && bench.holders(1) == [1])
    // Who was not told tries once, and not again before it has found out.
    let taken = bench.made.count {
      $0.node == 1 && $0.effect == .acquire(VIPIndex(1), cause: .holderReleased(bench.index(1)))
    }
    #expect(taken == (isHeard ? 0 : 1))
  }
}

@Suite("An address that the system refuses")
struct RefusedAddressStories {
  @Test("is tried at growing intervals, and a reload begins anew")
  func growing() {
    var bench = Bench(count: 1)
    bench.confirmsAddresses = false
    var tries: [Instant] = []
    for _ in 0..<7 { tries.append(refuse(&bench)) }
    let gaps = zip(tries, tries.dropFirst()).map { ($1 - $0).nanoseconds / 1_000_000_000 }
    #expect(gaps == [5, 10, 20, 40, 60, 60])
    bench.reload(0, bench.configurations[0])
    let since = bench.now
    #expect(refuse(&bench) - since < .seconds(1))
  }

  /// Waits until the node takes the VIP, and refuses the address. When it was taken.
  private func refuse(_ bench: inout Bench) -> Instant {
    for _ in 0..<1_000 where bench.acquisitions().isEmpty { bench.run(.milliseconds(100)) }
    let at = bench.acquisitions()[0].at
    bench.clear()
    bench.command(0, .addressResult(VIPIndex(0), ok: false))
    bench.command(0, .addressRemoved(VIPIndex(0)))
    return at
  }
}

@Suite("A strict requirement")
struct StrictStories {
  @Test("counts for a node that drains too")
  func draining() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    bench.requirements(1, .unmet(strict: true))
    bench.command(0, .draining(true))
    #expect(bench.holders() == [0], "a drain alone waits for a successor")
    bench.requirements(0, .unmet(strict: true))
    bench.run(.milliseconds(50))
    #expect(bench.holders().isEmpty)
  }
}

@Suite("Two holders, one of which hands over")
struct CrossedPlanStories {
  @Test("the plan counts, whenever the other yields")
  func crossed() {
    var bench = Bench(count: 3, failback: .never)
    bench.run(.milliseconds(200))
    // An island of n2 and n3: n2 takes it.
    bench.cut = [[0, 1], [0, 2], [1, 0], [2, 0]]
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [0, 1])
    bench.cut = [[0, 1], [1, 0]]
    bench.run(.milliseconds(5))
    // n1 does not hear n2, and hands over to n3 while n2 holds.
    bench.command(0, .move(VIPIndex(0), to: bench.index(2)))
    bench.command(0, .handoverReady(VIPIndex(0)))
    bench.clear()
    bench.cut = []
    bench.run(.milliseconds(500))
    #expect(bench.holders().count == 1)
    #expect(
      !bench.acquisitions().contains { $0.node == 0 }, "what n1 gave away does not come back by the other's yielding")
  }

  @Test("the plan counts for its successor too, which took it too early and yields")
  func crossedBySuccessor() {
    var bench = Bench(count: 3, failback: .never)
    bench.run(.milliseconds(200))
    bench.command(0, .move(VIPIndex(0), to: bench.index(1)))
    // n2 alone misses n1 meanwhile, and takes it.
    bench.cut = [[0, 1], [0, 2], [2, 1]]
    bench.run(.milliseconds(45))
    #expect(bench.holders() == [0, 1])
    // It hears n1 and yields, which n1 does not hear before it has let go.
    bench.cut = [[1, 0], [1, 2]]
    bench.run(.milliseconds(15))
    #expect(bench.holders() == [0])
    bench.clear()
    bench.cut = [[0, 1]]
    bench.command(0, .handoverReady(VIPIndex(0)))
    #expect(bench.holders().isEmpty)
    bench.run(.milliseconds(15))
    #expect(bench.holders().isEmpty, "n1 keeps its word: n2 may have heard it")
    bench.cut = []
    bench.run(.milliseconds(500))
    #expect(bench.acquisitions().map(\.node) == [1])
  }

  @Test("who gave the other up names it for nothing of which it has not told since", arguments: [10, 20])
  func crossedBlindly(slot: Int) {
    let vip = VIPIndex(slot)
    var bench = Bench(count: 2, failback: .never, vips: 32, gated: true)
    bench.run(.milliseconds(400))
    #expect(bench.holders(slot) == [0])
    // n2 gives n1 up and takes it; n1 has heard n2 just now.
    bench.cut = [[0, 1]]
    bench.run(.milliseconds(15))
    bench.cut = [[0, 1], [1, 0]]
    for _ in 0..<60 where bench.holders(slot) == [0] { bench.run(.milliseconds(1)) }
    #expect(bench.holders(slot) == [0, 1])
    // Both come to miss something. n1 hands over, and one of its heartbeats of before is still on its way.
    let late = bench.sent[0]
    bench.command(0, .requirements(vip, .unmet(strict: false)))
    bench.command(1, .requirements(vip, .unmet(strict: false)))
    #expect(bench.holders(slot) == [1])
    let plan = bench.sent[0]
    bench.clear()
    bench.deliver(late, to: 1)
    #expect(bench.holders(slot) == [1], "what n2 knows of n1 and this VIP is of before the cut")
    let answer = bench.sent[1]
    bench.command(1, .move(vip, to: bench.index(0)))
    #expect(bench.made.contains { $0.effect == .moveRefused(vip, .targetNotEligible) })
    bench.deliver(plan, to: 1)
    bench.deliver(answer, to: 0)
    #expect(bench.holders(slot) == [1])
    bench.cut = []
    bench.run(.milliseconds(500))
    #expect(bench.holders(slot) == [1] && bench.acquisitions().isEmpty)
  }

  @Test("a goodbye says who takes what in both of its datagrams, since either may come first")
  func goodbye() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.cut = [[0, 1], [0, 2]]
    bench.command(0, .shutdown(quieten: false))
    #expect(bench.nodes[0] == nil && bench.holders().isEmpty)
    // Of all that it said only the last datagram gets through.
    bench.cut = []
    bench.deliver(bench.sent[0], to: 2)
    bench.deliver(bench.sent[0], to: 1)
    #expect(bench.holders() == [1])
    let cause = bench.made.compactMap { if case .acquire(_, let cause) = $0.effect { cause } else { nil } }.last
    #expect(cause == .shutdown(bench.index(0)))
  }
}

@Suite("A cable that is out for a moment")
struct CableStories {
  @Test("hurries no handover: the successor is told when the address has gone", arguments: [true, false])
  func removing(isAnswered: Bool) {
    let web = VIPIndex(0)
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [0])
    bench.confirmsAddresses = false
    bench.command(0, .move(web, to: bench.index(1)))
    bench.command(0, .handoverReady(web))
    let since = bench.now
    bench.cut = [[0, 1], [1, 0]]
    bench.command(0, .carrier(up: false))
    bench.run(.milliseconds(15))
    bench.cut = []
    bench.command(0, .carrier(up: true))
    bench.run(.milliseconds(15))
    #expect(bench.deaths == 0 && bench.holders() == [0], "the address may still answer")
    if isAnswered { bench.command(0, .addressRemoved(web)) } else { bench.run(.milliseconds(25)) }
    #expect(bench.holders() == [1])
    #expect(bench.now - since >= (isAnswered ? .milliseconds(30) : ElectionLimits.removalDeadline))
  }
}

@Suite("A VIP slot that a reload gives away and back")
struct SlotStories {
  @Test("waits for its own answer: the shell still owes those of the VIP before")
  func answers() {
    let web = VIPIndex(0)
    var bench = Bench(count: 1)
    bench.confirmsAddresses = false
    bench.run(.milliseconds(300))
    #expect(bench.holders() == [0])
    let original = bench.configurations[0]
    var without = original
    without.vips = []
    bench.reload(0, without)
    bench.reload(0, original)
    bench.requirements(0, .met)
    bench.run(.milliseconds(100))
    #expect(bench.holders() == [0])
    bench.clear()
    // What was asked for first, then its removal: neither is of this claim.
    bench.command(0, .addressResult(web, ok: true))
    bench.command(0, .addressRemoved(web))
    #expect(!bench.made.contains { $0.effect == .announce(web) })
    bench.command(0, .addressResult(web, ok: true))
    #expect(bench.made.contains { $0.effect == .announce(web) })
  }
}
