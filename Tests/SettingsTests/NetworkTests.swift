// Families, interfaces and ways of heartbeats: which mixtures work, and what is said of those that cannot.

import Control
import Primitives
import Settings
import Testing

private func file(_ cluster: String, members: String, vip: String = "192.0.2.100/24") -> String {
  """
  cluster:
    name: zone-a
    key: file:cluster.key
    \(cluster)
    members: {\(members)}
  vips:
    web: {addresses: ["\(vip)"]}
  """
}

@Suite("Networks") struct NetworkTests {
  @Test("IPv6 members use the group of IPv6") func ipv6Members() throws {
    let text = file(
      "interface: eth0", members: "n1: \"2001:db8::11\", n2: {address: \"2001:db8::12\"}", vip: "2001:db8::100/64")
    let configuration = try parse(text)
    let cluster = try #require(configuration.cluster)
    #expect(cluster.group == Endpoint("[ff02::7076]:7076"))
    #expect(cluster.members.map(\.address) == [IPAddress("2001:db8::11"), IPAddress("2001:db8::12")])
    #expect(cluster.transport == .multicast)
    #expect(configuration.vips[0].addresses == [AddressPrefix("2001:db8::100/64")])
  }

  @Test("unicast with a port of its own") func unicast() throws {
    let text = file("interface: eth0, transport: unicast", members: "n1: 192.0.2.11, n2: 192.0.2.12")
      .replacing("interface: eth0, ", with: "interface: eth0\n  group: 239.1.2.3:7000\n  ")
    let cluster = try #require(try parse(text).cluster)
    #expect(cluster.transport == .unicast)
    #expect(cluster.group.port == 7000)
  }

  @Test("two interfaces, one of each family, each with its own group") func twoFamilies() throws {
    let text = file(
      "interface: [eth0, eth1]",
      members: "n1: {address: [192.0.2.11, \"2001:db8::11\"]}, n2: {address: [192.0.2.12, \"2001:db8::12\"]}")
    let configuration = try parse(text)
    let elector = try #require(configuration.elector(node: NodeName("n1")!, keys: [[1]]))
    #expect(elector.interfaces == ["eth0", "eth1"])
    #expect(elector.group(ofPath: 0) == Endpoint("239.255.70.76:7076"))
    #expect(elector.group(ofPath: 1) == Endpoint("[ff02::7076]:7076"))
    #expect(configuration.vips[0].interface == "eth0", "the first is the VIPs'")
  }

  @Test(
    "what cannot work is said",
    arguments: [
      (
        "interface: eth0", "n1: 192.0.2.11, n2: \"2001:db8::12\"",
        "5:33: cluster.members.n2: its addresses are not of the same families as those of n1 (on each interface all members use IPv4, or all use IPv6)"
      ),
      (
        "interface: [eth0, eth1]", "n1: 192.0.2.11",
        "5:17: cluster.members.n1 has 1 address for 2 interfaces (one for each of eth0, eth1, for instance {address: [192.0.2.11, 198.51.100.11]})"
      ),
      (
        "interface: eth0", "n1: {address: [192.0.2.11, 192.0.2.12]}",
        "5:27: cluster.members.n1.address has 2 addresses for 1 interface (write one)"
      ),
      (
        "interface: [eth0, eth1]", "n1: {address: [192.0.2.11, 192.0.2.11]}",
        "5:17: cluster.members.n1: 192.0.2.11 is there twice (every member has its own)"
      ),
      (
        "interface: [a, b, c, d, e]", "n1: 192.0.2.11", "4:14: cluster.interface names 5 interfaces (from 1 to 4)"
      ),
      (
        "interface: eth0", "n1: \"::ffff:192.0.2.1\"",
        "5:17: cluster.members.n1: ::ffff:c000:201 is not the address of a host (for instance 192.0.2.11)"
      ),
    ]) func refused(_ cluster: String, _ members: String, _ expected: String)
  {
    #expect(errors(file(cluster, members: members)) == ["afloat.yaml:" + expected])
  }

  @Test("a listener bound to * answers on VIPs of IPv6 too, once") func wildcard() throws {
    let balancer =
      "\nlisteners:\n  web: {bind: [\"*:80\", \"[::]:443\", \"*:443\"], pool: app}\n"
      + "pools:\n  app: {servers: {s1: \"[2001:db8::21]:8080\"}}"
    let with = try parse(file("interface: eth0", members: "n1: 192.0.2.11", vip: "2001:db8::100/64") + balancer)
    #expect(with.listeners[0].bind.map(\.description) == ["0.0.0.0:80", "[::]:443", "0.0.0.0:443", "[::]:80"])
    let without = try parse(file("interface: eth0", members: "n1: 192.0.2.11") + balancer)
    #expect(without.listeners[0].bind.map(\.description) == ["0.0.0.0:80", "[::]:443", "0.0.0.0:443"])
  }
}
