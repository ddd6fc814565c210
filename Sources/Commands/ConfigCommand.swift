// `afloat config` – the configurations that this node has accepted: list, show, compare, go back.

internal import ArgumentParser
internal import Control
internal import Kernel

struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "List, show, compare and bring back accepted configurations.",
    discussion: "The last 20 are kept, on each node its own. Secrets are in other files and not among them.",
    subcommands: [List.self, Show.self, Diff.self, Rollback.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the accepted configurations, newest last.")
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
      try connection.show("/v1/config", [APIAcceptedConfiguration].self) { views, entries in
        var table = Table([("NUMBER", .right), ("ACCEPTED", .left), ("", .left)])
        for entry in entries {
          table.add("\(entry.number)", "\(entry.accepted.description)", Cell(entry.current ? "in force" : "", .good))
        }
        return entries.isEmpty ? "none kept\n" : table.text(views.style)
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print an accepted configuration.")
    @Argument(help: "Its number (default: the one in force).") var number: Int?
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
      let client = connection.client()
      let bytes = try client.get("/v1/config/text?number=\(try number ?? Accepted.newest(client))")
      if connection.json { return Terminal.write(connection.line(bytes)) }
      let answer: APIConfigurationText = try client.decode(bytes, "/v1/config/text")
      Terminal.write(answer.text)
    }
  }

  struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What one accepted configuration changed of another.")
    @Argument(help: "The earlier one (default: the one before the one in force).") var from: Int?
    @Argument(help: "The later one (default: the one in force).") var to: Int?
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
      let client = connection.client()
      let newest = try to ?? Accepted.newest(client)
      let earlier = try from ?? Accepted.before(newest, client)
      let lines = TextDifference.lines(
        from: try Accepted.text(earlier, client), to: try Accepted.text(newest, client),
        style: connection.json ? Style(isColoured: false) : .ofOutput)
      if connection.json {
        return Terminal.write(try JSONLine.text(Difference(from: earlier, to: newest, lines: lines)))
      }
      Terminal.write(lines.isEmpty ? "\(earlier) and \(newest) are the same\n" : lines.joined(separator: "\n") + "\n")
    }
  }

  /// `--json` of `diff`: the lines begin with "+ ", "- " or two spaces; "…" stands for what is left out.
  private struct Difference: Encodable {
    var from: Int
    var to: Int
    var lines: [String]
  }

  struct Rollback: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write an accepted configuration back to the file, and reload.",
      discussion: "It becomes the newest of the list, so that another rollback undoes this one.")
    @Argument(help: "Its number (default: the one before the one in force).") var number: Int?
    @OptionGroup var connection: ConnectionOptions

    func run() throws {
      try ReloadAnswer.show(
        connection, "/v1/config/rollback", APIRollbackRequest(number: number, by: Operator.name))
    }
  }

  /// What the subcommands ask the agent.
  private enum Accepted {
    static func list(_ client: AgentClient) throws -> [APIAcceptedConfiguration] {
      try client.get("/v1/config", [APIAcceptedConfiguration].self)
    }

    static func newest(_ client: AgentClient) throws -> Int {
      guard let newest = try list(client).last else { throw CommandFailure("no accepted configuration is kept") }
      return newest.number
    }

    static func before(_ number: Int, _ client: AgentClient) throws -> Int {
      guard let before = try list(client).last(where: { $0.number < number }) else {
        throw CommandFailure("no configuration before \(number) is kept")
      }
      return before.number
    }

    static func text(_ number: Int, _ client: AgentClient) throws -> String {
      try client.get("/v1/config/text?number=\(number)", APIConfigurationText.self).text
    }
  }
}
