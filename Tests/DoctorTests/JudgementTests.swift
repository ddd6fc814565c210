// From facts to words: interfaces, powers, stalls, clocks.

import Control
import Doctor
import Kernel
import Primitives
import Settings
import Testing

@Suite("The doctor's judgement of a host")
struct HostJudgementTests {
  static func interface(
    _ name: String, index: UInt32 = 2, up: Bool = true, carrier: Bool = true, addresses: [String] = ["192.0.2.11/24"],
    change: (inout InterfaceFacts) -> Void = { _ in }
  ) -> InterfaceFacts {
    var facts = InterfaceFacts(
      link: NetworkLink(index: index, name: name, hardwareAddress: 0x0200_5e00_5301, isUp: up, hasCarrier: carrier))
    facts.addresses = addresses.map { AddressPrefix($0)! }
    facts.mtu = 1500
    facts.takesMulticasts = true
    facts.ipv6IsDisabled = false
    (facts.reversePathFilter, facts.arpIgnore, facts.arpAnnounce) = (0, 0, 0)
    change(&facts)
    return facts
  }

  static func cluster(vips: [String] = ["192.0.2.100/24"], members: [String] = ["192.0.2.11", "192.0.2.12"])
    -> ElectorConfiguration
  {
    var cluster = FirewallTests.cluster()
    cluster.members = members.enumerated().map {
      MemberConfiguration(name: NodeName("n\($0 + 1)")!, addresses: [IPAddress($1)!], role: .voter)
    }
    cluster.vips = [
      VIPConfiguration(
        name: "web", addresses: vips.map { AddressPrefix($0)! }, interface: "eth0", prefer: nil, failback: .never,
        requires: [], announce: .seconds(60))
    ]
    return cluster
  }

  static func judge(_ interfaces: [InterfaceFacts], _ cluster: ElectorConfiguration = cluster(), agent: Bool = false)
    -> [Finding]
  {
    InterfacesLook.judge(NetworkFacts(interfaces: interfaces), cluster, agentRuns: agent)
  }

  @Test("an interface that is as it should be is told in one line")
  func good() {
    #expect(Self.judge([Self.interface("eth0")]) == [Finding(.interfaces, .ok, "eth0 is up (192.0.2.11/24)")])
  }

  static let faults: [(InterfaceFacts, Finding.Level, String)] = [
    (interface("eth1"), .failure, "interface eth0 does not exist; this machine has eth1"),
    (interface("eth0", up: false), .failure, "eth0 is down"),
    (interface("eth0", carrier: false), .failure, "eth0 has no carrier"),
    (
      interface("eth0", addresses: ["192.0.2.50/24"]), .failure,
      "eth0 does not have the address 192.0.2.11 of n1 (it has 192.0.2.50/24)"
    ),
    (interface("eth0") { $0.takesMulticasts = false }, .failure, "eth0 takes no multicasts"),
    (interface("eth0") { $0.mtu = 1200 }, .failure, "eth0 has an MTU of 1200: heartbeats need 1280"),
    (interface("eth0") { $0.arpIgnore = 8 }, .failure, "arp_ignore is 8 on eth0: it may not answer for a VIP"),
    (
      interface("eth0", addresses: ["192.0.2.11/30"]) { $0.arpIgnore = 1 }, .warning,
      "n2's address 192.0.2.12 is in no network of eth0: multicasts do not pass routers"
    ),
    (
      interface("eth0", addresses: ["192.0.2.11/24", "192.0.2.100/24"]), .warning,
      "the address 192.0.2.100 of VIP web is on this machine already, and not by Afloat"
    ),
  ]

  @Test("each fault has its sentence, and a remedy", arguments: faults.indices)
  func fault(_ index: Int) {
    let (facts, level, message) = Self.faults[index]
    let found = Self.judge([facts])
    #expect(found.map(\.message) == [message])
    #expect(found.first?.level == level && found.first?.remedy != nil)
  }

  @Test("a bridge that snoops and does not ask is warned of, one that asks is not")
  func snooping() {
    let silent = Self.judge([Self.interface("eth0") { ($0.snoops, $0.isQuerier) = (true, false) }])
    #expect(silent.map(\.level) == [.warning] && silent[0].message.contains("snoops"))
    #expect(Self.judge([Self.interface("eth0") { ($0.snoops, $0.isQuerier) = (true, true) }])[0].level == .ok)
  }

  @Test("two interfaces in one network: who answers, and what is dropped")
  func twins() {
    let twin = Self.interface("eth1", index: 3, addresses: ["192.0.2.12/24"])
    let found = Self.judge([Self.interface("eth0") { $0.reversePathFilter = 1 }, twin])
    #expect(found.map(\.level) == [.warning, .warning])
    #expect(found[0].message.contains("both answer for a VIP") && found[1].message.contains("rp_filter"))
    let calm = Self.judge([Self.interface("eth0") { ($0.arpIgnore, $0.arpAnnounce) = (1, 2) }, twin])
    #expect(calm.map(\.level) == [.ok])
  }

  @Test("IPv6 where it is disabled")
  func ipv6() {
    let cluster = Self.cluster(vips: ["2001:db8::100/64"])
    let found = Self.judge([Self.interface("eth0") { $0.ipv6IsDisabled = true }], cluster)
    #expect(found.map(\.message) == ["IPv6 is disabled on eth0: 2001:db8::100/64 cannot be added"])
    #expect(Self.judge([Self.interface("eth0")], cluster)[0].level == .ok)
  }

  @Test("addresses of VIPs are a running agent's business")
  func besideAgent() {
    let facts = Self.interface("eth0", addresses: ["192.0.2.11/24", "192.0.2.100/24"])
    #expect(Self.judge([facts], agent: true).map(\.level) == [.ok])
  }

  static func stall(_ p99: Double, _ worst: Double, realTime: Bool = true) -> StallFigure {
    StallFigure(
      core: 1, isRealTime: realTime, wakeUpCount: 3000, p99Milliseconds: p99, worstMilliseconds: worst)
  }

  @Test("stalls are weighed against the heartbeat and the detection time")
  func stalls() {
    let timing = (heartbeat: TimeSpan.milliseconds(10), deadAfter: 3)
    #expect(Stalls.judge([Self.stall(0.08, 1.25)], timing).level == .ok)
    #expect(
      Stalls.judge([Self.stall(0.08, 1.25)], timing).message
        == "a timer woke 1.2 ms late at the worst (core 1), 99 of 100 within 0.08 ms (heartbeat 10.0 ms, dead after 30.0 ms)"
    )
    let late = Stalls.judge([Self.stall(0.1, 2), Self.stall(0.2, 14)], timing)
    #expect(late.level == .warning && late.message.contains("longer than a heartbeat"))
    #expect(late.remedy?.contains("cluster.heartbeat to 50ms or more") == true)
    #expect(Stalls.judge([Self.stall(0.2, 40)], timing).message.contains("longer than peers wait for this node"))
    let hopeless = Stalls.judge([Self.stall(35, 80, realTime: false)], timing)
    #expect(hopeless.level == .failure && hopeless.message.contains("without real-time scheduling"))
    #expect(hopeless.remedy?.contains("CAP_SYS_NICE") == true)
    #expect(Stalls.judge([Self.stall(35, 80)], nil).level == .ok, "a lone balancer sends no heartbeat")
    #expect(Stalls.judge([], timing).level == .note)
  }

  @Test("figures are of all samples, whatever their order")
  func figures() {
    let samples = (1...200).map { TimeSpan.microseconds(Int64($0) * 10) }.shuffled()
    let figure = Lateness(core: 0, isRealTime: true, samples: samples).figure
    #expect(figure.wakeUpCount == 200 && figure.worstMilliseconds == 2 && figure.p99Milliseconds == 1.98)
    #expect(Lateness(core: 0, isRealTime: true, samples: []).figure.worstMilliseconds == 0)
  }

  @Test("a short measurement gives about a wake-up per millisecond and core")
  func measures() throws {
    let figures = try Stalls.begin(.seconds(1)).wait()
    #expect(figures.count == min(Stalls.coreLimit, Threads.allowedCores().count))
    // A busy machine loses many of the 1,000; none gives more.
    #expect(figures.allSatisfy { (1...1_001).contains($0.wakeUpCount) })
  }

  static func configuration(_ more: String = "") throws -> Configuration {
    let text = """
      cluster:
        name: lab
        interface: eth0
        key: file:cluster.key
        members: {n1: 192.0.2.11, n2: 192.0.2.12}
      vips: {web: {addresses: [192.0.2.100/24]}}
      listeners: {web: {bind: ["*:80"], pool: app}}
      pools: {app: {servers: {members: true, port: 8080}}}
      """
    return try Configuration.parse(Array(text.utf8), file: "afloat.yaml")
  }

  static func powers(without: [Int] = [], root: Bool = true, freePort: Int = 1024) -> PowerFacts {
    var effective: UInt64 = (1 << 41) - 1
    for number in without { effective &= ~(1 << UInt64(number)) }
    return PowerFacts(isRoot: root, effective: effective, hasUser: true, firstFreePort: freePort)
  }

  @Test("missing powers are named with what they cost")
  func powers() throws {
    let configuration = try Self.configuration()
    #expect(PowersLook.judge(Self.powers(), configuration).map(\.level) == [.ok])
    let found = PowersLook.judge(Self.powers(without: [12, 23]), configuration)
    #expect(found.map(\.level) == [.failure, .warning])
    #expect(found[0].message == "no CAP_NET_ADMIN: VIPs cannot be added to an interface")
    #expect(
      PowersLook.judge(Self.powers(without: [39]), configuration).map(\.level) == [.ok], "CAP_SYS_ADMIN does for it")
    #expect(PowersLook.judge(Self.powers(without: [39, 21]), configuration).map(\.level) == [.warning])
    #expect(PowersLook.judge(Self.powers(without: [10]), configuration)[0].message.contains("port 80"))
    #expect(PowersLook.judge(Self.powers(without: [10], freePort: 80), configuration).map(\.level) == [.ok])
    let stranger = PowersLook.judge(Self.powers(without: [12], root: false), configuration)
    #expect(stranger.map(\.level) == [.note, .warning], "what a user may not, the agent perhaps may")
  }

  @Test("why real time is refused, and what that costs")
  func realTime() {
    func judge(_ refusals: [String], without: [Int] = [], share: Int? = 950_000) -> [Finding] {
      PowersLook.judgeRealTime(refusals, Self.powers(without: without), share: share)
    }
    let refusal = "cannot get real-time scheduling: operation not permitted (needs CAP_SYS_NICE)"
    #expect(judge([]).map(\.level) == [.ok])
    #expect(judge([refusal], without: [23])[0].message == "\(refusal): on a busy host heartbeats come late")
    #expect(judge([refusal])[0].message.contains("in spite of CAP_SYS_NICE: this control group"))
    #expect(judge(["cannot lock memory: x"])[0].remedy?.contains("LimitMEMLOCK") == true)
    #expect(judge([], share: 0).map(\.level) == [.warning])
    #expect(judge([], share: nil).map(\.level) == [.ok])
  }

  @Test("kernels and clocks")
  func kernels() {
    #expect(KernelLook.version("6.1.0-28-amd64")[0].level == .ok)
    #expect(KernelLook.version("5.4.0")[0].level == .warning)
    #expect(KernelLook.version("4.19.0-27")[0].level == .failure)
    #expect(KernelLook.version(nil)[0].level == .note)
    func clocks(_ source: String?, _ resolution: Int64 = 1, _ suspended: TimeSpan = .zero) -> [Finding.Level] {
      KernelLook.judge(
        ClockFacts(source: source, resolution: .nanoseconds(resolution), suspended: suspended)
      ).map(\.level)
    }
    #expect(clocks("tsc") == [.ok])
    #expect(clocks("hpet") == [.warning])
    #expect(clocks("tsc", 4_000_000) == [.failure])
    #expect(clocks("kvm-clock", 1, .seconds(90)) == [.note])
  }

  @Test("the port of the heartbeats is found in the kernel's table")
  func ports() {
    let table = """
         sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
        12: 00000000:1BA4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12345 2 0000000000000000 0
      """
    #expect(UDPTable.hasPort(7076, in: table) && !UDPTable.hasPort(7077, in: table))
  }

  @Test("the verdict is that of the worst finding, and findings are read by area")
  func verdicts() {
    let one = Finding(.members, .note, "a")
    let two = Finding(.configuration, .warning, "b")
    let three = Finding(.kernel, .failure, "c")
    func diagnosis(_ findings: [Finding]) -> Diagnosis {
      Diagnosis(node: "n1", findings: findings, stalls: [], members: [])
    }
    #expect(diagnosis([one]).exitStatus == 0 && diagnosis([one]).verdict == .ok)
    #expect(diagnosis([one, two]).exitStatus == 1)
    #expect(diagnosis([one, two, three]).exitStatus == 2)
    #expect(diagnosis([one, three, two]).findings == [two, three, one])
  }
}
