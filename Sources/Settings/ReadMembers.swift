// `cluster.members:` – the nodes, with an address for each interface of the heartbeats, and what each may do.

import Control
import Primitives

extension Reader {
  func members(
    _ field: Field, _ interfaces: [String], _ references: inout References
  ) -> [MemberConfiguration]? {
    let shape = "n1: 192.0.2.11, one line for each node"
    guard let entries = named(field, "member", maximum: Self.maximumMembers, shape: shape) else { return nil }
    guard !entries.isEmpty else {
      if !hasEntries(field) { add(field.position, "\(field.path) is empty", shape) }
      return nil
    }
    var members: [MemberConfiguration] = []
    for (text, entry) in entries {
      references.members[text] = .some(nil)
      guard let name = NodeName(text), let (addresses, role) = member(entry, interfaces) else { continue }
      if role == .witness { references.witnesses.insert(text) }
      guard let first = addresses.first else { continue }
      references.members[text] = first
      for address in addresses {
        if let other = references.memberAddresses[address] {
          let owner = other == text ? "there twice" : "the address of \(other) too"
          add(entry.position, "\(entry.path): \(address) is \(owner)", "every member has its own")
        }
        references.memberAddresses[address] = text
      }
      if let model = members.first, model.addresses.map(\.family) != addresses.map(\.family) {
        add(
          entry.position, "\(entry.path): its addresses are not of the same families as those of \(model.name)",
          "on each interface all members use IPv4, or all use IPv6")
      }
      members.append(MemberConfiguration(name: name, addresses: addresses, role: role))
    }
    if !members.isEmpty, members.count == entries.count, members.allSatisfy({ $0.role != .voter }) {
      add(field.keyPosition, "\(field.path) has no voter", "give one of them role: voter, or no role")
    }
    return members
  }

  private func hasEntries(_ field: Field) -> Bool {
    if case .mapping(let pairs) = field.value.content { !pairs.isEmpty } else { false }
  }

  /// ADDRESS, or {address, role}. There are no addresses after a problem with one.
  private func member(
    _ field: Field, _ interfaces: [String]
  ) -> (addresses: [IPAddress], role: MemberConfiguration.Role)? {
    guard case .mapping = field.value.content else { return (memberAddresses(field, interfaces), .voter) }
    guard let fields = self.fields(field, Keys(["address", "role"]), shape: "{address: 192.0.2.11, role: voter}") else {
      return nil
    }
    let role = choice(
      fields["role"], ["voter": MemberConfiguration.Role.voter, "witness": .witness, "observer": .observer])
    let addresses = required(fields, "address", "for instance 192.0.2.11") { memberAddresses($0, interfaces) }
    return (addresses ?? [], role ?? .voter)
  }

  /// One, or a list with one for each interface.
  private func memberAddresses(_ field: Field, _ interfaces: [String]) -> [IPAddress] {
    let example = "192.0.2.11"
    guard case .sequence(let items) = field.value.content else {
      guard let address = memberAddress(field, example: example) else { return [] }
      return checkCount([address], field, interfaces)
    }
    let addresses = items.enumerated().compactMap { index, value in
      memberAddress(
        Field(path: "\(field.path)[\(index)]", keyPosition: value.position, value: value), example: example)
    }
    return addresses.count == items.count ? checkCount(addresses, field, interfaces) : []
  }

  private func checkCount(_ addresses: [IPAddress], _ field: Field, _ interfaces: [String]) -> [IPAddress] {
    // Nothing is known of the interfaces after a problem with them.
    guard !interfaces.isEmpty, addresses.count != interfaces.count else { return addresses }
    let have = addresses.count == 1 ? "1 address" : "\(addresses.count) addresses"
    let need = interfaces.count == 1 ? "1 interface" : "\(interfaces.count) interfaces"
    add(
      field.position, "\(field.path) has \(have) for \(need)",
      interfaces.count == 1
        ? "write one"
        : "one for each of \(interfaces.joined(separator: ", ")), for instance {address: [192.0.2.11, 198.51.100.11]}")
    return []
  }

  private func memberAddress(_ field: Field, example: String) -> IPAddress? {
    guard let address = address(field, "an IP address", example: example) else { return nil }
    guard !address.isLinkLocal else {
      add(
        field.position, "\(field.path): \(address) is an address of one link only",
        "write a global or unique local one, for instance 2001:db8::11")
      return nil
    }
    return address
  }
}
