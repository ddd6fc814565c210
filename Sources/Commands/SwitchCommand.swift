// `afloat switch` – sends a route's traffic to another pool, and back.

internal import ArgumentParser
internal import Control
internal import Kernel

struct SwitchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "switch", abstract: "Send a route's traffic to another pool at once, on every node.",
    discussion: """
      A route is called by its name, LISTENER/INDEX without one; LISTENER/default is the listener's own pool. Requests in
      flight finish where they are. Kept over reload and restart; a switch to the pool of the configuration ends it, and so
      does --back, which forgets the switch of a route that is not there any more too.
      Example: afloat switch web/default green
      """)

  @Argument(help: "The route.")
  var route: String

  @Argument(help: "The pool.")
  var pool: String?

  @Flag(help: "Back to the pool of the configuration.")
  var back = false

  @OptionGroup var connection: ConnectionOptions

  func validate() throws {
    if pool == nil && !back { throw ValidationError("to which pool? (--back: that of the configuration)") }
    if pool != nil && back { throw ValidationError("either a pool, or --back") }
  }

  func run() throws {
    let client = connection.client()
    let request = APISwitchRequest(route: route, pool: pool, back: back ? true : nil, by: Operator.name)
    let bytes = try client.post("/v1/switch", request)
    if connection.json { return Terminal.write(connection.line(bytes)) }
    let answer: APISwitchAnswer = try client.decode(bytes, "/v1/switch")
    let words =
      answer.pool.isEmpty
      ? "there is no route \(answer.route) that goes to a pool; a switch of it is forgotten"
      : "\(answer.route) goes to \(answer.pool)\(answer.configured ? ", as configured" : "")"
    Terminal.write(Words.printable(words) + "\n")
    if let warning = answer.warning { Terminal.write(Words.printable("warning: \(warning)") + "\n") }
    if !answer.pending.isEmpty {
      Terminal.write(
        Words.printable("not confirmed yet by \(answer.pending.joined(separator: ", ")); they follow") + "\n")
    }
  }
}
