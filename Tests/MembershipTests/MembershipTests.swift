// Evidence, boots, replays and sleep.

import Membership
import Primitives
import Testing

private let start = Instant(nanoseconds: 1_000_000_000)
private let interval = TimeSpan.milliseconds(10)
private let detection = TimeSpan.milliseconds(35)
private let boot = BootID(high: 1, low: 2)
private let peer = MemberIndex(1)
private let other = MemberIndex(2)

private func table() -> MemberTable {
  var table = MemberTable(
    ownBoot: BootID(high: 9, low: 9), selfIndex: MemberIndex(0), interval: interval, detection: detection)
  for slot in 0..<3 {
    table.configure(MemberIndex(slot), nameHash: UInt64(100 + slot))
    table.setNameRank(MemberIndex(slot), slot)
  }
  return table
}

private func hearing(_ boot: BootID, _ sequence: UInt64, echo: UInt64?, sentAt: Instant = start) -> Hearing {
  Hearing(
    boot: boot, sequence: sequence, sentAt: sentAt, echo: echo.map { Echo(sequence: $0) }, interval: interval,
    detection: detection,
    starting: false, draining: false, configurationDigest: 0, intentsDigest: 0)
}

private func heartbeat(_ sequence: UInt64) -> Hearing { hearing(boot, sequence, echo: 1) }

/// A table that has believed `boot` of `peer` at `start`.
private func believing() -> MemberTable {
  var table = table()
  let sequence = table.takeSequence(at: start)
  let heard = table.hear(hearing(boot, 1, echo: sequence), from: peer, receivedAt: start, now: start)
  #expect(heard == .accepted(newest: true, newBoot: true, revived: true))
  return table
}

@Suite("The replay window")
struct ReplayWindowTests {
  @Test("agrees with a set of everything seen", arguments: 1...200)
  func model(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var window = ReplayWindow()
    var seen = Set<UInt64>()
    var highest: UInt64 = 0
    var base = 1 + random.next() % 10
    for _ in 0..<600 {
      if random.chance(1, in: 3) { base += random.next() % (random.chance(1, in: 20) ? 400 : 5) }
      let sequence = max(1, base + random.next() % 8 - min(base, random.next() % 300))
      let expected: ReplayWindow.Verdict =
        if sequence > highest { .newest } else if highest - sequence >= 256 || seen.contains(sequence) {
          .replayed
        } else { .late }
      #expect(window.judge(sequence) == expected)
      #expect(window.accept(sequence) == expected)
      seen.insert(sequence)
      highest = max(highest, sequence)
    }
  }

  @Test("never accepts sequence 0 or the same twice")
  func zero() {
    var window = ReplayWindow()
    #expect(window.accept(0) == .replayed)
    #expect(window.accept(UInt64.max - 1) == .newest)
    #expect(window.accept(UInt64.max - 1) == .replayed)
  }

  @Test("measures the share that is missing")
  func loss() {
    var window = ReplayWindow()
    #expect(window.loss == nil)
    for sequence in UInt64(1)...512 where sequence % 4 != 0 { _ = window.accept(sequence) }
    #expect((60...68).contains(window.loss ?? 0), "a quarter of 255")
  }
}

@Suite("Belief in a boot")
struct BootTests {
  @Test("needs an echo of what this node sent")
  func echo() {
    var table = table()
    #expect(table.hear(hearing(boot, 1, echo: nil), from: peer, receivedAt: start, now: start) == .unconfirmed)
    #expect(table[peer].pendingBoot == boot)
    #expect(
      table.hear(hearing(boot, 2, echo: 1), from: peer, receivedAt: start, now: start) == .unconfirmed,
      "nothing was sent yet")
    let sent = table.takeSequence(at: start)
    #expect(
      table.hear(hearing(boot, 3, echo: sent), from: peer, receivedAt: start, now: start)
        == .accepted(newest: true, newBoot: true, revived: true))
    #expect(table.isAlive(peer) == true)
  }

  @Test("is refused to an echo that is too old")
  func stale() {
    var table = table()
    let sent = table.takeSequence(at: start)
    let late = start + .seconds(3)
    #expect(table.hear(hearing(boot, 1, echo: sent), from: peer, receivedAt: late, now: late) == .unconfirmed)
  }

  @Test("does not go back to a boot that was replaced, whatever was recorded of it")
  func replacedBoot() {
    var table = believing()
    let sent = table.takeSequence(at: start)
    let second = BootID(high: 3, low: 4)
    #expect(
      table.hear(hearing(second, 1, echo: sent), from: peer, receivedAt: start, now: start)
        == .accepted(newest: true, newBoot: true, revived: true))
    // The first boot had heard `sent` as well, just before it ended.
    #expect(table.hear(hearing(boot, 99, echo: sent), from: peer, receivedAt: start, now: start) == .unconfirmed)
    #expect(table[peer].boot == second)
  }

  /// Replays of old boots, many times as often as the living boot speaks, just before and after each of its words.
  /// Returns how many sends it took until one would have reported the living boot.
  private func sendsUntilReported(_ table: inout MemberTable, replayed: [BootID], living: BootID) -> Int? {
    var now = start
    for send in 1...200 {
      now = now + interval
      for round in 0..<40 {
        for old in replayed {
          // Recordings with ever newer sequences, so that none is old news.
          let sequence = UInt64(100 * send + round)
          _ = table.hear(hearing(old, sequence, echo: nil), from: peer, receivedAt: now, now: now)
        }
        if round == 20 {
          _ = table.hear(hearing(living, UInt64(send), echo: nil), from: peer, receivedAt: now, now: now)
        }
      }
      let reported = table[peer].pendingBoot
      _ = table.takeSequence(at: now)
      if reported == living { return send }
    }
    return nil
  }

  @Test("is not kept from a new boot by replays of one that has ended, at whatever rate", arguments: [false, true])
  func replayedOldBoot(resigned: Bool) {
    var table = believing()
    let second = BootID(high: 3, low: 4)
    if resigned {
      #expect(table.resign(boot, sequence: 2, from: peer) == true)
      #expect(sendsUntilReported(&table, replayed: [boot], living: second) == 1)
    } else {
      let sent = table.takeSequence(at: start)
      _ = table.hear(hearing(second, 1, echo: sent), from: peer, receivedAt: start, now: start)
      let third = BootID(high: 5, low: 9)
      #expect(sendsUntilReported(&table, replayed: [boot], living: third) == 1)
    }
  }

  @Test("is not kept from a new boot by replays of boots that this node never knew", arguments: 1...20)
  func replayedUnknownBoots(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    var table = table()
    let old = (0..<3).map { _ in BootID(high: random.next(), low: random.next()) }
    let living = BootID(high: random.next(), low: random.next())
    // One in four sends reports it: 60 in vain are one chance in 30 millions.
    #expect(try #require(sendsUntilReported(&table, replayed: old, living: living)) <= 60)
  }

  @Test("ends with a resign, for ever")
  func resign() {
    var table = believing()
    let sent = table.takeSequence(at: start)
    #expect(table.resign(BootID(high: 7, low: 7), sequence: 5, from: peer) == false, "another boot")
    #expect(table.resign(boot, sequence: 1, from: peer) == false, "a sequence that was used")
    #expect(table.resign(boot, sequence: 2, from: peer) == true)
    #expect(table.isAlive(peer) == false)
    #expect(table.hear(hearing(boot, 3, echo: sent), from: peer, receivedAt: start, now: start) == .unconfirmed)
    #expect(table.resign(boot, sequence: 4, from: peer) == false, "it has resigned already")
  }
}

@Suite("Evidence")
struct EvidenceTests {
  @Test("a silent member is dead exactly at its deadline, not a nanosecond before")
  func deadline() {
    var table = believing()
    #expect(table.nextDeadline == start + detection)
    #expect(table.nextDead(now: start + detection - .nanoseconds(1)) == nil)
    #expect(table.isSuspect(peer, now: start + .milliseconds(16)) == true)
    #expect(table.nextDead(now: start + detection) == peer)
    #expect(table.nextDead(now: start + detection) == nil, "once")
  }

  @Test("a peer's newer news keeps a member alive, its old news does not")
  func reports() {
    var table = believing()
    let at = start + .milliseconds(30)
    expectFalse(report(&table, boot.fold, 1, at: at))
    #expect(table.nextDeadline == start + detection, "sequence 1 is known already")
    expectFalse(report(&table, 5, 9, at: at))
    #expect(table.nextDeadline == start + detection, "that is another boot")
    expectFalse(report(&table, boot.fold, 3, age: .milliseconds(4), at: at))
    #expect(table.nextDeadline == at - .milliseconds(4) + detection)
  }

  @Test("what others report counts for as long as the slowest of them waits, until it is heard twice in a row again")
  func reportedPatience() {
    var table = believing()
    var at = start
    expectFalse(report(&table, boot.fold, 3, patience: detection * 4, at: at))
    #expect(table.nextDeadline == at + detection * 4)
    expectFalse(report(&table, boot.fold, 4, patience: detection, at: at + interval))
    #expect(table.nextDeadline == at + detection * 4, "the other reports it still")
    expectFalse(report(&table, boot.fold, 4, patience: detection * 4, at: at + interval))
    #expect(table.nextDeadline == at + interval + detection * 4, "the other's next report, though it is no news")
    expectFalse(table.isHeardDirectly(peer, now: at + detection + .nanoseconds(1)))
    for (sequence, until) in [(UInt64(7), detection * 4), (8, interval * 2 + detection)] {
      at = at + interval
      _ = table.hear(
        hearing(boot, sequence, echo: nil, sentAt: at), from: peer, receivedAt: at, now: at)
      #expect(table.nextDeadline == (sequence == 7 ? start + interval + until : start + until))
    }
  }

  @Test("a report of a slow member that comes when the time is over brings nobody back")
  func reportedLate() {
    var table = believing()
    let at = start + detection
    #expect(table.nextDead(now: at) == peer)
    expectFalse(report(&table, boot.fold, 2, age: detection, patience: detection * 100, at: at + .milliseconds(1)))
    expectFalse(table.isAlive(peer))
  }

  @Test("a report that is older than who reports it would wait brings nobody back")
  func reportedTooOld() {
    var table = believing()
    let at = start + detection
    #expect(table.nextDead(now: at) == peer)
    expectFalse(report(&table, boot.fold, 2, age: .milliseconds(30), patience: .milliseconds(20), at: at))
    expectFalse(table.isAlive(peer))
  }

  private func report(
    _ table: inout MemberTable, _ fold: UInt64, _ sequence: UInt64, age: TimeSpan = .zero,
    patience: TimeSpan = detection, at: Instant
  ) -> Bool {
    table.report(of: peer, bootFold: fold, sequence: sequence, age: age, patience: patience, receivedAt: at, now: at)
  }

  private func expectFalse(_ value: Bool) { #expect(!value) }

  @Test("a late datagram proves nothing new")
  func late() {
    var table = believing()
    _ = table.hear(
      hearing(boot, 5, echo: nil), from: peer, receivedAt: start + .milliseconds(5), now: start + .milliseconds(5))
    let later = start + .milliseconds(20)
    #expect(
      table.hear(hearing(boot, 3, echo: nil), from: peer, receivedAt: later, now: later)
        == .accepted(newest: false, newBoot: false, revived: false))
    #expect(table.nextDeadline == start + .milliseconds(5) + detection)
  }

  @Test("the dead come back with news, and not with news that was old when it was read")
  func revival() {
    var table = believing()
    let dead = start + .milliseconds(40)
    #expect(table.nextDead(now: dead) == peer)
    #expect(
      table.hear(hearing(boot, 2, echo: nil), from: peer, receivedAt: start + .milliseconds(1), now: dead)
        == .accepted(newest: true, newBoot: false, revived: false))
    #expect(
      table.hear(hearing(boot, 3, echo: nil), from: peer, receivedAt: dead, now: dead)
        == .accepted(newest: true, newBoot: false, revived: true))
  }

  @Test("both ways means that it heard us within the detection time")
  func bothWays() {
    var table = believing()
    #expect(table.isHeardBothWays(peer, now: start) == true)
    var now = start
    for sequence in UInt64(2)...8 {
      now = now + interval
      _ = table.takeSequence(at: now)
      _ = table.hear(hearing(boot, sequence, echo: 1), from: peer, receivedAt: now, now: now)
    }
    #expect(table.isHeardDirectly(peer, now: now) == true)
    #expect(table.hearsUs(peer, now: now) == false, "it still echoes the first")
    #expect(table.isHeardBothWays(other, now: now) == false)
  }

  @Test("round trips come from echoes, without the peer's own delay")
  func roundTrip() {
    var table = table()
    let sent = table.takeSequence(at: start)
    var hearing = hearing(boot, 1, echo: nil)
    hearing.echo = Echo(sequence: sent, age: .milliseconds(3), loss: 51)
    let now = start + .microseconds(3_400)
    _ = table.hear(hearing, from: peer, receivedAt: now, now: now)
    #expect(table[peer].roundTrip == .microseconds(400))
    #expect(table[peer].lossOut == 51)
  }
}

@Suite("Patience with a peer")
struct PatienceTests {
  /// Hears sequence 2 of the peer `late` after it was due, and `missed` later.
  private func table(late: TimeSpan, missed: UInt64 = 0) -> MemberTable {
    var table = believing()
    let now = start + interval + late
    _ = table.hear(heartbeat(2 + missed), from: peer, receivedAt: now, now: now)
    return table
  }

  @Test("is what the peer asks for while its heartbeats come evenly")
  func even() { #expect(table(late: .milliseconds(2))[peer].patience == detection) }

  @Test("is more where they come late: a silence of that length is no death")
  func late() {
    var table = table(late: .milliseconds(24))
    // 10 + 5 + 24 + 6 ms.
    #expect(table[peer].patience == .milliseconds(45))
    let heard = start + .milliseconds(34)
    #expect(table.nextDead(now: heard + .milliseconds(44)) == nil)
    #expect(table.nextDead(now: heard + .milliseconds(45)) == peer)
  }

  @Test("learns nothing from lost heartbeats, nor from a silence beyond all jitter")
  func otherwise() {
    #expect(table(late: .milliseconds(24), missed: 2)[peer].patience == detection)
    #expect(table(late: .milliseconds(140))[peer].patience == detection)
  }
}

@Suite("Own sleep")
struct StallTests {
  @Test("is told from punctual, late and lost")
  func verdicts() {
    var guardian = StallGuard(now: start)
    #expect(
      guardian.wake(
        now: start + .milliseconds(15), due: start + interval, interval: interval, detection: detection,
        live: detection)
        == .punctual)
    #expect(
      guardian.wake(
        now: start + .milliseconds(32), due: start + interval, interval: interval, detection: detection,
        live: detection)
        == .late(.milliseconds(22)))
    #expect(guardian.judgeNotBefore == start + .milliseconds(42))
    #expect(guardian.worst == .milliseconds(22))
    #expect(
      guardian.wake(
        now: start + .milliseconds(32), due: start + interval, interval: interval, detection: detection,
        live: detection)
        == .punctual, "one sleep is told once")
    #expect(
      guardian.wake(
        now: start + .milliseconds(90), due: start + .milliseconds(40), interval: interval, detection: detection,
        live: detection)
        == .lost(.milliseconds(50)))
  }

  @Test("that never ends puts judgement off for a detection time, and no longer")
  func endless() {
    var guardian = StallGuard(now: start)
    var now = start
    func wakeLate() {
      let due = now + interval
      now = now + .milliseconds(25)
      let verdict = guardian.wake(now: now, due: due, interval: interval, detection: detection, live: detection)
      #expect(verdict == .late(.milliseconds(15)))
    }
    wakeLate()
    let first = now
    for _ in 0..<20 { wakeLate() }
    #expect(guardian.judgeNotBefore == first + detection && guardian.takeNotBefore == first + detection + interval)
    // A wake-up in the middle of it proves nothing; one on time after an interval does.
    for pause in [TimeSpan.milliseconds(1), interval] {
      now = now + pause
      #expect(
        guardian.wake(now: now, due: now + interval, interval: interval, detection: detection, live: detection)
          == .punctual)
      if pause < interval {
        wakeLate()
        #expect(guardian.judgeNotBefore == first + detection)
      }
    }
    wakeLate()
    #expect(guardian.judgeNotBefore == now + interval)
  }
}
