// `afloat`: the agent, and the commands that talk to it.

internal import Agent
internal import Commands
internal import Glibc

@main struct Afloat {
  static func main() async {
    let status = await AfloatCommand.run(arguments: Array(CommandLine.arguments.dropFirst())) { agent in
      await AgentProgram.run(
        AgentOptions(
          configurationFile: agent.config, node: agent.node, stateDirectory: agent.stateDir,
          runDirectory: agent.runDir, checkOnly: agent.check))
    }
    exit(status)
  }
}
