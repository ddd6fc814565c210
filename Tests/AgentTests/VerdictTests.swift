// What `status` says, from what the children report.

import Agent
import Control
import Primitives
import Settings
import Testing

@Suite struct VerdictTests {
  private let n1 = NodeName("n1")!, n2 = NodeName("n2")!, n3 = NodeName("n3")!

  private func configuration(cluster: Bool = true) throws -> Configuration {
    let head = """
      cluster:
        name: z
        interface: eth0
        key: file:k
        members: {n1: 192.0.2.11, n2: 192.0.2.12, n3: 192.0.2.13}
      vips:
        web: {addresses: [192.0.2.100/24]}

      """
    let tail = """
      listeners:
        web: {bind: ["*:80"], pool: app}
      pools:
        app: {servers: {s1: "192.0.2.1:80", s2: "192.0.2.2:80"}}
      """
    return try Configuration.parse(Array(((cluster ? head : "") + tail).utf8), file: "t.yaml")
  }

  private func member(_ name: NodeName, _ state: MemberStatus.State = .alive, ago: Int64? = 1) -> MemberStatus {
    MemberStatus(
      name: name, state: state, draining: false, roundTrip: nil, lossIn: nil, lossOut: nil,
      lastHeardAgo: ago.map { .milliseconds($0) }, configurationDigest: nil, intentsDigest: nil, softwareVersion: nil)
  }

  private func healthy(cluster: Bool = true) throws -> APISources {
    var view = NodeView()
    view.processes = ["agent", "elector", "balancer"].filter { cluster || $0 != "elector" }.map {
      APIProcess(name: $0, pid: 1, state: "running", restarts: 0)
    }
    if cluster {
      view.elector = ElectorStatus(
        vips: [
          VIPStatus(
            name: "web", holder: n1, role: .holder, sinceUnixNanoseconds: 1, cause: "first", ineligible: nil,
            eligible: [n1, n2, n3])
        ],
        members: [member(n1), member(n2), member(n3)], dropped: [:], worstStall: .zero, detectionTime: .zero,
        warnings: [])
    }
    func server(_ name: String) -> ServerStatus {
      ServerStatus(
        name: name, endpoint: Endpoint("192.0.2.1:80")!, state: .up, weight: 100, connections: 0, requests: 0,
        failures: 0, lastCheck: "200")
    }
    view.balancer = BalancerStatus(
      pools: [PoolStatus(name: "app", servers: [server("s1"), server("s2")])], listeners: [], warnings: [])
    return APISources(
      node: n1, version: "1", started: APITime(unixNanoseconds: 0), configuration: try configuration(cluster: cluster),
      view: view)
  }

  @Test(arguments: [true, false]) func `a node where everything works is OK`(cluster: Bool) throws {
    let status = try healthy(cluster: cluster).status
    #expect(status.verdict == .ok)
    #expect(status.reasons.isEmpty)
  }

  @Test func `a dead member degrades, and the verdict says what may still fail`() throws {
    var sources = try healthy()
    sources.view.elector!.members[2] = member(n3, .dead, ago: 12_300)
    #expect(sources.status.verdict == .degraded)
    #expect(sources.status.reasons == ["tolerates 1 failure", "n3 is dead (12 s)"])
    sources.view.elector!.members[1] = member(n2, .dead, ago: 500)
    #expect(sources.status.reasons == ["tolerates 0 failures", "n2 is dead (500 ms)", "n3 is dead (12 s)"])
  }

  @Test func `a suspicion changes nothing`() throws {
    var sources = try healthy()
    sources.view.elector!.members[1] = member(n2, .suspect)
    #expect(sources.status.verdict == .ok)
  }

  @Test func `a VIP that nobody holds is critical`() throws {
    var sources = try healthy()
    sources.view.elector!.vips[0].holder = nil
    sources.view.elector!.vips[0].ineligible = "the balancer is not ready"
    #expect(sources.status.verdict == .critical)
    #expect(sources.status.reasons == ["nobody holds VIP web, and this node may not: the balancer is not ready"])
  }

  @Test func `a holder that is known from another member only degrades, and is not said to hold what it should not`()
    throws
  {
    var sources = try healthy()
    sources.view.elector!.vips[0] = VIPStatus(
      name: "web", holder: n3, role: .candidate, sinceUnixNanoseconds: 0, cause: "n3 holds it, as n2 says",
      ineligible: nil,
      eligible: [n1, n2], toldBy: n2)
    #expect(sources.status.verdict == .degraded)
    #expect(sources.status.reasons == ["n3 holds VIP web, as n2 says (not heard here)"])
    #expect(sources.vips[0].holder == "n3" && sources.vips[0].holderToldBy == "n2" && sources.vips[0].since == nil)
  }

  @Test func `a member that is not heard on one of the interfaces degrades, and all of them are one complaint`() throws
  {
    func paths(_ second: Bool?, ago: Int64? = 12_300) -> [PathStatus] {
      [
        PathStatus(interface: "eth0", isHeard: true, lastHeardAgo: .milliseconds(1), isMulticast: true),
        PathStatus(
          interface: "eth1", isHeard: second, lastHeardAgo: ago.map { .milliseconds($0) }, isMulticast: nil),
      ]
    }
    var sources = try healthy()
    sources.view.elector!.members[1].paths = paths(true)
    sources.view.elector!.members[2].paths = paths(nil)
    #expect(sources.status.verdict == .ok, "one that has just come may still be heard there")
    sources.view.elector!.members[1].paths = paths(false)
    #expect(sources.status.verdict == .degraded)
    #expect(sources.status.reasons == ["n2 is not heard on eth1 (12 s): heartbeats have one interface left"])
    sources.view.elector!.members[2].paths = paths(false, ago: nil)
    #expect(sources.status.reasons == ["no member is heard on eth1 (12 s): heartbeats have one interface left"])
    #expect(sources.members[2].paths[1] == APIPath(interface: "eth1", heard: false))
    // A member that is heard nowhere has no interface that is missing: it is dead, or others hear it.
    sources.view.elector!.members[1].paths[0].isHeard = false
    #expect(sources.status.reasons == ["n3 is not heard on eth1 (never was): heartbeats have one interface left"])
  }

  @Test func `one server down degrades, all down is critical`() throws {
    var sources = try healthy()
    sources.view.balancer!.pools[0].servers[0].state = .down
    sources.view.balancer!.pools[0].servers[0].lastCheck = "connection refused"
    #expect(sources.status.verdict == .degraded)
    #expect(sources.status.reasons == ["server app/s1 is down (connection refused)"])
    sources.view.balancer!.pools[0].servers[1].state = .down
    #expect(sources.status.verdict == .critical)
    #expect(sources.status.reasons.first == "pool app has no server that is up")
  }

  @Test func `the pools that routes are switched to count, and no others`() throws {
    var sources = try healthy()
    let server = sources.view.balancer!.pools[0].servers[0]
    sources.configuration.pools.append(
      PoolConfiguration(
        name: "green", balance: .roundRobin, affinity: .none,
        servers: [ServerConfiguration(name: "s1", endpoint: server.endpoint)], check: .init(kind: .none)))
    sources.configuration.warnings = ["pool \"green\" is not used by any listener"]
    sources.view.balancer!.pools.append(PoolStatus(name: "green", servers: [server]))
    #expect(sources.status.warnings == sources.configuration.warnings)
    sources.switches = [RouteSwitch(route: "web/default", pool: "green")]
    for index in 0...1 { sources.view.balancer!.pools[0].servers[index].state = .down }
    #expect(sources.status.verdict == .ok)
    #expect(sources.status.warnings == [])
    sources.view.balancer!.pools[1].servers[0].state = .down
    #expect(sources.status.verdict == .critical)
    #expect(sources.status.reasons.first == "pool green has no server that is up")
    // A pool that is not there takes nobody.
    sources.switches = [RouteSwitch(route: "web/default", pool: "blue")]
    #expect(sources.status.reasons.first == "pool app has no server that is up")
    #expect(sources.listeners[0].switched == [:])
  }

  @Test func `clients whom another pool serves meanwhile are served`() throws {
    var sources = try healthy()
    let server = sources.view.balancer!.pools[0].servers[0]
    var spare = sources.configuration.pools[0]
    spare.name = "spare"
    sources.configuration.pools.append(spare)
    sources.configuration.pools[0].whenAllDown = .pool("spare")
    sources.view.balancer!.pools.append(PoolStatus(name: "spare", servers: [server]))
    for index in 0...1 { sources.view.balancer!.pools[0].servers[index].state = .down }
    #expect(sources.status.verdict == .degraded)
    #expect(sources.status.reasons.first == "pool app has no server that is up; pool spare stands in")
    sources.view.balancer!.pools[1].servers[0].state = .down
    #expect(sources.status.verdict == .critical)
  }

  @Test func `a server with weight 0 takes no new clients`() throws {
    var sources = try healthy()
    sources.view.balancer!.pools[0].servers[0].weight = 0
    #expect(sources.status.verdict == .ok)
    sources.view.balancer!.pools[0].servers[1].state = .drain
    #expect(sources.status.verdict == .critical)
    #expect(sources.status.reasons == ["pool app takes no new clients: its servers that are up have weight 0"])
  }

  @Test func `a pool whose name is being looked up for the first time is not lost yet`() throws {
    var sources = try healthy()
    sources.view.balancer!.pools[0].servers = []
    sources.configuration.pools[0].servers = []
    sources.configuration.pools[0].discovery = PoolConfiguration.Discovery(name: "app.example", port: 80)
    #expect(sources.status.verdict == .critical)
    sources.view.balancer!.pools[0].isBeingLookedUp = true
    #expect(sources.status.verdict == .degraded)
    #expect(sources.status.reasons == ["pool app: names not looked up yet"])
  }

  @Test func `a balancer that is started anew begins with the addresses that were known`() throws {
    let address = IPAddress("192.0.2.7")!
    func seen(_ name: String) -> ServerStatus {
      ServerStatus(
        name: name, endpoint: Endpoint(address: address, port: 80), state: .up, weight: 1, connections: 0, requests: 0,
        failures: 0, lastCheck: "")
    }
    func pool(_ name: String, _ servers: [ServerConfiguration]) -> PoolConfiguration {
      PoolConfiguration(
        name: name, balance: .roundRobin, affinity: .none, servers: servers,
        check: HealthCheckConfiguration(kind: .none))
    }
    var all = pool("all", [])
    all.discovery = PoolConfiguration.Discovery(name: "all.example", port: 81)
    let literal = ServerConfiguration(name: "literal", endpoint: Endpoint("192.0.2.1:80")!)
    func named(_ name: String) -> ServerConfiguration {
      ServerConfiguration(name: name, endpoint: Endpoint(address: .anyV4, port: 82), hostName: "h.example")
    }
    let file = BalancerConfiguration(
      node: "n", threads: 1, cookieKeys: [], listeners: [],
      pools: [pool("app", [literal, named("known"), named("unknown")]), all])
    #expect(file.knowing([]) == file)
    let next = file.knowing([
      PoolStatus(name: "app", servers: [seen("literal"), seen("known")]),
      PoolStatus(name: "all", servers: [seen("192.0.2.7")]), PoolStatus(name: "gone", servers: [seen("x")]),
    ])
    #expect(
      next.pools[0].servers.map(\.endpoint.description) == ["192.0.2.1:80", "192.0.2.7:82", "0.0.0.0:82"])
    #expect(next.pools[1].servers.map(\.name) == ["192.0.2.7"] && next.pools[1].servers[0].endpoint.port == 81)
  }

  @Test func `servers that operators took out are no fault, unless none is left`() throws {
    var sources = try healthy()
    sources.view.balancer!.pools[0].servers[0].state = .drain
    #expect(sources.status.verdict == .ok)
    sources.view.balancer!.pools[0].servers[1].state = .maint
    #expect(sources.status.verdict == .critical)
  }

  @Test func `a child that is down degrades a cluster, and is critical where nobody else serves`() throws {
    for cluster in [true, false] {
      var sources = try healthy(cluster: cluster)
      sources.view.balancer = nil
      let index = sources.view.processes.firstIndex { $0.name == "balancer" }!
      sources.view.processes[index] = APIProcess(name: "balancer", pid: nil, state: "signal 9 (killed)", restarts: 1)
      #expect(sources.status.verdict == (cluster ? .degraded : .critical))
      #expect(sources.status.reasons == ["the balancer is down: signal 9 (killed)"])
      #expect(sources.pools[0].servers[0].state == .down)
    }
  }

  @Test func `without an elector the API still lists members and VIPs, and says why it knows nothing of them`() throws {
    var sources = try healthy()
    sources.view.elector = nil
    sources.view.processes[1] = APIProcess(name: "elector", pid: nil, state: "exit status 1", restarts: 2)
    #expect(sources.members.map(\.name) == ["n1", "n2", "n3"])
    #expect(sources.vips[0].holder == nil)
    #expect(sources.vips[0].cause == "the elector is down: exit status 1")
    #expect(sources.status.verdict == .degraded, "another node's elector runs")
    sources.electorsRunElsewhere = false
    #expect(sources.status.verdict == .critical)
  }

  @Test func `a draining member is shown as draining, then as drained`() throws {
    var sources = try healthy()
    let since = APITime(unixNanoseconds: 0)
    sources.drains = [APIDrain(node: "n2", phase: .draining, by: "n1", reason: "", since: since)]
    #expect(sources.members[1].state == .draining)
    #expect(sources.status.reasons == ["tolerates 1 failure", "n2 is being drained"])
    sources.drains[0].phase = .drained
    #expect(sources.members[1].state == .drained)
  }

  @Test func `a member with another configuration is a warning, not a verdict`() throws {
    var sources = try healthy()
    sources.view.elector!.members[1].configurationDigest = 7
    #expect(sources.status.verdict == .ok)
    #expect(sources.status.warnings.contains("n2 runs another configuration file"))
  }
}
