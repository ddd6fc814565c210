// `afloat drain` – asks for the drain, then watches it: what is still in the way, until the node is empty.

internal import ArgumentParser
internal import Control
internal import Kernel
internal import Primitives
internal import Settings

struct DrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drain",
    abstract: "Empty a node for maintenance: virtual IPs, its servers in every pool, its connections.",
    discussion: """
      Waits until the node is seen to be empty. Ctrl-C stops watching, not the drain. It survives restarts of the agent
      and ends with `afloat undrain`.
      Exit status: 0 drained, 2 usage, 3 refused, 4 deadline passed, 5 could not be recorded.
      Example: afloat drain n1 --reason "new kernel" --deadline 5m
      """)

  @Argument(help: "The node (default: the one that is asked).")
  var node: String?

  @Option(help: ArgumentHelp("Why, for the others.", valueName: "text"))
  var reason: String?

  @Option(
    help: ArgumentHelp(
      "How long it may take: a duration such as 10m, or none (default: balancer.drain_timeout).", valueName: "duration")
  )
  var deadline: String?

  @Option(
    help: ArgumentHelp(
      "At the deadline: fail (stay out of work, exit 4) or force (cut what is left).", valueName: "what"))
  var onDeadline: String?

  @Flag(help: "Only say what would happen.")
  var check = false

  @Flag(help: "Do not wait.")
  var detach = false

  @Flag(help: "The drain ends when the node has rebooted.")
  var untilReboot = false

  @Flag(help: "Override a refusal; needs --yes.")
  var force = false

  @Flag(help: "Yes, I know what --force overrides.")
  var yes = false

  @OptionGroup var connection: ConnectionOptions

  enum Exit { static let usage: Int32 = 2, refused: Int32 = 3, deadline: Int32 = 4, notRecorded: Int32 = 5 }

  func request() throws -> APIDrainRequest {
    if force, !yes { throw ValidationError("--force overrides a safety rule; add --yes if you mean it") }
    var milliseconds: Int64?
    if let deadline {
      if deadline == "none" {
        milliseconds = 0
      } else if let span = Quantities.duration(deadline), span > .zero {
        milliseconds = span.milliseconds
      } else {
        throw ValidationError("--deadline \(deadline) is neither a duration such as 10m nor none")
      }
    }
    var atDeadline: APIDrainRequest.OnDeadline?
    if let onDeadline {
      guard let known = APIDrainRequest.OnDeadline(rawValue: onDeadline) else {
        throw ValidationError("--on-deadline \(onDeadline) is neither fail nor force")
      }
      atDeadline = known
    }
    return APIDrainRequest(
      node: node, reason: reason, deadlineMilliseconds: milliseconds, onDeadline: atDeadline, check: check ? true : nil,
      untilReboot: untilReboot ? true : nil, force: force ? true : nil, by: Operator.name)
  }

  func validate() throws { _ = try request() }

  func run() throws {
    let request = try self.request()
    let client = connection.client(timeout: .seconds(30))
    let bytes: [UInt8]
    do {
      bytes = try client.post("/v1/drain", request)
    } catch let fault as ClientFault {
      throw CommandFailure(fault.description, exitStatus: Self.exitStatus(of: fault))
    }
    let answer: APIDrainAnswer = try client.decode(bytes, "/v1/drain")
    if check || detach || !answer.recorded {
      if connection.json { return Terminal.write(connection.line(bytes)) }
      Terminal.write(
        Words.printable("\(answer.node) \(answer.recorded ? "is being drained" : "would be drained")") + "\n")
      for step in answer.steps { Terminal.write("  " + Words.printable(step) + "\n") }
      return
    }
    try watch(answer)
  }

  static func exitStatus(of fault: ClientFault) -> Int32 {
    switch fault {
    case .refused(409, _): Exit.refused
    case .refused(400...499, _): Exit.usage
    case .refused, .unreachable: Exit.notRecorded
    }
  }

  private func watch(_ answer: APIDrainAnswer) throws {
    Terminal.onInterrupt(
      say: "\nstopped watching; the drain goes on (afloat status shows it, afloat undrain ends it)\n")
    let started = Clock.monotonic
    var progress = DrainProgress(node: answer.node, isTerminal: Terminal.outputIsTerminal, views: connection.views)
    if !connection.json {
      for step in answer.steps { Terminal.write("  " + Words.printable(step) + "\n") }
    }
    var lastContact = Clock.monotonic
    while true {
      do {
        let drains = try connection.client(timeout: .seconds(5)).get("/v1/drains", [APIDrain].self)
        lastContact = Clock.monotonic
        let drain = drains.first { $0.node == answer.node }
        let elapsed = (Clock.monotonic - started).nanoseconds / 1_000_000_000
        let step = progress.update(drain, elapsedSeconds: elapsed)
        if !connection.json { Terminal.write(step.text) }
        if let exitStatus = step.exitStatus {
          if connection.json, let drain { Terminal.write(try DrainProgress.json(drain)) }
          if exitStatus == 0 { return }
          throw ExitCode(exitStatus)
        }
      } catch let fault as ClientFault {
        // The agent may be restarting, which does not end the drain.
        guard Clock.monotonic - lastContact < .seconds(60) else {
          throw CommandFailure("stopped watching: \(fault); the drain is recorded and goes on")
        }
      }
      Terminal.pause(.milliseconds(200))
    }
  }
}
