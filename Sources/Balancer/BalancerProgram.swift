// The program afloat-balancer, from its first instruction to its end: power dropped, configuration and listening sockets
// received, one worker per core, then the housekeeping.

internal import Balancing
internal import Control
internal import Kernel
internal import Primitives

package enum BalancerProgram {
  /// Descriptors that it asks for: two for each of many connections.
  private static let wantedDescriptors: UInt64 = 1 << 20

  /// Runs as a child of the agent: control socket at descriptor 3, `--user NAME` as only argument. Returns the exit status.
  package static func run(arguments: [String]) -> Int32 {
    // The agent says when to stop, by a message or by its own end; a terminal's Ctrl-C is meant for the agent.
    Signals.ignoreRequestsToEnd()
    guard arguments.count == 3, arguments[1] == "--user" else {
      Console.error("afloat-balancer is started by `afloat agent`, with --user NAME, and is of no use by itself")
      return 2
    }
    guard FileDescriptor.isOpen(3) else {
      Console.error("afloat-balancer: the channel to the agent (descriptor 3) is missing")
      return 2
    }
    let control = ControlSocket(owning: FileDescriptor(owning: 3))
    NameLookup.limitTime()
    let descriptors = Privileges.raiseOpenFiles(to: wantedDescriptors)
    do {
      var warnings: [String] = []
      if let warning = try Privileges.drop(to: arguments[2], keeping: []) { warnings.append(warning) }
      guard var packet = try control.receive() else { throw BalancerFault("the control socket does not block") }
      guard case .start(let configuration) = try MessageCoding.decode(BalancerCommand.self, from: packet.bytes) else {
        throw BalancerFault("the agent's first message does not say how to start")
      }
      var sockets: [Int32] = []
      while let descriptor = packet.descriptors.takeFirst() { sockets.append(descriptor.release()) }
      var plane = try DataPlane(configuration)
      var registry = ServerRegistry(now: Clock.monotonic, seed: UInt64(bitPattern: Clock.unixNanoseconds))
      let (seeds, warning) = try plane.start(
        sockets: sockets, descriptorLimit: Int(clamping: descriptors), registry: &registry)
      if let warning { warnings.append(warning) }
      let poller = try Poller(capacity: 64)
      for seed in seeds { try startWorker(seed) }
      var housekeeper = Housekeeper(
        plane, registry: registry, warnings: warnings, resolver: try NameResolver(), control: control, poller: poller)
      defer {
        housekeeper.registry.close()
        housekeeper.plane.accessLog.finish(milliseconds: 500)
      }
      try housekeeper.run()
      return 0
    } catch let error as SystemError where error.code == SystemError.connectionReset {
      return 0  // the agent ended before it said what to do
    } catch {
      Console.error("afloat-balancer: \(error)")
      return 1
    }
  }

  private static func startWorker(_ seed: WorkerSeed) throws(SystemError) {
    try Threads.start("worker \(seed.index)") {
      if let core = seed.core { Threads.pin(to: core) }
      // Checks, the access log and new configurations are threads beside it.
      Threads.takeShortTurns()
      do throws(SystemError) {
        var worker = Worker(seed, poller: try Poller(capacity: 512))
        try worker.open(seed.first)
        worker.run()
      } catch {
        seed.reports.post(.failed(error.description), from: seed.index)
      }
      seed.reports.post(.ended, from: seed.index)
    }
  }
}
