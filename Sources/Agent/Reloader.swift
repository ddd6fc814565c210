// Another configuration for the running agent: read, compared, refused with what to do where it cannot be had without a
// restart, opened, handed to the children, kept. Whatever fails before the children have it changes nothing.

package import Control
internal import Kernel
internal import Logging
internal import Primitives
internal import ServiceLifecycle
internal import Settings
internal import UnixSignals

/// What operators ask of the configuration of this node. Throws `Refusal`.
package protocol ReloadRequests: Sendable {
  func reload(_ request: APIReloadRequest) async throws -> APIReloadAnswer
  func accepted() async throws -> [APIAcceptedConfiguration]
  func text(of number: Int) async throws -> APIConfigurationText
  func rollBack(_ request: APIRollbackRequest) async throws -> APIReloadAnswer
}

package actor Reloader: ReloadRequests {
  private let options: AgentOptions
  private let directories: Directories
  private let board: ConfigurationBoard
  private let supervisor: Supervisor
  private let cluster: ClusterRequests?
  private let requests: any OperatorRequests
  private let events: EventLog
  private let history: ConfigurationHistory
  private let accessLog: AccessLogKeeper
  private let log: LogSink
  /// The one in force.
  private var plan: SupervisorPlan
  private var isBusy = false

  init(
    options: AgentOptions, directories: Directories, plan: SupervisorPlan, board: ConfigurationBoard,
    supervisor: Supervisor, cluster: ClusterRequests?, requests: any OperatorRequests, events: EventLog,
    accessLog: AccessLogKeeper, log: LogSink
  ) {
    self.requests = requests
    self.accessLog = accessLog
    self.log = log
    self.options = options
    self.directories = directories
    self.plan = plan
    self.board = board
    self.supervisor = supervisor
    self.cluster = cluster
    self.events = events
    history = ConfigurationHistory(directory: directories.state)
  }

  /// Keeps what the agent has started with.
  func keepFirst() {
    guard let file = try? ConfigurationFiles.read(options.configurationFile) else { return }
    keep(file)
  }

  private func keep(_ file: FileContents) {
    do {
      try history.keep(file.bytes, mode: file.mode & 0o777, unixNanoseconds: Clock.unixNanoseconds)
    } catch {
      events.record(
        "warning", subject: plan.node.text, cause: "the accepted configuration is not kept: \(error)", level: .warning)
    }
  }

  // MARK: Reload

  package func reload(_ request: APIReloadRequest) async throws -> APIReloadAnswer {
    try begin()
    defer { isBusy = false }
    do {
      return try await take(try contents(), check: request.check ?? false, by: request.by)
    } catch let late as LateReload {
      throw late.complaint
    } catch let refusal as Refusal {
      if request.check != true { noteRefusal(refusal) }
      throw refusal
    }
  }

  private func begin() throws {
    guard !isBusy else { throw Refusal(503, "another reload is under way") }
    isBusy = true
  }

  private func contents() throws -> FileContents {
    do throws(FileFault) {
      return try ConfigurationFiles.read(options.configurationFile)
    } catch {
      throw Refusal(409, "cannot read \(options.configurationFile): \(error.cause)")
    }
  }

  private func noteRefusal(_ refusal: Refusal) {
    let first = refusal.body.lines?.first ?? refusal.body.error
    let more = (refusal.body.lines?.count ?? 1) - 1
    let words = first + (more > 0 ? " (and \(more) more; see afloat check)" : "")
    let time = APITime(unixNanoseconds: Clock.unixNanoseconds)
    board.refuse("the configuration was refused at \(time) and the one before is in force: \(words)")
    events.record("reload_refused", subject: plan.node.text, cause: words, level: .warning)
  }

  private func take(_ file: FileContents, check: Bool, by: String?) async throws -> APIReloadAnswer {
    let (loaded, next) = try prepare(file)
    let configuration = AgentProgram.noting(next, in: loaded.configuration)
    let before = board.configuration
    let switches = await requests.switches()
    let obstacles = SwitchNotes.obstacles(switches, before, configuration)
    guard obstacles.isEmpty else { throw Refusal(409, obstacles.joined(separator: "; ")) }
    let changes =
      before.changes(to: configuration)
      + SwitchNotes.changes(switches, await requests.serverOrders(), before, configuration)
    let inUse = Set(switches.applied(to: configuration.listeners, configuration.pools).flatMap(\.pools))
    var answer = APIReloadAnswer(
      applied: false, changes: changes,
      warnings: configuration.warnings(besides: inUse)
        + configuration.bindWarnings(NetlinkConnection.ownAddresses()) + SwitchNotes.warnings(switches, configuration),
      configuration: APISources.hexadecimal(configuration.digest))
    if check {
      // What could not be opened then is refused now. Nothing is opened on trial where a client could meet it.
      try tryLog(configuration)
      _ = try naming { try next.balancer.map { try ListeningSockets.checkAreFree($0, before: supervisor.sockets) } }
      return answer
    }
    let opened = try openLog(configuration)
    let complaint = try await supervisor.reload(next, sockets: try sockets(next))
    accessLog.adopt(configuration.log.access?.target, opened)
    log.style = LogStyle(configuration.log)
    plan = next
    board.accept(configuration)
    if let clusterPlan = AgentProgram.clusterPlan(next, configuration) { await cluster?.take(clusterPlan) }
    keep(file)
    let who = by.map { ", asked by \($0)" } ?? ""
    let what = changes.isEmpty ? "nothing changes" : changes.joined(separator: "; ")
    events.record("reloaded", subject: plan.node.text, cause: String((what + who).prefix(2_000)))
    if let complaint {
      events.record("warning", subject: plan.node.text, cause: complaint.description, level: .warning)
      throw LateReload(complaint: complaint)
    }
    answer.applied = true
    return answer
  }

  /// Reads and compares. Throws `Refusal` with every error, or with everything that needs a restart.
  private func prepare(_ file: FileContents) throws -> (LoadedConfiguration, SupervisorPlan) {
    let path = options.configurationFile
    do {
      let loaded = try ConfigurationFiles.load(path, text: file)
      let node = try loaded.configuration.nodeName(option: options.node, hostname: Host.name)
      try loaded.configuration.refuseUnusableScripts(file: path, Files.faultOfProgram)
      var next = try AgentProgram.makePlan(loaded, node: node, directories: directories)
      try checkInterfaces(next)
      let obstacles = ReloadObstacles.between(
        plan, &next, threadsChange: loaded.configuration.balancer.threads != board.configuration.balancer.threads)
      guard obstacles.isEmpty else {
        throw Refusal(
          409, "\(obstacles.joined(separator: "; ")): restart the agent for that, one node after another")
      }
      return (loaded, next)
    } catch let error as SettingsError {
      throw Refusal(409, "\(path) has errors, the configuration stays as it was", lines: error.lines)
    } catch let error as NodeNameFault {
      throw Refusal(409, "\(path): \(error)")
    } catch let error as StartFailure {
      throw Refusal(409, error.description)
    }
  }

  /// The access log's file, opened anew: what was renamed away is left behind by this.
  private func openLog(_ configuration: Configuration) throws -> OpenedLog? {
    do throws(SystemError) {
      return try AccessLogKeeper.open(configuration.log.access?.target)
    } catch {
      throw Refusal(409, "log.access: \(error)")
    }
  }

  /// As `openLog`, but no file is made.
  private func tryLog(_ configuration: Configuration) throws {
    guard case .file(let path) = configuration.log.access?.target, !Files.exists(path) else {
      _ = try openLog(configuration)
      return
    }
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "./"
    if let fault = Files.faultOfFolder(folder) {
      throw Refusal(409, "log.access: cannot open \(path): \(folder): \(fault)")
    }
  }

  /// An interface that VIPs name anew must be there: more often than not it is a typing error. One that they have named before
  /// may be away for a while.
  private func checkInterfaces(_ next: SupervisorPlan) throws {
    let before = Set((plan.elector?.vips ?? []).map(\.interface))
    let vips = (next.elector?.vips ?? []).filter { !before.contains($0.interface) }
    guard !vips.isEmpty, let links = try? NetlinkConnection().links() else { return }
    let known = links.sorted { $0.index < $1.index }.map(\.name)
    guard let vip = vips.first(where: { !known.contains($0.interface) }) else { return }
    throw Refusal(
      409,
      "interface \(vip.interface) of VIP \(vip.name) does not exist; this machine has \(known.joined(separator: ", "))")
  }

  private func sockets(_ next: SupervisorPlan) throws -> ListeningSockets? {
    try naming { try next.balancer.map { try ListeningSockets(for: $0, before: supervisor.sockets) } }
  }

  /// Makes a refusal of what the system refuses.
  private func naming<Value>(_ work: () throws -> Value) throws -> Value {
    do {
      return try work()
    } catch let error as SystemError {
      throw Refusal(409, "\(error)\(AgentProgram.remedy(for: error))")
    }
  }

  // MARK: What was accepted

  package func accepted() throws -> [APIAcceptedConfiguration] {
    let entries = try history.entries()
    return entries.map {
      APIAcceptedConfiguration(number: $0.number, accepted: $0.accepted, current: $0 == entries.last)
    }
  }

  private func entry(_ number: Int) throws -> ConfigurationHistory.Entry {
    let entries = try history.entries()
    guard let entry = entries.first(where: { $0.number == number }) else {
      let known =
        entries.isEmpty ? "none are kept" : "\(entries[0].number) to \(entries[entries.count - 1].number) are kept"
      throw Refusal(404, "there is no configuration \(number) (\(known))")
    }
    return entry
  }

  package func text(of number: Int) throws -> APIConfigurationText {
    APIConfigurationText(
      number: number, text: String(decoding: try history.bytes(of: try entry(number)), as: UTF8.self))
  }

  /// Validates before the file is touched; what the children refuse after that puts the file back.
  package func rollBack(_ request: APIRollbackRequest) async throws -> APIReloadAnswer {
    try begin()
    defer { isBusy = false }
    let before = try contents()
    let entries = try history.entries()
    guard let number = request.number ?? entries.dropLast().last?.number else {
      throw Refusal(409, "there is no configuration before the present one")
    }
    let text = FileContents(bytes: try history.bytes(of: try entry(number)), mode: before.mode)
    _ = try prepare(text)
    let path = try Files.resolved(options.configurationFile)
    // An edit that was never accepted is nowhere else.
    let isKept = try entries.contains { try history.bytes(of: $0) == before.bytes }
    let copy = "\(path).before-rollback-\(Clock.unixNanoseconds / 1_000_000_000)"
    if !isKept { try Files.replace(copy, with: before.bytes, mode: before.mode & 0o777) }
    try Files.replace(path, with: text.bytes, mode: before.mode & 0o777)
    do {
      var answer = try await take(text, check: false, by: request.by)
      if !isKept { answer.warnings.append("what \(path) said before had not been accepted; it is kept in \(copy)") }
      return answer
    } catch let late as LateReload {
      throw late.complaint
    } catch {
      try Files.replace(path, with: before.bytes, mode: before.mode & 0o777)
      throw error
    }
  }
}

/// The new configuration is in force, but a child has not said in time that it goes by it.
private struct LateReload: Error { let complaint: Refusal }

/// What cannot change while the agent runs.
enum ReloadObstacles {
  /// In words, and `next` made such that the rest can be taken over.
  static func between(_ plan: SupervisorPlan, _ next: inout SupervisorPlan, threadsChange: Bool) -> [String] {
    var found: [String] = []
    func compare<Value: Equatable>(_ name: String, _ before: Value, _ after: Value) {
      if before != after { found.append("\(name) changes from \(before) to \(after)") }
    }
    compare("the node's name", plan.node, next.node)
    if let before = plan.elector, let after = next.elector {
      compare("cluster.name", before.clusterName, after.clusterName)
      compare("cluster.interface", before.interfaces, after.interfaces)
      compare("cluster.transport", before.transport, after.transport)
      compare("cluster.group", before.group, after.group)
      let own = { (elector: ElectorConfiguration) in elector.members.first { $0.name == elector.node }?.addresses }
      if let old = own(before), let new = own(after) { compare("this node's address", old, new) }
    } else if plan.elector != nil || next.elector != nil {
      found.append(plan.elector == nil ? "a lone balancer becomes a cluster" : "the cluster becomes a lone balancer")
    }
    guard let before = plan.balancer else { return found }
    // It goes on without listeners, so that what is connected can finish.
    var after = next.balancer ?? before
    if next.balancer == nil { after.listeners = [] }
    if threadsChange { found.append("balancer.threads changes") }
    after.threads = before.threads
    let sockets = after.threads * after.listeners.reduce(0) { $0 + $1.bind.count }
    if sockets > AgentProgram.maximumSockets {
      found.append("\(sockets) listening sockets are more than \(AgentProgram.maximumSockets)")
    }
    next.balancer = after
    return found
  }
}

/// SIGHUP: as `afloat reload`.
struct HangupService: Service {
  let reloader: Reloader

  func run() async throws {
    let signals = await UnixSignalsSequence(trapping: .sighup)
    for await _ in signals.cancelOnGracefulShutdown() {
      // Refusals are in the log, in the events and in `status`.
      _ = try? await reloader.reload(APIReloadRequest(by: "SIGHUP"))
    }
  }
}
