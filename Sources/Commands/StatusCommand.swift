// `afloat status` – the verdict, and what it rests on.

internal import ArgumentParser
internal import Control
internal import Kernel

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Say whether all is well, and who holds what and why.",
    discussion: "Exit status: 0 OK, 1 degraded, 2 critical, without quorum, or no agent.")

  @OptionGroup var connection: ConnectionOptions

  func run() throws {
    let client = connection.client()
    do {
      let bytes = try client.get("/v1/status")
      let status: APIStatus = try client.decode(bytes, "/v1/status")
      Terminal.write(connection.json ? connection.line(bytes) : connection.views.status(status))
      throw ExitCode(status.verdict.exitStatus)
    } catch let fault as ClientFault {
      throw CommandFailure(fault.description, exitStatus: 2)
    }
  }
}
