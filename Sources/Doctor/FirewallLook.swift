// Which rules of this host's firewall stop heartbeats, the channel between agents, or what a switch must see of a group's
// members.

package import Control
internal import Kernel
internal import Primitives

package enum FirewallLook {
  private static let places = ["/usr/sbin/", "/sbin/", "/usr/bin/"]
  private static let outputLimit = 16 << 20
  private static let patience = TimeSpan.seconds(10)
  /// Rules that are named in one sentence.
  private static let namedRules = 3

  /// What packets a node sends and gets, with what they are in words.
  static func packets(of cluster: ElectorConfiguration) -> [(what: String, packet: FirewallPacket, isVital: Bool)] {
    var packets: [(what: String, packet: FirewallPacket, isVital: Bool)] = []
    guard let own = cluster.members.first(where: { $0.name == cluster.node }) else { return [] }
    for (path, interface) in cluster.interfaces.enumerated() where path < own.addresses.count {
      let group = cluster.group(ofPath: path)
      let address = own.addresses[path]
      let peers = cluster.members.filter { $0.name != cluster.node && path < $0.addresses.count }
      let usesGroup = cluster.transport == .multicast
      func add(_ what: String, _ transport: FirewallPacket.Transport, to destination: IPAddress, _ isVital: Bool) {
        packets.append(
          (
            what,
            FirewallPacket(
              hook: .output, interface: interface, source: address, destination: destination, transport: transport),
            isVital
          ))
      }
      if usesGroup {
        add("heartbeats to \(group)", .udp(port: group.port), to: group.address, true)
        if group.address.family == .v4 {
          add(
            "membership reports (IGMP), by which switches learn of the group,", .igmp, to: IPAddress(v4: 0xe000_0016),
            false)
        }
      }
      for peer in peers {
        let other = peer.addresses[path]
        func get(_ what: String, _ transport: FirewallPacket.Transport, at destination: IPAddress, _ isVital: Bool) {
          packets.append(
            (
              what,
              FirewallPacket(
                hook: .input, interface: interface, source: other, destination: destination, transport: transport),
              isVital
            ))
        }
        if usesGroup {
          get("heartbeats of \(peer.name) to \(group)", .udp(port: group.port), at: group.address, true)
        }
        get(
          "\(usesGroup ? "unicast heartbeats" : "heartbeats") of \(peer.name) to \(Endpoint(address: address, port: group.port))",
          .udp(port: group.port), at: address, !usesGroup)
        add(
          "\(usesGroup ? "unicast heartbeats" : "heartbeats") to \(Endpoint(address: other, port: group.port))",
          .udp(port: group.port), to: other, !usesGroup)
        guard path == 0 else { continue }
        get("the agents' channel from \(peer.name) (TCP port \(group.port))", .tcp(port: group.port), at: address, true)
        add("the agents' channel to \(peer.name) (TCP port \(group.port))", .tcp(port: group.port), to: other, true)
      }
    }
    return packets
  }

  /// Findings about a firewall; one per rule that drops, with all that it drops.
  package static func judge(_ firewall: Firewall, _ cluster: ElectorConfiguration) -> [Finding] {
    struct Blame {
      var what: [String] = []
      var level = Finding.Level.note
    }
    var blames: [String: Blame] = [:]
    var order: [String] = []
    for (what, packet, isVital) in packets(of: cluster) {
      let fate = firewall.fate(of: packet)
      for rule in fate.drops.prefix(namedRules) {
        if blames[rule] == nil { order.append(rule) }
        blames[rule, default: Blame()].what.append(what)
        // A rule that may or may not match is a hint, not a fault.
        let level: Finding.Level = fate.mayPass ? .note : isVital ? .failure : .warning
        let before = blames[rule]?.level ?? .note
        blames[rule]?.level = max(before, level)
      }
    }
    let remedy =
      "let UDP and TCP port \(cluster.group.port) pass from and to the members"
      + (cluster.transport == .multicast ? ", UDP also to the group \(cluster.group.address), and IGMP out" : "")
    return order.compactMap { rule in
      guard let blame = blames[rule] else { return nil }
      let what = blame.what.prefix(namedRules).joined(separator: ", ")
      let more = blame.what.count > namedRules ? " and \(blame.what.count - namedRules) more" : ""
      let verb = blame.level == .note ? "may drop" : "drops"
      return Finding(.firewall, blame.level, "\(rule) \(verb) \(what)\(more)", remedy)
    }
  }

  static func look(_ cluster: ElectorConfiguration) -> [Finding] {
    var chains: [FirewallChain] = []
    var findings: [Finding] = []
    var seen: [String] = []
    if let nft = tool("nft") {
      do {
        let json = try run(nft, ["-j", "list", "ruleset"])
        let wording = try run(nft, ["-a", "list", "ruleset"])
        chains += try NFTables.read(json: json, wording: String(decoding: wording, as: UTF8.self))
        seen.append("nftables")
      } catch {
        findings.append(
          Finding(.firewall, .note, "the rules of nftables could not be read: \(error)", "run as root"))
      }
    } else if Files.exists("/proc/net/netfilter/nf_log") {
      findings.append(
        Finding(
          .firewall, .note, "the rules of nftables could not be read: there is no program nft here",
          "apt install nftables, or look at the firewall by hand"))
    }
    for (family, save, tables) in [
      (IPAddress.Family.v4, "iptables-legacy-save", "/proc/net/ip_tables_names"),
      (.v6, "ip6tables-legacy-save", "/proc/net/ip6_tables_names"),
    ] {
      guard let names = try? Files.readIfThere(tables), !names.isEmpty else { continue }
      do {
        guard let path = tool(save) else { throw LookFault("there is no program \(save) here") }
        chains += IPTables.read(String(decoding: try run(path, []), as: UTF8.self), family: family)
        seen.append(save.replacingSuffix)
      } catch {
        findings.append(
          Finding(.firewall, .note, "this host has rules of the old iptables, which could not be read: \(error)"))
      }
    }
    let faults = judge(Firewall(chains), cluster)
    if faults.isEmpty, !seen.isEmpty {
      let count = chains.reduce(0) { $0 + $1.rules.count }
      findings.append(
        Finding(
          .firewall, .ok, "no rule of \(Spoken.list(seen)) stops heartbeats or the channel (\(count) rules read)"))
    }
    return findings + faults
  }

  private static func tool(_ name: String) -> String? { places.map { $0 + name }.first(where: Files.isExecutable) }

  private static func run(_ path: String, _ arguments: [String]) throws -> [UInt8] {
    let done = try Program.run(path, arguments: arguments, limit: outputLimit, timeout: patience)
    guard case .exited(0)? = done.ending else {
      let said = String(decoding: done.output.prefix(200), as: UTF8.self).split(separator: "\n").first.map { ": \($0)" }
      throw LookFault("\(path) gave \(done.ending?.words ?? "no end of its output")\(said ?? "")")
    }
    return done.output
  }
}

/// Why something could not be looked at.
struct LookFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

extension String {
  /// `iptables-legacy` of `iptables-legacy-save`.
  fileprivate var replacingSuffix: String { hasSuffix("-save") ? String(dropLast(5)) : self }
}
