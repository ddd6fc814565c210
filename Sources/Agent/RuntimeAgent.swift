// The agent from start to end: read and validate, take the run folder, open what needs power, start everything, stop it in
// order.

internal import Control
internal import Cryptography
internal import Kernel
internal import Logging
internal import Primitives
internal import ServiceLifecycle
internal import Settings
internal import UnixSignals

/// The options of `afloat agent`.
package struct AgentOptions: Sendable {
  package var configurationFile: String
  package var node: String?
  package var stateDirectory: String
  package var runDirectory: String
  /// Only say whether the configuration is good.
  package var checkOnly: Bool

  package init(
    configurationFile: String, node: String? = nil, stateDirectory: String = "/var/lib/afloat",
    runDirectory: String = "/run/afloat", checkOnly: Bool = false
  ) {
    self.configurationFile = configurationFile
    self.node = node
    self.stateDirectory = stateDirectory
    self.runDirectory = runDirectory
    self.checkOnly = checkOnly
  }
}

package enum AgentProgram {
  /// At most this many descriptors go to the balancer in one message.
  static let maximumSockets = 190

  /// Runs until SIGTERM or SIGINT. Returns the exit status: 0 after a graceful stop, 2 for a bad configuration, else 1.
  package static func run(_ options: AgentOptions) async -> Int32 {
    let sink = LogSink()
    defer { sink.flush(milliseconds: 500) }
    do {
      let loaded = try ConfigurationFiles.load(options.configurationFile)
      let node = try loaded.configuration.nodeName(option: options.node, hostname: Host.name)
      if options.checkOnly {
        try loaded.configuration.refuseUnusableScripts(file: options.configurationFile, Files.faultOfProgram)
        sink.write("\(options.configurationFile) is good for node \(node)")
        let warnings =
          loaded.configuration.warnings
          + loaded.configuration.machineWarnings(program: Files.faultOfProgram, folder: Files.faultOfServedFolder)
          + loaded.configuration.bindWarnings(NetlinkConnection.ownAddresses())
        for warning in warnings { sink.write("warning: \(warning)") }
        return 0
      }
      try await run(loaded, node: node, options: options, sink: sink)
      return 0
    } catch let error as SettingsError {
      for line in error.lines { sink.write(line) }
      return 2
    } catch let error as NodeNameFault {
      sink.write("\(options.configurationFile): \(error)")
      return 2
    } catch let error as StartFailure {
      sink.write("afloat agent: \(error)")
      return error.exitStatus
    } catch {
      sink.write("afloat agent: \(error)")
      return 1
    }
  }

  private static func run(
    _ loaded: LoadedConfiguration, node: NodeName, options: AgentOptions, sink: LogSink
  ) async throws {
    let started = APITime(unixNanoseconds: Clock.unixNanoseconds)
    let manager = ServiceManager.fromEnvironment()
    Host.setFileCreationMask(0o027)
    Host.ignoreBrokenPipes()
    _ = Privileges.raiseOpenFiles(to: 1 << 20)
    sink.style = LogStyle(loaded.configuration.log)
    let logger = Logger(label: "agent") { LineLogHandler(label: $0, sink: sink) }
    let directories = try Directories(run: options.runDirectory, state: options.stateDirectory)
    let plan = try makePlan(loaded, node: node, directories: directories)
    let configuration = noting(plan, in: loaded.configuration)
    let events = EventLog(directory: directories.state, node: node.text, logger: logger)
    events.record("agent_started", subject: node.text, cause: "version \(Software.version)")
    for warning in configuration.warnings + configuration.bindWarnings(NetlinkConnection.ownAddresses()) {
      logger.warning("\(warning)")
    }

    let gate = try plan.elector.map { elector in
      let gate = try GateWarden()
      gate.guardVIPs(of: elector)
      return gate
    }
    for warning in gate?.view.warnings ?? [] { logger.warning("\(warning)") }
    let supervisor = try Supervisor(
      plan: plan, sockets: try await plan.balancer.asyncMap { try await openSockets($0, logger) }, events: events,
      manager: manager, logger: logger, gate: gate)
    let cluster = try makeClusterRequests(plan, configuration, controls: supervisor, directory: directories.state)
    let requests: any OperatorRequests =
      try cluster ?? LoneRequests(controls: supervisor, directory: directories.state)
    for warning in SwitchNotes.warnings(await requests.switches(), configuration) { logger.warning("\(warning)") }
    let board = ConfigurationBoard(configuration)
    let accessLog = AccessLogKeeper(logger: logger) { supervisor.post(.accessLog($0)) }
    accessLog.begin(configuration.log.access?.target)
    let reloader = Reloader(
      options: options, directories: directories, plan: plan, board: board, supervisor: supervisor, cluster: cluster,
      requests: requests, events: events, accessLog: accessLog, log: sink)
    await reloader.keepFirst()
    let environment = APIEnvironment(
      node: node, board: board, reloads: reloader, started: started, controls: supervisor, requests: requests,
      events: events, accessLog: accessLog)
    let api = LocalAPI(path: directories.socketPath, environment: environment, logger: logger)
    // Stopped from the last to the first: the supervisor hands over while the API still answers.
    let group = ServiceGroupConfiguration(
      services: [api, HangupService(reloader: reloader), accessLog] + (cluster.map { [$0] } ?? []) + [supervisor],
      gracefulShutdownSignals: [.sigterm, .sigint],
      logger: quiet(logger))
    try await ServiceGroup(configuration: group).run()
    events.record("agent_stopped", subject: node.text, cause: "asked to stop")
    events.flush(milliseconds: 1_000)
    try? Files.remove(directories.socketPath)
  }

  /// Nil for a lone balancer.
  private static func makeClusterRequests(
    _ plan: SupervisorPlan, _ configuration: Configuration, controls: any NodeControls, directory: String
  ) throws -> ClusterRequests? {
    try clusterPlan(plan, configuration).map {
      try ClusterRequests(plan: $0, controls: controls, directory: directory)
    }
  }

  static func clusterPlan(_ plan: SupervisorPlan, _ configuration: Configuration) -> ClusterPlan? {
    plan.elector.map {
      ClusterPlan(
        cluster: $0, balancer: plan.balancer, drainTimeout: configuration.balancer.drainTimeout,
        maximumDraining: configuration.cluster?.maximumDraining ?? 1, version: Software.version)
    }
  }

  /// The configuration with what should be known of the plan.
  static func noting(_ plan: SupervisorPlan, in configuration: Configuration) -> Configuration {
    var configuration = configuration
    configuration.warnings += configuration.machineWarnings(
      program: Files.faultOfProgram, folder: Files.faultOfServedFolder)
    if plan.user == Privileges.standInUser {
      configuration.warnings.append("there is no user afloat: elector and balancer run as \(plan.user)")
    }
    return configuration
  }

  /// For frameworks, whose everyday lines are of no use to operators.
  private static func quiet(_ logger: Logger) -> Logger {
    var logger = logger
    logger.logLevel = .warning
    return logger
  }

  static func makePlan(
    _ loaded: LoadedConfiguration, node: NodeName, directories: Directories
  ) throws -> SupervisorPlan {
    let configuration = loaded.configuration
    let cookieKeys =
      loaded.keys.isEmpty
      ? [try directories.loneCookieKey()]
      : loaded.keys.map { KeyDerivation.derive(.cookie, from: $0, byteCount: 16) }
    var balancer: BalancerConfiguration?
    if !configuration.listeners.isEmpty {
      var settings = configuration.balancer(
        node: node, cores: Threads.allowedCores().count, cookieKeys: cookieKeys)
      let binds = configuration.listeners.reduce(0) { $0 + $1.bind.count }
      guard binds <= maximumSockets else {
        throw StartFailure("\(binds) addresses to listen on are more than \(maximumSockets)", exitStatus: 2)
      }
      settings.threads = min(settings.threads, maximumSockets / max(1, binds))
      balancer = settings
    }
    var plan = SupervisorPlan(
      node: node, elector: configuration.elector(node: node, keys: loaded.keys), balancer: balancer,
      electorPath: try helper("afloat-elector"), balancerPath: try helper("afloat-balancer"),
      user: Privileges.serviceUser(), drainOnStop: configuration.balancer.stopTimeout)
    plan.programEnvironment = [
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "AFLOAT_NODE=\(node)",
      "AFLOAT_SOCKET=\(directories.socketPath)",
    ]
    return plan
  }

  /// A helper executable: beside our own in a build folder, in ../libexec/afloat when installed.
  private static func helper(_ name: String) throws -> String {
    let own = try Files.ownExecutable()
    let folder = own.lastIndex(of: "/").map { String(own[..<$0]) } ?? "."
    let places = ["\(folder)/\(name)", "\(folder)/../libexec/afloat/\(name)"]
    guard let found = places.first(where: Files.isExecutable) else {
      throw StartFailure("\(name) is missing: it is neither \(places[0]) nor \(places[1])")
    }
    return found
  }

  /// A predecessor that was killed may still be letting go of its ports.
  private static func openSockets(_ balancer: BalancerConfiguration, _ logger: Logger) async throws -> ListeningSockets
  {
    let deadline = Clock.monotonic + .seconds(3)
    var said = false
    while true {
      do { return try ListeningSockets(for: balancer) } catch let error as SystemError {
        guard error.code == SystemError.addressInUse, Clock.monotonic < deadline else {
          throw StartFailure("\(error)\(remedy(for: error))")
        }
        if !said { logger.warning("\(error), trying again") }
        said = true
        try await Task.sleep(for: .milliseconds(100))
      }
    }
  }

  static func remedy(for error: SystemError) -> String {
    switch error.code {
    case SystemError.addressInUse: " (see ss -ltnp for who has it)"
    case SystemError.accessDenied: " (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
    default: ""
    }
  }
}

extension Optional {
  fileprivate func asyncMap<Result>(_ transform: (Wrapped) async throws -> Result) async rethrows -> Result? {
    guard let self else { return nil }
    return try await transform(self)
  }
}
