// The keys of a pool that say who gets what, when there is nobody, and what is done about failures.

import Control
import Primitives
import Settings
import Testing

@Suite("Pool keys") struct PoolKeysTests {
  private func pool(_ keys: String) throws -> PoolConfiguration {
    try parse(web.replacing("{servers:", with: "{\(keys), servers:")).pools[0]
  }

  @Test(
    "what a hash is taken of",
    arguments: [
      ("source", HashSubject.source), ("{source}", .source), ("uri", .uri), ("{uri: yes}", .uri),
      ("{header: X-User}", .header("X-User")), ("header X-User", .header("X-User")), ("{cookie: SID}", .cookie("SID")),
      ("cookie SID", .cookie("SID")),
    ]) func hashes(_ text: String, _ subject: HashSubject) throws
  {
    #expect(try pool("balance: {hash: \(text)}").balance == .hash(subject))
  }

  @Test("defaults") func defaults() throws {
    let pool = try pool("affinity: none")
    #expect(pool.slowStart == .zero && pool.whenAllDown == .error)
    #expect(pool.queue.size == 1000 && pool.queue.timeout == .seconds(5))
    #expect(pool.retry.on == [.connect, .reusedConnection, .lostConnection] && pool.retry.status.isEmpty)
    #expect(pool.retry.methods == PoolConfiguration.Retry.idempotent)
    let passive = try #require(pool.passive)
    #expect(passive.failures == 5 && passive.within == .seconds(10) && passive.eject == .seconds(30))
    #expect(passive.atMostPercent == 50)
    #expect(pool.servers[0].isBackup == false && pool.servers[0].host == nil)
  }

  @Test("everything said") func everything() throws {
    let pool = try pool(
      "slow_start: 30s, queue: {size: 5, timeout: 2s}, passive: {failures: 3, within: 1s, eject: 5s, at_most: 34%}, "
        + "retry: {attempts: 2, on: [connect, timeout, {status: [502, 503]}], methods: [GET, HEAD]}")
    #expect(pool.slowStart == .seconds(30) && pool.queue.size == 5 && pool.queue.timeout == .seconds(2))
    #expect(pool.passive?.failures == 3 && pool.passive?.atMostPercent == 34)
    #expect(pool.retry.on == [.connect, .timeout] && pool.retry.status == [502, 503])
    #expect(pool.retry.methods == ["GET", "HEAD"])
    #expect(try self.pool("passive: none").passive == nil)
    #expect(try self.pool("retry: {methods: safe, timeout: yes, status: 503}").retry.status == [503])
    let servers = try parse(
      web.replacing("\"192.0.2.21:8080\"", with: "{address: \"192.0.2.21:8080\", backup: yes, host: b.example}"))
    #expect(servers.pools[0].servers[0].isBackup && servers.pools[0].servers[0].host == "b.example")
  }

  @Test(
    "PROXY headers to servers", arguments: [("no", nil), ("v1", .v1), ("v2", .v2)] as [(String, ProxyHeaderVersion?)])
  func proxyHeaders(_ text: String, _ version: ProxyHeaderVersion?) throws {
    let keys = "{address: \"192.0.2.21:8080\", proxy_protocol: \(text)}"
    #expect(try parse(web.replacing("\"192.0.2.21:8080\"", with: keys)).pools[0].servers[0].proxyHeader == version)
  }

  @Test("a script that checks servers, with the rhythm of other checks") func checkScripts() throws {
    let check = "check: {script: /usr/local/bin/works, every: 5s, timeout: 50ms, fast: 100ms, port: 9}"
    let configuration = try parse(web.replacing("{servers:", with: "{\(check), servers:"))
    var expected = HealthCheckConfiguration(kind: .script(path: "/usr/local/bin/works"))
    (expected.every, expected.timeout, expected.fast) = (.seconds(5), .milliseconds(50), .milliseconds(100))
    expected.port = 9
    #expect(configuration.pools[0].check == expected)
    #expect(throws: Never.self) { try configuration.refuseUnusableScripts(file: "a.yaml") { _ in nil } }
    let refusal = #expect(throws: SettingsError.self) {
      try configuration.refuseUnusableScripts(file: "a.yaml") { $0 == "/usr/local/bin/works" ? "it is gone" : nil }
    }
    let words = "pool app is checked by /usr/local/bin/works, which every node must have: it is gone"
    #expect(refusal?.lines == ["a.yaml:4:16: " + words])
    #expect(configuration.programWarnings { _ in "it is gone" } == [words])
  }

  @Test func `folders and addresses that a machine lacks are named`() throws {
    let text = """
      cluster:
        name: zone-a
        interface: eth0
        key: file:cluster.key
        members: {n1: 192.0.2.11, n2: 192.0.2.12}
      vips:
        web: {addresses: [192.0.2.100/24]}
      listeners:
        web:
          bind: ["*:80", "127.0.0.1:81", "192.0.2.100:82", "192.0.2.12:83", "198.51.100.7:84", "198.51.100.8:85"]
          pool: app
          routes: [{match: {path_prefix: /docs}, static: {root: /srv/docs}}]
      pools:
        app: {servers: {s1: "192.0.2.21:80"}, when_all_down: {static: {root: /srv/sorry}}}
      """
    let configuration = try parse(text)
    #expect(
      configuration.bindWarnings([IPAddress("198.51.100.7")!])
        == ["listener web listens on 198.51.100.8:85, which is no address of this machine, of a member or of a VIP"])
    #expect(configuration.bindWarnings([]) == [], "not known")
    #expect(
      configuration.machineWarnings(program: { _ in nil }, folder: { $0 == "/srv/docs" ? "it is gone" : nil })
        == ["static of route web/0, /srv/docs: it is gone"])
    #expect(
      configuration.folderWarnings { _ in "it is gone" } == [
        "when_all_down of pool app, /srv/sorry: it is gone", "static of route web/0, /srv/docs: it is gone",
      ])
  }

  @Test(
    "mistakes about scripts",
    arguments: [
      (
        "{script: bin/works}",
        "pools.app.check.script: \"bin/works\" is not a path from the root (it starts with /, for instance "
          + "/usr/local/bin/app-works)"
      ),
      (
        "script",
        "pools.app.check: script needs a path (for instance {script: /usr/local/bin/app-works})"
      ),
      (
        "{script: /x, expect: {status: 200}}",
        "\"expect\" has a meaning only in an http check (remove it)"
      ),
      ("{script: /x, tcp: }", "pools.app.check is both tcp and script (keep one)"),
      (
        "{script: /x, every: 50ms}",
        "pools.app.check.every is 50ms (it must be from 100ms to 1h)"
      ),
    ]) func scriptMistakes(_ check: String, _ expected: String)
  {
    let lines = errors(web.replacing("{servers:", with: "{check: \(check), servers:"))
    #expect(lines.count == 1 && lines[0].hasSuffix(": " + expected), "\(lines)")
  }

  @Test("what a TCP check sends and expects is text, or bytes") func checkBytes() throws {
    func check(_ text: String) -> String { web.replacing("{servers:", with: "{check: {tcp: \(text)}, servers:") }
    #expect(
      try parse(check("{send: {hex: \"0000 0008 04d2 162f\"}, expect: N}")).pools[0].check.kind
        == .tcp(send: [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f], expect: [78]))
    for (text, expected) in [
      ("{send: \"\\xd2\"}", "has characters beyond ASCII"),
      ("{send: {hex: \"0\"}}", "must be pairs of hexadecimal digits"),
      ("{send: {hex: \"zz\"}}", "must be pairs"), ("{send: !!binary \"AAAA\"}", "!!binary is not supported"),
    ] {
      let found = errors(check(text))
      #expect(found.count == 1 && found[0].contains(expected), "\(found)")
    }
  }

  @Test("a pool that stands in for another counts as used") func standIn() throws {
    let text = web + "  sorry: {servers: {s1: \"192.0.2.22:8080\"}}\n"
    let configuration = try parse(
      text.replacing("{servers: {s1: \"192.0.2.21", with: "{when_all_down: {pool: sorry}, servers: {s1: \"192.0.2.21"))
    #expect(configuration.pools[0].whenAllDown == .pool("sorry") && configuration.warnings.isEmpty)
  }

  @Test("a pool that stands in for one of a tcp listener has to suit it too") func standInOfTCP() {
    let text = """
      listeners:
        db: {bind: ["*:5432"], mode: tcp, pool: app}
      pools:
        app: {servers: {s1: "192.0.2.21:5432"}, when_all_down: {pool: spare}}
        spare: {servers: {s1: "192.0.2.22:5432"}, affinity: {cookie: {name: S}}}
      """
    #expect(
      errors(text) == [
        "afloat.yaml:2:43: listeners.db.pool: pool \"spare\" keeps clients by cookie, which a tcp listener cannot "
          + "(use affinity: source, or mode: http)"
      ])
  }

  @Test(
    "pools whose clients go to and fro need cookies of different names",
    arguments: [
      ("{path_prefix: /api}", "", true), ("{host: a.test}", "", false), ("{host: a.test}", "{host: a.test}", false),
      ("{host: a.test, path: /api}", "", true), ("{host: a.test, path: /api}", "{host: a.test}", true),
      ("{host: a.test}", "{host: b.test}", false),
    ]) func sharedCookies(_ first: String, _ second: String, _ isWarned: Bool) throws
  {
    let last = second.isEmpty ? "- {pool: app}" : "- {match: \(second), pool: app}"
    let text = """
      listeners:
        web:
          bind: ["*:80"]
          routes:
            - {match: \(first), pool: api}
            \(last)
      pools:
        app: {servers: {s1: "192.0.2.21:80"}, affinity: cookie}
        api: {servers: {s1: "192.0.2.22:80"}, affinity: cookie}
      """
    let words =
      "pools \"api\" and \"app\" of listener \"web\" keep clients by one cookie, AFLOAT: who goes to both loses its server "
      + "each time (give one of them affinity: {cookie: {name: OTHER}})"
    #expect(try parse(text).warnings.filter { $0.contains("cookie") } == (isWarned ? [words] : []))
    #expect(
      try parse(text.replacing("cookie}\n  api", with: "{cookie: {name: S}}}\n  api")).warnings.filter {
        $0.contains("cookie")
      } == [])
  }

  @Test(
    "a server may be a name that is looked up",
    arguments: [
      "\"App.Example:8080\"", "{address: \"App.Example:8080\", weight: 100}", "{address: app.example:8080}",
    ]) func hostNames(_ text: String) throws
  {
    let server = try parse(web.replacing("\"192.0.2.21:8080\"", with: text)).pools[0].servers[0]
    #expect(server.hostName == "app.example" && server.endpoint == Endpoint(address: .anyV4, port: 8080))
    #expect(!server.hasAddress && server.authority == "app.example:8080" && server.weight == 100)
  }

  @Test(
    "what is no name and no address",
    arguments: [
      ("app.example", "\"app.example\" has no port (for instance app.example:80)"),
      ("300.1.1.1:80", "\"300.1.1.1\" is not an address or the name of a host (for instance 192.0.2.21:8080)"),
      ("a..b:80", "\"a..b\" is not an address or the name of a host (for instance 192.0.2.21:8080)"),
      ("app.example:0", "\"0\" is not a port (a port is a number from 1 to 65535)"),
    ]) func noHostNames(_ text: String, _ expected: String)
  {
    let lines = errors(web.replacing("192.0.2.21:8080", with: text))
    #expect(lines.count == 1 && lines[0].hasSuffix("pools.app.servers.s1: " + expected), "\(lines)")
  }

  @Test("all addresses of a name") func discovery() throws {
    func pool(_ servers: String) throws -> PoolConfiguration {
      try parse(web.replacing("{s1: \"192.0.2.21:8080\"}", with: servers)).pools[0]
    }
    var expected = PoolConfiguration.Discovery(name: "app.example", port: 8080)
    #expect(try pool("{dns: App.Example, port: 8080}").discovery == expected)
    expected.refresh = .seconds(2)
    #expect(try pool("{dns: app.example, port: 8080, refresh: 2s}").discovery == expected)
    #expect(try pool("{dns: app.example, port: 8080}").servers.isEmpty)
    #expect(try pool("{dns: \"app.example:8080\"}").servers.map(\.name) == ["dns"], "a server that is called so")
  }

  @Test(
    "what is wrong with addresses of a name",
    arguments: [
      ("{dns: app.example}", "needs \"port\" (the port of the application at every address)"),
      ("{dns: 192.0.2.1, port: 80}", "dns: \"192.0.2.1\" is not the name of a host (for instance app.example)"),
      ("{dns: app.example, port: 80, refresh: 1ms}", "refresh is 1ms (it must be from 1s to 1h)"),
      ("{dns: app.example, port: 80, s1: \"192.0.2.1:80\"}", "(known here: dns, port, refresh)"),
    ]) func discoveryMistakes(_ servers: String, _ expected: String)
  {
    let lines = errors(web.replacing("{s1: \"192.0.2.21:8080\"}", with: servers))
    #expect(lines.count == 1 && lines[0].hasSuffix(expected), "\(lines)")
  }

  @Test("two servers of one name are told like two of one address") func sameHostNames() {
    let servers = "{s1: \"a.example:80\", s2: \"A.example:80\", s3: \"a.example:81\"}"
    let lines = errors(web.replacing("{s1: \"192.0.2.21:8080\"}", with: servers))
    #expect(lines.count == 1 && lines[0].hasSuffix("s2: a.example:80 is the address of server \"s1\" too (keep one)"))
  }

  @Test("the sorry site is an answer or a folder; its status is 503 unless another is given") func sorrySite() throws {
    #expect(
      try pool("when_all_down: {respond: {body: later, headers: {Retry-After: \"60\"}}}").whenAllDown
        == .respond(status: 503, body: "later", fields: [FieldText(name: "Retry-After", value: "60")]))
    #expect(
      try pool("when_all_down: {respond: {status: 200}}").whenAllDown == .respond(status: 200, body: "", fields: []))
    #expect(
      try pool("when_all_down: {static: {root: /srv/sorry}}").whenAllDown
        == .files(root: "/srv/sorry", index: "index.html"))
  }

  @Test("a tcp listener has no page to show") func sorrySiteOfTCP() {
    let text = web.replacing("{servers:", with: "{when_all_down: {respond: {}}, servers:")
    let lines = errors(text.replacing("pool: app}", with: "pool: app, mode: tcp}"))
    let words = "pool \"app\" has a page for when all its servers are down, which is HTTP"
    #expect(lines.count == 1 && lines[0].hasSuffix(words + " (use when_all_down: {pool: NAME}, or mode: http)"))
  }

  @Test(
    "mistakes are told with what would be right",
    arguments: [
      (
        "balance: {hash: {header: \"a b\"}}",
        "4:34: pools.app.balance.hash.header must be the name of a header, not \"a b\" (for instance header: X-User)"
      ),
      ("balance: {hash: cookie}", "4:25: pools.app.balance.hash: cookie needs a name (for instance {cookie: NAME})"),
      (
        "balance: {hash: {source, uri}}",
        "4:25: pools.app.balance.hash needs one thing to hash, not 2 (source, uri, {header: NAME} or {cookie: NAME})"
      ),
      ("balance: {hash: url}", "4:25: pools.app.balance.hash cannot be \"url\" (did you mean \"uri\"?)"),
      (
        "when_all_down: {pool: nowhere}",
        "4:31: pools.app.when_all_down.pool: there is no pool \"nowhere\" (pools are app)"
      ),
      (
        "when_all_down: {pool: app}",
        "4:31: pools.app.when_all_down.pool: the pools stand in for each other in a ring (let one answer error 503)"
      ),
      (
        "when_all_down: 503",
        "4:24: pools.app.when_all_down cannot be \"503\" (error 503, {pool: NAME}, {static: {root: DIR}} or {respond: {body: TEXT}})"
      ),
      (
        "when_all_down: {pool: app, respond: {}}",
        "4:24: pools.app.when_all_down says pool and respond (keep one of them)"
      ),
      (
        "when_all_down: {}",
        "4:24: pools.app.when_all_down is empty (error 503, {pool: NAME}, {static: {root: DIR}} or {respond: {body: TEXT}})"
      ),
      (
        "when_all_down: {static: {root: sorry}}",
        "4:40: pools.app.when_all_down.static.root: \"sorry\" is not an absolute path (for instance /srv/www)"
      ),
      (
        "when_all_down: {respond: {status: 99}}",
        "4:43: pools.app.when_all_down.respond.status is 99 (it must be from 200 to 599)"
      ),
      (
        "retry: {methods: [POST]}",
        "4:27: pools.app.retry.methods[0]: \"POST\" may not be sent twice (idempotent, safe, none, or a list of GET, HEAD, OPTIONS, TRACE, PUT, DELETE)"
      ),
      (
        "retry: {on: [conect]}",
        "4:22: pools.app.retry.on[0] cannot be \"conect\" (did you mean \"connect\"?)"
      ),
      (
        "queue: {size: -1}",
        "4:23: pools.app.queue.size must be a whole number, not \"-1\" (from 0 to 100000, without quotes)"
      ),
      (
        "passive: {at_most: 50}",
        "4:28: pools.app.passive.at_most must be a share, not \"50\" (from 0% to 100%, for instance 20%)"
      ),
    ]) func mistakes(_ keys: String, _ expected: String)
  {
    #expect(errors(web.replacing("{servers:", with: "{\(keys), servers:")) == ["afloat.yaml:" + expected])
  }
}
