// `afloat server` – takes a server out of its pool on every node, and back.

internal import ArgumentParser
internal import Control
internal import Kernel

struct ServerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "server", abstract: "Drain a server, put it into maintenance, or make it ready, on every node.",
    discussion: """
      drain  no new clients; connections finish, clients with its cookie move after the pool's sticky_grace
      maint  nobody, at once
      ready  back to work

      Kept over reload and restart. Example: afloat server app/s1 drain
      """)

  @Argument(help: ArgumentHelp("The server.", valueName: "pool/server"))
  var server: String

  @Argument(help: ArgumentHelp("drain, maint or ready.", valueName: "state"))
  var state: String

  @OptionGroup var connection: ConnectionOptions

  private func request() throws -> APIServerRequest {
    let parts = server.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
      throw ValidationError("\"\(server)\" is not POOL/SERVER; see afloat pools")
    }
    guard let order = ServerAdministration(rawValue: state) else {
      throw ValidationError(
        state == "weight" ? "weights at run time are not supported yet" : "\"\(state)\" is not drain, maint or ready")
    }
    return APIServerRequest(pool: String(parts[0]), server: String(parts[1]), state: order, by: Operator.name)
  }

  func validate() throws { _ = try request() }

  func run() throws {
    let client = connection.client()
    let bytes = try client.post("/v1/server", request())
    if connection.json { return Terminal.write(connection.line(bytes)) }
    let answer: APIServerAnswer = try client.decode(bytes, "/v1/server")
    let words =
      switch answer.state {
      case .ready: "is ready again"
      case .drain: "gets no new clients; those it has finish"
      case .maint: "is in maintenance: nobody reaches it"
      }
    Terminal.write(Words.printable("\(answer.pool)/\(answer.server) \(words)") + "\n")
    if !answer.pending.isEmpty {
      Terminal.write(
        Words.printable("not confirmed yet by \(answer.pending.joined(separator: ", ")); they follow") + "\n")
    }
  }
}
