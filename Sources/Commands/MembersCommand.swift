// `afloat members`.

internal import ArgumentParser
internal import Control

struct MembersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "members",
    abstract: "Show the members: state, loss and round trip in each direction, configuration, version.")

  @OptionGroup var connection: ConnectionOptions

  func run() throws { try connection.show("/v1/members", [APIMember].self) { $0.members($1) } }
}
