// `afloat doctor` – what on this host and network keeps Afloat from working, in words, with what to do.

internal import ArgumentParser
internal import Control
internal import Doctor
internal import Kernel
internal import Primitives
internal import Settings

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Look for what on this host or network keeps Afloat from working.",
    discussion: """
      Looks at the configuration and its key, powers, real-time scheduling, how late this host wakes a program, the kernel
      gate, clocks, ports, interfaces and the firewall's rules, and at whether each member is heard and hears this node.
      It changes nothing. Run it as root, before the agent is started or beside one that runs.

      Without an agent here, only what arrives can be told; where doctors run on two nodes at the same time, they also try
      the way between them in both directions, by multicast and unicast.

      Exit status: 0 all is well, 1 warnings, 2 something would not work (or wrong usage).
      """)

  @Option(name: .customLong("config"), help: ArgumentHelp("The configuration file.", valueName: "file"))
  var config: String = "/etc/afloat/afloat.yaml"

  @Option(
    help: ArgumentHelp(
      "This node's name among the members (default: that of the agent, else node: in the file, else the host's name).",
      valueName: "name"))
  var node: String?

  @Option(
    name: .customLong("for"),
    help: ArgumentHelp("How long to measure and listen, from 1s to 10m.", valueName: "duration"))
  var duration: String = "3s"

  @OptionGroup var connection: ConnectionOptions

  private func span() throws -> TimeSpan {
    guard let span = Quantities.duration(duration), (Doctor.shortest...Doctor.longest).contains(span) else {
      throw ValidationError("--for \(duration) is no duration from 1s to 10m, for instance 5s")
    }
    return span
  }

  func validate() throws { _ = try span() }

  func run() throws {
    let client = connection.client()
    var agent: APIStatus?
    var fault: String?
    do {
      agent = try client.get("/v1/status", APIStatus.self)
    } catch { fault = "\(error)" }
    let doctor = Doctor(
      configurationFile: config, node: node, duration: try span(), agent: agent, agentFault: fault)
    let diagnosis = doctor.examine()
    if connection.json {
      Terminal.write(try JSONLine.text(diagnosis))
    } else {
      Terminal.write(connection.views.diagnosis(diagnosis))
    }
    throw ExitCode(diagnosis.exitStatus)
  }
}
