// Golden texts: what an operator sees on the screen.

import Commands
import Control
import Doctor
import Testing

@Suite("Output for people") struct ViewsTests {
  static let now = APITime("2026-11-21T12:00:00.000Z")!
  static let plain = Views(style: Style(isColoured: false), now: now)

  static func ago(_ seconds: Int64) -> APITime {
    APITime(unixNanoseconds: now.unixNanoseconds - seconds * 1_000_000_000)
  }

  static let members = [
    APIMember(
      name: "n1", address: "192.0.2.11", role: "voter", state: .alive, isSelf: true, configuration: "00112233aabbccdd",
      worstStallMilliseconds: 1.25, detectionMilliseconds: 35, version: "0.1.0"),
    APIMember(
      name: "n2", address: "192.0.2.12", role: "voter", state: .alive, rttMilliseconds: 0.214, lossIn: 0,
      lossOut: 0.004,
      lastHeardMilliseconds: 4, configuration: "99112233aabbccdd", detectionMilliseconds: 49,
      version: "0.1.0"),
    APIMember(
      name: "n3", address: "192.0.2.13", role: "witness", state: .dead, lossIn: 1, lastHeardMilliseconds: 190_000),
  ]
  static let vips = [
    APIVIP(
      name: "web", addresses: ["192.0.2.100/24"], interface: "eth0", holder: "n1", since: ago(185),
      cause: "n3 is dead: nothing heard for 31 ms"),
    APIVIP(
      name: "mail", addresses: ["192.0.2.25/24", "192.0.2.26/24"], interface: "eth0", holder: nil, since: nil,
      cause: "",
      ineligible: "its balancer does not run"),
  ]
  static let pools = [
    APIPool(
      name: "app",
      servers: [
        APIServer(
          name: "s1", address: "192.0.2.21:8080", state: .up, weight: 100, connections: 12, requests: 123_456,
          failures: 0,
          lastCheck: "200 in 2 ms"),
        APIServer(
          name: "s2", address: "192.0.2.22:8080", state: .down, weight: 50, connections: 0, requests: 7, failures: 3,
          lastCheck: "connection refused"),
        APIServer(
          name: "s3", address: "192.0.2.23:8080", state: .starting, weight: 100, connections: 0, requests: 0,
          failures: 0,
          lastCheck: ""),
      ])
  ]
  static let drain = APIDrain(
    node: "n2", phase: .draining, by: "anna on n1", reason: "new kernel", since: ago(12),
    deadline: APITime(unixNanoseconds: now.unixNanoseconds + 588_000_000_000),
    blocking: [
      APIBlocker(kind: .server, name: "app/n2", node: "n1", connections: 3, detail: ""),
      APIBlocker(kind: .vip, name: "web", node: "n2", connections: 0, detail: "no successor is eligible"),
    ])

  @Test("status begins with the verdict") func status() {
    let status = APIStatus(
      verdict: .critical, reasons: ["nobody holds VIP mail", "n3 is dead (3 m)"], cluster: "zone-a", node: "n1",
      version: "0.1.0", started: Self.ago(7200), members: Self.members, vips: Self.vips, pools: Self.pools,
      drains: [Self.drain],
      processes: [
        APIProcess(name: "elector", pid: 10, state: "running", restarts: 0),
        APIProcess(name: "balancer", pid: 11, state: "running", restarts: 1),
      ], warnings: ["real-time scheduling refused"])
    #expect(
      Self.plain.status(status) == """
        CRITICAL: nobody holds VIP mail; n3 is dead (3 m)
        cluster zone-a, seen from n1, afloat 0.1.0, started 2 h ago

        VIP   ADDRESSES                     HOLDER  SINCE    FENCE  CAUSE
        web   192.0.2.100/24                n1      3 m ago  none   n3 is dead: nothing heard for 31 ms
        mail  192.0.2.25/24, 192.0.2.26/24  nobody  -        none   -
        this node may not hold mail: its balancer does not run

        MEMBER     ADDRESS     STATE                ROUND TRIP  LOSS IN   OUT
        n1 (here)  192.0.2.11  alive                         -        -     -
        n2         192.0.2.12  alive                   0.21 ms       0%  0.4%
        n3         192.0.2.13  dead, heard 3 m ago           -     100%     -

        POOL/SERVER  ADDRESS          STATE     WEIGHT  CONNECTIONS  REQUESTS  FAILURES  LAST CHECK
        app/s1       192.0.2.21:8080  up           100           12    123456         0  200 in 2 ms
        app/s2       192.0.2.22:8080  down          50            0         7         3  connection refused
        app/s3       192.0.2.23:8080  starting     100            0         0         0  not checked

        drain n2: draining, asked by anna on n1 12 s ago (new kernel), deadline in 9 m
          waits for server app/n2 on n1: 3 connections
          waits for VIP web on n2: no successor is eligible

        process balancer: running, restarted 1 time

        warning: real-time scheduling refused

        """)
  }

  @Test("a holder that is known by hearsay is named, with who says so") func hearsay() {
    let vip = APIVIP(
      name: "web", addresses: ["192.0.2.100/24"], interface: "eth0", holder: "n3", since: nil,
      cause: "n3 holds it, as n2 says (not heard here)", fence: "kernel-gate", holderToldBy: "n2")
    #expect(
      Self.plain.vips([vip]) == """
        VIP  ADDRESSES       HOLDER  SINCE  FENCE        CAUSE
        web  192.0.2.100/24  n3      -      kernel-gate  n3 holds it, as n2 says (not heard here)

        """)
    let coloured = Views(style: Style(isColoured: true), now: Self.now).vips([vip])
    #expect(coloured.contains("\u{1b}[33mn3\u{1b}[0m"))
  }

  @Test("a lone balancer that works says OK and little else") func loneBalancer() {
    let status = APIStatus(verdict: .ok, reasons: [], cluster: nil, node: "edge", version: "0.1.0")
    #expect(Self.plain.status(status) == "OK\nlone balancer edge, afloat 0.1.0\n")
  }

  @Test("members show who runs another configuration") func members() {
    #expect(
      Self.plain.members(Self.members) == """
        MEMBER     ADDRESS     ROLE     STATE                ROUND TRIP  LOSS IN   OUT  CONFIGURATION       WORST STALL  DETECTION  VERSION
        n1 (here)  192.0.2.11  voter    alive                         -        -     -  00112233                 1.3 ms    35.0 ms  0.1.0
        n2         192.0.2.12  voter    alive                   0.21 ms       0%  0.4%  99112233 (differs)            -    49.0 ms  0.1.0
        n3         192.0.2.13  witness  dead, heard 3 m ago           -     100%     -  -                             -          -  -

        """)
  }

  @Test("over which of several interfaces each member is heard") func paths() {
    func member(_ name: String, _ paths: [APIPath], isSelf: Bool = false) -> APIMember {
      APIMember(name: name, address: "192.0.2.1", role: "voter", state: .alive, isSelf: isSelf, paths: paths)
    }
    let members = [
      member("n1", [], isSelf: true),
      member(
        "n2",
        [
          APIPath(interface: "eth0", heard: true, lastHeardMilliseconds: 4, multicast: false),
          APIPath(interface: "eth1", heard: false, lastHeardMilliseconds: 12_300),
        ]),
      member("n3", [APIPath(interface: "eth0", heard: true, multicast: true), APIPath(interface: "eth1", heard: nil)]),
      member(
        "n4",
        [APIPath(interface: "eth0", heard: false, lastHeardMilliseconds: -1), APIPath(interface: "eth1", heard: false)]),
      member("n5", []),
    ]
    #expect(
      Self.plain.paths(members) == """

        HEARD HERE  ON eth0     ON eth1
        n2          by unicast  not for 12 s
        n3          yes         not yet
        n4          no          never
        n5          -           -

        """)
    #expect(Self.plain.paths([members[0], member("n2", [APIPath(interface: "eth0", heard: true)])]) == "")
  }

  @Test("who hears whom, as a matrix and in words") func links() {
    func member(_ name: String, _ links: [APILink]) -> APIMember {
      APIMember(name: name, address: "192.0.2.1", role: "voter", state: .alive, links: links)
    }
    let text = Self.plain.links([
      member(
        "n1",
        [
          APILink(name: "n2", hears: true, isHeard: true, lossIn: 0, lossOut: 0.2, rttMilliseconds: 0.08),
          APILink(name: "n3", hears: true, isHeard: false, lossIn: 0.004),
        ]),
      member(
        "n2",
        [
          APILink(name: "n1", hears: true, isHeard: true, lossIn: 0.2, lossOut: 0, rttMilliseconds: 0.09),
          APILink(name: "n3", hears: false, isHeard: false),
        ]),
      member(
        "n3",
        [
          APILink(name: "n1", hears: false, isHeard: true, lossOut: 0.004),
          APILink(name: "n2", hears: false, isHeard: nil),
        ]),
      APIMember(name: "n4", address: "192.0.2.4", role: "voter", state: .dead),
    ])
    #expect(
      text == """

        HEARS              OF n1             OF n2      OF n3
        n1                     -  0% lost, 0.08 ms  0.4% lost
        n2     20% lost, 0.09 ms                 -    nothing
        n3               nothing           nothing          -
        link n2 misses 20% of the heartbeats of n1
        link n3 does not hear n1, which hears n3: a one-way link (a firewall on n3? a switch that filters?)
        link n2 and n3 do not hear each other

        """)
    #expect(Self.plain.links([member("n1", [])]) == "")
  }

  @Test("listeners and empty lists") func listeners() {
    let listener = APIListener(
      name: "web", bind: ["0.0.0.0:80", "192.0.2.100:8080"], mode: "http", pool: "app", connections: 3, accepted: 10,
      requests: 99, refused: 1)
    #expect(
      Self.plain.listeners([listener]) == """
        LISTENER  BIND                          MODE  POOL  CONNECTIONS  ACCEPTED  REQUESTS  REFUSED
        web       0.0.0.0:80, 192.0.2.100:8080  http  app             3        10        99        1

        """)
    #expect(Self.plain.vips([]) == "no VIPs\n")
    #expect(Self.plain.members([]) == "no members: this is a lone balancer\n")
  }

  @Test("colour marks states and leaves the columns aligned") func colour() {
    let coloured = Views(style: Style(isColoured: true), now: Self.now).pools(Self.pools)
    #expect(coloured.contains("\u{1b}[32mup\u{1b}[0m"))
    #expect(coloured.contains("\u{1b}[31mdown\u{1b}[0m"))
    let stripped = coloured.replacing(#/\u{1b}\[[0-9]+m/#, with: "")
    #expect(stripped == Self.plain.pools(Self.pools))
  }

  @Test("nothing that another node says can steer the terminal") func controlCharacters() {
    let vip = APIVIP(
      name: "web\u{1b}[2J", addresses: [], interface: "", holder: "n1\n", since: nil, cause: "\u{7}\u{9b}31m",
      ineligible: "\r")
    let status = APIStatus(
      verdict: .degraded, reasons: ["a\u{1b}]0;x\u{7}"], cluster: "c\u{1b}", node: "n\r", version: "\u{8}", vips: [vip],
      warnings: ["\u{1b}c"])
    let text = Self.plain.status(status)
    #expect(text.unicodeScalars.allSatisfy { $0 == "\n" || ($0.value >= 32 && !(127...159).contains($0.value)) })
  }

  @Test("a drain is watched line by line where there is no terminal") func drainWithoutTerminal() {
    var progress = DrainProgress(node: "n2", isTerminal: false, views: Self.plain)
    let first = progress.update(Self.drain, elapsedSeconds: 0)
    #expect(
      first.text
        == "draining n2, 0 s, waiting for server app/n2 on n1: 3 connections; VIP web on n2: no successor is eligible\n"
    )
    #expect(first.exitStatus == nil)
    #expect(progress.update(Self.drain, elapsedSeconds: 1).text == "")
    var later = Self.drain
    later.blocking = []
    #expect(progress.update(later, elapsedSeconds: 2).text == "draining n2, 2 s\n")
    later.phase = .drained
    let last = progress.update(later, elapsedSeconds: 75)
    #expect(last.text == "n2 is drained (1 m)\n")
    #expect(last.exitStatus == 0)
  }

  @Test("on a terminal the block is rewritten in place") func drainOnTerminal() {
    var progress = DrainProgress(node: "n2", isTerminal: true, views: Self.plain)
    let block =
      "draining n2, 0 s, waiting for\n  server app/n2 on n1: 3 connections\n  VIP web on n2: no successor is eligible\n"
    #expect(progress.update(Self.drain, elapsedSeconds: 0).text == block)
    var late = Self.drain
    late.phase = .deadlinePassed
    let last = progress.update(late, elapsedSeconds: 600)
    #expect(last.exitStatus == 4)
    #expect(
      last.text == "\u{1b}[3A\u{1b}[Jn2 was not empty at the deadline (10 m); still there:\n"
        + "  server app/n2 on n1: 3 connections\n  VIP web on n2: no successor is eligible\n")
  }

  @Test("a drain that somebody else ended is noticed, a moment without it is not") func drainEndedByOthers() {
    var progress = DrainProgress(node: "n2", isTerminal: false, views: Self.plain)
    for _ in 0..<9 { #expect(progress.update(nil, elapsedSeconds: 1).exitStatus == nil) }
    #expect(progress.update(nil, elapsedSeconds: 2).exitStatus == 1)
  }

  @Test(
    "times in words",
    arguments: [
      (0, "just now"), (1, "1 s ago"), (59, "59 s ago"), (60, "1 m ago"), (3599, "59 m ago"), (3600, "1 h ago"),
      (90_000, "25 h ago"), (200_000, "2 d ago"), (-5, "just now"),
    ] as [(Int64, String)])
  func times(_ seconds: Int64, _ text: String) {
    #expect(Words.ago(Self.ago(seconds), now: Self.now) == text)
  }

  @Test(
    "milliseconds in words",
    arguments: [
      (0.0, "0.00 ms"), (0.214, "0.21 ms"), (3.44, "3.4 ms"), (120.4, "120 ms"), (2500, "2.5 s"), (1e300, "1e+297 s"),
      (.infinity, "-"), (-1, "-1.00 ms"),
    ])
  func milliseconds(_ value: Double, _ text: String) {
    #expect(Words.milliseconds(value) == text)
  }

  @Test("the doctor's findings stand by area, with what to do below them")
  func diagnosis() {
    let diagnosis = Diagnosis(
      node: "n1",
      findings: [
        Finding(.members, .failure, "n2: one\u{1b}way", "mend it"), Finding(.configuration, .ok, "afloat.yaml is good"),
        Finding(.members, .warning, "n3: odd"), Finding(.firewall, .note, "not read"),
      ], stalls: [], members: [])
    #expect(
      Self.plain.diagnosis(diagnosis) == """
        FAILURE: 1 thing would not work, 1 warning on n1

        configuration  ok       afloat.yaml is good
        firewall       note     not read
        members        FAILURE  n2: one\u{fffd}way
                                do: mend it
                       warning  n3: odd

        """)
    let fine = Diagnosis(node: nil, findings: [], stalls: [], members: [])
    #expect(Self.plain.diagnosis(fine) == "OK: nothing found that keeps Afloat from working\n\n")
  }
}
