// What is said of a member, from what was heard of it and what it said itself.

import Control
import Doctor
import Testing

@Suite("The doctor's words about members")
struct ReachTests {
  static let beside = ReachWords.Setting(
    usesMulticasts: true, agentRuns: true, way: "239.255.70.76:7076", port: 7076)
  static let alone = ReachWords.Setting(
    usesMulticasts: true, agentRuns: false, way: "239.255.70.76:7076", port: 7076)
  static let unicast = ReachWords.Setting(usesMulticasts: false, agentRuns: false, way: "", port: 7076)

  static func reach(_ change: (inout Reach) -> Void) -> Reach {
    var reach = Reach(name: "n2", addresses: ["192.0.2.12"])
    change(&reach)
    return reach
  }

  /// As a healthy member looks from beside an agent.
  static func healthy(_ change: (inout Reach) -> Void = { _ in }) -> Reach {
    reach {
      ($0.multicastHeartbeats, $0.hearsMulticasts, $0.channel) = (300, true, .connects)
      ($0.state, $0.agentHears, $0.agentIsHeard, $0.rttMilliseconds) = (.alive, true, true, 0.21)
      change(&$0)
    }
  }

  static let cases: [(Reach, ReachWords.Setting, Finding.Level, String)] = [
    (healthy(), beside, .ok, "n2: heard, and hears this node, by multicast, round trip 0.21 ms"),
    (
      healthy { $0.multicastHeartbeats = 0 }, beside, .warning,
      "n2: its multicasts to 239.255.70.76:7076 do not arrive here; its heartbeats come by unicast instead"
    ),
    (
      healthy { $0.hearsMulticasts = false }, beside, .warning,
      "n2: does not get this node's multicasts to 239.255.70.76:7076; heartbeats to it go by unicast instead"
    ),
    (
      healthy { $0.agentIsHeard = false }, beside, .failure,
      "n2: heard here, and does not hear this node: a one-way link"
    ),
    (
      healthy { $0.multicastsByInterface = ["eth0": 300, "eth1": 0] }, beside, .warning,
      "n2: its multicasts to 239.255.70.76:7076 do not arrive on eth1, only on others"
    ),
    (
      healthy { ($0.multicastsByInterface, $0.hearsMulticastsOn) = (["eth0": 300, "eth1": 299], ["eth1"]) }, beside,
      .warning, "n2: does not get this node's multicasts to 239.255.70.76:7076 by eth0, only by others"
    ),
    (healthy { $0.lossIn = 0.3 }, beside, .warning, "n2: 30 % of its heartbeats are lost on the way here"),
    (
      healthy { $0.lossOut = 0.05 }, beside, .warning,
      "n2: 5 % of this node's heartbeats are lost on the way there"
    ),
    (
      healthy { $0.channel = .silent }, beside, .warning,
      "n2: 192.0.2.12 does not answer connections on TCP port 7076: drains and server states do not get there"
    ),
    (
      reach { ($0.state, $0.agentHears, $0.channel) = (.dead, false, .refused) }, beside, .warning,
      "n2: the host answers at 192.0.2.12, and no agent runs there"
    ),
    (
      reach { ($0.state, $0.channel) = (.dead, .connects) }, beside, .failure,
      "n2: its agent runs (192.0.2.12 takes connections on port 7076), and none of its heartbeats arrives"
    ),
    (
      reach { $0.channel = .connects }, alone, .failure,
      "n2: its agent runs (192.0.2.12 takes connections on port 7076), and none of its heartbeats arrives"
    ),
    (
      reach { $0.channel = .silent }, alone, .failure,
      "n2: nothing is heard of it, and 192.0.2.12 does not answer"
    ),
    (
      reach { $0.channel = .refused }, alone, .note,
      "n2: the host answers at 192.0.2.12, and no agent runs there"
    ),
    (
      reach { ($0.multicastHeartbeats, $0.channel) = (300, .connects) }, alone, .note,
      "n2: its heartbeats arrive here by multicast; whether it hears this node cannot be told without an agent here"
    ),
    (
      reach { ($0.multicastProbes, $0.hearsMulticasts) = (10, true) }, alone, .ok,
      "n2: the doctors of both nodes hear each other by multicast"
    ),
    (
      reach { ($0.multicastProbes, $0.hearsMulticasts, $0.hearsUnicasts) = (10, false, false) }, alone, .failure,
      "n2: the doctor there does not hear this node's multicasts to 239.255.70.76:7076"
    ),
    (
      reach { ($0.unicastProbes, $0.hearsMulticasts, $0.hearsUnicasts) = (10, true, true) }, alone, .warning,
      "n2: its multicasts to 239.255.70.76:7076 do not arrive here, its unicasts do"
    ),
    (
      reach { ($0.unicastProbes, $0.hearsUnicasts) = (10, true) }, unicast, .ok,
      "n2: the doctors of both nodes hear each other by unicast"
    ),
    (
      reach { ($0.unicastProbes, $0.hearsUnicasts) = (10, false) }, unicast, .failure,
      "n2: the doctor there does not hear this node"
    ),
    (
      reach { $0.refused = ["unknown key": 300] }, alone, .failure,
      "n2: its heartbeats arrive and are refused (unknown key)"
    ),
    (
      reach { $0.channel = .connects }, beside, .warning, "n2: the agent here does not know this member"
    ),
  ]

  @Test("one sentence for each way in which two nodes may hear each other or not", arguments: cases.indices)
  func words(_ index: Int) {
    let (reach, setting, level, message) = Self.cases[index]
    let found = ReachWords.judge(reach, setting)
    #expect(found.map(\.message) == [message])
    #expect(found.first?.level == level)
    #expect(found.first?.remedy != nil || level == .ok)
  }

  @Test("refused datagrams beside good ones are no reason")
  func rotation() {
    let mixed = Self.healthy { $0.refused = ["replayed": 2] }
    #expect(ReachWords.judge(mixed, Self.beside).map(\.level) == [.ok])
  }

  @Test("what the agent says of a member comes along")
  func agentsView() {
    var reach = Self.reach { _ in }
    let member = APIMember(
      name: "n2", address: "192.0.2.12", role: "voter", state: .alive, rttMilliseconds: 0.5, lossIn: 0.1)
    reach.take(member, links: [APILink(name: "n2", hears: true, isHeard: false)])
    #expect(reach.state == .alive && reach.agentHears == true && reach.agentIsHeard == false && reach.lossIn == 0.1)
  }
}
