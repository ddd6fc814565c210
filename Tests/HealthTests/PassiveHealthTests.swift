// Ejection by live traffic.

import Primitives
import Testing

@testable import Health

/// Mutating calls within expectations.
private final class Watched {
  var health: PassiveHealth
  init(_ settings: PassiveSettings) { health = PassiveHealth(settings: settings) }

  func handle(failures: Int, requests: UInt64, now: Instant) -> Bool {
    health.handle(failures: failures, requests: requests, now: now)
  }
  func mark(requests: UInt64, now: Instant) { health.mark(requests: requests, now: now) }
  func advance(now: Instant) -> Bool { health.advance(now: now) }
  func recover() -> Bool { health.recover() }
  func eject(now: Instant) { health.eject(now: now) }
  var ejectedUntil: Instant? { health.ejectedUntil }
}

@Suite struct PassiveHealthTests {
  static func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }

  @Test("as many failures as configured within the time eject, one fewer or a slower row does not")
  func failures() {
    let health = Watched(PassiveSettings())
    for index in 0..<4 { #expect(!health.handle(failures: 1, requests: UInt64(index), now: Self.at(Double(index)))) }
    // The first of them is too old by now, the other three and this one are four.
    #expect(!health.handle(failures: 1, requests: 5, now: Self.at(10.5)))
    #expect(health.handle(failures: 1, requests: 6, now: Self.at(10.6)))
    #expect(health.ejectedUntil == nil, "the pool decides")
    let many = Watched(PassiveSettings())
    #expect(many.handle(failures: 1000, requests: 1000, now: Self.at(1)))
  }

  @Test("it comes back by itself, or when its checks have seen it recover")
  func back() {
    let health = Watched(PassiveSettings(failures: 1))
    #expect(health.handle(failures: 1, requests: 1, now: Self.at(1)))
    health.eject(now: Self.at(1))
    #expect(!health.handle(failures: 9, requests: 10, now: Self.at(2)), "it is out already")
    #expect(!health.advance(now: Self.at(30.9)))
    #expect(health.ejectedUntil == Self.at(31))
    #expect(health.advance(now: Self.at(31)) && health.ejectedUntil == nil)
    health.eject(now: Self.at(40))
    #expect(health.recover() && !health.recover() && health.ejectedUntil == nil)
  }

  @Test("a busy server is not ejected for a few failures among many requests")
  func busy() {
    let health = Watched(PassiveSettings())
    for index in 0..<20 {
      #expect(!health.handle(failures: 1, requests: UInt64(index * 1000), now: Self.at(Double(index) / 10)))
    }
    let failing = Watched(PassiveSettings())
    var ejected = false
    for index in 0..<5 {
      ejected = failing.handle(failures: 1, requests: UInt64(index * 10), now: Self.at(Double(index) / 10))
    }
    #expect(ejected)
  }

  @Test("many failures at one moment are measured by the requests of the time before")
  func bursts() {
    let busy = Watched(PassiveSettings())
    for second in 1...5 { busy.mark(requests: UInt64(second) * 10_000, now: Self.at(Double(second))) }
    #expect(!busy.handle(failures: 30, requests: 55_000, now: Self.at(5.5)))
    // All that it gets fails.
    #expect(busy.handle(failures: 500, requests: 55_500, now: Self.at(5.6)))
    let idle = Watched(PassiveSettings())
    for second in 1...5 { idle.mark(requests: 10, now: Self.at(Double(second))) }
    #expect(idle.handle(failures: 5, requests: 15, now: Self.at(5.5)))
  }

  @Test(
    "a share of the pool at most, and never the last server",
    arguments: [(50, 1, 0), (50, 2, 1), (50, 3, 1), (50, 4, 2), (100, 3, 2), (0, 9, 0), (34, 3, 1), (33, 3, 0)])
  func share(_ percent: Int, _ servers: Int, _ expected: Int) {
    let settings = PassiveSettings(atMostPercent: percent)
    var ejected = 0
    while settings.mayEject(ejectedCount: ejected, serverCount: servers) { ejected += 1 }
    #expect(ejected == expected)
  }
}
