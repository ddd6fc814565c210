// The timer wheel against the obvious way: a list of deadlines that is searched.

import Primitives
import Testing

@testable import Balancer

struct TimerWheelTests {
  private func expired(_ wheel: inout TimerWheel, _ now: Tick) -> [Int32] {
    var found: [Int32] = []
    while true {
      let timer = wheel.nextExpired(now)
      if timer < 0 { return found }
      found.append(timer)
    }
  }

  @Test func `a deadline is reached at its tick and not before`() {
    var wheel = TimerWheel(capacity: 4)
    defer { wheel.deallocate() }
    wheel.set(2, 10)
    #expect(expired(&wheel, 9) == [])
    #expect(expired(&wheel, 10) == [2])
    #expect(expired(&wheel, 5_000) == [])
    #expect(wheel.deadline(2) == TimerWheel.never)
  }

  @Test func `a deadline that is put off or cancelled is not reached at its old tick`() {
    var wheel = TimerWheel(capacity: 4)
    defer { wheel.deallocate() }
    wheel.set(0, 10)
    wheel.set(0, 20)
    wheel.set(1, 10)
    wheel.cancel(1)
    #expect(expired(&wheel, 15) == [])
    #expect(expired(&wheel, 20) == [0])
  }

  @Test func `deadlines are reached after 795 days, too`() {
    var wheel = TimerWheel(capacity: 4)
    defer { wheel.deallocate() }
    let late = Tick(UInt32.max)
    #expect(expired(&wheel, late - 3) == [])
    wheel.set(0, late + 1)
    wheel.set(1, late - 1)
    wheel.set(2, late + 5_000)
    #expect(expired(&wheel, late) == [1])
    #expect(expired(&wheel, late + 1) == [0])
    wheel.set(0, late + 4_999)
    #expect(expired(&wheel, late + 4_999) == [0])
    #expect(expired(&wheel, late + 10_000) == [2])
  }

  @Test func `a deadline beyond the horizon is reached in its time`() {
    var wheel = TimerWheel(capacity: 1)
    defer { wheel.deallocate() }
    let far = Tick(TimerWheel.slotCount * 5 + 17)
    wheel.set(0, far)
    var now: Tick = 0
    while now < far - 1 {
      now = min(far - 1, now + 100)
      #expect(expired(&wheel, now) == [])
    }
    #expect(expired(&wheel, far) == [0])
  }

  @Test func `a deadline in the past is reached at once`() {
    var wheel = TimerWheel(capacity: 2)
    defer { wheel.deallocate() }
    #expect(expired(&wheel, 1_000) == [])
    wheel.set(1, 3)
    #expect(wheel.ticksUntilNext(1_000, limit: 50) == 0)
    #expect(expired(&wheel, 1_000) == [1])
  }

  @Test func `the time until the next one is never too long`() {
    var wheel = TimerWheel(capacity: 2)
    defer { wheel.deallocate() }
    #expect(wheel.ticksUntilNext(0, limit: 50) == 50)
    wheel.set(0, 30)
    #expect(wheel.ticksUntilNext(0, limit: 50) == 30)
    #expect(expired(&wheel, 29) == [])
    #expect(wheel.ticksUntilNext(29, limit: 50) == 1)
  }

  @Test(arguments: 1...40 as ClosedRange<UInt64>)
  func `it agrees with a plain list over random histories`(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var wheel = TimerWheel(capacity: 50)
    defer { wheel.deallocate() }
    var deadlines = [Tick?](repeating: nil, count: 50)
    var now: Tick = 0
    for _ in 0..<3_000 {
      let timer = Int(random.next() % 50)
      switch random.next() % 4 {
      case 0, 1:
        let span = random.chance(1, in: 10) ? random.next() % 20_000 : random.next() % 300
        deadlines[timer] = now + Tick(span)
        wheel.set(Int32(timer), now + Tick(span))
      case 2:
        deadlines[timer] = nil
        wheel.cancel(Int32(timer))
      default:
        let next = wheel.ticksUntilNext(now, limit: 1_000)
        if let nearest = deadlines.compactMap({ $0 }).min(), nearest > now { #expect(next <= nearest - now) }
        now += Tick(random.next() % (random.chance(1, in: 50) ? 9_000 : 60))
        let due = deadlines.indices.filter { deadlines[$0].map { $0 <= now } ?? false }
        #expect(Set(expired(&wheel, now)) == Set(due.map(Int32.init)))
        for index in due { deadlines[index] = nil }
      }
    }
  }
}
