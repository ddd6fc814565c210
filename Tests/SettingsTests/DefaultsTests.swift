// What a short file means: every default is the contract's.

import Control
import Primitives
import Settings
import Testing

@Suite("Defaults and values") struct DefaultsTests {
  @Test("every sample is accepted", arguments: Samples.names) func everySampleIsAccepted(_ name: String) throws {
    #expect(errors(try Samples.bytes(name)) == [])
  }

  @Test("the samples are found") func samplesAreFound() { #expect(Samples.names.count >= 5) }

  @Test("the minimal file has the contract's defaults") func minimalFileHasDefaults() throws {
    let configuration = try Configuration.parse(try Samples.bytes("minimal.yaml"), file: "minimal.yaml")
    let found = try #require(configuration.cluster)
    #expect(found.heartbeat == .milliseconds(10))
    #expect(found.deadAfter == 3)
    #expect(found.aloneAfter == .seconds(5))
    #expect(found.maximumDraining == 1)
    #expect(found.group == Endpoint("239.255.70.76:7076"))
    #expect(found.keyFiles.map(\.path) == ["cluster.key"])
    #expect(found.members.map(\.name.text) == ["n1", "n2", "n3"])
    #expect(found.members.allSatisfy { $0.role == .voter })
    let vip = try #require(configuration.vips.first)
    #expect(vip.addresses.map(\.description) == ["192.0.2.100/24"])
    #expect(vip.interface == "eth0")
    #expect(vip.prefer == nil)
    #expect(vip.failback == .never)
    #expect(vip.requires == [Requirement(.balancer)])
    #expect(vip.announce == .seconds(60))
    #expect(configuration.balancer.threads == nil)
    #expect(configuration.balancer.drainTimeout == .seconds(600))
    #expect(configuration.balancer.stopTimeout == .seconds(5))
    let listener = try #require(configuration.listeners.first)
    #expect(listener == ListenerConfiguration(name: "web", mode: .http, bind: [Endpoint("0.0.0.0:80")!], pool: "app"))
    let pool = try #require(configuration.pools.first)
    #expect(pool.balance == .roundRobin)
    #expect(pool.affinity == .none)
    #expect(pool.servers.map(\.name) == ["n1", "n2", "n3"])
    #expect(pool.servers.map(\.member?.text) == ["n1", "n2", "n3"])
    #expect(pool.servers.map(\.endpoint.description) == ["192.0.2.11:8080", "192.0.2.12:8080", "192.0.2.13:8080"])
    var check = HealthCheckConfiguration(
      kind: .http(path: "/healthz", method: "GET", host: nil, expect: .init(status: [200...399], bodyContains: nil)))
    check.every = .seconds(2)
    #expect(pool.check == check)
    #expect(pool.retry == PoolConfiguration.Retry())
    #expect(pool.stickyGrace == .seconds(30))
    #expect(configuration.log.level == .info)
    #expect(configuration.log.format == .text)
    #expect(configuration.log.access == nil)
    #expect(configuration.warnings == [])
  }

  @Test(
    "the access log goes where it is said",
    arguments: [
      ("{to: none}", nil),
      ("{to: none, format: json}", nil),
      ("{to: stdout}", AccessLogConfiguration(target: .standardOutput)),
      ("{to: syslog, format: hap}", AccessLogConfiguration(target: .syslog, format: .hap)),
      (
        "{to: /var/log/afloat/access.log, format: json}",
        AccessLogConfiguration(target: .file("/var/log/afloat/access.log"), format: .json)
      ),
    ] as [(String, AccessLogConfiguration?)])
  func accessLog(_ text: String, _ expected: AccessLogConfiguration?) throws {
    let rest = "listeners: {web: {bind: \"*:80\", pool: app}}\npools: {app: {servers: {a: \"192.0.2.1:80\"}}}"
    let file = "log: {access: \(text)}\n\(rest)"
    let configuration = try Configuration.parse(Array(file.utf8), file: "afloat.yaml")
    #expect(configuration.log.access == expected)
  }

  @Test("every value of the long sample arrives") func everyValueArrives() throws {
    let configuration = try Configuration.parse(try Samples.bytes("three-nodes.yaml"), file: "three-nodes.yaml")
    #expect(configuration.vips.map(\.name) == ["web", "second"])
    #expect(configuration.vips[0].prefer?.map(\.text) == ["n1", "n2"])
    let listener = configuration.listeners[0]
    #expect(listener.servedByHeader == "X-Served-By")
    #expect(listener.forwardedTrust == [AddressPrefix("198.51.100.0/24")!])
    #expect(listener.limits.bodyByteCount == 100 << 20)
    let pool = configuration.pools[0]
    #expect(pool.balance == .leastConnections)
    #expect(pool.affinity == .cookie(name: "AFLOAT", maxAge: nil, secure: false, sameSite: nil))
    #expect(pool.servers[2].weight == 50)
    #expect(pool.servers[2].maximumConnections == 500)
    #expect(
      pool.check.kind
        == .http(path: "/healthz", method: "GET", host: nil, expect: .init(status: [200...299], bodyContains: "ok")))
  }

  @Test("witnesses run no server, and a strict requirement is one") func witnessesAndStrictness() throws {
    let configuration = try Configuration.parse(try Samples.bytes("source-hash.yaml"), file: "source-hash.yaml")
    #expect(configuration.cluster?.members.last?.role == .witness)
    #expect(configuration.vips[0].requires == [Requirement(.balancer, strict: true)])
    #expect(configuration.vips[0].failback == .after(.seconds(300)))
    #expect(configuration.pools[0].balance == .hash(.source))
    #expect(configuration.listeners[0].forwardedStyle == .both)
    let text = cluster.replacing("n3: 192.0.2.13", with: "n3: {address: 192.0.2.13, role: witness}")
    let pool = try parse(
      text + "listeners: {l: {bind: [\"*:80\"], pool: p}}\npools: {p: {servers: {members: yes, port: 80}}}")
    #expect(pool.pools[0].servers.map(\.name) == ["n1", "n2"])
  }

  @Test(
    "the spellings of checks",
    arguments: [
      ("none", HealthCheckConfiguration.Kind.none),
      ("tcp", .tcp(send: [], expect: [])),
      ("{tcp: }", .tcp(send: [], expect: [])),
      ("{tcp: {}}", .tcp(send: [], expect: [])),
      ("{tcp: {send: \"PING\\r\\n\", expect: PONG}}", .tcp(send: Array("PING\r\n".utf8), expect: Array("PONG".utf8))),
      (
        "{http: /a}", .http(path: "/a", method: "GET", host: nil, expect: .init(status: [200...399], bodyContains: nil))
      ),
      (
        "{http: /a, expect: {status: 204}}",
        .http(path: "/a", method: "GET", host: nil, expect: .init(status: [204...204], bodyContains: nil))
      ),
      (
        "{http: /a, method: HEAD, host: x.example, expect: {status: [200, 300-302]}}",
        .http(
          path: "/a", method: "HEAD", host: "x.example",
          expect: .init(status: [200...200, 300...302], bodyContains: nil))
      ),
    ]) func checkSpellings(_ text: String, _ kind: HealthCheckConfiguration.Kind) throws
  {
    let file = web.replacing("{servers:", with: "{check: \(text), servers:")
    #expect(try parse(file).pools[0].check.kind == kind)
  }

  @Test(
    "the spellings of affinity and balance",
    arguments: [
      ("affinity: source", BalanceAlgorithm.roundRobin, Affinity.source),
      ("affinity: cookie", .roundRobin, .cookie(name: "AFLOAT", maxAge: nil, secure: false, sameSite: nil)),
      ("affinity: {cookie: }", .roundRobin, .cookie(name: "AFLOAT", maxAge: nil, secure: false, sameSite: nil)),
      (
        "affinity: {cookie: {name: SID, max_age: 1h, secure: yes, same_site: none}}", .roundRobin,
        .cookie(name: "SID", maxAge: .seconds(3600), secure: true, sameSite: "None")
      ),
      ("balance: random_two", .randomTwo, .none),
      ("balance: {hash: source}", .hash(.source), .none),
      ("balance: {hash: {source}}", .hash(.source), .none),
    ]) func affinitySpellings(_ text: String, _ balance: BalanceAlgorithm, _ affinity: Affinity) throws
  {
    let pool = try parse(web.replacing("{servers:", with: "{\(text), servers:")).pools[0]
    #expect(pool.balance == balance)
    #expect(pool.affinity == affinity)
  }

  @Test("checks while changing are never slower than the ordinary rhythm") func fastFollowsEvery() throws {
    let file = web.replacing("{servers:", with: "{check: {http: /, every: 200ms}, servers:")
    #expect(try parse(file).pools[0].check.fast == .milliseconds(200))
    let explicit = web.replacing("{servers:", with: "{check: {http: /, every: 200ms, fast: 1s}, servers:")
    #expect(try parse(explicit).pools[0].check.fast == .seconds(1))
  }

  @Test("a server on a member's address belongs to that member") func serversOfMembers() throws {
    let text = cluster + web.replacing("s1: \"192.0.2.21:8080\"", with: "s1: \"192.0.2.12:8080\", s2: 127.0.0.1:80")
    #expect(try parse(text).pools[0].servers.map(\.member?.text) == ["n2", nil])
  }

  @Test("aliases stand for what they name") func aliasesWork() throws {
    let text = """
      listeners:
        a: {bind: ["*:80"], pool: a}
        b: {bind: ["*:81"], pool: b}
      pools:
        a: {servers: {s: 192.0.2.21:80}, check: &c {http: /x, every: 3s}}
        b: {servers: {s: 192.0.2.21:80}, check: *c}
      """
    let configuration = try parse(text)
    #expect(configuration.pools[0].check == configuration.pools[1].check)
  }

  @Test("Windows line ends and a byte order mark do no harm") func foreignEditors() throws {
    #expect(errors("\u{feff}" + web.replacing("\n", with: "\r\n")) == [])
  }

  @Test("unused pools are warned of") func unusedPools() throws {
    #expect(
      try parse(web + "  old: {servers: {s: 192.0.2.9:80}}\n").warnings == ["pool \"old\" is not used by any listener"])
  }

  @Test("elector and balancer get what the file says") func conversions() throws {
    let configuration = try Configuration.parse(try Samples.bytes("three-nodes.yaml"), file: "x")
    let node = NodeName("n2")!
    let key = [UInt8](repeating: 7, count: 32)
    let elector = try #require(configuration.elector(node: node, keys: [key]))
    #expect(elector.node == node)
    #expect(elector.clusterName == "zone-a")
    #expect(elector.keys == [key])
    #expect(elector.members.count == 3)
    #expect(elector.digest == StableHash.hash(try Samples.bytes("three-nodes.yaml")))
    let balancer = configuration.balancer(node: node, cores: 4, cookieKeys: [[1, 2]])
    #expect(balancer.threads == 4)
    #expect(balancer.node == "n2")
    #expect(balancer.cookieKeys == [[1, 2]])
    #expect(try parse(web).elector(node: node, keys: []) == nil)
  }

  @Test("the node's name comes from --node, node: or the host") func nodeNames() throws {
    let configuration = try parse(cluster)
    #expect(try configuration.nodeName(option: "n1", hostname: "n2").text == "n1")
    #expect(try configuration.nodeName(option: nil, hostname: "n2").text == "n2")
    #expect(try configuration.nodeName(option: nil, hostname: "n2.example.org").text == "n2")
    #expect(try parse("node: n3\n" + cluster).nodeName(option: nil, hostname: "n2").text == "n3")
    #expect(try parse(web).nodeName(option: nil, hostname: "any.example.org").text == "any.example.org")
    let fault = #expect(throws: NodeNameFault.self) {
      try configuration.nodeName(option: nil, hostname: "n4.example.org")
    }
    #expect(
      fault?.description
        == "this node is called \"n4\" (the host's name), which is not among the members n1, n2, n3 "
        + "(did you mean n1? use --node NAME, or add it to cluster.members)")
    #expect(throws: NodeNameFault.self) { try configuration.nodeName(option: "", hostname: "n1") }
  }
}
