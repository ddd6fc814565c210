// `afloat server` – takes a server out of its pool on every node, and back.

internal import ArgumentParser
internal import Control
internal import Kernel

struct ServerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "server",
    abstract: "Drain a server, put it into maintenance, make it ready, or weigh it, on every node.",
    discussion: """
      drain  no new clients; connections finish, clients with its cookie move after the pool's sticky_grace
      maint  nobody, at once
      ready  back to work
      weight N  its share of new clients, 0 to 1000; weight default: what the configuration says

      Kept over reload and restart. Example: afloat server app/s1 drain
      """)

  @Argument(help: ArgumentHelp("The server.", valueName: "pool/server"))
  var server: String

  @Argument(help: ArgumentHelp("drain, maint, ready or weight.", valueName: "state"))
  var state: String

  @Argument(help: ArgumentHelp("With weight: 0 to 1000, or default.", valueName: "weight"))
  var weight: String?

  @OptionGroup var connection: ConnectionOptions

  private func request() throws -> APIServerRequest {
    let parts = server.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
      throw ValidationError("\"\(server)\" is not POOL/SERVER; see afloat pools")
    }
    let (pool, name) = (String(parts[0]), String(parts[1]))
    if state == "weight" {
      guard let weight, let number = weight == "default" ? -1 : Int(weight),
        weight == "default" || (0...1_000).contains(number)
      else { throw ValidationError("weight takes a number from 0 to 1000, or default") }
      return APIServerRequest(pool: pool, server: name, weight: number, by: Operator.name)
    }
    guard let order = ServerAdministration(rawValue: state) else {
      throw ValidationError("\"\(state)\" is not drain, maint, ready or weight N")
    }
    if let weight {
      throw ValidationError("\(state) takes no number (afloat server \(server) weight \(weight) sets a weight)")
    }
    return APIServerRequest(pool: pool, server: name, state: order, by: Operator.name)
  }

  func validate() throws { _ = try request() }

  func run() throws {
    let client = connection.client()
    let bytes = try client.post("/v1/server", request())
    if connection.json { return Terminal.write(connection.line(bytes)) }
    let answer: APIServerAnswer = try client.decode(bytes, "/v1/server")
    let words =
      switch answer.state {
      case nil: (answer.weight ?? -1) < 0 ? "has its configured weight again" : "has weight \(answer.weight ?? 0)"
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
