// `afloat`: the agent, and the commands that talk to it.

internal import Agent
internal import ArgumentParser

@main
struct Afloat: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "afloat", abstract: "Keeps services afloat on a LAN.", subcommands: [AgentCommand.self])
}

struct AgentCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "agent", abstract: "Runs the agent in the foreground.")

  @Option(help: "The configuration file.") var config = "/etc/afloat/afloat.yaml"
  @Option(help: "This node's name, instead of the host's.") var node: String?
  @Option(help: "Where state is kept.") var stateDir = "/var/lib/afloat"
  @Option(help: "Where the socket is.") var runDir = "/run/afloat"
  @Flag(help: "Only check the configuration.") var check = false

  func run() async throws {
    let status = await AgentProgram.run(
      AgentOptions(
        configurationFile: config, node: node, stateDirectory: stateDir, runDirectory: runDir, checkOnly: check))
    throw ExitCode(status)
  }
}
