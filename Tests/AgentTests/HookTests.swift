// Hooks: the queue of a VIP, and real programs run in order, beside each other, within their time.

import Agent
import Control
import Foundation
import Logging
import Primitives
import Testing

private func take(_ queue: inout HookQueue) -> (event: HookEvent, dropped: Int)? { queue.next() }

@Suite("Hooks") struct HookTests {
  private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("afloat-\(UUID().uuidString)")

  private func event(_ vip: String, _ kind: HookEvent.Kind, _ cause: String, _ path: String = "/x") -> HookEvent {
    HookEvent(vip: vip, kind: kind, cause: cause, path: path, addresses: "192.0.2.100/24", interface: "eth0")
  }

  private func script(_ text: String) throws -> String {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let path = folder.appendingPathComponent("hook").path
    try Scripts.write(path, text)
    return path
  }

  private func runner(timeLimit: TimeSpan = HookRunner.timeLimit) throws -> (HookRunner, EventLog) {
    var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .critical
    let events = EventLog(directory: folder.path, node: "n1", logger: logger)
    return (
      try HookRunner(
        environment: ["PATH=/usr/bin:/bin", "OUT=\(folder.path)/out"], events: events, logger: logger,
        timeLimit: timeLimit), events
    )
  }

  private func written() -> [String] {
    let text = try? String(contentsOf: folder.appendingPathComponent("out"), encoding: .utf8)
    return text?.split(separator: "\n").map(String.init) ?? []
  }

  private func wait(_ condition: () -> Bool) async -> Bool {
    for _ in 0..<1_000 {
      if condition() { return true }
      try? await Task.sleep(for: .milliseconds(10))
    }
    return false
  }

  @Test("a queue keeps its order, and at its limit the newest")
  func queue() {
    var queue = HookQueue()
    let count = HookQueue.limit + 5
    for number in 0..<count { queue.add(event("web", .gained, "\(number)")) }
    let first = take(&queue)
    #expect(first?.event.cause == "5" && first?.dropped == 5)
    let second = take(&queue)
    #expect(second?.event.cause == "6" && second?.dropped == 0)
    var last = second
    while let next = take(&queue) { last = next }
    #expect(last?.event.cause == "\(count - 1)" && queue.isEmpty)
  }

  @Test("events of a VIP are run in order with their environment, and a stop waits for them")
  func order() async throws {
    let path = try script("sleep 0.05; echo \"$AFLOAT_VIP $AFLOAT_EVENT [$AFLOAT_TERM] $AFLOAT_CAUSE\" >> $OUT")
    let (runner, events) = try runner()
    for number in 0..<6 { runner.post(event("web", number % 2 == 0 ? .gained : .lost, "cause \(number)", path)) }
    runner.stop()
    #expect(
      written() == (0..<6).map { "web \($0 % 2 == 0 ? "gained" : "lost") [] cause \($0)" })
    #expect(events.newest(10).isEmpty)
  }

  @Test("a hook that hangs is killed with what it started, and holds up only its own VIP")
  func hanging() async throws {
    let path = try script(
      "echo $AFLOAT_VIP >> $OUT; [ $AFLOAT_VIP = web ] && (sleep 3; echo late >> $OUT) & [ $AFLOAT_VIP = web ] && sleep 60"
    )
    let (runner, events) = try runner(timeLimit: .milliseconds(2_000))
    runner.post(event("web", .gained, "first", path))
    runner.post(event("web", .lost, "second", path))
    runner.post(event("other", .gained, "", path))
    #expect(await wait { written().count == 3 }, "the second event came after the kill")
    #expect(written().prefix(2).sorted() == ["other", "web"] && written().last == "web")
    #expect(events.newest(10).first { $0.subject == "web" }?.cause.contains("took longer than 2000 ms") == true)
    try await Task.sleep(for: .milliseconds(3_500))
    #expect(!written().contains("late"))
    runner.stop()
  }

  @Test("a failure and a program that is not there are events")
  func failures() async throws {
    let path = try script("exit 7")
    let (runner, events) = try runner()
    runner.post(event("web", .lost, "", path))
    runner.post(event("web", .gained, "", folder.path + "/none"))
    runner.stop()
    #expect(
      events.newest(10).map(\.cause) == [
        "\(path) (lost): exit status 7",
        "\(folder.path)/none (gained): it cannot be started: no such file or directory",
      ])
  }
}
