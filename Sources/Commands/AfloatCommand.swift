// `afloat`: the list of commands, and the way in for `main`.

package import ArgumentParser
internal import Control
internal import Kernel
internal import Primitives

package struct AfloatCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "afloat",
    abstract: "Keeps services afloat: virtual IPs, load balancing and maintenance of a cluster, in one program.",
    discussion: """
      Look:
        afloat status                 what works, who holds what and why
        afloat top                    rates and latencies, live
        afloat events -f              what happens, as it happens
      Maintain:
        afloat drain n1               empty n1 and wait until it is
        afloat undrain n1             give it work again
        afloat move web n2            hand the virtual IP web to n2
        afloat server app/s1 drain    no new clients for a server
        afloat reload                 take over a changed configuration file
        afloat config rollback        and back again
      Set up:
        afloat keygen > cluster.key
        afloat check afloat.yaml
        afloat doctor                 what on this host or network would not work
        afloat agent --config afloat.yaml

      Commands that look or maintain ask the agent of this machine over its
      socket: --socket, AFLOAT_SOCKET, or \(AgentClient.defaultSocket).
      """,
    subcommands: [
      StatusCommand.self, MembersCommand.self, VIPsCommand.self, PoolsCommand.self, ListenersCommand.self,
      TopCommand.self, EventsCommand.self, DrainCommand.self, UndrainCommand.self, MoveCommand.self, ServerCommand.self,
      SwitchCommand.self,
      ReloadCommand.self,
      ConfigCommand.self,
      CheckCommand.self, DoctorCommand.self,
      KeygenCommand.self, AgentCommand.self, VersionCommand.self,
    ])

  package init() {}

  /// Parses and runs. Returns the exit status. `runAgent` is what `afloat agent` does; it comes in from outside, since
  /// this room does not know the agent.
  package static func run(
    arguments: [String], runAgent: @Sendable (AgentCommand) async -> Int32
  ) async -> Int32 {
    let status = await attempt(arguments, runAgent)
    guard status == 0, let fault = Terminal.fault else { return status }
    Terminal.write("afloat: \(fault)\n", toError: true)
    return 1
  }

  private static func attempt(
    _ arguments: [String], _ runAgent: @Sendable (AgentCommand) async -> Int32
  ) async -> Int32 {
    do {
      var command = try parseAsRoot(arguments)
      if let agent = command as? AgentCommand { return await runAgent(agent) }
      try command.run()
      return 0
    } catch let failure as CommandFailure {
      Terminal.write("afloat: \(failure)\n", toError: true)
      return failure.exitStatus
    } catch let fault as ClientFault {
      if case .refused(_, let error) = fault, arguments.contains("--json") { error.show() }
      Terminal.write("afloat: \(fault)\n", toError: true)
      return 1
    } catch let status as ExitCode {
      return status.rawValue
    } catch {
      // Help and versions are "errors" of the parser as well; real ones are the caller's (2), not sysexits' 64.
      let isFine = exitCode(for: error).isSuccess
      Terminal.write(fullMessage(for: error) + "\n", toError: !isFine)
      return isFine ? 0 : 2
    }
  }
}

/// Options of every command that asks the agent.
struct ConnectionOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Path of the agent's socket (default: AFLOAT_SOCKET, else \(AgentClient.defaultSocket)).", valueName: "path"))
  var socket: String?

  @Flag(help: "Print the answer as JSON.")
  var json = false

  func client(timeout: TimeSpan = .seconds(10)) -> AgentClient {
    AgentClient(socket: socket ?? Terminal.environment("AFLOAT_SOCKET") ?? AgentClient.defaultSocket, timeout: timeout)
  }

  /// For what is printed on standard output.
  var views: Views { Views(style: .ofOutput, now: .now) }

  /// Asks for `path` and prints it: as it came with --json, else as `render` words it.
  func show<Value: Decodable>(_ path: String, _ type: Value.Type, _ render: (Views, Value) -> String) throws {
    let client = self.client()
    let bytes = try client.get(path)
    Terminal.write(json ? line(bytes) : render(views, try client.decode(bytes, path)))
  }

  /// JSON with exactly one end of line.
  func line(_ bytes: [UInt8]) -> String {
    let text = String(decoding: bytes, as: UTF8.self)
    return text.hasSuffix("\n") ? text : text + "\n"
  }
}

extension Style {
  /// Colour on a terminal, unless NO_COLOR is set (no-color.org).
  static var ofOutput: Style {
    Style(
      isColoured: Terminal.outputIsTerminal && Terminal.environment("NO_COLOR") == nil
        && Terminal.environment("TERM") != "dumb")
  }
}

extension APITime {
  static var now: APITime { APITime(unixNanoseconds: Clock.unixNanoseconds) }
}

/// Who sits at the terminal, for the record of drains: the user behind sudo, else the user.
enum Operator {
  static var name: String {
    for variable in ["SUDO_USER", "USER", "LOGNAME"] {
      if let name = Terminal.environment(variable) { return name }
    }
    return "somebody"
  }
}
