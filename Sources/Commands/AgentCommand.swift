// `afloat agent` – its options only; what it does comes in from outside (`AfloatCommand.run`).

package import ArgumentParser

package struct AgentCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "agent", abstract: "Run the agent of this node in the foreground.",
    discussion: "Stops gracefully on SIGTERM: virtual IPs are handed over first.")

  @Option(name: .customLong("config"), help: ArgumentHelp("The configuration file.", valueName: "file"))
  package var config: String = "/etc/afloat/afloat.yaml"

  @Option(
    help: ArgumentHelp(
      "This node's name among the members (default: node: in the file, else the host's name).", valueName: "name"))
  package var node: String?

  @Option(help: ArgumentHelp("Where operators' intents and events are kept.", valueName: "directory"))
  package var stateDir: String = "/var/lib/afloat"

  @Option(help: ArgumentHelp("Where the socket afloat.sock is.", valueName: "directory"))
  package var runDir: String = "/run/afloat"

  @Flag(help: "Only check the configuration for this node.")
  package var check = false

  package init() {}
}
