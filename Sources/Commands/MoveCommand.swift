// `afloat move` – a planned handover, with the gap that was measured.

internal import ArgumentParser
internal import Control
internal import Kernel
internal import Primitives

struct MoveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "move", abstract: "Hand a virtual IP over to another node.",
    discussion: "Example: afloat move web n2")

  @Argument(help: "The virtual IP's name.")
  var vip: String

  @Argument(help: "The node that is to hold it.")
  var node: String

  @OptionGroup var connection: ConnectionOptions

  func run() throws {
    let client = connection.client(timeout: .seconds(30))
    let bytes = try client.post("/v1/move", APIMoveRequest(vip: vip, to: node))
    if connection.json { return Terminal.write(connection.line(bytes)) }
    let answer: APIMoveAnswer = try client.decode(bytes, "/v1/move")
    let from = answer.from.map { " from \($0)" } ?? ""
    let gap = answer.gapMilliseconds.map { ", \(Words.milliseconds($0)) without the address" } ?? ""
    Terminal.write(Words.printable("\(answer.vip) moved\(from) to \(answer.to)\(gap)") + "\n")
  }
}
