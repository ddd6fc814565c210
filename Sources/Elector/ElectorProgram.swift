// The program afloat-elector, from its first instruction to its end: power dropped, configuration received, sockets opened,
// leftovers removed, then two threads.

import ClusterNode
import Control
import Cryptography
import Election
import Kernel
import Membership
import Primitives
import Wire

package enum ElectorProgram {
  /// Priorities under SCHED_FIFO: the heartbeat first, the hands before everybody else's work.
  static let heartbeatPriority: Int32 = 20
  static let handsPriority: Int32 = 10

  /// Runs as a child of the agent: control socket at descriptor 3, shared page at 4, `--user NAME` as only argument; at 5 a
  /// packet socket, where the agent could open one.
  /// Returns the exit status.
  package static func run(arguments: [String]) -> Int32 {
    // The agent says when to stop, by a message or by its own end; a terminal's Ctrl-C is meant for the agent.
    Signals.ignoreRequestsToEnd()
    guard arguments.count == 3, arguments[1] == "--user" else {
      Console.error("afloat-elector is started by `afloat agent`, with --user NAME, and is of no use by itself")
      return 2
    }
    guard FileDescriptor.isOpen(3), FileDescriptor.isOpen(4) else {
      Console.error("afloat-elector: the channel to the agent (descriptors 3 and 4) is missing")
      return 2
    }
    let control = ControlSocket(owning: FileDescriptor(owning: 3))
    let file = FileDescriptor(owning: 4)
    let packets = PacketSocket.inherited(at: 5)
    var warnings = Privileges.claimRealTime(priority: heartbeatPriority)
    let dropped: String?
    do throws(SystemError) {
      dropped = try Privileges.drop(to: arguments[2], keeping: [.netAdmin, .netRaw])
    } catch {
      Reporter(control: control, warnings: []).report(.failed("\(error)"))
      return 1
    }
    if let dropped { warnings.append(dropped) }
    let reporter = Reporter(control: control, warnings: warnings)
    do {
      let page = try SharedMemory(mapping: file, byteCount: ElectorPage.byteCount)
      try start(reporter, page: page, packets: try packets ?? PacketSocket())
      return 0
    } catch let error as SystemError where error.code == SystemError.connectionReset {
      return 0  // the agent ended before it said what to do
    } catch {
      reporter.report(.failed("\(error)"))
      return 1
    }
  }

  private static func start(_ reporter: Reporter, page: consuming SharedMemory, packets: consuming PacketSocket) throws
  {
    var deadlines: GateDeadlines?
    var refusal: (any Error)?
    let first = try reporter.receive { descriptors in
      guard let file = descriptors.takeFirst() else { return }
      do { deadlines = try GateDeadlines(mapping: file) } catch { refusal = error }
    }
    if let refusal { throw refusal }
    guard case .configure(var configuration) = first else {
      throw PlanFault("the agent's first message is not a configuration")
    }
    if deadlines == nil { configuration.gateSlots = nil }
    let plan = try ElectorPlan(configuration)
    let netlink = try NetlinkConnection()
    let watcher = try NetlinkWatcher()
    let interfaces = Interfaces(try netlink.links())
    if let missing = interfaces.missing(for: configuration) { throw missing }
    let present = try netlink.addresses()
    let leftovers = interfaces.leftovers(among: present, of: configuration)
    for address in leftovers { try netlink.remove(address) }
    for address in plan.addresses where !present.contains(where: { $0.prefix.address == address }) {
      reporter.addStartWarning("this machine does not have the address \(address) of \(configuration.node)")
    }
    let shared = try ElectorShared(
      paths: try configuration.interfaces.enumerated().map {
        try HeartbeatPath(interface: $1, group: configuration.group(ofPath: $0))
      })
    for (path, address) in zip(shared.paths, plan.addresses) {
      guard let link = interfaces[path.interface] else { continue }
      try path.socket.join(interface: link.index, source: address, joins: configuration.transport == .multicast)
    }
    var random = SecureRandom()
    let node = ClusterNode(
      configuration: plan.cluster, authenticator: plan.authenticator,
      bootID: BootID(high: random.next(), low: random.next() | 1), randomSeed: random.next(), now: Clock.monotonic)
    let boot = node.bootID
    let hands = try Hands(
      shared: shared, netlink: netlink, watcher: watcher, packets: packets, reporter: reporter, plan: plan,
      names: NameTable(of: node, configuration: configuration), interfaces: interfaces, deadlines: deadlines,
      otherAddresses: present.filter { address in !leftovers.contains(address) && !address.isOurs })
    let gate = GateRefresh(deadlines: deadlines, node: node, plan: plan)
    var loop = try HeartbeatLoop(node: node, shared: shared, page: page, plan: plan, gate: gate)
    try reporter.stopWaiting()
    reporter.report(.ready(bootHigh: boot.high, bootLow: boot.low))
    if !leftovers.isEmpty {
      let list = leftovers.map { "\($0.prefix)" }.joined(separator: ", ")
      reporter.event(.warning, subject: configuration.node.text, cause: "removed what an earlier elector left: \(list)")
    }
    let ended = try Latch()
    try Threads.start("hands") {
      Privileges.lowerRealTime(to: handsPriority)
      hands.run()
      ended.open()
    }
    Threads.name("heartbeat")
    loop.run()
    // What the node let go of is removed before the process ends.
    ended.wait()
  }
}
