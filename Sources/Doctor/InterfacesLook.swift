// The interfaces that the configuration names: whether they are there, carry this node's address, and answer for VIPs as
// they should.

package import Control
package import Kernel
package import Primitives

/// What the system says of one interface.
package struct InterfaceFacts: Sendable {
  package var link: NetworkLink
  /// Without those of an agent of ours.
  package var addresses: [AddressPrefix] = []
  /// Those of an agent of ours.
  package var vips: [AddressPrefix] = []
  package var mtu: Int?
  /// IFF_MULTICAST.
  package var takesMulticasts: Bool?
  package var ipv6IsDisabled: Bool?
  /// The larger of all's and its own, as the kernel takes them.
  package var reversePathFilter: Int?
  package var arpIgnore: Int?
  package var arpAnnounce: Int?
  /// Of a bridge: it forwards multicasts only where it knows of members, and asks for them itself.
  package var snoops: Bool?
  package var isQuerier: Bool?

  package init(link: NetworkLink) { self.link = link }
}

package struct NetworkFacts: Sendable {
  package var interfaces: [InterfaceFacts]

  package init(interfaces: [InterfaceFacts]) { self.interfaces = interfaces }

  subscript(name: String) -> InterfaceFacts? { interfaces.first { $0.link.name == name } }

  static func look() throws(SystemError) -> NetworkFacts {
    let netlink = try NetlinkConnection()
    let addresses = try netlink.addresses()
    return NetworkFacts(
      interfaces: try netlink.links().sorted { $0.index < $1.index }.map { link in
        var facts = InterfaceFacts(link: link)
        let own = addresses.filter { $0.interface == link.index }
        facts.addresses = own.filter { !$0.isOurs }.map(\.prefix)
        facts.vips = own.filter(\.isOurs).map(\.prefix)
        let device = "/sys/class/net/\(link.name)"
        facts.mtu = SystemFile.number("\(device)/mtu")
        facts.takesMulticasts = SystemFile.hexadecimal("\(device)/flags").map { $0 & 0x1000 != 0 }
        facts.snoops = SystemFile.number("\(device)/bridge/multicast_snooping").map { $0 != 0 }
        facts.isQuerier = SystemFile.number("\(device)/bridge/multicast_querier").map { $0 != 0 }
        facts.ipv6IsDisabled = SystemFile.number("/proc/sys/net/ipv6/conf/\(link.name)/disable_ipv6").map { $0 != 0 }
        func larger(_ name: String) -> Int? {
          let values = ["all", link.name].compactMap { SystemFile.number("/proc/sys/net/ipv4/conf/\($0)/\(name)") }
          return values.max()
        }
        facts.reversePathFilter = larger("rp_filter")
        facts.arpIgnore = larger("arp_ignore")
        facts.arpAnnounce = larger("arp_announce")
        return facts
      })
  }
}

/// Small files of /proc and /sys; nil where they are not there.
enum SystemFile {
  static func text(_ path: String) -> String? {
    guard let bytes = try? Files.readIfThere(path, limit: 1 << 20) else { return nil }
    var text = String(decoding: bytes, as: UTF8.self)
    while text.last == "\n" || text.last == " " { text.removeLast() }
    return text
  }

  static func number(_ path: String) -> Int? { text(path).flatMap { Int($0) } }

  /// `0x1003`.
  static func hexadecimal(_ path: String) -> Int? { text(path).flatMap { Int($0.dropFirst(2), radix: 16) } }
}

package enum InterfacesLook {
  /// The smallest that takes every datagram whole (and that IPv6 needs).
  private static let smallestMTU = 1280

  /// - Parameter agentRuns: VIPs on the interfaces are its business then.
  package static func judge(_ facts: NetworkFacts, _ cluster: ElectorConfiguration, agentRuns: Bool) -> [Finding] {
    var findings: [Finding] = []
    let own = cluster.members.first { $0.name == cluster.node }
    let names = cluster.interfaces + cluster.vips.map(\.interface).filter { !cluster.interfaces.contains($0) }
    var seen: Set<String> = []
    for name in names where seen.insert(name).inserted {
      guard let interface = facts[name] else {
        let known = facts.interfaces.map(\.link.name).joined(separator: ", ")
        findings.append(
          Finding(
            .interfaces, .failure, "interface \(name) does not exist; this machine has \(known)",
            "correct cluster.interface (or the VIP's interface), the same on every node"))
        continue
      }
      var faults = judgeLink(interface)
      if let path = cluster.interfaces.firstIndex(of: name) {
        faults += judgePath(interface, path, cluster, own)
      }
      faults += judgeAnswers(interface, cluster, facts, agentRuns: agentRuns)
      if faults.isEmpty {
        let addresses = interface.addresses.map(\.description).joined(separator: ", ")
        findings.append(Finding(.interfaces, .ok, "\(name) is up (\(addresses.isEmpty ? "no address" : addresses))"))
      }
      findings += faults
    }
    return findings
  }

  private static func judgeLink(_ interface: InterfaceFacts) -> [Finding] {
    let name = interface.link.name
    guard interface.link.isUp else {
      return [Finding(.interfaces, .failure, "\(name) is down", "ip link set \(name) up")]
    }
    guard interface.link.hasCarrier else {
      return [
        Finding(
          .interfaces, .failure, "\(name) has no carrier", "look at the cable, the switch's port, or the virtual switch"
        )
      ]
    }
    var faults: [Finding] = []
    if let mtu = interface.mtu, mtu < smallestMTU {
      faults.append(
        Finding(
          .interfaces, .failure, "\(name) has an MTU of \(mtu): heartbeats need \(smallestMTU)",
          "ip link set \(name) mtu 1500"))
    }
    if interface.snoops == true, interface.isQuerier == false {
      faults.append(
        Finding(
          .interfaces, .warning,
          "bridge \(name) snoops multicasts and asks nobody for group members: without another querier heartbeats stop "
            + "some minutes after the start and go by unicast from then on",
          "ip link set \(name) type bridge mcast_querier 1 (or mcast_snooping 0)"))
    }
    return faults
  }

  private static func judgePath(
    _ interface: InterfaceFacts, _ path: Int, _ cluster: ElectorConfiguration, _ own: MemberConfiguration?
  ) -> [Finding] {
    let name = interface.link.name
    var faults: [Finding] = []
    if let own, path < own.addresses.count, !interface.addresses.contains(where: { $0.address == own.addresses[path] })
    {
      let present = interface.addresses.map(\.description).joined(separator: ", ")
      faults.append(
        Finding(
          .interfaces, .failure,
          "\(name) does not have the address \(own.addresses[path]) of \(own.name) (it has \(present.isEmpty ? "none" : present))",
          "give it that address, correct cluster.members, or say with --node which member this is"))
    }
    if cluster.transport == .multicast, interface.takesMulticasts == false {
      faults.append(
        Finding(
          .interfaces, .failure, "\(name) takes no multicasts",
          "ip link set \(name) multicast on, or cluster.transport: unicast"))
    }
    let family = own.flatMap { path < $0.addresses.count ? $0.addresses[path].family : nil }
    if family == .v6, interface.ipv6IsDisabled == true {
      faults.append(ipv6Disabled(name, "heartbeats go over IPv6"))
    }
    for member in cluster.members where member.name != cluster.node && path < member.addresses.count {
      let address = member.addresses[path]
      guard !interface.addresses.isEmpty, !interface.addresses.contains(where: { $0.contains(address) }) else {
        continue
      }
      faults.append(
        Finding(
          .interfaces, cluster.transport == .multicast ? .warning : .note,
          "\(member.name)'s address \(address) is in no network of \(name): multicasts do not pass routers",
          "correct the address or the interface, or set cluster.transport: unicast"))
    }
    return faults
  }

  private static func judgeAnswers(
    _ interface: InterfaceFacts, _ cluster: ElectorConfiguration, _ facts: NetworkFacts, agentRuns: Bool
  ) -> [Finding] {
    let name = interface.link.name
    let vips = cluster.vips.filter { $0.interface == name }
    var faults: [Finding] = []
    let addresses = vips.flatMap(\.addresses)
    if interface.ipv6IsDisabled == true, let first = addresses.first(where: { $0.address.family == .v6 }) {
      faults.append(ipv6Disabled(name, "\(first) cannot be added"))
    }
    if !vips.isEmpty, interface.link.hardwareAddress == 0 {
      faults.append(
        Finding(
          .interfaces, .warning, "\(name) has no hardware address: nobody can be told where a VIP is",
          "put VIPs on an Ethernet interface"))
    }
    if addresses.contains(where: { $0.address.family == .v4 }), let ignore = interface.arpIgnore, ignore >= 3 {
      faults.append(
        Finding(
          .interfaces, .failure, "arp_ignore is \(ignore) on \(name): it may not answer for a VIP",
          "sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.\(name).arp_ignore=0 (1 and 2 are fine too)"))
    }
    if !agentRuns {
      let present = Set(facts.interfaces.flatMap { $0.addresses.map(\.address) })
      for vip in vips {
        for prefix in vip.addresses where present.contains(prefix.address) {
          faults.append(
            Finding(
              .interfaces, .warning,
              "the address \(prefix.address) of VIP \(vip.name) is on this machine already, and not by Afloat",
              "remove it from the system's network configuration (or stop keepalived): the election gives it to its holder"
            ))
        }
      }
    }
    return faults + judgeTwins(interface, vips, facts)
  }

  /// Two interfaces in one network both answer for all addresses of the machine, and packets may leave by either.
  private static func judgeTwins(
    _ interface: InterfaceFacts, _ vips: [VIPConfiguration], _ facts: NetworkFacts
  ) -> [Finding] {
    let name = interface.link.name
    let twins = facts.interfaces.filter { other in
      other.link.name != name && other.link.isUp
        && other.addresses.contains { prefix in
          prefix.address.family == .v4 && interface.addresses.contains { $0.contains(prefix.address) }
        }
    }
    guard let twin = twins.first?.link.name else { return [] }
    var faults: [Finding] = []
    if !vips.isEmpty, interface.arpIgnore == 0 || interface.arpAnnounce ?? 0 < 2 {
      faults.append(
        Finding(
          .interfaces, .warning,
          "\(name) and \(twin) are in the same network and both answer for a VIP: clients may learn the wrong hardware address",
          "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"))
    }
    if interface.reversePathFilter == 1 {
      faults.append(
        Finding(
          .interfaces, .warning,
          "rp_filter is strict on \(name), and \(twin) is in the same network: what comes by the one that the route does not name is dropped",
          "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.\(name).rp_filter=2"))
    }
    return faults
  }

  private static func ipv6Disabled(_ name: String, _ consequence: String) -> Finding {
    Finding(
      .interfaces, .failure, "IPv6 is disabled on \(name): \(consequence)",
      "sysctl -w net.ipv6.conf.\(name).disable_ipv6=0")
  }
}
