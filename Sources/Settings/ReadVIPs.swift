// `vips:` – the addresses that float, and who should hold them when.

import Control
import Primitives

extension Reader {
  static let maximumVIPs = 256
  static let maximumAddressesPerVIP = 16
  private static let vipKeys = Keys(
    ["addresses", "interface", "prefer", "failback", "requires", "announce", "on_change"],
    notYet: ["quorum", "lease", "fence", "protocol", "vrid", "priority"])

  func vips(_ field: Field, _ cluster: Configuration.Cluster?, _ references: References) -> [VIPConfiguration] {
    let shape = "web: {addresses: [192.0.2.100/24]}"
    guard let entries = named(field, "VIP", maximum: Self.maximumVIPs, shape: shape) else { return [] }
    var owners: [IPAddress: String] = [:]
    return entries.compactMap { (name, entry) -> VIPConfiguration? in
      guard let fields = self.fields(entry, Self.vipKeys, shape: "{addresses: [192.0.2.100/24]}") else { return nil }
      let addresses = required(fields, "addresses", "for instance [192.0.2.100/24]") {
        vipAddresses($0, name, &owners, references)
      }
      let interface = fields["interface"].flatMap { self.interface($0) }
      let prefer = fields["prefer"].flatMap { self.prefer($0, references) }
      let failback = self.failback(fields["failback"])
      let requires = self.requires(fields["requires"], references)
      let announce = duration(fields["announce"], .seconds(1) ... .seconds(3600), example: "60s") ?? .seconds(60)
      let onChange = fields["on_change"].flatMap { absolutePath($0, example: "/usr/local/bin/vip-changed") }
      guard let addresses, let cluster else { return nil }
      return VIPConfiguration(
        name: name, addresses: addresses, interface: interface ?? cluster.interfaces[0], prefer: prefer,
        failback: failback,
        requires: requires, announce: announce, onChange: onChange)
    }
  }

  private func vipAddresses(
    _ field: Field, _ name: String, _ owners: inout [IPAddress: String], _ references: References
  ) -> [AddressPrefix]? {
    guard let items = list(field, item: "192.0.2.100/24") else { return nil }
    guard (1...Self.maximumAddressesPerVIP).contains(items.count) else {
      add(field.position, "\(field.path) has \(items.count) addresses", "from 1 to \(Self.maximumAddressesPerVIP)")
      return nil
    }
    var prefixes: [AddressPrefix] = []
    for item in items {
      guard let prefix = vipAddress(item) else { continue }
      let address = prefix.address
      if let owner = owners[address] {
        let place = owner == name ? "there twice" : "an address of VIP \"\(owner)\" too"
        add(item.position, "\(item.path): \(address) is \(place)", "an address belongs to one VIP")
      }
      owners[address] = name
      if let member = references.memberAddresses[address] {
        add(
          item.position, "\(item.path): \(address) is the address of member \(member)",
          "a VIP needs an address of its own")
      }
      prefixes.append(prefix)
    }
    return prefixes.count == items.count ? prefixes : nil
  }

  private func vipAddress(_ field: Field) -> AddressPrefix? {
    guard let text = field.text, let prefix = AddressPrefix(text) else {
      if let bare = field.text.flatMap({ IPAddress($0) }) {
        add(
          field.position, "\(field.path): \(bare) has no prefix length",
          "for instance \(bare)/\(bare.family == .v4 ? 24 : 64)")
      } else {
        wrongType(field, "an address with its prefix length", example: "192.0.2.100/24")
      }
      return nil
    }
    guard let what = fault(of: prefix) else { return prefix }
    let example = prefix.address.family == .v4 ? "192.0.2.100/24" : "2001:db8::100/64"
    add(field.position, "\(field.path): \(prefix) is \(what)", "write a host's address, for instance \(example)")
    return nil
  }

  /// Why a prefix cannot be put on an interface.
  private func fault(of prefix: AddressPrefix) -> String? {
    let address = prefix.address
    guard address.isHost, !address.isLoopback, prefix.length > 0 else { return "not an address for a VIP" }
    // Point-to-point prefixes (RFC 3021, RFC 6164) have neither.
    guard prefix.length < address.bitCount - 1 else { return nil }
    if prefix.isNetwork { return "the address of the network itself" }
    return prefix.isBroadcast ? "a broadcast address" : nil
  }

  private func prefer(_ field: Field, _ references: References) -> [NodeName]? {
    if field.text == "spread" { return nil }
    guard case .sequence = field.value.content, let items = list(field, item: "n1, n2") else {
      add(
        field.position, "\(field.path) must be spread or a list of members, not \(field.value.kind)",
        "for instance [n1, n2]")
      return nil
    }
    var nodes: [NodeName] = []
    for item in items {
      guard let text = self.name(item, "member"), let node = NodeName(text) else { continue }
      if references.members[text] == nil {
        if !references.members.isEmpty {
          add(item.position, "\(field.path): \"\(text)\" is not a member", nearestMember(text, references))
        }
      } else if references.witnesses.contains(text) {
        add(
          item.position, "\(field.path): \(text) is a witness, which never holds a VIP",
          "remove it here, or change its role")
      } else if nodes.contains(node) {
        add(item.position, "\(field.path): \(text) is there twice", "keep one")
      }
      nodes.append(node)
    }
    if items.isEmpty { add(field.position, "\(field.path) is empty", "name members, or write spread") }
    return nodes
  }

  private func failback(_ field: Field?) -> Failback {
    guard let field else { return .never }
    switch field.text {
    case "never": return .never
    case "at_once": return .atOnce
    case let text?:
      if let span = Quantities.duration(text), span <= .seconds(7 * 24 * 3600) {
        return span == .zero ? .atOnce : .after(span)
      }
    default: break
    }
    add(
      field.position, "\(field.path) cannot be \(field.value.kind)", "choose never, at_once, or a duration such as 5m")
    return .never
  }
}
