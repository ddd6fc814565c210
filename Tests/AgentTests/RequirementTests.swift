// What VIPs require: the book of answers, rise and fall, lines of output; and the real watch over real scripts, files and
// processes.

import Agent
import Control
import Foundation
import Primitives
import Testing

private func vip(_ name: String, _ requires: [Requirement]) -> VIPConfiguration {
  VIPConfiguration(
    name: name, addresses: [], interface: "eth0", prefer: nil, failback: .never, requires: requires,
    announce: .seconds(60))
}

private func pool(_ name: String, _ states: [ServerState], weight: Int = 100) -> PoolStatus {
  PoolStatus(
    name: name,
    servers: states.enumerated().map { index, state in
      ServerStatus(
        name: "s\(index)", endpoint: Endpoint("192.0.2.1:80")!, state: state, weight: weight, connections: 0,
        requests: 0, failures: 0, lastCheck: "")
    })
}

private func noted(_ book: inout RequirementBook, _ note: (inout RequirementBook) -> Bool) -> Bool { note(&book) }
private func changes(_ book: inout RequirementBook) -> [VIPStanding] { book.changes() }
private func result(_ tally: inout RiseAndFall, _ good: Bool) -> String { tally.take(good) }

@Suite("The book of requirements") struct RequirementBookTests {
  @Test("nobody is eligible before everything is known, and each change is told once")
  func story() {
    var book = RequirementBook()
    let file = Requirement.Kind.file("/run/ok")
    book.configure([
      vip("web", [Requirement(.balancer), Requirement(file, strict: true)]), vip("free", []),
      vip("other", [Requirement(file)]),
    ])
    #expect(book.outside == [file])
    #expect(
      changes(&book) == [
        VIPStanding(
          vip: "web", eligible: false, strict: true, cause: "balancer: not known yet; file /run/ok: not known yet"),
        VIPStanding(vip: "other", eligible: false, strict: false, cause: "file /run/ok: not known yet"),
      ])
    #expect(changes(&book).isEmpty)
    #expect(noted(&book) { $0.note(file, RequirementAnswer(met: true, cause: "it is there")) })
    #expect(!noted(&book) { $0.note(file, RequirementAnswer(met: true, cause: "it is there")) }, "no news")
    #expect(
      changes(&book) == [
        VIPStanding(vip: "web", eligible: false, strict: false, cause: "balancer: not known yet"),
        VIPStanding(vip: "other", eligible: true, strict: false, cause: ""),
      ])
    #expect(noted(&book) { $0.note(.balancer, RequirementAnswer(met: true, cause: "it serves")) })
    #expect(changes(&book).map(\.eligible) == [true])
    book.forgetTold()
    #expect(changes(&book).count == 2, "a new elector is told everything")
    #expect(book.shown["web"]?.map(\.met) == [true, true] && book.shown["free"] == [])
    book.configure([vip("free", [])])
    #expect(changes(&book).isEmpty && book.outside.isEmpty)
    #expect(!noted(&book) { $0.note(file, RequirementAnswer(met: false, cause: "gone")) }, "nobody asks any more")
  }

  @Test("what the balancer said is kept for VIPs that require it later")
  func balancerBefore() {
    var book = RequirementBook()
    book.configure([vip("web", [])])
    #expect(!noted(&book) { $0.note(.balancer, RequirementAnswer(met: true, cause: "it serves")) }, "nobody asks")
    book.configure([vip("web", [Requirement(.balancer)]), vip("more", [Requirement(.balancer)])])
    #expect(changes(&book).map(\.eligible) == [true, true])
  }

  @Test("a new requirement counts against an eligible node from its first answer on, against another at once")
  func newRequirements() {
    var book = RequirementBook()
    let (old, new) = (Requirement.Kind.file("/run/ok"), Requirement.Kind.file("/run/other"))
    book.configure([vip("free", []), vip("fit", [Requirement(old)]), vip("unfit", [Requirement(.process("p"))])])
    _ = noted(&book) { $0.note(old, RequirementAnswer(met: true, cause: "it is there")) }
    _ = changes(&book)
    book.configure(["free", "fit", "unfit", "added"].map { vip($0, [Requirement(new, strict: true)]) })
    let told = Dictionary(uniqueKeysWithValues: changes(&book).map { ($0.vip, $0.eligible) })
    #expect(told == ["free": true, "unfit": false, "added": false], "fit stays what it was")
    // Another reload before the answer changes nothing about that.
    book.configure(["free", "fit", "unfit", "added"].map { vip($0, [Requirement(new)]) })
    let again = changes(&book)
    #expect(again.allSatisfy { !$0.eligible })
    #expect(noted(&book) { $0.note(new, RequirementAnswer(met: false, cause: "it is not there")) })
    let answered = changes(&book)
    #expect(Set(answered.filter { !$0.eligible }.map(\.vip)).isSuperset(of: ["free", "fit"]))
  }

  @Test("pools are counted by the servers that take clients")
  func pools() {
    var book = RequirementBook()
    book.configure([vip("web", [Requirement(.pool("app", atLeast: 2))])])
    let states: [ServerState] = [.up, .up, .down, .drain, .maint, .starting]
    #expect(noted(&book) { $0.note(pools: [pool("app", states)]) })
    #expect(changes(&book) == [VIPStanding(vip: "web", eligible: true, strict: false, cause: "")])
    #expect(noted(&book) { $0.note(pools: [pool("app", [.up, .down])]) })
    #expect(
      changes(&book).map(\.cause) == ["pool app (at least 2): 1 of 2 servers are up"])
    #expect(noted(&book) { $0.note(pools: nil, why: "it ended") })
    #expect(changes(&book).map(\.cause) == ["pool app (at least 2): it ended"])
  }

  @Test("a pool whose clients are switched to others is there while those are, and servers without weight do not count")
  func switchedPools() {
    var book = RequirementBook()
    book.configure([vip("web", [Requirement(.pool("app", atLeast: 1))])])
    let targets: (String) -> Set<String> = { $0 == "app" ? ["green", "app"] : [$0] }
    func note(_ pools: [PoolStatus], _ destinations: (String) -> Set<String>) -> [VIPStanding] {
      _ = book.note(pools: pools, destinations: destinations)
      return book.changes()
    }
    #expect(note([pool("app", [.down]), pool("green", [.up])], { _ in ["green"] }).map(\.eligible) == [true])
    #expect(
      note([pool("app", [.up]), pool("green", [.down])], { _ in ["green"] }).map(\.cause) == [
        "pool app: its clients are switched to pool green: 0 of 1 servers are up"
      ])
    #expect(note([pool("app", [.up]), pool("green", [.up])], targets).map(\.eligible) == [true])
    #expect(note([pool("app", [.down]), pool("green", [.up])], targets).map(\.eligible) == [false])
    #expect(
      note([pool("app", [.up, .down], weight: 0)], { [$0] }).map(\.cause) == [
        "pool app: 0 of 2 servers are up (not counting 1 with weight 0)"
      ])
  }

  @Test("the first result counts at once, then so many in a row change it")
  func riseAndFall() {
    var tally = RiseAndFall(rise: 2, fall: 3)
    #expect(tally.met == nil)
    #expect(result(&tally, false) == "")
    #expect(tally.met == false)
    #expect(result(&tally, true) == " (1 of 2 good results that change it)")
    #expect(tally.met == false)
    #expect(result(&tally, false) == "")
    #expect(tally.met == false)
    _ = tally.take(true)
    #expect(result(&tally, true) == "")
    #expect(tally.met == true)
    _ = tally.take(false)
    #expect(result(&tally, false) == " (2 of 3 bad results that change it)")
    #expect(tally.met == true)
    #expect(result(&tally, true) == "")
    for met in [true, true, false] {
      _ = tally.take(false)
      #expect(tally.met == met)
    }
  }

  @Test("output becomes lines: empty ones left out, long ones cut, a last one without its end")
  func lines() {
    var lines = OutputLines()
    var found: [String] = []
    lines.take(Array("one\n\n  \ntw".utf8)) { found.append($0) }
    lines.take(Array("o\r\n".utf8) + [UInt8](repeating: 65, count: 100_000) + Array("\nlast".utf8)) { found.append($0) }
    lines.finish { found.append($0) }
    lines.finish { found.append($0) }
    #expect(found.count == 4)
    #expect(found[0] == "one" && found[1] == "two" && found[3] == "last")
    #expect(found[2] == String(repeating: "A", count: OutputLines.longestLine) + " …")
  }
}

/// Answers as they come from the watch's thread.
private final class Answers: @unchecked Sendable {
  // Unchecked: everything under the lock.
  private let lock = NSLock()
  private var all: [(Requirement.Kind, RequirementAnswer)] = []

  func add(_ kind: Requirement.Kind, _ answer: RequirementAnswer) { lock.withLock { all.append((kind, answer)) } }
  func last(_ kind: Requirement.Kind) -> RequirementAnswer? { lock.withLock { all.last { $0.0 == kind }?.1 } }

  /// Waits until the last answer is such a one, for 10 s at most.
  func wait(_ kind: Requirement.Kind, _ met: Bool, _ words: String = "") async -> RequirementAnswer? {
    for _ in 0..<1_000 {
      if let answer = last(kind), answer.met == met, words.isEmpty || answer.cause.contains(words) { return answer }
      try? await Task.sleep(for: .milliseconds(10))
    }
    return nil
  }
}

@Suite("The watch over requirements") struct RequirementWatchTests {
  private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("afloat-\(UUID().uuidString)")
  private let answers = Answers()

  private func watch() throws -> RequirementWatch {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return try RequirementWatch(environment: ["PATH=/usr/bin:/bin", "WORD=hello"]) { [answers] in answers.add($0, $1) }
  }

  private func script(_ name: String, _ text: String) throws -> ScriptCheck {
    let path = folder.appendingPathComponent(name).path
    try Scripts.write(path, text)
    var check = ScriptCheck(path: path)
    check.every = .milliseconds(100)
    check.timeout = .seconds(5)
    check.rise = 1
    check.fall = 2
    return check
  }

  private func exists(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: folder.appendingPathComponent(name).path)
  }

  @Test("a script's status counts, with the last line that it printed; a missing one cannot be started")
  func scripts() async throws {
    let watch = try watch()
    defer { watch.stop() }
    let check = try script("check", "echo \"$WORD\"; echo out of disk >&2; test -e \(folder.path)/good")
    let missing = ScriptCheck(path: folder.path + "/missing")
    watch.watch([.script(check), .script(missing)])
    #expect(await answers.wait(.script(check), false, "exit status 1: out of disk") != nil)
    #expect(await answers.wait(.script(missing), false, "it cannot be started: no such file") != nil)
    try "".write(toFile: folder.path + "/good", atomically: true, encoding: .utf8)
    #expect(await answers.wait(.script(check), true, "exit status 0") != nil)
    try FileManager.default.removeItem(atPath: folder.path + "/good")
    #expect(await answers.wait(.script(check), false, "exit status 1") != nil)
  }

  @Test("a script that hangs is ended with what it started, and no second one runs beside it")
  func hangingScript() async throws {
    let watch = try watch()
    defer { watch.stop() }
    var check = try script(
      "hang", "mkdir \(folder.path)/once || touch \(folder.path)/twice; (sleep 3; touch \(folder.path)/late) & sleep 60"
    )
    check.timeout = .milliseconds(500)
    check.every = .seconds(30)
    watch.watch([.script(check)])
    #expect(await answers.wait(.script(check), false, "it took longer than 500 ms") != nil)
    try await Task.sleep(for: .seconds(4))
    #expect(exists("once") && !exists("late"), "what it started is gone too")
    #expect(!exists("twice"))
  }

  @Test("what a script prints without end does not hurt")
  func chattyScript() async throws {
    let watch = try watch()
    defer { watch.stop() }
    let check = try script("chatty", "head -c 5000000 /dev/zero | tr '\\0' x; echo; echo done")
    watch.watch([.script(check)])
    #expect(await answers.wait(.script(check), true, "exit status 0: done") != nil)
  }

  @Test("files and processes come and go")
  func filesAndProcesses() async throws {
    let watch = try watch()
    defer { watch.stop() }
    let file = Requirement.Kind.file(folder.path + "/ready")
    // Longer than the kernel keeps of a name.
    let name = "afloat-test-\(UInt32.random(in: 100_000 ... .max))"
    let process = Requirement.Kind.process(name)
    try Scripts.copy("/bin/sleep", to: folder.appendingPathComponent(name).path)
    watch.watch([file, process, .interface("lo"), .interface("no-such-if")])
    #expect(await answers.wait(file, false, "it is not there") != nil)
    #expect(await answers.wait(process, false, "no process of that name runs") != nil)
    #expect(await answers.wait(.interface("no-such-if"), false, "it does not exist") != nil)
    #expect(await answers.wait(.interface("lo"), true) != nil)
    try "".write(toFile: folder.path + "/ready", atomically: true, encoding: .utf8)
    #expect(await answers.wait(file, true) != nil)
    let sleeper = Process()
    sleeper.executableURL = folder.appendingPathComponent(name)
    sleeper.arguments = ["60"]
    try sleeper.run()
    #expect(await answers.wait(process, true, "process \(sleeper.processIdentifier)") != nil)
    kill(sleeper.processIdentifier, SIGKILL)
    #expect(await answers.wait(process, false) != nil)
    watch.watch([])
  }
}
