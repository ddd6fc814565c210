// What operators ask of the cluster, on a node that is a member: keeps the intents, has this node act on them, tells the
// other agents, and watches drains. Election and data plane never wait for anything here.

package import Control
internal import Dispatch
internal import Intents
internal import Kernel
package import Primitives
internal import ServiceLifecycle

/// What `ClusterRequests` needs of the configuration.
package struct ClusterPlan: Equatable, Sendable {
  package var cluster: ElectorConfiguration
  /// Nil where this node has no listeners, and so no balancer.
  package var balancer: BalancerConfiguration?
  /// Drains without a deadline of their own.
  package var drainTimeout: TimeSpan
  package var maximumDraining: Int
  package var version: String

  package init(
    cluster: ElectorConfiguration, balancer: BalancerConfiguration?, drainTimeout: TimeSpan, maximumDraining: Int = 1,
    version: String
  ) {
    self.cluster = cluster
    self.balancer = balancer
    self.drainTimeout = drainTimeout
    self.maximumDraining = maximumDraining
    self.version = version
  }

  package var node: NodeName { cluster.node }

  /// Nil if this node is not among the members.
  var link: ClusterLink.Settings? {
    guard let own = cluster.members.first(where: { $0.name == node }) else { return nil }
    return ClusterLink.Settings(
      node: node, address: own.address, port: cluster.group.port,
      keys: ChannelKeys(cluster: cluster.clusterName, clusterKeys: cluster.keys),
      peers: cluster.members.filter { $0.name != node }.map { .init(name: $0.name, address: $0.address) })
  }
}

package actor ClusterRequests: OperatorRequests, Service {
  /// Between two reports, however much changes.
  static let shortestReportInterval = TimeSpan.milliseconds(100)
  static let longestReportInterval = TimeSpan.seconds(1)
  /// Between two sendings of the whole document to one peer.
  static let pushInterval = TimeSpan.seconds(1)
  /// Events of the channel that may wait; older ones are dropped, and peers ask or tell again.
  static let maximumWaitingEventCount = 4096
  static let partByteCount = 48 * 1024

  struct Pending {
    var peer: NodeName
    var continuation: CheckedContinuation<ChannelAnswer?, Never>
  }

  private struct Use {
    var requests: UInt64
    var at: Instant
  }

  private(set) var plan: ClusterPlan
  nonisolated let store: IntentsStore
  nonisolated let controls: any NodeControls
  nonisolated let link: ClusterLink
  private let linkEvents: AsyncStream<ClusterLink.Event>
  /// Writes to the disk happen here, not on a thread that tasks need.
  private nonisolated let disk = DispatchQueue(label: "intents")

  var reports: [NodeName: DrainProgress.Received] = [:]
  var lastPush: [NodeName: Instant] = [:]
  var pending: [UInt64: Pending] = [:]
  var nextCommand: UInt64 = 1
  private let boot: DrainBoot
  private var reported: NodeReport?
  private var ordersSent: [ServerOrder]?
  private var switchesSent: [RouteSwitch]?
  private var digestSent: UInt64?
  /// When each server of a draining member was last seen in use, by the count of its requests.
  private var uses: [ServerName: Use] = [:]
  private var drainsSeen: [NodeName: DrainIntent]?
  private var drained: Set<NodeName> = []

  /// Reads the intents and has this node act on them at once: call it before the elector and the balancer are started.
  /// Throws if this node is no member or the channel cannot be set up.
  package init(plan: ClusterPlan, controls: any NodeControls, directory: String) throws {
    guard let settings = plan.link else {
      throw ChannelFault.unexpected("\(plan.node) is not among the members of cluster \(plan.cluster.clusterName)")
    }
    let store = IntentsStore(directory: directory)
    let (stream, continuation) = AsyncStream.makeStream(
      of: ClusterLink.Event.self, bufferingPolicy: .bufferingNewest(Self.maximumWaitingEventCount))
    self.plan = plan
    self.store = store
    self.controls = controls
    linkEvents = stream
    let hello: @Sendable () -> ChannelHello = {
      ChannelHello(node: plan.node, version: plan.version, intentsDigest: store.intents.digest)
    }
    link = try ClusterLink(settings, hello: hello) { continuation.yield($0) }
    boot = DrainBoot(directory: directory)
    Self.endDrainUntilReboot(plan.node, store, controls, boot)
    let intents = store.intents
    drainsSeen = intents.drains
    controls.setDraining(intents.drain(of: plan.node) != nil)
    controls.setIntentsDigest(intents.digest)
    controls.setOrders(
      DrainOrders.orders(intents, pools: plan.balancer?.pools ?? [], unixNow: Clock.unixNanoseconds))
    controls.setSwitches(DrainOrders.switches(intents))
  }

  /// A drain `--until-reboot` that is older than this machine's start is over.
  private static func endDrainUntilReboot(
    _ node: NodeName, _ store: IntentsStore, _ controls: any NodeControls, _ boot: DrainBoot
  ) {
    let booted = Clock.unixNanoseconds - Clock.boot.nanoseconds
    guard let drain = store.intents.drain(of: node) else { return }
    guard boot.isOver(drain, bootedUnixNanoseconds: booted) else { return note(drain, boot, controls) }
    do {
      try store.update { try $0.setDrain(nil, of: node, author: node) }
      controls.record("undrained", subject: node.text, cause: "the machine was restarted (drain --until-reboot)")
    } catch {
      controls.record("warning", subject: node.text, cause: "the drain until restart could not be ended: \(error)")
    }
  }

  private static func note(_ drain: DrainIntent, _ boot: DrainBoot, _ controls: any NodeControls) {
    do { try boot.note(drain) } catch {
      controls.record(
        "warning", subject: "drain", cause: "the machine's start is not noted for the drain until restart: \(error)")
    }
  }

  /// Goes on with other members, addresses, keys or pools; the node and the cluster are the same ones.
  package func take(_ next: ClusterPlan) {
    precondition(next.node == plan.node, "a node does not change its name while it runs")
    plan = next
    reports = reports.filter { report in next.cluster.members.contains { $0.name == report.key } }
    if let settings = next.link { link.update(settings) }
    step()
  }

  /// Until a graceful shutdown.
  package func run() async throws {
    try link.start()
    let changes = controls.changes()
    await cancelWhenGracefulShutdown {
      await withTaskGroup(of: Void.self) { group in
        group.addTask { for await _ in changes { await self.step() } }
        group.addTask { for await event in self.linkEvents { await self.handle(event) } }
        group.addTask {
          while !Task.isCancelled {
            await self.step()
            try? await Task.sleep(for: .milliseconds(500))
          }
        }
      }
    }
    link.stop()
  }

  /// Acts on the intents, reports, and notes what came to its end.
  func step() {
    let now = Clock.monotonic
    let intents = store.intents
    act(on: intents)
    let report = makeReport(intents)
    let since = reports[plan.node].map { now - $0.at } ?? Self.longestReportInterval
    if since >= (report == reported ? Self.longestReportInterval : Self.shortestReportInterval) {
      link.send(.report(report), to: nil)
      reported = report
      reports[plan.node] = .init(report: report, at: now)
    }
    noteDrained(intents)
    // Heartbeats tell of a difference too, sooner than the next report of a busy agent.
    for member in controls.view.elector?.members ?? [] where member.name != plan.node && member.state == .alive {
      if let digest = member.intentsDigest, digest != 0 { push(to: member.name, ifOtherThan: digest) }
    }
  }

  private func act(on intents: Intents) {
    let orders = DrainOrders.orders(
      intents, pools: plan.balancer?.pools ?? [], unixNow: Clock.unixNanoseconds)
    if orders != ordersSent {
      ordersSent = orders
      controls.setOrders(orders)
    }
    let switches = DrainOrders.switches(intents)
    if switches != switchesSent {
      switchesSent = switches
      controls.setSwitches(switches)
    }
    let digest = intents.digest
    if digest != digestSent {
      digestSent = digest
      controls.setIntentsDigest(digest)
    }
    let drains = intents.drains
    guard drains != drainsSeen else { return }
    let before = drainsSeen ?? [:]
    drainsSeen = drains
    controls.setDraining(drains[plan.node] != nil)
    if let drain = drains[plan.node] { Self.note(drain, boot, controls) }
    for (node, drain) in drains.sorted(by: { $0.key < $1.key }) where before[node] == nil {
      controls.record(
        "draining", subject: node.text,
        cause: "asked by \(drain.by.isEmpty ? "an operator" : drain.by)"
          + (drain.reason.isEmpty ? "" : ": \(drain.reason)"))
    }
    for node in before.keys.sorted() where drains[node] == nil {
      drained.remove(node)
      controls.record("undrained", subject: node.text, cause: "asked by an operator")
    }
  }

  func noteDrained(_ intents: Intents) {
    let progress = progress()
    for node in intents.drains.keys.sorted() where !drained.contains(node) && progress.blockers(of: node).isEmpty {
      drained.insert(node)
      controls.record("drained", subject: node.text, cause: "no VIP and no connection is left")
    }
  }

  // MARK: what is known

  var members: [DrainProgress.Member] {
    let states = Dictionary(
      (controls.view.elector?.members ?? []).map { ($0.name, $0.state) }, uniquingKeysWith: { $1 })
    return plan.cluster.members.map { member in
      DrainProgress.Member(
        name: member.name, alive: member.name == plan.node || states[member.name] != .dead,
        mayHold: member.role == .voter)
    }
  }

  func progress() -> DrainProgress { DrainProgress(members: members, reports: reports, now: Clock.monotonic) }

  private func makeReport(_ intents: Intents) -> NodeReport {
    let view = controls.view
    let drains = intents.drains
    var report = NodeReport(node: plan.node, intentsDigest: intents.digest, draining: drains.keys.sorted())
    report.vipsHeld = view.elector.map { $0.vips.filter { $0.role == .holder }.map(\.name).sorted() }
    if plan.balancer == nil {
      report.servers = []
    } else if let status = view.balancer {
      report.servers = servers(in: status, of: drains)
    }
    if drains[plan.node] != nil, let balancer = plan.balancer {
      // Connections at addresses that stay behind the shut gate are served here. Once an address has left, nothing can arrive
      // on its connections: what the kernel still lists then are remains whose clients are elsewhere by now (their FIN went to
      // the new holder), and they end with the balancer's idle time-out.
      let here = view.keptVIPs.union(report.vipsHeld ?? [])
      let addresses = Set(
        plan.cluster.vips.filter { here.contains($0.name) }.flatMap { $0.addresses.map(\.address) })
      let ports = Set(balancer.listeners.flatMap { $0.bind.map(\.port) })
      // What cannot be counted is not known to be gone.
      report.clientConnections = (try? ConnectionTable.openCount(addresses: addresses, ports: ports)) ?? 1
    }
    return report
  }

  private func servers(in status: BalancerStatus, of drains: [NodeName: DrainIntent]) -> [NodeReport.Server] {
    let clock = Clock.monotonic
    var before = uses
    uses = [:]
    var servers: [NodeReport.Server] = []
    for pool in plan.balancer?.pools ?? [] {
      guard let seen = status.pools.first(where: { $0.name == pool.name }) else { continue }
      for server in pool.servers {
        guard let member = server.member, drains[member] != nil,
          let now = seen.servers.first(where: { $0.name == server.name })
        else { continue }
        let name = ServerName(pool: pool.name, server: server.name)
        var use = before.removeValue(forKey: name) ?? Use(requests: now.requests, at: clock)
        if now.connections > 0 || now.requests != use.requests { use = Use(requests: now.requests, at: clock) }
        uses[name] = use
        // In steps, so that a report of nothing new is equal to the one before.
        let quiet = min(DrainProgress.quietFor, .milliseconds((clock - use.at).milliseconds / 500 * 500))
        servers.append(
          .init(
            pool: pool.name, server: server.name, member: member, state: now.state, connections: now.connections,
            quiet: quiet))
      }
    }
    servers.sort { $0.connections > $1.connections }
    return Array(servers.prefix(NodeReport.maximumServerCount))
  }

  // MARK: the document

  /// Changes the intents, on the disk on return, and acts on them.
  func update(_ change: @escaping @Sendable (inout Intents) throws -> Void) async throws -> Intents {
    let store = store
    let intents = try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Intents, any Error>) in
      disk.async { continuation.resume(with: Result { try store.update(change) }) }
    }
    step()
    return intents
  }
}
