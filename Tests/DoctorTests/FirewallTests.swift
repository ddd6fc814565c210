// Rules of real firewalls, as their tools print them, and what becomes of our packets.

import Control
import Doctor
import Primitives
import Testing

@Suite("What a firewall does with heartbeats")
struct FirewallTests {
  static let own = IPAddress("192.0.2.11")!
  static let peer = IPAddress("192.0.2.12")!
  static let group = IPAddress("239.255.70.76")!

  static func packet(
    _ hook: FirewallPacket.Hook = .input, _ transport: FirewallPacket.Transport = .udp(port: 7076),
    to: IPAddress? = nil,
    on interface: String = "eth0"
  ) -> FirewallPacket {
    FirewallPacket(
      hook: hook, interface: interface, source: hook == .input ? peer : own, destination: to ?? group,
      transport: transport)
  }

  /// `nft -j list ruleset` of one table `inet filter` with a chain `input` (hook input) that has these rules.
  static func nft(_ rules: [String], policy: String = "accept", more: [String] = []) throws -> Firewall {
    let chain =
      #"{"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "\#(policy)"}}"#
    let items = rules.enumerated().map { index, expressions in
      #"{"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": \#(index + 10), "expr": [\#(expressions)]}}"#
    }
    let wording =
      "table inet filter { # handle 1\n\tchain input { # handle 1\n"
      + rules.indices.map { "\t\trule number \($0) # handle \($0 + 10)\n" }.joined() + "\t}\n}\n"
    let json =
      #"{"nftables": [{"metainfo": {"json_schema_version": 1}}, "# + (more + [chain] + items).joined(separator: ", ")
      + "]}"
    return Firewall(try NFTables.read(json: Array(json.utf8), wording: wording))
  }

  static func match(_ left: String, _ right: String, _ op: String = "==") -> String {
    #"{"match": {"op": "\#(op)", "left": \#(left), "right": \#(right)}}"#
  }
  static func field(_ kind: String, _ name: String) -> String {
    #"{"payload": {"protocol": "\#(kind)", "field": "\#(name)"}}"#
  }
  static func meta(_ key: String) -> String { #"{"meta": {"key": "\#(key)"}}"# }
  static let drop = #"{"drop": null}"#
  static let accept = #"{"accept": null}"#

  @Test(
    "one rule that drops is found, and named in its own words",
    arguments: [
      match(field("ip", "daddr"), #""239.255.70.76""#), match(field("udp", "dport"), "7076"),
      match(field("th", "dport"), #"{"set": [53, {"range": [7000, 7100]}]}"#),
      match(field("ip", "daddr"), #"{"prefix": {"addr": "224.0.0.0", "len": 4}}"#),
      match(field("ip", "saddr"), #""192.0.2.77""#, "!="), match(meta("pkttype"), #""multicast""#),
      match(field("ip", "protocol"), #""udp""#), match(meta("l4proto"), #"{"set": ["tcp", "udp"]}"#),
      match(meta("iifname"), #""eth*""#), match(meta("iifname"), #""lo""#, "!="),
      match(#"{"ct": {"key": "state"}}"#, #"["new", "invalid"]"#, "in"),
    ])
  func drops(_ condition: String) throws {
    let fate = try Self.nft([condition + ", " + Self.drop]).fate(of: Self.packet())
    #expect(fate == Firewall.Fate(mayPass: false, drops: [#""rule number 0" in chain input of table inet filter"#]))
  }

  @Test(
    "rules about something else are none of ours",
    arguments: [
      match(field("ip", "daddr"), #""239.1.2.3""#), match(field("tcp", "dport"), "7076"),
      match(field("udp", "dport"), "7077"), match(field("ip6", "daddr"), #""ff02::7076""#),
      match(meta("iifname"), #""eth1""#), match(meta("oifname"), #""eth0""#), match(meta("pkttype"), #""broadcast""#),
      match(field("icmp", "type"), #""echo-request""#), match(field("udp", "dport"), "7076", "!="),
      match(#"{"ct": {"key": "state"}}"#, #""invalid""#, "in"), match(field("ip", "protocol"), #""vrrp""#),
    ])
  func passes(_ condition: String) throws {
    #expect(try Self.nft([condition + ", " + Self.drop]).fate(of: Self.packet()) == Firewall.Fate())
  }

  @Test("the first verdict counts, then the policy")
  func order() throws {
    let ours = Self.match(Self.field("udp", "dport"), "7076")
    #expect(
      try Self.nft([ours + ", " + Self.accept, Self.drop], policy: "drop").fate(of: Self.packet()) == Firewall.Fate())
    let policy = try Self.nft(
      [Self.match(#"{"ct": {"key": "state"}}"#, #"["established", "related"]"#, "in") + ", " + Self.accept],
      policy: "drop")
    #expect(
      policy.fate(of: Self.packet())
        == Firewall.Fate(mayPass: false, drops: ["the policy of chain input of table inet filter"]),
      "nobody answers a multicast, so it is never part of a connection")
    #expect(policy.fate(of: Self.packet(to: Self.own)).mayPass, "unicasts both ways are one")
    #expect(policy.fate(of: Self.packet(.output)) == Firewall.Fate(), "another hook")
  }

  @Test("a condition that is not understood may hold or not")
  func doubt() throws {
    let odd = Self.match(#"{"meta": {"key": "cgroup"}}"#, "7")
    let fate = try Self.nft([odd + ", " + Self.drop]).fate(of: Self.packet())
    #expect(fate.mayPass && fate.drops.count == 1)
    let limited = #"{"limit": {"rate": 10, "per": "second"}}, "# + Self.accept
    let two = try Self.nft([limited, Self.drop]).fate(of: Self.packet())
    #expect(two.mayPass && two.drops == [#""rule number 1" in chain input of table inet filter"#])
  }

  @Test("jumps come back, sets are looked up, verdict maps are followed")
  func structure() throws {
    let sub =
      #"{"chain": {"family": "inet", "table": "filter", "name": "sub", "handle": 2}}, "#
      + #"{"rule": {"family": "inet", "table": "filter", "chain": "sub", "handle": 5, "expr": ["#
    let back =
      sub + Self.match(Self.field("ip", "saddr"), #""192.0.2.12""#) + #", {"return": null}]}}, "#
      + #"{"rule": {"family": "inet", "table": "filter", "chain": "sub", "handle": 6, "expr": [{"drop": null}]}}"#
    let jump = #"{"jump": {"target": "sub"}}"#
    #expect(try Self.nft([jump], more: [back]).fate(of: Self.packet()) == Firewall.Fate())
    let other = FirewallPacket(
      hook: .input, interface: "eth0", source: IPAddress("192.0.2.13")!, destination: Self.group,
      transport: .udp(port: 7076))
    #expect(try Self.nft([jump], more: [back]).fate(of: other).mayPass == false)
    #expect(
      try Self.nft([#"{"goto": {"target": "sub"}}"#, Self.drop], policy: "drop", more: [back]).fate(of: Self.packet())
        == Firewall.Fate(mayPass: false, drops: ["the policy of chain input of table inet filter"]),
      "a goto does not come back")
    let set =
      #"{"set": {"family": "inet", "table": "filter", "name": "bad", "type": "ipv4_addr", "handle": 4, "elem": ["192.0.2.7", {"prefix": {"addr": "239.0.0.0", "len": 8}}]}}"#
    let inSet = Self.match(Self.field("ip", "daddr"), #""@bad""#) + ", " + Self.drop
    #expect(try Self.nft([inSet], more: [set]).fate(of: Self.packet()).mayPass == false)
    let map =
      #"{"vmap": {"key": \#(Self.field("udp", "dport")), "data": {"set": [[53, {"accept": null}], [7076, {"drop": null}]]}}}"#
    #expect(try Self.nft([map]).fate(of: Self.packet()).mayPass == false)
    #expect(try Self.nft([map]).fate(of: Self.packet(.input, .udp(port: 53))).mayPass)
  }

  @Test("chains that jump in a circle come to an end")
  func circle() throws {
    let more = [
      #"{"chain": {"family": "inet", "table": "filter", "name": "a", "handle": 2}}"#,
      #"{"rule": {"family": "inet", "table": "filter", "chain": "a", "handle": 5, "expr": [{"jump": {"target": "a"}}]}}"#,
    ]
    #expect(try Self.nft([#"{"jump": {"target": "a"}}"#], more: more).fate(of: Self.packet()) == Firewall.Fate())
  }

  static let save = """
    # Generated by iptables-save
    *nat
    :PREROUTING ACCEPT [0:0]
    -A PREROUTING -j DROP
    COMMIT
    *filter
    :INPUT DROP [0:0]
    :FORWARD DROP [0:0]
    :OUTPUT ACCEPT [0:0]
    :CLUSTER - [0:0]
    -A INPUT -i lo -j ACCEPT
    -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A INPUT -s 192.0.2.0/24 -p udp -m udp --dport 7000:7100 -m comment --comment "of the cluster" -j CLUSTER
    -A INPUT -p tcp -m multiport --dports 22,7076 -j ACCEPT
    -A OUTPUT ! -o lo -d 224.0.0.0/4 -m pkttype --pkt-type multicast -j REJECT --reject-with icmp-port-unreachable
    -A CLUSTER ! -s 192.0.2.12/32 -j ACCEPT
    COMMIT
    """

  @Test("the old iptables is read as well")
  func iptables() {
    let firewall = Firewall(IPTables.read(Self.save, family: .v4))
    #expect(
      firewall.fate(of: Self.packet())
        == Firewall.Fate(mayPass: false, drops: ["the policy of chain INPUT of iptables (table filter)"]))
    #expect(firewall.fate(of: Self.packet(.input, .tcp(port: 7076), to: Self.own)) == Firewall.Fate())
    let out = firewall.fate(of: Self.packet(.output))
    #expect(!out.mayPass && out.drops.count == 1 && out.drops[0].contains("-A OUTPUT ! -o lo -d 224.0.0.0/4"))
    #expect(firewall.fate(of: Self.packet(.output, to: Self.peer)) == Firewall.Fate())
  }

  static func cluster(_ transport: Transport = .multicast) -> ElectorConfiguration {
    ElectorConfiguration(
      clusterName: "lab", node: NodeName("n1")!, interfaces: ["eth0"], transport: transport,
      group: Endpoint("239.255.70.76:7076")!, keys: [], heartbeat: .milliseconds(10), deadAfter: 3,
      aloneAfter: .seconds(5),
      members: [
        MemberConfiguration(name: NodeName("n1")!, addresses: [own], role: .voter),
        MemberConfiguration(name: NodeName("n2")!, addresses: [peer], role: .voter),
      ], vips: [], digest: 1)
  }

  @Test("what a rule drops is said in one sentence, and weighed")
  func findings() throws {
    let multicast = try Self.nft([Self.match(Self.field("ip", "daddr"), #""239.255.70.76""#) + ", " + Self.drop])
    let found = FirewallLook.judge(multicast, Self.cluster())
    #expect(found.count == 1 && found[0].level == .failure)
    #expect(
      found.first?.message
        == #""rule number 0" in chain input of table inet filter drops heartbeats of n2 to 239.255.70.76:7076"#)
    #expect(FirewallLook.judge(multicast, Self.cluster(.unicast)) == [], "nobody sends there then")
    let unicast = try Self.nft([
      Self.match(Self.field("ip", "daddr"), #""192.0.2.11""#) + ", " + Self.match(Self.field("udp", "dport"), "7076")
        + ", " + Self.drop
    ])
    #expect(
      FirewallLook.judge(unicast, Self.cluster()).map(\.level) == [.warning], "only what stands in for multicasts")
    #expect(FirewallLook.judge(unicast, Self.cluster(.unicast)).map(\.level) == [.failure])
    let all = FirewallLook.judge(try Self.nft([Self.drop]), Self.cluster())
    #expect(all.count == 1 && all[0].message.hasSuffix("the agents' channel from n2 (TCP port 7076)"))
  }
}
