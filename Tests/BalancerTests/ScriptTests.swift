// Scripts that check servers: what is shown of what they print, how many run at once, and that none is left behind.

import Control
import Health
import Kernel
import Primitives
import Testing

@testable import Balancer

@Suite("Scripts that check servers") struct ScriptTests {
  static func line(_ parts: [UInt8]...) -> String {
    var line = FirstLine()
    for part in parts { line.take(part) }
    return line.text
  }

  @Test(
    "of what is printed the first line that says something is shown, as far as it can be printed",
    arguments: [
      ("", ""), ("\n \n", ""), ("no replication\nmore\n", "no replication"), ("  indented \r\nmore", "indented"),
      ("a\tb\u{1b}[31mr\u{7}ed\u{7}", "a b?[31mr?ed"), ("é – 好", "é – 好"), ("a\u{202e}b\u{feff}\u{85}", "a?b??"),
    ])
  func firstLine(_ printed: String, _ shown: String) {
    #expect(Self.line(Array(printed.utf8)) == shown)
    #expect(Self.line(Array(printed.utf8.prefix(3)), Array(printed.utf8.dropFirst(3))) == shown)
  }

  @Test("a long line is cut, not in the middle of a character, and bytes that are no text take no more room")
  func cut() {
    let exact = String(repeating: "x", count: 196)
    #expect(Self.line(Array((exact + "\n").utf8)) == exact)
    #expect(Self.line(Array((exact + "x").utf8)) == exact + " …")
    #expect(Self.line(Array(("x" + String(repeating: "é", count: 100)).utf8)).utf8.count == 199)
    let junk = Self.line([UInt8](repeating: 0xff, count: 300))
    #expect(junk == String(repeating: "?", count: 195) + " …" && junk.utf8.count <= 200)
  }

  @Test("turns come in the order in which they were asked for, and can be given up") func turns() {
    var turns = ScriptTurns()
    let start = Instant(nanoseconds: 0)
    for index in 0..<500 { turns.append(index, start + .seconds(Int64(index))) }
    for index in 0..<200 { #expect(turns.next() == index) }
    #expect(turns.count == 300 && turns.waitingSince == start + .seconds(200))
    turns.keep { $0 % 2 == 1 }
    #expect(turns.next() == 201 && turns.next() == 203 && turns.count == 148)
    while turns.next() != nil {}
    #expect(turns.count == 0 && turns.waitingSince == nil)
  }

  static func end(_ run: ScriptRun, within: TimeSpan = .seconds(20)) -> ScriptRun.Ending? {
    let deadline = Clock.monotonic + within
    while Clock.monotonic < deadline {
      if let ending = run.advance() { return ending }
      Threads.sleep(.milliseconds(1))
    }
    return nil
  }

  @Test("how it ends is known, and all that it gets is what it was given") func endings() throws {
    #expect(Self.end(try ScriptRun("/bin/true", environment: [])) == .ended(.exited(0)))
    #expect(Self.end(try ScriptRun("/bin/false", environment: [])) == .ended(.exited(1)))
    let run = try ScriptRun("/usr/bin/env", environment: ["AFLOAT_POOL=app"])
    #expect(Self.end(run) == .ended(.exited(0)))
    #expect(run.words == ": AFLOAT_POOL=app")
    let error = #expect(throws: SystemError.self) { try ScriptRun("/nonexistent", environment: []) }
    #expect(error?.cause == "no such file or directory")
  }

  @Test("one that prints without end is ended, and leaves nothing behind") func endless() throws {
    let runs = ScriptRuns()
    let run = try runs.start("/usr/bin/yes", environment: [])
    #expect(Self.end(run) == .printedTooMuch)
    #expect(run.words == ": y")
    runs.end(run)
    runs.waitForEnds()
    #expect(run.isReaped)
  }

  @Test("so many run at once; the others wait for their turn, and fail for nothing") func bound() throws {
    let start = Clock.monotonic
    let count = ScriptRuns.largestCount + 13
    let servers = (0..<count).map {
      ServerConfiguration(name: "s\($0)", endpoint: Endpoint(address: IPAddress("192.0.2.1")!, port: UInt16($0 + 1)))
    }
    // Its output is not read for the time being: it hangs.
    var check = HealthCheckConfiguration(kind: .script(path: "/usr/bin/yes"))
    (check.timeout, check.every) = (.seconds(60), .seconds(60))
    func configuration(_ check: HealthCheckConfiguration) -> BalancerConfiguration {
      BalancerConfiguration(
        node: "n1", threads: 1, cookieKeys: [], drainTimeout: .seconds(1), listeners: [],
        pools: [
          PoolConfiguration(name: "app", balance: .roundRobin, affinity: .none, servers: servers, check: check)
        ])
    }
    let layout = Layout(servers: [Array(0..<count)])
    let poller = try Poller(capacity: 256)
    var registry = ServerRegistry(now: start, seed: 1)
    _ = registry.configure(configuration(check), layout, failures: { _ in 0 }, now: start)
    let due = start + .seconds(1)
    #expect(registry.advance(now: due, poller: poller).isEmpty)
    func number(_ isCounted: (RegisteredServer) -> Bool) -> Int {
      registry.servers.count { $0.map(isCounted) ?? false }
    }
    #expect(number { $0.probe.isRunning } == ScriptRuns.largestCount && number { $0.waitsForTurn } == 13)
    #expect(registry.warning(now: due + .seconds(9)) == nil)
    #expect(
      registry.warning(now: due + .seconds(11))
        == "checks by script are late: 32 run at once, and 13 wait for their turn")
    // Time-outs make room for those who wait, whose own time begins only then.
    let late = due + .seconds(61)
    #expect(registry.advance(now: late, poller: poller).count == ScriptRuns.largestCount)
    #expect(number { $0.probe.isRunning } == 13 && number { $0.waitsForTurn } == 0)
    #expect(number { $0.state == .starting } == 13 && number { $0.state == .down } == ScriptRuns.largestCount)
    let words = registry.servers.compactMap { $0?.health.lastCheck }.filter { !$0.isEmpty }
    #expect(Set(words) == ["script /usr/bin/yes did not end within 60 s"])
    // Another check at once, by which all are up.
    check.kind = .script(path: "/bin/true")
    _ = registry.configure(configuration(check), layout, failures: { _ in 0 }, now: late)
    var now = late
    let deadline = Clock.monotonic + .seconds(20)
    while registry.servers.contains(where: { $0?.state != .up }), Clock.monotonic < deadline {
      now = now + .milliseconds(100)
      _ = registry.advance(now: now, poller: poller)
      for position in 0..<poller.wait(timeout: .milliseconds(50)) {
        _ = registry.probeIsReady(EventToken(rawValue: poller.event(position).token), now: now)
      }
    }
    #expect(number { $0.state == .up } == count)
    registry.close()
    #expect(number { $0.probe.isRunning } == 0)
  }
}
