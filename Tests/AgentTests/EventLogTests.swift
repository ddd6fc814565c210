// The durable log and the lines on standard error.

import Agent
import Control
import Kernel
import Logging
import Testing

@Suite struct EventLogTests {
  private func directory(_ name: String) throws -> String {
    let path = "/tmp/afloat-events-\(name)-\(SeededName.next())"
    try Files.makeDirectories(path, mode: 0o700)
    return path
  }

  private enum SeededName {
    static func next() -> String { String(UInt64.random(in: 0...UInt64.max), radix: 36) }
  }

  private var quiet: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

  @Test func `events outlive the agent, also behind a torn line`() throws {
    let directory = try directory("torn")
    let log = EventLog(directory: directory, node: "n1", logger: quiet)
    log.record("vip_gained", subject: "web", cause: "n2 died", steps: ["detect": 6_100_000, "activate": 250_500])
    log.record("vip_lost", subject: "web", cause: "moved")
    log.flush(milliseconds: 5_000)
    try Files.openToAppend(directory + "/events.jsonl").writeAll(Array("{\"time\":\"2026".utf8))

    let again = EventLog(directory: directory, node: "n1", logger: quiet)
    again.record("agent_started", subject: "n1", cause: "")
    again.flush(milliseconds: 5_000)
    let third = EventLog(directory: directory, node: "n1", logger: quiet)
    #expect(third.newest(10).map(\.kind) == ["vip_gained", "vip_lost", "agent_started"])
    #expect(third.newest(1).map(\.kind) == ["agent_started"])
    #expect(third.newest(10)[0].stepsMilliseconds == ["detect": 6.1, "activate": 0.25])
    #expect(third.failure == nil)
  }

  @Test func `of two full files the newest are read`() throws {
    let directory = try directory("full")
    for (name, first) in [("/events.jsonl.1", 0), ("/events.jsonl", 5_000)] {
      let lines = (first..<first + (first == 0 ? 5_000 : 1_500)).map {
        "{\"time\":\"2026-11-21T01:02:03.004Z\",\"node\":\"n1\",\"kind\":\"old\",\"subject\":\"s\($0)\",\"cause\":\"\",\"steps_ms\":{}}\n"
      }
      try Files.replace(directory + name, with: Array(lines.joined().utf8))
    }
    let log = EventLog(directory: directory, node: "n1", logger: quiet)
    #expect(log.newest(5_000).map(\.subject) == (4_500..<6_500).map { "s\($0)" })
  }

  @Test func `a log that cannot be written is said, and events are still shown`() throws {
    let log = EventLog(directory: "/proc/nowhere", node: "n1", logger: quiet)
    log.record("vip_gained", subject: "web", cause: "")
    log.flush(milliseconds: 5_000)
    #expect(log.newest(10).count == 1)
    #expect(log.failure?.hasPrefix("events are not kept: cannot open /proc/nowhere") == true)
  }

  @Test func `the file is renamed at its limit, and both files are read`() throws {
    let directory = try directory("rotate")
    let old =
      "{\"time\":\"2026-11-21T01:02:03.004Z\",\"node\":\"n1\",\"kind\":\"old\",\"subject\":\"s\",\"cause\":\"\",\"steps_ms\":{}}\n"
    let filler = String(repeating: "x", count: EventLog.maximumByteCount) + "\n"
    try Files.replace(directory + "/events.jsonl", with: Array((filler + old).utf8))
    let log = EventLog(directory: directory, node: "n1", logger: quiet)
    #expect(log.newest(10).map(\.kind) == ["old"])
    log.record("first", subject: "s", cause: "")
    log.record("second", subject: "s", cause: "")
    log.flush(milliseconds: 5_000)
    #expect(try Files.read(directory + "/events.jsonl").count < 1_000)
    #expect(try Files.read(directory + "/events.jsonl.1").count > EventLog.maximumByteCount)
    #expect(
      EventLog(directory: directory, node: "n1", logger: quiet).newest(10).map(\.kind) == ["old", "first", "second"])
  }

  @Test func `a log line stays one line`() {
    func line(_ format: LogFormat) -> String {
      LineLogHandler.line(
        time: APITime(unixNanoseconds: 0), level: .warning, label: "agent", message: "a\nb \"c\"",
        metadata: [("why", "x y"), ("n", "1")], format: format)
    }
    #expect(line(.text) == #"1970-01-01T00:00:00.000Z warning agent: a\nb \"c\" why="x y" n=1"#)
    #expect(
      line(.json)
        == #"{"time":"1970-01-01T00:00:00.000Z","level":"warning","source":"agent","message":"a\nb \"c\"","why":"x y","n":"1"}"#
    )
  }
}
