// One VIP's decisions, from tables that are set up by hand: this node is member 1 of three, names in slot order.

import Election
import Membership
import Primitives
import Testing

private let start = Instant(nanoseconds: 1_000_000_000)
private let interval = TimeSpan.milliseconds(10)
private let detection = TimeSpan.milliseconds(35)
private let vip = VIPIndex(0)
private let first = MemberIndex(0)
private let me = MemberIndex(1)
private let third = MemberIndex(2)

/// What the tests vary.
private struct Scene: ~Copyable {
  var members = MemberTable(ownBoot: BootID(high: 9, low: 9), selfIndex: me, interval: interval, detection: detection)
  var candidacies = CandidacyTable()
  var claim = VIPClaim()
  var own = OwnStanding(
    holding: false, ineligible: nil, failback: .never, gainedAt: start, gainedByMove: false)

  init(priorities: [UInt16] = [30, 20, 10]) {
    for slot in 0..<3 {
      members.configure(MemberIndex(slot), nameHash: UInt64(100 + slot))
      members.setNameRank(MemberIndex(slot), slot)
      say(MemberIndex(slot), .candidate, priority: priorities[slot])
    }
    hear(first, at: start)
    hear(third, at: start)
  }

  mutating func say(
    _ member: MemberIndex, _ position: VIPPosition, priority: UInt16? = nil, eligible: Bool = true, at: Instant = start
  ) {
    _ = candidacies.announce(
      vip, by: member, priority: priority ?? candidacies[vip, member].priority, position: position, eligible: eligible,
      now: at)
  }

  mutating func hear(_ member: MemberIndex, at now: Instant, echoing: Bool = true) {
    let sent = members.takeSequence(at: now)
    let boot = BootID(high: 5, low: UInt64(member.value + 1))
    _ = members.hear(
      Hearing(
        boot: boot, sequence: members[member].window.highest + 1, sentAt: now,
        echo: echoing ? Echo(sequence: sent) : nil,
        interval: interval,
        detection: detection, starting: false, draining: false, configurationDigest: 0, intentsDigest: 0),
      from: member, receivedAt: now, now: now)
  }

  mutating func decide(at now: Instant = start) -> Decision {
    claim.decide(vip, own: own, members: members, candidacies: candidacies, now: now)
  }
}

@Suite("Taking a VIP")
struct TakingTests {
  @Test("the next in line acts at once, each lower rank one interval later")
  func order() {
    var scene = Scene()
    scene.say(first, .holder)
    #expect(scene.decide() == .nothing)
    scene.say(first, .idle, eligible: false)
    scene.claim.vacate(cause: .holderDead(first), now: start)
    #expect(scene.decide() == .acquire(.holderDead(first)))

    scene = Scene(priorities: [30, 10, 20])
    scene.say(first, .idle, eligible: false)
    scene.claim.vacate(cause: .holderDead(first), now: start)
    #expect(scene.decide() == .nothing)
    #expect(scene.claim.wakeAt == start + interval)
    #expect(scene.decide(at: start + interval - .nanoseconds(1)) == .nothing)
    #expect(scene.decide(at: start + interval) == .acquire(.holderDead(first)))
  }

  @Test("ties go to the smaller name")
  func ties() {
    var scene = Scene(priorities: [5, 5, 5])
    scene.claim.vacate(cause: .vacant, now: start)
    #expect(scene.decide() == .nothing)
    #expect(scene.claim.wakeAt == start + interval, "after the first, before the third")
  }

  @Test("nobody who is ineligible takes it")
  func ineligible() {
    var scene = Scene()
    scene.say(first, .idle, eligible: false)
    scene.own.ineligible = .draining
    #expect(scene.decide(at: start + .milliseconds(20)) == .nothing)
  }

  @Test("a named successor acts at once, the others wait a detection time for it")
  func reserved() {
    var scene = Scene(priorities: [10, 20, 30])
    scene.claim.reserve(
      for: me, cause: .moved(first), otherwise: .holderReleased(first), until: start + detection, now: start)
    #expect(scene.decide() == .acquire(.moved(first)), "though the third ranks higher")

    scene = Scene(priorities: [10, 30, 20])
    scene.claim.reserve(
      for: third, cause: .moved(first), otherwise: .holderReleased(first), until: start + detection, now: start)
    #expect(scene.decide() == .nothing)
    #expect(scene.claim.wakeAt == start + detection)
    scene.hear(third, at: start + .milliseconds(30))
    #expect(scene.decide(at: start + detection) == .acquire(.holderReleased(first)))
  }

  @Test("a named successor that only others hear is taken to have it")
  func reservedUnheard() {
    var scene = Scene(priorities: [10, 30, 20])
    scene.claim.reserve(
      for: third, cause: .moved(first), otherwise: .holderReleased(first), until: start + detection, now: start)
    let later = start + .milliseconds(60)
    scene.hear(first, at: later)
    _ = scene.members.report(
      of: third, bootFold: scene.members[third].boot.fold, sequence: 50, age: .zero, patience: .zero,
      receivedAt: later, now: later)
    #expect(scene.decide(at: later) == .nothing)
    _ = scene.members.nextDead(now: later + detection)
    _ = scene.members.nextDead(now: later + detection)
    #expect(scene.decide(at: later + detection) == .acquire(.holderReleased(first)))
  }

  @Test("a named successor that only others hear, and of whom nobody says that it took it, is not waited for for ever")
  func reservedDeaf() {
    var scene = Scene(priorities: [10, 30, 20])
    scene.claim.reserve(
      for: third, cause: .moved(first), otherwise: .holderReleased(first), until: start + detection, now: start)
    var now = start
    var decision = Decision.nothing
    for sequence in UInt64(50)..<200 where decision == .nothing {
      now = now + interval
      scene.hear(first, at: now)
      _ = scene.members.report(
        of: third, bootFold: scene.members[third].boot.fold, sequence: sequence, age: .zero, patience: .zero,
        receivedAt: now, now: now)
      decision = scene.decide(at: now)
    }
    #expect(decision == .acquire(.holderReleased(first)))
    let due = start + detection + interval * ElectionLimits.hearsayIntervals
    #expect(now >= due && now < due + interval * 3)
  }
}

@Suite("What another member hears")
struct HearsayTests {
  /// `first` is gone from here; `third` says that it hears it hold the VIP.
  private func scene(toldAt: Instant) -> Scene {
    var scene = Scene()
    scene.say(first, .holder)
    while scene.members.nextDead(now: start + detection) != nil {}
    scene.candidacies.clearPosition(vip, of: first, now: start)
    scene.hear(third, at: toldAt)
    scene.candidacies.note(
      vip, of: third, passesUnknown: false, holderHeard: StableHash.fold(100), in: 1,
      at: toldAt)
    return scene
  }

  @Test("is believed of a holder that this node does not hear, as long as it is fresh")
  func believed() {
    let told = start + detection + .milliseconds(1)
    var scene = scene(toldAt: told)
    #expect(scene.decide(at: told) == .nothing)
    #expect(scene.claim.wakeAt != .distantFuture)
    let old = told + interval * (ElectionLimits.hearsayIntervals + 1)
    scene.hear(third, at: old)
    #expect(scene.decide(at: old) == .acquire(.vacant))
  }

  @Test("is not believed where it may be of before the holder's end")
  func stale() {
    var scene = scene(toldAt: start + detection)
    #expect(scene.decide(at: start + detection) == .acquire(.vacant))
  }

  @Test("is not believed against the member's own word, of this node itself, or of a stranger")
  func own() {
    let told = start + detection + .milliseconds(1)
    var scene = scene(toldAt: told)
    scene.hear(first, at: told)
    scene.say(first, .idle, eligible: false)
    scene.candidacies.note(vip, of: first, passesUnknown: false, holderHeard: 0, in: 1, at: told)
    #expect(scene.decide(at: told) == .acquire(.vacant))
    for name: UInt64 in [101, 999] {
      var other = self.scene(toldAt: told)
      other.candidacies.note(
        vip, of: third, passesUnknown: false, holderHeard: StableHash.fold(name), in: 1,
        at: told)
      #expect(other.decide(at: told) == .acquire(.vacant))
    }
  }
}

@Suite("The last resort")
struct LastResortTests {
  private func scene(_ ineligible: Ineligibility) -> Scene {
    var scene = Scene()
    scene.own.ineligible = ineligible
    for member in [first, me, third] { scene.say(member, .idle, eligible: false) }
    return scene
  }

  /// Everybody is heard.
  private func decide(_ scene: inout Scene, at now: Instant) -> Decision {
    scene.hear(first, at: now)
    scene.hear(third, at: now)
    return scene.decide(at: now)
  }

  private let turn = ElectionLimits.lastResortTurn
  private let due = start + ElectionLimits.lastResort + ElectionLimits.lastResortTurn

  @Test("where nobody is eligible, one that misses what is required takes it after a while, in the order of ranks")
  func takes() {
    var scene = scene(.requirementsUnmet(strict: false))
    #expect(scene.decide() == .nothing)
    #expect(scene.claim.wakeAt == due, "one outranks it")
    #expect(decide(&scene, at: due - .milliseconds(1)) == .nothing)
    #expect(decide(&scene, at: due) == .acquire(.vacant))
  }

  @Test(
    "never without what is strict, a carrier, or against an operator",
    arguments: [
      Ineligibility.requirementsUnmet(strict: true), .requirementsUnknown, .noCarrier, .draining, .leaving, .notVoter,
      .starting, .addressFailed,
    ])
  func refuses(_ reason: Ineligibility) {
    var scene = scene(reason)
    #expect(scene.decide() == .nothing)
    #expect(decide(&scene, at: due + .seconds(60)) == .nothing)
  }

  @Test("not while somebody alive is eligible, nor at the moment when that ends")
  func better() {
    var scene = scene(.requirementsUnmet(strict: false))
    #expect(scene.decide() == .nothing)
    scene.say(third, .candidate)
    #expect(decide(&scene, at: due) == .nothing)
    #expect(scene.claim.wakeAt != .distantFuture, "it may die without a word")
    scene.say(third, .idle, eligible: false)
    #expect(decide(&scene, at: due + interval) == .nothing)
    #expect(decide(&scene, at: due + turn) == .nothing)
    #expect(decide(&scene, at: due + turn * 2) == .acquire(.vacant))
  }

  @Test("not by a node that hears nobody: it may be the one that is cut off, unless all have said that they end")
  func isolated() {
    var scene = scene(.requirementsUnmet(strict: false))
    #expect(scene.decide() == .nothing)
    for _ in 0..<2 { _ = scene.members.nextDead(now: due) }
    #expect(scene.decide(at: due) == .nothing)
    #expect(scene.decide(at: due + .seconds(60)) == .nothing)
    for member in [first, third] {
      let boot = scene.members[member].boot
      let isResigned = scene.members.resign(boot, sequence: 1_000, from: member)
      #expect(isResigned)
    }
    #expect(scene.decide(at: due + .seconds(61)) == .acquire(.vacant))
  }

  @Test("the successor that was named takes it at once, though it misses something meanwhile")
  func named() {
    var scene = scene(.requirementsUnmet(strict: false))
    scene.claim.reserve(
      for: me, cause: .becameIneligible(first), otherwise: .holderReleased(first), until: start + detection, now: start)
    #expect(scene.decide() == .acquire(.becameIneligible(first)))
  }
}

@Suite("Two holders")
struct ContestTests {
  @Test("the lower rank yields at once")
  func yields() {
    var scene = Scene()
    scene.own.holding = true
    scene.say(me, .holder)
    scene.say(first, .holder)
    #expect(scene.decide() == .yield(.yielded(first)))
  }

  @Test("the higher rank keeps it and announces again when the other has given way")
  func survives() {
    var scene = Scene()
    scene.own.holding = true
    scene.say(me, .holder)
    scene.say(third, .holder)
    #expect(scene.decide() == .nothing)
    scene.say(third, .candidate)
    #expect(scene.decide() == .announceAgain)
    #expect(scene.decide() == .nothing)
  }

  @Test("a rival that is eligible outranks a holder that is not")
  func eligibility() {
    var scene = Scene()
    scene.own.holding = true
    scene.say(me, .holder, eligible: false)
    scene.say(third, .holder)
    #expect(scene.decide() == .yield(.yielded(third)))
  }

  @Test("a holder that nobody acknowledges yields to a lower rank after a detection time")
  func unheard() {
    var scene = Scene()
    scene.own.holding = true
    scene.say(me, .holder)
    scene.say(third, .holder)
    var now = start
    while now < start + .milliseconds(60) {
      now = now + interval
      scene.hear(third, at: now, echoing: false)
      scene.hear(first, at: now, echoing: false)
      let decision = scene.decide(at: now)
      if decision == .yield(.yieldedUnheard(third)) { return }
      #expect(decision == .nothing)
    }
    Issue.record("it never yielded")
  }
}

@Suite("Giving a VIP")
struct GivingTests {
  @Test("a draining holder hands over to the best that hears it")
  func draining() {
    var scene = Scene()
    scene.own.holding = true
    scene.own.ineligible = .draining
    scene.say(me, .holder, eligible: false)
    #expect(scene.decide() == .handOver(to: first, cause: .drained(me), quieten: true))
  }

  @Test("a holder that misses what it requires does not wait for the balancer to quieten")
  func requirements() {
    var scene = Scene()
    scene.own.holding = true
    scene.own.ineligible = .requirementsUnmet(strict: false)
    #expect(scene.decide() == .handOver(to: first, cause: .becameIneligible(me), quieten: false))
  }

  @Test("where nobody is eligible the last holder keeps it, unless it is strict or leaves")
  func nobody() {
    var scene = Scene()
    scene.own.holding = true
    scene.say(first, .idle, eligible: false)
    scene.say(third, .idle, eligible: false)
    scene.own.ineligible = .requirementsUnmet(strict: false)
    #expect(scene.decide() == .nothing)
    scene.own.ineligible = .requirementsUnmet(strict: true)
    #expect(scene.decide() == .giveUp(.becameIneligible(me)))
    scene.own.ineligible = .draining
    #expect(scene.decide() == .nothing)
    scene.own.ineligible = .leaving
    #expect(scene.decide() == .giveUp(.shutdown(me)))
  }

  @Test("failback follows its rule")
  func failback() {
    var scene = Scene()
    scene.own.holding = true
    scene.say(me, .holder)
    #expect(scene.decide() == .nothing, "never")
    scene.own.failback = .atOnce
    #expect(scene.decide() == .handOver(to: first, cause: .failback(first), quieten: true))
    scene.own.failback = .after(.milliseconds(20))
    #expect(scene.decide() == .nothing)
    #expect(scene.claim.wakeAt == start + .milliseconds(20))
    #expect(scene.decide(at: start + .milliseconds(20)) == .handOver(to: first, cause: .failback(first), quieten: true))
  }

  @Test("between equal priorities the holder keeps it, whatever the names")
  func equals() {
    var scene = Scene(priorities: [20, 20, 10])
    scene.own.holding = true
    scene.own.failback = .atOnce
    scene.say(me, .holder)
    #expect(scene.decide() == .nothing, "the first has the smaller name, and no more")
    scene.say(first, .candidate, priority: 21)
    #expect(scene.decide() == .handOver(to: first, cause: .failback(first), quieten: true))
  }

  @Test("after an operator's move failback waits until a better node is eligible anew")
  func pinned() {
    var scene = Scene()
    scene.own.holding = true
    scene.own.failback = .atOnce
    scene.own.gainedByMove = true
    scene.say(me, .holder)
    #expect(scene.decide() == .nothing)
    scene.say(first, .idle, eligible: false)
    scene.say(first, .candidate, eligible: true, at: start + .milliseconds(5))
    #expect(scene.decide(at: start + .milliseconds(5)) == .handOver(to: first, cause: .failback(first), quieten: true))
  }
}

@Suite("Preference")
struct PreferenceTests {
  @Test("the list counts down, the rest come after it in an order that differs by VIP")
  func order() {
    let nodes = (1...5).map { NodeName("n\($0)")! }
    let listed = [nodes[3], nodes[1]]
    let priorities = nodes.map { Preference.priority(vip: "web", node: $0, prefer: listed) }
    #expect(priorities[3] > priorities[1])
    #expect([0, 2, 4].allSatisfy { priorities[$0] < priorities[1] })
    let best = Set(
      (0..<64).map { number in
        nodes.max {
          Preference.priority(vip: "v\(number)", node: $0, prefer: nil)
            < Preference.priority(vip: "v\(number)", node: $1, prefer: nil)
        }!
      })
    #expect(best.count == 5, "64 VIPs spread over all five nodes")
  }
}

@Suite("What members announced")
struct CandidacyTableTests {
  @Test("is kept when the table gets room for more, in the place of the same slots")
  func room() {
    var table = CandidacyTable(vips: 2, members: 3)
    for vip in 0..<2 {
      for member in 0..<3 {
        _ = table.announce(
          VIPIndex(vip), by: MemberIndex(member), priority: UInt16(10 * vip + member), position: .candidate,
          eligible: true, now: start)
      }
    }
    let before = (0..<2).map { vip in (0..<3).map { table[VIPIndex(vip), MemberIndex($0)] } }
    table.makeRoom(vips: 1, members: 2)
    table.makeRoom(vips: 5, members: 4)
    table.makeRoom(vips: 5, members: 9)
    for vip in 0..<2 {
      for member in 0..<3 {
        #expect(table[VIPIndex(vip), MemberIndex(member)] == before[vip][member])
      }
    }
    #expect(!table[VIPIndex(4), MemberIndex(8)].isKnown && !table[VIPIndex(0), MemberIndex(3)].isKnown)
    table.forget(member: first)
    #expect(!table[VIPIndex(1), first].isKnown && table[VIPIndex(1), me].isKnown)
  }
}
