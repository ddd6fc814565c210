// `afloat events` – the durable log of this node: every transition with its cause and times.

internal import ArgumentParser
internal import Control
internal import Kernel
internal import Primitives
internal import Settings

struct EventsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "Show the log of transitions: what happened, why, and how long each step took.")

  @Flag(name: [.customShort("f"), .long], help: "Wait for more.")
  var follow = false

  @Option(
    help: ArgumentHelp(
      "Only what is newer: a duration such as 10m, or a time such as 2026-11-21T01:02:03Z.", valueName: "when"))
  var since: String?

  @OptionGroup var connection: ConnectionOptions

  private func start() throws -> APITime? {
    guard let since else { return nil }
    if let span = Quantities.duration(since) {
      return APITime(unixNanoseconds: Clock.unixNanoseconds - span.nanoseconds)
    }
    guard let time = APITime(since) else {
      throw ValidationError("--since \(since) is neither a duration (10m) nor a time (2026-11-21T01:02:03Z)")
    }
    return time
  }

  func validate() throws { _ = try start() }

  func run() throws {
    var newest = try start()
    let client = connection.client()
    var seen: [APIEvent] = []
    while true {
      let path = "/v1/events" + (newest.map { "?since=\($0)" } ?? "")
      let bytes = try client.get(path)
      if connection.json, !follow { return Terminal.write(connection.line(bytes)) }
      let events = try client.decode(bytes, path) as [APIEvent]
      let fresh = events.filter { !seen.contains($0) }
      Terminal.write(connection.json ? try jsonLines(fresh) : connection.views.events(fresh))
      guard follow else { return }
      // The API's times have milliseconds: those of the last one come again and are known.
      newest = events.last?.time ?? newest
      seen = events.filter { $0.time.unixNanoseconds / 1_000_000 == (newest?.unixNanoseconds ?? 0) / 1_000_000 }
      Terminal.pause(.milliseconds(500))
    }
  }

  private func jsonLines(_ events: [APIEvent]) throws -> String {
    try events.map { try JSONLine.text($0) }.joined()
  }
}
