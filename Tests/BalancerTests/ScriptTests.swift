// Scripts that check servers: what is shown of what they print, how many run at once, and that none is left behind.

import Control
import Glibc
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
      ("a\tb\u{1b}[31mr\u{7}ed\u{7}", "a b?[31mr?ed"), ("é – 好", "é – 好"),
      ("a\u{202e}b\u{feff}\u{85}\u{61c}", "a?b???"),
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

  static func start(_ path: String, _ environment: [String] = [], _ runs: ScriptRuns = ScriptRuns()) throws -> ScriptRun
  {
    try runs.start(path, environment: environment)
  }

  static func wait(_ what: String, _ isThere: () -> Bool) throws {
    let deadline = Clock.monotonic + .seconds(20)
    while !isThere() {
      try #require(Clock.monotonic < deadline, "\(what) does not come to pass")
      Threads.sleep(.milliseconds(1))
    }
  }

  static func end(_ run: ScriptRun) throws -> ScriptRun.Ending? {
    try wait("its end") { run.ending != nil }
    return run.ending
  }

  /// An executable that says `text` to a shell; somewhere in /tmp.
  static func script(_ text: String) throws -> String {
    let path = "/tmp/afloat-script-\(Clock.unixNanoseconds)-\(UInt32.random(in: 0...UInt32.max))"
    let file = try #require(fopen(path, "w"))
    fputs("#!/bin/sh\n\(text)\n", file)
    fclose(file)
    #expect(chmod(path, 0o755) == 0)
    return path
  }

  @Test("how it ends is known, and all that it gets is what it was given") func endings() throws {
    #expect(try Self.end(Self.start("/bin/true")) == .ended(.exited(0)))
    #expect(try Self.end(Self.start("/bin/false")) == .ended(.exited(1)))
    let run = try Self.start("/usr/bin/env", ["AFLOAT_POOL=app"])
    #expect(try Self.end(run) == .ended(.exited(0)))
    #expect(run.words == ": AFLOAT_POOL=app")
    guard case .notStarted(let error) = try Self.end(Self.start("/nonexistent")) else {
      Issue.record("it was started")
      return
    }
    #expect(error.cause == "no such file or directory" && !error.isShortage)
  }

  @Test("it has no descriptors of ours, and no more than a few of its own") func descriptors() throws {
    let ours = (0..<200).map { _ in open("/dev/null", O_RDONLY) }  // not close-on-exec
    defer { for raw in ours { close(raw) } }
    var before = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
    // The limit comes a moment after the start. `ls` has its directory open.
    for (text, words) in [
      ("sleep 0.5; ulimit -Sn", ": \(min(before.rlim_cur, 1024))"), ("exec ls -m /proc/self/fd", ": 0, 1, 2, 3"),
    ] {
      let path = try Self.script(text)
      defer { unlink(path) }
      let run = try Self.start(path, ["PATH=/usr/bin:/bin"])
      #expect(try Self.end(run) == .ended(.exited(0)))
      #expect(run.words == words)
    }
    #expect(ours.allSatisfy { fcntl($0, F_GETFD) >= 0 }, "ours stay as they are")
  }

  @Test("one that prints without end is ended, and leaves nothing behind") func endless() throws {
    let runs = ScriptRuns()
    let run = try Self.start("/usr/bin/yes", [], runs)
    #expect(try Self.end(run) == .printedTooMuch)
    #expect(run.words == ": y")
    runs.end(run)
    runs.waitForEnds()
    #expect(run.isOver)
  }

  @Test("one that prints too much has, however soon it ends", arguments: [(65536, true), (65537, false)])
  func tooMuch(_ count: Int, _ isFine: Bool) throws {
    let path = try Self.script("head -c \(count) /dev/zero")
    defer { unlink(path) }
    for _ in 0..<10 {
      let run = try Self.start(path, ["PATH=/usr/bin:/bin"])
      #expect(try Self.end(run) == (isFine ? .ended(.exited(0)) : .printedTooMuch))
    }
  }

  @Test("one that is not wanted any more before it has begun is killed as soon as it has") func early() throws {
    let runs = ScriptRuns()
    let path = try Self.script("exec sleep 60")
    defer { unlink(path) }
    let begin = Clock.monotonic
    let run = try Self.start(path, ["PATH=/usr/bin:/bin"], runs)
    runs.end(run)
    #expect(Clock.monotonic - begin < .seconds(5))
    try Self.wait("its end") { run.isOver }
    #expect(run.ending == .ended(.signalled(9)))
  }

  static func configuration(_ check: HealthCheckConfiguration, count: Int) -> BalancerConfiguration {
    let servers = (0..<count).map {
      ServerConfiguration(name: "s\($0)", endpoint: Endpoint(address: IPAddress("192.0.2.1")!, port: UInt16($0 + 1)))
    }
    let pool = PoolConfiguration(name: "app", balance: .roundRobin, affinity: .none, servers: servers, check: check)
    return BalancerConfiguration(
      node: "n1", threads: 1, cookieKeys: [], listeners: [], pools: [pool])
  }

  /// A registry with so many servers whose checks by `path` hang, at the moment when they are due.
  static func registry(
    _ path: String, count: Int, timeout: TimeSpan = .seconds(60)
  ) -> (ServerRegistry, HealthCheckConfiguration, due: Instant) {
    let start = Clock.monotonic
    var check = HealthCheckConfiguration(kind: .script(path: path))
    (check.timeout, check.every) = (timeout, .seconds(60))
    var registry = ServerRegistry(now: start, seed: 1)
    _ = registry.configure(
      configuration(check, count: count), Layout(servers: [Array(0..<count)]), failures: { _ in 0 }, now: start)
    return (registry, check, start + .seconds(1))
  }

  @Test("so many run at once; the others wait for their turn, and fail for nothing") func bound() throws {
    let path = try Self.script("exec sleep 600")
    defer { unlink(path) }
    let count = ScriptRuns.largestCount + 13
    let poller = try Poller(capacity: 256)
    var (registry, check, due) = Self.registry(path, count: count)
    #expect(registry.advance(now: due, poller: poller).isEmpty)
    func number(_ isCounted: (RegisteredServer) -> Bool) -> Int {
      registry.servers.count { $0.map(isCounted) ?? false }
    }
    #expect(number { $0.probe.isRunning } == ScriptRuns.largestCount && number { $0.waitsForTurn } == 13)
    #expect(registry.warnings(now: due + .seconds(9)).isEmpty)
    #expect(
      registry.warnings(now: due + .seconds(11))
        == ["checks by script are late: 32 run at once, and 13 wait for their turn"])
    // Time-outs make room for those who wait, whose own time begins only then.
    let late = due + .seconds(61)
    #expect(registry.advance(now: late, poller: poller).count == ScriptRuns.largestCount)
    #expect(number { $0.probe.isRunning } == 13 && number { $0.waitsForTurn } == 0)
    #expect(number { $0.state == .starting } == 13 && number { $0.state == .down } == ScriptRuns.largestCount)
    let words = registry.servers.compactMap { $0?.health.lastCheck }.filter { !$0.isEmpty }
    #expect(Set(words) == ["script \(path) did not end within 60 s"])
    // Another check at once, by which all are up.
    check.kind = .script(path: "/bin/true")
    let layout = Layout(servers: [Array(0..<count)])
    _ = registry.configure(Self.configuration(check, count: count), layout, failures: { _ in 0 }, now: late)
    _ = registry.run(poller, from: late) { !$0.servers.contains { $0?.state != .up } }
    #expect(number { $0.state == .up } == count)
    registry.close()
    #expect(number { $0.probe.isRunning } == 0)
  }

  @Test("the check of a new address is the next to run, before servers that wait for their turn")
  func trialsFirst() throws {
    let path = try Self.script("exec sleep 600")
    defer { unlink(path) }
    let count = 2 * ScriptRuns.largestCount
    let poller = try Poller(capacity: 256)
    var (registry, check, due) = Self.registry(path, count: count)
    _ = registry.advance(now: due, poller: poller)
    check.kind = .script(path: "/bin/true")
    let pool = Self.configuration(check, count: 1).pools[0]
    var server = pool.servers[0]
    server.endpoint = Endpoint(address: IPAddress("192.0.2.2")!, port: 1)
    registry.tryOut([AddressTrial(slot: 0, pool: pool, server: server)], now: due)
    _ = registry.advance(now: due + .milliseconds(100), poller: poller)
    #expect(registry.trialsWait && registry.waitingTrials.count == 1)
    #expect(
      registry.warnings(now: due + .seconds(12))
        == ["checks by script are late: 32 run at once, and 33 wait for their turn"])
    let kept = registry.warnings(now: due + .seconds(61)).last
    #expect(kept?.hasPrefix("app/s0 is used at 192.0.2.1, which it has left: ") == true)
    // All whose time is over are followed by others, but for one.
    _ = registry.advance(now: due + .seconds(61), poller: poller)
    #expect(!registry.trialsWait && registry.servers.count { $0?.waitsForTurn == true } == 1)
    _ = registry.run(poller, from: due + .seconds(61)) { $0.hasProven }
    #expect(registry.isProven(ServerKey(pool: "app", server: "s0"), IPAddress("192.0.2.2")!))
    registry.close()
  }

  @Test("what is left of a killed run is the only one of its server, after a reload too; not at once a failed check")
  func handedOn() throws {
    let scripts = ScriptRuns()
    let board = try ScriptBoard()
    func server(_ path: String) -> RegisteredServer {
      let pool = Self.configuration(HealthCheckConfiguration(kind: .script(path: path)), count: 1).pools[0]
      return RegisteredServer(
        pool: pool, configuration: pool.servers[0], health: HealthState(uncheckedSince: Instant(nanoseconds: 0)),
        probe: HealthProbe(pool.servers[0], pool, scripts: scripts, sockets: CheckSockets()))
    }
    let now = Clock.monotonic
    let hanging = ScriptRun(board)
    var known = server("/bin/false")
    let next = server("/bin/true")
    known.probe.killed = (hanging, now)
    known.adopt(next.configuration, next.pool, nil, scripts, CheckSockets(), now: now)
    #expect(known.probe.start(now: now) == .notMade(nil))
    known.probe.killed = (hanging, now - .seconds(10))
    known.adopt(known.configuration, server("/bin/false").pool, nil, scripts, CheckSockets(), now: now)
    #expect(
      known.probe.start(now: now)
        == .failure("script /bin/false was killed and has not ended, it hangs in the kernel"))
  }

  @Test("of those that do not end there are only so many; that is no failure of servers") func stuck() throws {
    let scripts = ScriptRuns()
    let board = try ScriptBoard()
    for _ in 0..<ScriptRuns.largestHangingCount {
      #expect(!scripts.isStuck)
      scripts.end(ScriptRun(board))
    }
    let pool = Self.configuration(HealthCheckConfiguration(kind: .script(path: "/bin/true")), count: 1).pools[0]
    var probe = HealthProbe(pool.servers[0], pool, scripts: scripts, sockets: CheckSockets())
    let lack = "128 scripts were killed and have not ended, they hang in the kernel"
    #expect(probe.start(now: Clock.monotonic) == .notMade(lack))
    var registry = ServerRegistry(now: Instant(nanoseconds: 0), seed: 1)
    let now = Instant(nanoseconds: 0) + .seconds(5)
    registry.note(.notMade(lack), now)
    registry.note(.notMade(nil), now + .seconds(1))
    let words = ["checks are put off, this node lacks something for them: \(lack)"]
    #expect(registry.warnings(now: now + .seconds(9)) == words && registry.warnings(now: now + .seconds(11)).isEmpty)
  }
}
