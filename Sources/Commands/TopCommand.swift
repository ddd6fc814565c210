// `afloat top` – rates and latencies as they are, every second.

internal import ArgumentParser
internal import Control
internal import Kernel
internal import Primitives

struct TopCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top", abstract: "Watch VIPs, rates, latencies and servers of this node.",
    discussion: """
      REQ/S and the like are those of the last interval; P50, P90 and P99 are the
      times from a request to the first byte of its answer in it. Ctrl-C ends it.
      """)

  @OptionGroup var connection: ConnectionOptions
  @Flag(help: "Show one interval and end.")
  var once = false
  @Option(
    help: ArgumentHelp("Between two looks, from 0.2 to 3600 (with --json: a line each).", valueName: "seconds"))
  var interval = 1.0

  func validate() throws {
    guard (0.2...3_600).contains(interval) else { throw ValidationError("--interval must be from 0.2 to 3600 seconds") }
  }

  func run() throws {
    let client = connection.client()
    var before = try client.get("/v1/figures", BalancerFigures.self)
    let isLive = !once && !connection.json && Terminal.outputIsTerminal
    while true {
      // Behind a signal the pause is shorter, and the interval as long as it was.
      Terminal.pause(.nanoseconds(Int64(interval * 1e9)))
      let now = try client.get("/v1/figures", BalancerFigures.self)
      let status = try client.get("/v1/status", APIStatus.self)
      let top = TopFigures(status, from: before, to: now, time: .now)
      if connection.json {
        Terminal.write(try JSONLine.text(top))
      } else {
        // Home, and what is left of the last picture cleared: no flicker.
        let text = connection.views.top(top)
        Terminal.write(isLive ? "\u{1b}[H" + text.replacing("\n", with: "\u{1b}[K\n") + "\u{1b}[J" : text)
      }
      if once { return }
      if !isLive && !connection.json { Terminal.write("\n") }
      before = now
    }
  }
}
