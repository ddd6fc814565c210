// Rise, fall and the times between checks.

import Primitives
import Testing

@testable import Health

@Suite struct HealthStateTests {
  static let settings = HealthSettings(
    every: .seconds(2), fast: .milliseconds(500), down: .seconds(5), rise: 2, fall: 3)
  static func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

  func within(_ state: HealthState, of span: TimeSpan, after now: Instant) -> Bool {
    let wait = (state.nextCheck - now).nanoseconds
    return wait >= span.nanoseconds * 9 / 10 - 1 && wait <= span.nanoseconds * 11 / 10 + 1
  }

  @Test("unknown is not up, and the first check is due at once, or within the time that is given")
  func unknown() {
    let state = HealthState(settings: Self.settings, now: Self.at(7), seed: 1)
    #expect(state.verdict == .unknown)
    #expect(state.nextCheck == Self.at(7))
    #expect(state.lastCheck == "")
    let spread = (0..<200).map {
      (HealthState(settings: Self.settings, now: Self.at(7), seed: $0, first: .seconds(2)).nextCheck - Self.at(7))
        .nanoseconds
    }
    #expect(spread.allSatisfy { (0...2_000_000_000).contains($0) } && Set(spread).count > 150)
  }

  @Test("a check that could not be made says nothing of the server, the next is soon", arguments: [1, 500, 60_000])
  func notMade(_ fast: Int64) {
    var settings = Self.settings
    settings.fast = .milliseconds(fast)
    var state = HealthState(settings: settings, now: Self.at(0), seed: 1)
    #expect(state.handle(.notMade("no memory"), now: Self.at(0)) == nil)
    #expect(state.verdict == .unknown && state.lastCheck == "no memory")
    _ = state.handle(.success("fine"), now: Self.at(1))
    _ = state.handle(.failure("refused"), now: Self.at(2))
    _ = state.handle(.failure("refused"), now: Self.at(3))
    for _ in 0..<5 { #expect(state.handle(.notMade("no memory"), now: Self.at(4)) == nil) }
    #expect(state.verdict == .up && state.streak == 2 && state.lastCheck == "refused")
    #expect(within(state, of: min(.milliseconds(fast), .seconds(1)), after: Self.at(4)))
    #expect(state.handle(.failure("refused"), now: Self.at(5))?.verdict == .down, "the third")
  }

  @Test("one success suffices to come up from unknown")
  func firstSuccess() {
    var state = HealthState(settings: Self.settings, now: Self.at(0), seed: 1)
    let change = state.handle(.success("200 in 1 ms"), now: Self.at(1))
    #expect(change == HealthChange(verdict: .up, cause: "the first check succeeded: 200 in 1 ms"))
    #expect(state.since == Self.at(1))
    #expect(within(state, of: .seconds(2), after: Self.at(1)))
  }

  @Test("one failure suffices to go down from unknown")
  func firstFailure() {
    var state = HealthState(settings: Self.settings, now: Self.at(0), seed: 1)
    let change = state.handle(.failure("connection refused"), now: Self.at(1))
    #expect(change == HealthChange(verdict: .down, cause: "the first check failed: connection refused"))
    #expect(within(state, of: .milliseconds(500), after: Self.at(1)))
  }

  @Test("it takes `fall` failures in a row to go down, looked at more often meanwhile")
  func fall() {
    var state = HealthState(settings: Self.settings, now: Self.at(0), seed: 1)
    _ = state.handle(.success("ok"), now: Self.at(0))
    #expect(state.handle(.failure("status 500"), now: Self.at(1)) == nil)
    #expect(within(state, of: .milliseconds(500), after: Self.at(1)))
    #expect(state.handle(.failure("status 500"), now: Self.at(2)) == nil)
    // One success between them starts the count again.
    #expect(state.handle(.success("ok"), now: Self.at(3)) == nil)
    #expect(within(state, of: .seconds(2), after: Self.at(3)))
    #expect(state.handle(.failure("status 500"), now: Self.at(4)) == nil)
    #expect(state.handle(.failure("status 500"), now: Self.at(5)) == nil)
    #expect(state.verdict == .up)
    let change = state.handle(.failure("no answer within 1 s"), now: Self.at(6))
    #expect(change == HealthChange(verdict: .down, cause: "3 checks in a row failed: no answer within 1 s"))
    #expect(within(state, of: .milliseconds(500), after: Self.at(6)))
    #expect(state.handle(.failure("still"), now: Self.at(7)) == nil)
    #expect(state.lastCheck == "still" && state.since == Self.at(6))
  }

  @Test("who has gone down is looked at less and less often, and anew when it goes down again")
  func backOff() {
    var state = HealthState(settings: Self.settings, now: Self.at(0), seed: 1)
    for _ in 0..<2 {
      for milliseconds: Int64 in [500, 1000, 2000, 4000, 5000, 5000, 5000] {
        _ = state.handle(.failure("x"), now: Self.at(7))
        #expect(within(state, of: .milliseconds(milliseconds), after: Self.at(7)))
      }
      #expect(state.handle(.success("ok"), now: Self.at(8)) == nil)
      #expect(state.handle(.success("ok"), now: Self.at(8))?.verdict == .up)
      for _ in 0..<2 { #expect(state.handle(.failure("x"), now: Self.at(9)) == nil) }
    }
    // Never less often than while it is up and in question.
    let short = HealthSettings(fast: .seconds(3), down: .seconds(1))
    var other = HealthState(settings: short, now: Self.at(0), seed: 1)
    _ = other.handle(.failure("x"), now: Self.at(7))
    #expect(within(other, of: .seconds(1), after: Self.at(7)))
  }

  @Test("silent is who gives nothing back as often as takes a server down")
  func silence() {
    var state = HealthState(settings: Self.settings, now: Self.at(0), seed: 1)
    _ = state.handle(.success("ok"), now: Self.at(0))
    _ = state.handle(.failure("status 500"), now: Self.at(1))
    for second in Int64(2)...3 {
      _ = state.handle(.silence("no answer within 1 s"), now: Self.at(second))
      #expect(!state.isSilent)
    }
    #expect(state.verdict == .down)
    _ = state.handle(.silence("no answer within 1 s"), now: Self.at(4))
    #expect(state.isSilent && state.silentSince == Self.at(2))
    #expect(state.lastCheck == "no answer within 1 s")
    _ = state.handle(.silence("no answer within 1 s"), now: Self.at(5))
    #expect(state.isSilent && state.silentSince == Self.at(2))
    _ = state.handle(.failure("status 500"), now: Self.at(6))
    #expect(!state.isSilent)
  }

  @Test("it takes `rise` successes in a row to come up again")
  func rise() {
    var state = HealthState(settings: Self.settings, now: Self.at(0), seed: 1)
    _ = state.handle(.failure("x"), now: Self.at(0))
    #expect(state.handle(.success("ok"), now: Self.at(5)) == nil)
    #expect(within(state, of: .milliseconds(500), after: Self.at(5)))
    #expect(state.handle(.failure("x"), now: Self.at(6)) == nil)
    #expect(within(state, of: .milliseconds(1000), after: Self.at(6)))
    #expect(state.handle(.success("ok"), now: Self.at(7)) == nil)
    #expect(state.handle(.success("ok"), now: Self.at(8))?.verdict == .up)
  }

  @Test("checks of servers with different seeds do not march in step, with one seed they repeat")
  func jitter() {
    var times = Set<Int64>()
    for seed in UInt64(0)..<50 {
      var state = HealthState(settings: Self.settings, now: Self.at(0), seed: seed)
      var same = HealthState(settings: Self.settings, now: Self.at(0), seed: seed)
      for step in Int64(0)..<20 {
        _ = state.handle(.success("ok"), now: Self.at(step))
        _ = same.handle(.success("ok"), now: Self.at(step))
        #expect(within(state, of: .seconds(2), after: Self.at(step)))
        #expect(state.nextCheck == same.nextCheck)
      }
      times.insert(state.nextCheck.nanoseconds)
    }
    #expect(times.count > 45)
  }

  @Test("a server without checks is up and never checked")
  func unchecked() {
    let state = HealthState(uncheckedSince: Self.at(3))
    #expect(state.verdict == .up)
    #expect(state.nextCheck == .distantFuture)
  }

  @Test("against a slow count of the last outcomes, for thousands of seeds")
  func comparison() {
    for seed in UInt64(0)..<500 {
      var random = SeededRandom(seed: seed)
      let rise = Int(random.next() % 4) + 1
      let fall = Int(random.next() % 4) + 1
      var state = HealthState(settings: HealthSettings(rise: rise, fall: fall), now: Self.at(0), seed: seed)
      var outcomes: [Bool] = []
      var verdict = HealthVerdict.unknown
      for step in Int64(0)..<60 {
        let ok = random.chance(1, in: 2)
        outcomes.append(ok)
        let before = verdict
        if verdict == .unknown {
          verdict = ok ? .up : .down
        } else if outcomes.count >= rise, outcomes.suffix(rise).allSatisfy({ $0 }) {
          verdict = .up
        } else if outcomes.count >= fall, outcomes.suffix(fall).allSatisfy({ !$0 }) {
          verdict = .down
        }
        let change = state.handle(ok ? .success("s") : .failure("f"), now: Self.at(step))
        #expect(state.verdict == verdict)
        #expect((change != nil) == (before != verdict))
      }
    }
  }

  @Test("live failures bring a check forward, but start none where there are no checks")
  func suspicion() {
    var checked = HealthState(settings: HealthSettings(fast: .milliseconds(500)), now: Self.at(0), seed: 1)
    _ = checked.handle(.success("s"), now: Self.at(0))
    checked.suspect(now: Self.at(0))
    #expect(checked.nextCheck == Self.at(0) + .milliseconds(500))
    var unchecked = HealthState(uncheckedSince: Self.at(0))
    unchecked.suspect(now: Self.at(1))
    #expect(unchecked.nextCheck == .distantFuture)
    // Once there are checks it counts.
    unchecked.adopt(HealthSettings(), now: Self.at(5))
    unchecked.suspect(now: Self.at(1))
    #expect(unchecked.nextCheck == Self.at(1) + .milliseconds(500))
  }
}
