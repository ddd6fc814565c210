// The host's interfaces by name, kept true by netlink's news, and the addresses on them.

import Control
import Kernel
import Primitives

/// What the hands know of the interfaces.
struct Interfaces {
  private(set) var links: [NetworkLink]

  init(_ links: [NetworkLink]) { self.links = links }

  subscript(name: String) -> NetworkLink? { links.first { $0.name == name } }

  func name(of index: UInt32) -> String { links.first { $0.index == index }?.name ?? "interface \(index)" }

  mutating func update(_ link: NetworkLink) {
    // An interface may be renamed, or come back under its name with another index.
    links.removeAll { $0.index == link.index || $0.name == link.name }
    links.append(link)
  }

  /// The interfaces that are known and whose names are not among `present`.
  func vanished(from present: [NetworkLink]) -> [NetworkLink] {
    links.filter { link in !present.contains { $0.name == link.name } }
  }

  mutating func remove(_ index: UInt32) { links.removeAll { $0.index == index } }

  /// The first of the heartbeats' interfaces that the host lacks, as a complaint; nil if all are there. A VIP's own may come
  /// later: until then the VIP is for others to hold.
  func missing(for configuration: ElectorConfiguration) -> PlanFault? {
    for name in configuration.interfaces where self[name] == nil {
      let known = links.sorted { $0.index < $1.index }.map(\.name).joined(separator: ", ")
      return PlanFault("interface \(name) does not exist; this machine has \(known)")
    }
    return nil
  }

  /// How a VIP's addresses are put on its interface: without a route of their own where another address on the interface
  /// already makes it. Empty if the interface is gone.
  func addresses(of vip: VIPConfiguration, beside present: [InterfaceAddress]) -> [InterfaceAddress] {
    guard let link = self[vip.interface] else { return [] }
    return vip.addresses.map { prefix in
      let routed = present.contains {
        !$0.isOurs && !$0.noPrefixRoute && $0.interface == link.index && $0.prefix.length == prefix.length
          && $0.prefix.contains(prefix.address) && $0.prefix.address != prefix.address
      }
      return InterfaceAddress(interface: link.index, prefix: prefix, isOurs: true, noPrefixRoute: routed)
    }
  }

  /// VIP addresses that an earlier elector left behind: those that carry our mark, and the VIPs' own on their interfaces.
  func leftovers(among present: [InterfaceAddress], of configuration: ElectorConfiguration) -> [InterfaceAddress] {
    let members = Set(configuration.members.flatMap(\.addresses))
    return present.filter { address in
      guard !members.contains(address.prefix.address) else { return false }
      return address.isOurs
        || configuration.vips.contains { vip in
          self[vip.interface]?.index == address.interface
            && vip.addresses.contains { $0.address == address.prefix.address }
        }
    }
  }
}
