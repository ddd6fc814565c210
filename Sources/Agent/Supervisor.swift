// The supervisor's face to the rest of the agent. Its work is done on a thread of its own (`SupervisorLoop`), which waits for
// the children's sockets, so that a planned handover never waits for a queue of tasks; everybody else leaves a command and
// wakes it.

package import Control
internal import Kernel
package import Logging
internal import Primitives
internal import ServiceLifecycle
internal import Synchronization

package final class Supervisor: NodeControls, Service {
  enum Command: Sendable {
    case orders([ServerOrder])
    case switches([RouteSwitch])
    case draining(Bool)
    case intentsDigest(UInt64)
    case move(APIMoveRequest, CheckedContinuation<APIMoveAnswer, any Error>)
    case reload(SupervisorPlan, ListeningSockets?, CheckedContinuation<Refusal?, any Error>)
    case gateChanged(GateView)
    case electorGone(GuardianReport)
    case warning(String)
    case figures(CheckedContinuation<BalancerFigures, any Error>)
    case accessLog(OpenedLog?)
    case requirement(Requirement.Kind, RequirementAnswer)
    case stop
  }

  /// What it starts with.
  let plan: SupervisorPlan
  /// Of the configuration in force. Held here alone, so that the sockets of a removed address close.
  private let listening: Mutex<ListeningSockets?>
  let board = StateBoard()
  let events: EventLog
  let logger: Logger
  let manager: ServiceManager
  let wakeUp: WakeUp
  let packetSocketDescriptor: Int32?
  /// Nil for a lone balancer.
  let gate: GateWarden?
  private let mailbox = Mutex<[Command]>([])
  /// For announcements. Kept open here, since closing the last descriptor of one would delay the end of a dead elector,
  /// and with it the guardian, by 5 to 15 ms.
  private let packets: PacketSocket?
  private let ended: AsyncStream<Void>
  private let end: AsyncStream<Void>.Continuation

  package init(
    plan: SupervisorPlan, sockets: ListeningSockets?, events: EventLog, manager: ServiceManager, logger: Logger,
    gate: GateWarden? = nil
  ) throws {
    self.plan = plan
    listening = Mutex(sockets)
    self.events = events
    self.manager = manager
    self.logger = logger
    self.gate = gate
    wakeUp = try WakeUp()
    // The elector can open its own, where the agent cannot.
    if plan.elector != nil, let socket = try? PacketSocket() {
      packetSocketDescriptor = socket.descriptor.raw
      packets = consume socket
    } else {
      packetSocketDescriptor = nil
      packets = nil
    }
    (ended, end) = AsyncStream.makeStream(of: Void.self)
  }

  /// Starts the children and looks after them until a graceful shutdown; then has the elector part with its VIPs, the balancer
  /// finish, the elector end, and returns.
  package func run() async throws {
    let guardian = plan.elector == nil ? nil : try Guardian(plan: plan, gate: gate) { [weak self] in self?.post($0) }
    try gate?.watch(
      news: { [self] in events.record("gate_restored", subject: plan.node.text, cause: "\($0): attached again") },
      changed: { [self] view in post(.gateChanged(view)) })
    try Threads.start("supervisor") { [self] in
      do {
        try SupervisorLoop(supervisor: self, guardian: guardian).run()
      } catch {
        logger.critical("the supervisor ended: \(error)")
      }
      end.finish()
    }
    await withGracefulShutdownHandler {
      for await _ in ended {}
    } onGracefulShutdown: {
      self.post(.stop)
    }
    gate?.end()
  }

  package var sockets: ListeningSockets? {
    get { listening.withLock { $0 } }
    set { listening.withLock { $0 = newValue } }
  }

  func post(_ command: Command) {
    mailbox.withLock { $0.append(command) }
    wakeUp.signal()
  }

  func takeCommands() -> [Command] {
    wakeUp.clear()
    return mailbox.withLock { commands in
      let taken = commands
      commands = []
      return taken
    }
  }

  // MARK: NodeControls

  package var view: NodeView { board.view }
  package func changes() -> AsyncStream<Void> { board.changes() }
  package func setOrders(_ orders: [ServerOrder]) { post(.orders(orders)) }
  package func setSwitches(_ switches: [RouteSwitch]) { post(.switches(switches)) }
  package func setDraining(_ draining: Bool) { post(.draining(draining)) }
  package func setIntentsDigest(_ digest: UInt64) { post(.intentsDigest(digest)) }
  package func record(_ kind: String, subject: String, cause: String) {
    events.record(kind, subject: subject, cause: cause)
  }

  /// Has the children take over another plan, whose new addresses are open already, and returns when they have. Throws
  /// `Refusal`; then everything is as it was. Returns one where a child has not said in time that it goes by the plan, which is
  /// in force all the same.
  package func reload(_ plan: SupervisorPlan, sockets: ListeningSockets?) async throws -> Refusal? {
    if let elector = plan.elector { gate?.guardVIPs(of: elector) }
    return try await withCheckedThrowingContinuation { continuation in post(.reload(plan, sockets, continuation)) }
  }

  package func move(_ request: APIMoveRequest) async throws -> APIMoveAnswer {
    try await withCheckedThrowingContinuation { continuation in post(.move(request, continuation)) }
  }
}
