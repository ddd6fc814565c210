// A node that slept: what it holds does not answer until it knows what became of it. And detection times that grow with
// how late a node is.

import ClusterNode
import Election
import Membership
import Primitives
import Testing

@Suite("A holder that slept for longer than its detection time")
struct SleepTests {
  private let web = VIPIndex(0)

  /// n1 holds the VIP and stops; n2 goes on for `span`, and what it sends waits in n1's socket.
  private func asleep(_ bench: inout Bench, for span: TimeSpan) -> [(bytes: [UInt8], at: Instant)] {
    bench.run(.milliseconds(205))
    #expect(bench.holders() == [0])
    let sleeper = bench.nodes[0]
    bench.nodes[0] = nil
    var waiting: [(bytes: [UInt8], at: Instant)] = []
    let end = bench.now + span
    while bench.now < end {
      bench.run(.milliseconds(10))
      waiting.append((bench.sent[1], bench.now))
    }
    bench.nodes[0] = sleeper
    return waiting
  }

  private func wake(_ bench: inout Bench, reading waiting: [(bytes: [UInt8], at: Instant)]) -> [Effect] {
    var effects = EffectBuffer()
    for (bytes, at) in waiting {
      bytes.withUnsafeBytes {
        bench.nodes[0]!.node.receive($0, over: Arrival(), receivedAt: at, now: bench.now, effects: &effects)
      }
      #expect(!effects.effects.contains(.send), "nothing is said while what waited is read")
      #expect(bench.nodes[0]!.node.liveUntil(web) == nil)
    }
    bench.nodes[0]!.node.advance(now: bench.now, effects: &effects)
    return effects.effects
  }

  @Test("lets go what somebody took meanwhile, before it says a word")
  func taken() {
    var bench = Bench(count: 2)
    let waiting = asleep(&bench, for: .milliseconds(200))
    #expect(bench.holders() == [0, 1])
    let effects = wake(&bench, reading: waiting)
    let releases = effects.firstIndex(of: .release(web, cause: .stalled))
    let sends = effects.firstIndex(of: .send)
    #expect(releases != nil && sends != nil && releases! < sends!)
    #expect(bench.nodes[0]!.node.isHolder(web) == false)
    #expect(bench.nodes[0]!.node.liveUntil(web) == nil)
  }

  @Test("lets go what somebody took meanwhile and handed on to a boot that it does not know")
  func handedOn() {
    var bench = Bench(count: 3, gated: true)
    bench.run(.milliseconds(205))
    let sleeper = bench.nodes[0]
    bench.nodes[0] = nil
    bench.nodes[2] = nil
    var waiting: [(bytes: [UInt8], at: Instant)] = []
    for millisecond in 0..<900 {
      if millisecond == 100 { bench.start(2) }
      if millisecond == 800 { bench.command(1, .move(web, to: bench.index(2))) }
      if millisecond == 801 { bench.command(1, .handoverReady(web)) }
      bench.run(.milliseconds(1))
      for sent in [bench.sent[1], bench.sent[2]]
      where !sent.isEmpty && waiting.suffix(2).allSatisfy({ $0.bytes != sent }) {
        waiting.append((sent, bench.now))
      }
    }
    #expect(bench.holders() == [2])
    bench.nodes[0] = sleeper
    let effects = wake(&bench, reading: waiting)
    #expect(effects.contains(.release(web, cause: .stalled)))
    bench.run(.milliseconds(100))
    #expect(bench.holders() == [2])
  }

  @Test("lets go once, also of what it loses in the same moment for another reason")
  func lostTwice() {
    var bench = Bench(count: 2, gated: true)
    let waiting = asleep(&bench, for: .milliseconds(200))
    var effects = EffectBuffer()
    for (bytes, at) in waiting {
      bytes.withUnsafeBytes {
        bench.nodes[0]!.node.receive($0, over: Arrival(), receivedAt: at, now: bench.now, effects: &effects)
      }
    }
    bench.nodes[0]!.node.handle(.carrier(up: false), now: bench.now, effects: &effects)
    bench.nodes[0]!.node.advance(now: bench.now, effects: &effects)
    #expect(effects.effects.count { if case .release = $0 { true } else { false } } == 1)
  }

  @Test("keeps what another was said to hold before anybody can have given it up")
  func oldWord() {
    var bench = Bench(count: 3, gated: true)
    bench.run(.milliseconds(500))
    bench.requirements(2, .unmet(strict: true))
    bench.run(.milliseconds(500))
    // n3 says that it hears n1, and n2 reads that only after it has got the VIP from n1 and slept.
    bench.cut = [[2, 1]]
    let before = bench.sent[2]
    while bench.sent[2] == before { bench.run(.microseconds(100)) }
    let old = bench.sent[2]
    bench.cut = []
    bench.command(0, .draining(true))
    bench.command(0, .handoverReady(web))
    #expect(bench.holders() == [1])
    var waiting = [(bytes: old, at: bench.now)]
    let sleeper = bench.nodes[1]
    bench.nodes[1] = nil
    let end = sleeper!.node.nextDeadline + .milliseconds(22)
    while bench.now < end {
      bench.run(.microseconds(500))
      for sent in [bench.sent[0], bench.sent[2]] where waiting.allSatisfy({ $0.bytes != sent }) {
        waiting.append((sent, bench.now))
      }
    }
    #expect(bench.deaths == 0, "it was not given up")
    bench.nodes[1] = sleeper
    for (bytes, at) in waiting {
      var effects = EffectBuffer()
      bytes.withUnsafeBytes {
        bench.nodes[1]!.node.receive($0, over: Arrival(), receivedAt: at, now: bench.now, effects: &effects)
      }
    }
    bench.clear()
    bench.run(.seconds(1))
    #expect(bench.holders() == [1])
    #expect(!bench.made.contains { $0.effect == .release(web, cause: .stalled) })
  }

  @Test("goes on with what nobody took, once its peers have echoed it")
  func kept() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(205))
    // Both slept, as on a host that pauses.
    bench.now = bench.now + .milliseconds(200)
    let effects = wake(&bench, reading: [])
    #expect(bench.nodes[0]!.node.isHolder(web) == true)
    #expect(effects.contains(.send))
    #expect(bench.nodes[0]!.node.liveUntil(web) == nil, "no echo yet")
    bench.clear()
    bench.run(.milliseconds(40))
    #expect(bench.holders() == [0])
    #expect(bench.acquisitions().isEmpty)
    let live = bench.nodes[0]!.node.liveUntil(web)
    #expect(live.map { $0 > bench.now } == true)
    #expect(bench.made.contains { $0.node == 0 && $0.effect == .announce(web) }, "it announces again")
  }

  @Test("goes on after a detection time if nobody is there")
  func alone() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(205))
    bench.nodes[1] = nil
    bench.now = bench.now + .milliseconds(200)
    _ = wake(&bench, reading: [])
    let woke = bench.now
    bench.run(.milliseconds(30))
    #expect(bench.nodes[0]!.node.liveUntil(web) == nil)
    bench.run(.milliseconds(20))
    #expect(bench.nodes[0]!.node.liveUntil(web).map { $0 > woke + .milliseconds(35) } == true)
    #expect(bench.holders() == [0])
  }

  @Test("what it may answer for ends a detection time after what it sent last")
  func live() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(205))
    let sentAt = bench.made.last { $0.node == 0 && $0.effect == .send }!.at
    #expect(bench.nodes[0]!.node.liveUntil(web) == sentAt + .milliseconds(35))
    #expect(bench.nodes[1]!.node.liveUntil(web) == nil)
  }
}

@Suite("The detection time in force")
struct AdaptingTests {
  private let web = VIPIndex(0)

  /// Lets n1 wake `lateness` after its heartbeat was due, with n2 undisturbed.
  private func wakeLate(_ bench: inout Bench, by lateness: TimeSpan) {
    let sleeper = bench.nodes[0]
    let due = sleeper!.node.nextDeadline
    bench.nodes[0] = nil
    bench.run(due + lateness - bench.now)
    bench.nodes[0] = sleeper
    bench.run(.zero)
  }

  @Test("grows with the lateness, is told to the peers, and shrinks again")
  func grows() {
    var bench = Bench(count: 2)
    bench.run(.milliseconds(200))
    #expect(bench.nodes[0]!.node.detectionTime == .milliseconds(35))
    wakeLate(&bench, by: .milliseconds(24))
    // 10 + 5 + 24 + 6 ms.
    #expect(bench.nodes[0]!.node.detectionTime == .milliseconds(45))
    #expect(bench.nodes[0]!.node.isHolder(web) == true)
    let sentAt = bench.made.last { $0.node == 0 && $0.effect == .send }!.at
    #expect(bench.nodes[0]!.node.liveUntil(web) == sentAt + .milliseconds(35), "the peers may not know yet")
    bench.run(.milliseconds(40))
    let later = bench.made.last { $0.node == 0 && $0.effect == .send }!.at
    #expect(bench.nodes[0]!.node.liveUntil(web) == later + .milliseconds(45))
    var status = StatusSnapshot()
    bench.nodes[1]!.node.snapshot(into: &status, now: bench.now)
    #expect(status.members[bench.index(0).value].detectionTime == .milliseconds(45))
    bench.run(.seconds(240))
    #expect(bench.nodes[0]!.node.detectionTime == .milliseconds(35))
  }

  @Test("a silence that is no jitter changes nothing, and nothing grows beyond its limit")
  func limit() {
    #expect(!DetectionTime.isJitter(.milliseconds(140), configured: .milliseconds(35)))
    #expect(
      DetectionTime.needed(interval: .milliseconds(10), peak: .milliseconds(100), configured: .milliseconds(35))
        == .milliseconds(140))
    #expect(
      DetectionTime.needed(interval: .milliseconds(10), peak: .milliseconds(16), configured: .milliseconds(35))
        == .milliseconds(35))
  }

  @Test("the peak halves in its half-life")
  func peak() {
    var peak = LatenessPeak()
    let start = Instant(nanoseconds: 1_000_000_000)
    #expect(peak.value(now: start) == .zero)
    peak.note(.milliseconds(16), now: start)
    #expect(peak.value(now: start) == .milliseconds(16))
    #expect(peak.value(now: start + .seconds(120)) == .milliseconds(8))
    #expect(peak.value(now: start + .seconds(360)) == .milliseconds(2))
    peak.note(.milliseconds(1), now: start + .seconds(360))
    #expect(peak.value(now: start + .seconds(360)) == .milliseconds(2))
    #expect(peak.value(now: start + .seconds(1_000_000)) == .zero)
    var last = TimeSpan.milliseconds(16)
    for second in 1...600 {
      let value = peak.value(now: start + .seconds(Int64(second)))
      #expect(value <= last)
      last = value
    }
  }
}
