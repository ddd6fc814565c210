// Three agents' worth of requests over real channels on loopback addresses, with children that are played: a drain from
// recorded to drained, over restarts, and what it refuses.

import Agent
import Control
import Intents
import Kernel
import Primitives
import Synchronization
import Testing

private let names = ["n1", "n2", "n3"].map { NodeName($0)! }

/// Children of one node, as a test wants them.
private final class PlayedNode: NodeControls {
  func figures() async throws -> BalancerFigures { BalancerFigures(taken: 0) }
  struct State {
    var view = NodeView()
    var orders: [ServerOrder] = []
    var draining: [Bool] = []
    var recorded: [String] = []
  }
  let state = Mutex(State())
  let node: NodeName

  init(_ node: NodeName, holds vips: [String]) {
    self.node = node
    state.withLock {
      $0.view.elector = ElectorStatus(
        vips: vips.map {
          VIPStatus(name: $0, holder: node, role: .holder, sinceUnixNanoseconds: 0, cause: "", ineligible: nil)
        }, members: [], dropped: [:], worstStall: .zero, detectionTime: .zero, warnings: [])
    }
    play(connections: 0)
  }

  /// The balancer does as it was told, with this many connections on n1's server.
  func play(connections: Int) {
    state.withLock { state in
      let servers = names.map { name in
        let ordered = state.orders.contains { $0.server == name.text }
        return ServerStatus(
          name: name.text, endpoint: Endpoint("192.0.2.1:80")!, state: ordered ? .drain : .up, weight: 100,
          connections: name == names[0] ? connections : 5, requests: 0, failures: 0, lastCheck: "")
      }
      state.view.balancer = BalancerStatus(
        pools: [PoolStatus(name: "app", servers: servers)], listeners: [], warnings: [])
    }
  }

  func release() {
    state.withLock { $0.view.elector!.vips = [] }
  }

  var orders: [ServerOrder] { state.withLock { $0.orders } }
  var isDraining: Bool? { state.withLock { $0.draining.last } }
  var recorded: [String] { state.withLock { $0.recorded } }

  var view: NodeView { state.withLock { $0.view } }
  func changes() -> AsyncStream<Void> { AsyncStream { _ in } }
  func setOrders(_ orders: [ServerOrder]) { state.withLock { $0.orders = orders } }
  func setSwitches(_ switches: [RouteSwitch]) {}
  func setIntentsDigest(_ digest: UInt64) {}
  func setDraining(_ draining: Bool) { state.withLock { $0.draining.append(draining) } }
  func move(_ request: APIMoveRequest) async throws -> APIMoveAnswer {
    guard request.vip == "web" else { throw Refusal(409, "\(node) does not hold \(request.vip)", override: "none") }
    return APIMoveAnswer(vip: request.vip, from: node.text, to: request.to, gapMilliseconds: 1.5)
  }
  func record(_ kind: String, subject: String, cause: String) {
    state.withLock { $0.recorded.append("\(kind) \(subject): \(cause)") }
  }
}

private final class Cluster {
  private static let count = Atomic<UInt32>(0)
  private let third = count.add(1, ordering: .relaxed).newValue % 200
  private let port = UInt16.random(in: 20_000...30_000)
  let folders: [TemporaryFolder]
  var nodes: [PlayedNode] = []
  var requests: [ClusterRequests] = []
  private var tasks: [Task<Void, any Error>] = []

  init() throws {
    folders = try names.map { _ in try TemporaryFolder() }
    for index in names.indices {
      nodes.append(PlayedNode(names[index], holds: index == 0 ? ["web"] : []))
      requests.append(try make(index))
    }
    for request in requests { tasks.append(Task { try await request.run() }) }
  }

  deinit { for task in tasks { task.cancel() } }

  private func make(_ index: Int) throws -> ClusterRequests {
    let members = names.enumerated().map { offset, name in
      MemberConfiguration(
        name: name, addresses: [IPAddress(v4: 127 << 24 | 79 << 16 | third << 8 | UInt32(offset + 1))], role: .voter)
    }
    let elector = ElectorConfiguration(
      clusterName: "zone-a", node: names[index], interfaces: ["lo"],
      group: Endpoint(address: IPAddress("239.255.70.76")!, port: port), keys: [[UInt8](repeating: 9, count: 32)],
      heartbeat: .milliseconds(10), deadAfter: 3, aloneAfter: .seconds(5), members: members, vips: [], digest: 0)
    let pool = PoolConfiguration(
      name: "app", balance: .roundRobin, affinity: .none,
      servers: members.map {
        ServerConfiguration(name: $0.name.text, endpoint: Endpoint(address: $0.address, port: 80), member: $0.name)
      }, check: HealthCheckConfiguration(kind: .none))
    let balancer = BalancerConfiguration(
      node: names[index].text, threads: 1, cookieKeys: [], listeners: [], pools: [pool])
    return try ClusterRequests(
      plan: ClusterPlan(cluster: elector, balancer: balancer, drainTimeout: .seconds(60), version: "0"),
      controls: nodes[index], directory: folders[index].path)
  }

  /// The agent of one node ends and starts again; its children are new.
  func restart(_ index: Int) async throws {
    tasks[index].cancel()
    _ = await tasks[index].result
    nodes[index] = PlayedNode(names[index], holds: [])
    requests[index] = try make(index)
    let request = requests[index]
    tasks[index] = Task { try await request.run() }
  }

  func stop(_ index: Int) async {
    tasks[index].cancel()
    _ = await tasks[index].result
  }

  func connected() async {
    await eventually("all agents are connected") {
      for request in requests where await !request.warnings().isEmpty { return false }
      return true
    }
  }
}

private func eventually(_ what: Comment, _ condition: () async -> Bool) async {
  for _ in 0..<1_000 {
    if await condition() { return }
    try? await Task.sleep(for: .milliseconds(10))
  }
  Issue.record(what)
}

@Suite struct `Requests to a cluster` {
  @Test func `drain a node from another, observed to the end and over a restart, then undrain`() async throws {
    let cluster = try Cluster()
    await cluster.connected()
    cluster.nodes[1].play(connections: 2)
    let check = try await cluster.requests[1].drain(APIDrainRequest(node: "n1", check: true))
    #expect(!check.recorded && check.steps == ["app/n1 takes no new clients, on every node"])
    #expect(cluster.nodes[0].isDraining == false)

    let answer = try await cluster.requests[1].drain(APIDrainRequest(node: "n1", reason: "kernel", by: "root"))
    #expect(answer.recorded && answer.steps.last == "recorded on 3 of 3 nodes")
    #expect(answer.drain?.by == "root@n2" && answer.drain?.phase == .draining)
    await eventually("every node acts") {
      cluster.nodes.allSatisfy { $0.orders == [ServerOrder(pool: "app", server: "n1", administration: .drain)] }
        && cluster.nodes[0].isDraining == true && cluster.nodes[1].isDraining == false
    }
    for node in cluster.nodes { node.play(connections: node.node == names[1] ? 2 : 0) }
    await eventually("what blocks is seen from afar") {
      await cluster.requests[2].drains().first?.blocking.map(\.name) == ["web", "app/n1"]
    }
    cluster.nodes[1].play(connections: 0)
    await eventually("only the VIP blocks") {
      await cluster.requests[2].drains().first?.blocking.map(\.name) == ["web"]
    }
    #expect(!cluster.nodes.contains { $0.recorded.contains { $0.hasPrefix("drained") } })
    cluster.nodes[0].release()
    await eventually("drained, everywhere") {
      for request in cluster.requests where await request.drains().first?.phase != .drained { return false }
      return true
    }
    await eventually("it is in the log") {
      cluster.nodes[2].recorded.contains("drained n1: no VIP and no connection is left")
    }

    try await cluster.restart(0)
    #expect(cluster.nodes[0].state.withLock { $0.draining.first } == true)
    #expect(cluster.nodes[0].orders.count == 1)
    await cluster.connected()
    cluster.nodes[0].play(connections: 0)
    await eventually("drained again") { await cluster.requests[1].drains().first?.phase == .drained }

    let undrain = try await cluster.requests[2].undrain(APIUndrainRequest(node: "n1"))
    #expect(undrain.changed)
    await eventually("all is ready") { cluster.nodes.allSatisfy { $0.orders.isEmpty && $0.isDraining == false } }
    #expect(try await cluster.requests[2].undrain(APIUndrainRequest(node: "n1")).changed == false)
    #expect(await cluster.requests[0].drains().isEmpty)
  }

  @Test func `refuse a second drain and unknown nodes, and obey the override`() async throws {
    let cluster = try Cluster()
    await cluster.connected()
    _ = try await cluster.requests[0].drain(APIDrainRequest(node: "n1"))
    let refusal = await #expect(throws: Refusal.self) {
      try await cluster.requests[2].drain(APIDrainRequest(node: "n2"))
    }
    #expect(refusal?.status == 409 && refusal?.body.override == "--force --yes")
    #expect(try await cluster.requests[2].drain(APIDrainRequest(node: "n1")).steps.first?.contains("already") == true)
    #expect(try await cluster.requests[2].drain(APIDrainRequest(node: "n2", force: true)).recorded)
    #expect(await cluster.requests[0].drains().map(\.node) == ["n1", "n2"])
    #expect(
      await #expect(throws: Refusal.self) { try await cluster.requests[0].drain(APIDrainRequest(node: "n9")) }?.status
        == 404)
    #expect(
      await #expect(throws: Refusal.self) {
        try await cluster.requests[0].drain(APIDrainRequest(node: "n3", reason: "a\nb", force: true))
      }?.status == 400)
  }

  @Test func `record what a node missed as soon as it is back`() async throws {
    let cluster = try Cluster()
    await cluster.connected()
    await cluster.stop(2)
    await eventually("the loss is noticed") { await !cluster.requests[0].warnings().isEmpty }
    let answer = try await cluster.requests[0].setServer(APIServerRequest(pool: "app", server: "n2", state: .maint))
    #expect(answer.pending == ["n3"])
    let drain = try await cluster.requests[1].drain(APIDrainRequest(node: "n3"))
    #expect(drain.steps.last == "recorded on 2 of 3 nodes (n3: as soon as reached)")
    try await cluster.restart(2)
    await eventually("n3 caught up") {
      cluster.nodes[2].isDraining == true
        && cluster.nodes[2].orders.map { "\($0.server) \($0.administration)" } == ["n2 maint", "n3 drain"]
    }
    #expect(IntentsStore(directory: cluster.folders[2].path).intents.registers.count == 2)
  }

  @Test func `have moves carried out by the holder`() async throws {
    let cluster = try Cluster()
    await cluster.connected()
    let answer = try await cluster.requests[2].forwardMove(APIMoveRequest(vip: "web", to: "n3"), to: names[0])
    #expect(answer == APIMoveAnswer(vip: "web", from: "n1", to: "n3", gapMilliseconds: 1.5))
    let refusal = await #expect(throws: Refusal.self) {
      try await cluster.requests[2].forwardMove(APIMoveRequest(vip: "db", to: "n3"), to: names[0])
    }
    #expect(refusal == Refusal(409, "n1 does not hold db", override: "none"))
    await cluster.stop(0)
    await eventually("the loss is noticed") { await !cluster.requests[2].warnings().isEmpty }
    let gone = await #expect(throws: Refusal.self) {
      try await cluster.requests[2].forwardMove(APIMoveRequest(vip: "web", to: "n3"), to: names[0])
    }
    #expect(gone?.status == 503)
  }
}
