// Judgements of supervision: when to start again, when an elector hangs, what a handover waits for.

import Agent
import Primitives
import Testing

@Suite struct SupervisionTests {
  @Test func `a child that keeps dying is started ever more rarely, up to five seconds`() {
    var backOff = BackOff()
    let delays = (0..<9).map { _ in backOff.delay(afterLifetime: .milliseconds(10)).milliseconds }
    #expect(delays == [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000])
  }

  @Test func `a child that lived for ten seconds is forgiven`() {
    var backOff = BackOff()
    for _ in 0..<5 { _ = backOff.delay(afterLifetime: .zero) }
    #expect(backOff.delay(afterLifetime: .milliseconds(9_999)) == .milliseconds(3_200))
    #expect(backOff.delay(afterLifetime: .seconds(10)) == .milliseconds(100))
  }

  /// Wakes at the right interval; `beat` gives the beat at each wake-up, `lateBy` how late it is. Returns when it hangs.
  private func hangs(
    detection: TimeSpan, wakeUps: Int, beat: (Int) -> UInt64, lateBy: (Int) -> TimeSpan = { _ in .zero }
  ) -> TimeSpan? {
    var watch = BeatWatch()
    var now = Instant(nanoseconds: 1_000_000_000)
    let start = now
    for number in 0..<wakeUps {
      if watch.wake(now: now, lateBy: lateBy(number), beat: beat(number), detection: detection) { return now - start }
      now = now + BeatWatch.interval(detection: detection)
    }
    return nil
  }

  @Test func `an elector whose beat moves does not hang`() {
    #expect(hangs(detection: .milliseconds(7), wakeUps: 1_000, beat: { UInt64($0) }) == nil)
    // Slow heartbeats: the beat moves once in a detection time.
    #expect(hangs(detection: .seconds(3), wakeUps: 1_000, beat: { UInt64($0 / 5) }) == nil)
  }

  @Test
  func `an unmoved beat counts as a hang after three punctual wake-ups, fifty milliseconds and the detection time`() {
    #expect(hangs(detection: .milliseconds(7), wakeUps: 100, beat: { _ in 9 }) == .milliseconds(60))
    let slow = hangs(detection: .milliseconds(300), wakeUps: 100, beat: { _ in 9 })
    #expect(slow == .milliseconds(400))
  }

  @Test func `a guardian that is itself late blames nobody`() {
    let verdict = hangs(
      detection: .milliseconds(7), wakeUps: 1_000, beat: { _ in 9 },
      lateBy: { $0 % 3 == 0 ? .milliseconds(15) : .zero })
    #expect(verdict == nil)
  }

  @Test func `a handover waits for its own token and is resumed once`() {
    var handovers = Handovers()
    let addresses = [IPAddress("192.0.2.100")!, IPAddress("2001:db8::100")!]
    let token = handovers.begin("web", addresses: addresses, expires: Instant(nanoseconds: 100))
    let answers = [handovers.quietened(token + 1), handovers.quietened(token), handovers.quietened(token)]
    #expect(answers == [nil, "web", nil])
    #expect(handovers.nextExpiry == Instant(nanoseconds: 100))
    #expect(handovers.expire(Instant(nanoseconds: 99)).isEmpty)
    #expect(handovers.expire(Instant(nanoseconds: 100)) == ["web"])
    #expect(handovers.addresses == addresses)
    let (first, second) = (handovers.finish("web"), handovers.finish("web"))
    #expect(first == addresses && second.isEmpty, "as they were when it began")
    #expect(handovers.nextExpiry == .distantFuture)
  }

  @Test func `a balancer that dies lets every handover go on`() {
    var handovers = Handovers()
    let web = handovers.begin("web", addresses: [], expires: .distantFuture)
    _ = handovers.begin("db", addresses: [], expires: .distantFuture)
    _ = handovers.quietened(web)
    let (first, second) = (handovers.abandonQuietening(), handovers.abandonQuietening())
    #expect(first == ["db"] && second.isEmpty)
  }

  @Test func `the service manager is kept alive at half of its time, and only if it means this process`() {
    func manager(_ variables: [String: String]) -> ServiceManager {
      ServiceManager(environment: { variables[$0] }, processIdentifier: 42)
    }
    #expect(manager([:]).watchdogInterval == nil)
    #expect(manager(["WATCHDOG_USEC": "3000000"]).watchdogInterval == .milliseconds(1_500))
    #expect(manager(["WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "42"]).watchdogInterval == .milliseconds(1_500))
    #expect(manager(["WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "43"]).watchdogInterval == nil)
    #expect(manager(["WATCHDOG_USEC": "none"]).watchdogInterval == nil)
  }
}
