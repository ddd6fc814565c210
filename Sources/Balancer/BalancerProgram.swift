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
      let parts = try BalancerParts(
        configuration, sockets: sockets, descriptorLimit: Int(clamping: descriptors), warnings: warnings)
      let poller = try Poller(capacity: 64)
      for seed in parts.seeds { try startWorker(seed) }
      var housekeeper = Housekeeper(parts, control: control, poller: poller)
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
      do throws(SystemError) {
        var worker = Worker(seed, poller: try Poller(capacity: 512))
        try worker.open()
        worker.run()
      } catch {
        seed.reports.post(.failed(error.description), from: seed.index)
      }
      seed.reports.post(.ended, from: seed.index)
    }
  }
}

/// What is made of a configuration before anything runs.
struct BalancerParts {
  /// Descriptors that are not connections.
  private static let ownDescriptors = 512

  let assembly: StatusAssembly
  let registry: ServerRegistry
  let reports: ReportBox
  private(set) var mailboxes: [Mailbox] = []
  private(set) var seeds: [WorkerSeed] = []
  private(set) var warnings: [String]

  /// `sockets`: one per worker for each bind of each listener, in the order of `BalancerCommand.start`.
  init(_ configuration: BalancerConfiguration, sockets: [Int32], descriptorLimit: Int, warnings: [String]) throws {
    let threads = max(1, configuration.threads)
    let bindCount = configuration.listeners.reduce(0) { $0 + $1.bind.count }
    guard sockets.count == bindCount * threads else {
      throw BalancerFault("\(bindCount * threads) listening sockets were due, \(sockets.count) have come")
    }
    self.warnings = warnings
    let snapshot = try Snapshot(configuration)
    let shared = SharedState(serverCount: snapshot.servers.count, listenerCount: snapshot.listeners.count)
    registry = ServerRegistry(
      configuration, now: Clock.monotonic, seed: UInt64(bitPattern: Clock.unixNanoseconds))
    reports = try ReportBox()

    let wanted = configuration.listeners.reduce(0) { $0 + $1.limits.connections }
    let possible = max(64, (descriptorLimit - Self.ownDescriptors) / (2 * threads))
    if possible < wanted {
      self.warnings.append(
        "each thread has descriptors for \(possible) connections, fewer than the limits of the listeners allow")
    }
    let cores = Threads.allowedCores()
    var counters: [WorkerCounters] = []
    for worker in 0..<threads {
      let mailbox = try Mailbox()
      let own = WorkerCounters(serverCount: snapshot.servers.count, listenerCount: snapshot.listeners.count)
      mailboxes.append(mailbox)
      counters.append(own)
      var places: [ListeningPlace] = []
      for (index, listener) in configuration.listeners.enumerated() {
        for bind in listener.bind.indices {
          places.append(
            ListeningPlace(
              raw: sockets[places.count * threads + worker], listener: Int32(index),
              startsWithProxyHeader: listener.proxyBinds.contains(bind)))
        }
      }
      seeds.append(
        WorkerSeed(
          index: worker, core: cores.isEmpty ? nil : cores[worker % cores.count], snapshot: snapshot, shared: shared,
          counters: own, mailbox: mailbox, reports: reports, sockets: places,
          clientCapacity: min(max(wanted, 64), possible, 1 << 20),
          availabilities: registry.servers.map(\.availability)))
    }
    assembly = StatusAssembly(configuration: configuration, shared: shared, counters: counters)
  }
}
