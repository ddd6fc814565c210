// `afloat undrain` – gives a node work again.

internal import ArgumentParser
internal import Control
internal import Kernel
internal import Primitives

struct UndrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "undrain", abstract: "Give a drained node work again.",
    discussion: "Virtual IPs stay where they are unless --rebalance is given. Example: afloat undrain n1")

  @Argument(help: "The node (default: the one that is asked).")
  var node: String?

  @Flag(help: "Give virtual IPs back to the nodes that they prefer.")
  var rebalance = false

  @OptionGroup var connection: ConnectionOptions

  func run() throws {
    let client = connection.client(timeout: .seconds(30))
    let request = APIUndrainRequest(node: node, rebalance: rebalance ? true : nil, by: Operator.name)
    let bytes = try client.post("/v1/undrain", request)
    if connection.json { return Terminal.write(connection.line(bytes)) }
    let answer: APIUndrainAnswer = try client.decode(bytes, "/v1/undrain")
    Terminal.write(Words.printable("\(answer.node) \(answer.changed ? "takes work again" : "was not drained")") + "\n")
  }
}
