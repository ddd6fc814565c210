// `afloat switch` – sends a route's traffic to another pool, and back.

internal import ArgumentParser
internal import Control
internal import Kernel

struct SwitchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "switch", abstract: "Send a route's traffic to another pool at once, on every node.",
    discussion: """
      A route is called by its name, LISTENER/INDEX without one; LISTENER/default is the listener's own pool. Requests in
      flight finish where they are. Kept over reload and restart; a switch to the pool of the configuration ends it.
      Example: afloat switch web/default green
      """)

  @Argument(help: "The route.")
  var route: String

  @Argument(help: "The pool.")
  var pool: String

  @OptionGroup var connection: ConnectionOptions

  func run() throws {
    let client = connection.client()
    let bytes = try client.post("/v1/switch", APISwitchRequest(route: route, pool: pool, by: Operator.name))
    if connection.json { return Terminal.write(connection.line(bytes)) }
    let answer: APISwitchAnswer = try client.decode(bytes, "/v1/switch")
    Terminal.write(
      Words.printable("\(answer.route) goes to \(answer.pool)\(answer.configured ? ", as configured" : "")") + "\n")
    if !answer.pending.isEmpty {
      Terminal.write(
        Words.printable("not confirmed yet by \(answer.pending.joined(separator: ", ")); they follow") + "\n")
    }
  }
}
