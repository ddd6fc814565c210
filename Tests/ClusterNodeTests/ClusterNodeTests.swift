// Stories of a small cluster, from start to leave.

import ClusterNode
import Election
import Membership
import Primitives
import Testing
import Wire

private let web = VIPIndex(0)
private let detection = TimeSpan.milliseconds(35)

@Suite("A cluster")
struct ClusterStories {
  @Test("starts with one holder, the preferred one, after a detection time of listening")
  func start() {
    var bench = Bench(count: 3)
    let began = bench.now
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [0])
    #expect(bench.acquisitions().count == 1)
    #expect(bench.acquisitions().allSatisfy { $0.at - began >= detection })
  }

  @Test("of one member takes everything at once")
  func single() {
    var bench = Bench(count: 1)
    bench.run(.milliseconds(1))
    #expect(bench.holders() == [0])
  }

  @Test("where nobody is heard waits alone_after")
  func alone() {
    var bench = Bench(count: 2)
    bench.nodes[1] = nil
    bench.start(0)
    bench.run(.milliseconds(4_900))
    #expect(bench.holders() == [])
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [0])
  }

  @Test("replaces a silent holder exactly at the detection time, by the next in line")
  func silence() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(203))
    let last = bench.now - (bench.now - Instant(nanoseconds: 1_000_000_000_000 + 200_000_000))
    bench.nodes[0] = nil
    bench.clear()
    bench.run(.milliseconds(100))
    #expect(bench.holders() == [1])
    #expect(bench.acquisitions().map(\.node) == [1])
    #expect(bench.acquisitions().first?.at == last + detection)
  }

  @Test("does not take over from a holder that only one node cannot hear")
  func cutOff() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.cut = [[0, 1], [1, 0]]
    bench.clear()
    bench.run(.seconds(1))
    #expect(bench.holders() == [0])
    #expect(bench.acquisitions().isEmpty)
  }

  @Test("takes over at once after a resign, and never believes that boot again")
  func resign() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    let dead = bench.nodes[0]!
    let old = bench.sent[0]
    bench.nodes[0] = nil
    bench.clear()
    var bytes = [UInt8](repeating: 0, count: DatagramLayout.maximumByteCount)
    var authenticator = PlainAuthenticator()
    let length = bytes.withUnsafeMutableBytes {
      ResignDatagram.encode(
        clusterName: "bench", node: bench.configurations[0].node, boot: dead.node.bootID,
        sequence: dead.node.nextSequence,
        reason: .died, now: bench.now, authenticator: &authenticator, into: $0)
    }
    for node in 1...2 { bench.deliver(Array(bytes[..<length]), to: node) }
    #expect(bench.holders() == [1])
    #expect(bench.acquisitions().first?.at == bench.now)
    let before = bench.nodes[1]!.node.dropped[.unconfirmedBoot]
    bench.deliver(old, to: 1)
    let after = bench.nodes[1]!.node.dropped[.unconfirmedBoot]
    #expect(after == before + 1)
    bench.run(.milliseconds(100))
    #expect(bench.holders() == [1])
  }

  @Test("heals a partition with one holder that announces again")
  func heal() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.cut = [[0, 1], [0, 2], [1, 0], [2, 0]]
    bench.run(.milliseconds(3000))
    #expect(bench.holders() == [0, 1])
    bench.cut = []
    bench.clear()
    bench.run(.milliseconds(30))
    #expect(bench.holders() == [0], "the lower rank yields at the first heartbeat")
    bench.run(.milliseconds(1500))
    let announcers = bench.made.compactMap { if case .announce = $0.effect { $0.node } else { nil } }
    #expect(announcers.last == 0)
    #expect(announcers.filter { $0 == 0 }.count >= 5)
    #expect(bench.acquisitions().isEmpty, "nothing flaps")
  }

  @Test("announces again where a rival has given way whose claim it never heard")
  func unheardRival() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.cut = [[0, 2], [2, 0], [1, 2], [2, 1]]
    bench.run(.milliseconds(100))
    // The two holders hear of each other by the second node only.
    bench.cut = [[0, 2], [2, 0]]
    bench.run(.milliseconds(2000))
    #expect(bench.holders() == [0, 2])
    bench.clear()
    // The third hears the first and yields before it is heard itself.
    bench.cut = [[2, 0]]
    bench.run(.milliseconds(11))
    #expect(bench.holders() == [0])
    bench.cut = []
    bench.run(.milliseconds(30))
    let announcers = bench.made.compactMap { if case .announce = $0.effect { $0.node } else { nil } }
    #expect(announcers == [0, 0], "a burst")
    #expect(bench.acquisitions().isEmpty)
  }

  @Test("announces in a burst at 0, 10, 50, 200 and 1000 ms")
  func burst() {
    var bench = Bench(count: 1)
    let began = bench.now
    bench.run(.seconds(70))
    let times = bench.made.compactMap { if case .announce = $0.effect { ($0.at - began).milliseconds } else { nil } }
    #expect(times == [0, 10, 50, 200, 1000, 61_000])
  }

  @Test("keeps the VIP where it is when the better node comes back, unless failback says otherwise")
  func failback() {
    for (rule, expected) in [(FailbackRule.never, 1), (.atOnce, 0)] {
      var bench = Bench(count: 2, failback: rule)
      bench.run(.milliseconds(200))
      bench.nodes[0] = nil
      bench.run(.milliseconds(100))
      #expect(bench.holders() == [1])
      bench.start(0)
      bench.run(.milliseconds(1000))
      #expect(bench.holders() == [expected])
    }
  }
}

@Suite("A planned handover")
struct HandoverStories {
  @Test("goes quieten, remove, release, acquire, in this order")
  func order() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    bench.confirmsAddresses = false
    bench.clear()
    let to = bench.index(1)
    bench.command(0, .move(web, to: to))
    #expect(bench.made.map(\.effect) == [.handoverStarting(web, to: to, deadline: .milliseconds(500))])
    bench.run(.milliseconds(30))
    #expect(bench.holders() == [0])
    bench.clear()
    bench.command(0, .handoverReady(web))
    #expect(bench.made.map(\.effect) == [.release(web, cause: .moved(to))])
    #expect(bench.holders() == [0], "the claim stands until the address is gone")
    bench.clear()
    bench.command(0, .addressRemoved(web))
    #expect(bench.holders() == [1])
    let acquired = bench.made.firstIndex { $0.effect == .acquire(web, cause: .moved(bench.index(0))) }
    let told = bench.made.firstIndex { $0.node == 0 && $0.effect == .send }
    #expect(told != nil && acquired != nil && told! < acquired!)
    #expect(bench.acquisitions().first?.at == bench.now, "at once, on reception")
  }

  @Test("goes on without the balancer after 500 ms and without the hands after 50 ms")
  func deadlines() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    bench.confirmsAddresses = false
    let began = bench.now
    bench.command(0, .move(web, to: bench.index(1)))
    bench.run(.milliseconds(600))
    #expect(bench.holders() == [1])
    #expect(bench.acquisitions().last!.at - began == .milliseconds(550))
  }

  @Test("is cancelled when its successor dies before the swap")
  func cancelled() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    bench.command(0, .move(web, to: bench.index(1)))
    bench.nodes[1] = nil
    bench.clear()
    bench.run(.milliseconds(100))
    #expect(bench.made.contains { $0.effect == .handoverCancelled(web) })
    #expect(bench.holders() == [0])
  }

  @Test("is refused with the reason")
  func refused() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    func refusal(_ node: Int, _ to: MemberIndex) -> MoveRefusal? {
      var copy = bench
      copy.clear()
      copy.command(node, .move(web, to: to))
      return copy.made.compactMap { if case .moveRefused(_, let why) = $0.effect { why } else { nil } }.first
    }
    #expect(refusal(1, bench.index(2)) == .notHolder)
    #expect(refusal(0, bench.index(0)) == .alreadyThere)
    #expect(refusal(0, MemberIndex(40)) == .unknownMember)
    #expect(refusal(0, bench.index(1)) == nil)
    bench.command(1, .draining(true))
    #expect(refusal(0, bench.index(1)) == .targetNotEligible)
    bench.nodes[2] = nil
    bench.run(.milliseconds(100))
    #expect(refusal(0, bench.index(2)) == .targetNotAlive)
  }

  @Test("survives the loss of its first release")
  func lostRelease() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.command(0, .move(web, to: bench.index(2)))
    bench.cut = [[0, 1], [0, 2]]
    bench.command(0, .handoverReady(web))
    #expect(bench.holders() == [])
    bench.cut = []
    bench.run(.milliseconds(10))
    #expect(bench.holders() == [2], "the next datagram repeats it")
  }

  @Test("of a drained node keeps it empty")
  func drain() {
    var bench = Bench(count: 3)
    bench.run(.milliseconds(200))
    bench.command(0, .draining(true))
    bench.command(0, .handoverReady(web))
    #expect(bench.holders() == [1])
    bench.nodes[1] = nil
    bench.nodes[2] = nil
    bench.run(.seconds(10))
    #expect(bench.holders() == [], "a draining node takes nothing, though nobody else is there")
    bench.command(0, .draining(false))
    bench.run(.milliseconds(50))
    #expect(bench.holders() == [0])
  }

  @Test("precedes a leave, and the others do not wait for the detection time")
  func leave() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    bench.command(0, .shutdown(quieten: false))
    #expect(bench.holders() == [1])
    #expect(bench.nodes[0] == nil)
    var status = StatusSnapshot()
    bench.nodes[1]!.node.snapshot(into: &status, now: bench.now)
    #expect(status.members[bench.index(0).value].state == .dead)
    #expect(status.vips[0].cause == .shutdown(bench.index(0)))
  }
}

@Suite("Trouble on the node itself")
struct OwnTroubleStories {
  @Test("a pulled cable drops the VIP at once, and its return starts with listening")
  func carrier() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    bench.command(0, .carrier(up: false))
    #expect(bench.holders().isEmpty || bench.holders() == [1])
    bench.run(.milliseconds(100))
    #expect(bench.holders() == [1])
    bench.command(0, .carrier(up: true))
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [1])
  }

  @Test("what is required and missing hands the VIP over; with no other the last holder keeps it, unless strict")
  func requirements() {
    for strict in [false, true] {
      var bench = Bench(count: 2)
      bench.run(.milliseconds(200))
      bench.requirements(0, .unmet(strict: strict))
      #expect(bench.holders() == [1])
      bench.requirements(1, .unmet(strict: strict))
      bench.run(.milliseconds(100))
      #expect(bench.holders() == (strict ? [] : [1]))
      // A requirement that turns strict while the last holder keeps the VIP.
      bench.requirements(1, .unmet(strict: true))
      bench.run(.milliseconds(100))
      #expect(bench.holders() == (strict ? [] : [0]), "named, and not strict")
      bench.requirements(1, .met)
      bench.requirements(0, .unmet(strict: true))
      bench.requirements(1, .unmet(strict: true))
      bench.run(.milliseconds(100))
      #expect(bench.holders().isEmpty)
      bench.requirements(0, .met)
      bench.run(.milliseconds(100))
      #expect(bench.holders() == [0])
    }
  }

  @Test("a VIP is not held before its requirements are judged, each VIP by itself")
  func requirementsPerVIP() {
    var bench = Bench(count: 2, vips: 2)
    bench.requirements(0, .unknown)
    bench.requirements(1, .unknown)
    bench.command(1, .requirements(VIPIndex(1), .met))
    bench.run(.seconds(3))
    #expect(bench.holders(0).isEmpty)
    #expect(bench.holders(1) == [1])
  }

  @Test("a VIP whose own interface loses its carrier goes to another node, the others stay")
  func vipCarrier() {
    var bench = Bench(count: 2, vips: 2)
    bench.run(.milliseconds(200))
    #expect(bench.holders(0) == [0] && bench.holders(1) == [0])
    bench.command(0, .vipCarrier(VIPIndex(1), up: false))
    #expect(bench.holders(0) == [0] && bench.holders(1) == [1])
    bench.nodes[1] = nil
    bench.run(.milliseconds(200))
    #expect(bench.holders(1) == [])
    bench.command(0, .vipCarrier(VIPIndex(1), up: true))
    bench.run(.milliseconds(100))
    #expect(bench.holders(1) == [0])
  }

  @Test("an address that the system refuses goes to the next in line")
  func addressFailed() {
    var bench = Bench(count: 2)
    bench.confirmsAddresses = false
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [0])
    bench.command(0, .addressResult(web, ok: false))
    bench.command(0, .addressRemoved(web))
    #expect(bench.holders() == [1])
  }

  @Test(
    "an address of which nothing is heard for a second counts as refused, and answers that come late change nothing")
  func addressUnanswered() {
    var bench = Bench(count: 2)
    bench.confirmsAddresses = false
    bench.run(.milliseconds(200))
    #expect(bench.holders() == [0])
    let claimed = bench.acquisitions()[0].at
    bench.clear()
    bench.run(.milliseconds(1_200))
    let release = bench.made.first { $0.node == 0 && $0.effect == .release(web, cause: .addressFailed) }
    #expect(release?.at == claimed + .seconds(1))
    #expect(bench.holders() == [1], "the next in line, after the deadline of the removal")
    #expect(bench.acquisitions().first?.at == claimed + .milliseconds(1_050))

    // The hands come back: both answers of the first node in order, then the second node's.
    bench.command(0, .addressResult(web, ok: true))
    bench.command(0, .addressRemoved(web))
    #expect(bench.holders() == [1])
    bench.command(1, .addressResult(web, ok: true))
    bench.run(.seconds(6))
    #expect(bench.holders() == [1])
    #expect(!bench.made.contains { $0.node == 0 && $0.effect == .announce(web) })
  }

  @Test("an answer that was lost does not spoil the next acquisition")
  func lostAnswer() {
    var bench = Bench(count: 1)
    bench.confirmsAddresses = false
    bench.run(.milliseconds(1_001))
    #expect(bench.made.contains { $0.effect == .release(web, cause: .addressFailed) })
    bench.command(0, .addressRemoved(web))
    #expect(bench.holders() == [])
    bench.clear()
    bench.run(.seconds(5))
    #expect(bench.acquisitions().count == 1)
    bench.command(0, .addressResult(web, ok: true))
    bench.run(.seconds(2))
    #expect(bench.holders() == [0])
    #expect(bench.made.contains { $0.effect == .announce(web) })
  }

  @Test("what was not read yet puts judgement off, but no longer than a detection time")
  func flood() {
    for ends in [false, true] {
      var bench = Bench(count: 2)
      bench.run(.milliseconds(205))
      let judge = bench.nodes[1]!
      var effects = EffectBuffer()
      var took: TimeSpan?
      for step in 0..<100 where took == nil {
        let now = bench.now + .milliseconds(Int64(step))
        judge.node.advance(now: now, heardAll: ends && step >= 20, effects: &effects)
        effects.removeAll()
        if judge.node.isHolder(web) { took = .milliseconds(Int64(step)) }
      }
      // The holder was last heard 5 ms before the flood began, so it would be dead after 30.
      #expect(took == .milliseconds(ends ? 30 : 35))
    }
  }

  @Test("a late wake-up waits one interval before it judges the others")
  func late() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(205))
    let sleeper = bench.nodes[1]!
    var effects = EffectBuffer()
    // Its next heartbeat was due at 210 ms; the holder's deadline is 235 ms.
    let woke = bench.now + .milliseconds(24)
    sleeper.node.advance(now: woke, effects: &effects)
    #expect(sleeper.node.isHolder(web) == false)
    #expect(sleeper.node.nextDeadline <= woke + .milliseconds(10))
    sleeper.node.advance(now: woke + .milliseconds(11), effects: &effects)
    #expect(sleeper.node.isHolder(web) == false, "a boot that it does not believe yet may hold it")
    sleeper.node.advance(now: woke + .milliseconds(20), effects: &effects)
    #expect(sleeper.node.isHolder(web) == true, "the holder is really gone")
  }
}
