// `afloat reload` – the agent reads its configuration file again.

internal import ArgumentParser
internal import Control
internal import Kernel
internal import Primitives

struct ReloadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reload", abstract: "Read the configuration again, without dropping a connection or a virtual IP.",
    discussion: """
      A file with errors is refused with all of them, and the configuration stays as it was. What needs a restart (the
      node's name, the cluster's name, interface or group, the number of threads) is refused as well. Connections of
      removed servers and listeners finish. SIGHUP to the agent does the same.
      Exit status: 0 applied, 2 refused.
      """)

  @Flag(help: "Only say what would change.")
  var check = false

  @OptionGroup var connection: ConnectionOptions

  func run() throws {
    try ReloadAnswer.show(connection, "/v1/reload", APIReloadRequest(check: check ? true : nil, by: Operator.name))
  }
}

/// What reload and rollback print.
enum ReloadAnswer {
  static func show(_ connection: ConnectionOptions, _ path: String, _ request: some Encodable) throws {
    let client = connection.client(timeout: .seconds(30))
    do {
      let bytes = try client.post(path, request)
      if connection.json { return Terminal.write(connection.line(bytes)) }
      let answer: APIReloadAnswer = try client.decode(bytes, path)
      Terminal.write(text(answer))
    } catch let fault as ClientFault {
      guard case .refused(_, let error) = fault else { throw fault }
      if connection.json { error.show() }
      for line in error.lines ?? [] { Terminal.write(Words.printable(line) + "\n", toError: true) }
      throw CommandFailure(fault.description, exitStatus: 2)
    }
  }

  static func text(_ answer: APIReloadAnswer) -> String {
    let verb = answer.applied ? "applied" : "would be applied"
    var lines = answer.changes.isEmpty ? ["\(verb): nothing changes"] : ["\(verb):"] + answer.changes.map { "  \($0)" }
    lines += answer.warnings.map { "warning: \($0)" }
    return lines.map { Words.printable($0) + "\n" }.joined()
  }
}
