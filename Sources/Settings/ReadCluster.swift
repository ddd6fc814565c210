// `cluster:` – who belongs to it, over which network they speak, how fast a dead one is noticed.

import Control
import Primitives

extension Reader {
  static let maximumMembers = 64
  private static let clusterKeys = Keys(
    [
      "name", "interface", "key", "alone_after", "transport", "group", "heartbeat", "dead_after", "max_draining",
      "members",
    ],
    notYet: ["profile"])
  private static let clusterShape = "name, interface, key and members"

  func cluster(_ field: Field, _ references: inout References) -> Configuration.Cluster? {
    guard let fields = self.fields(field, Self.clusterKeys, shape: Self.clusterShape) else { return nil }
    let name = required(fields, "name", "the name that its members share") { self.name($0, "cluster") }
    let interface = required(fields, "interface", "the network interface of the heartbeats, for instance eth0") {
      self.interface($0)
    }
    let keys = required(fields, "key", "make one with `afloat keygen > cluster.key` and write key: file:cluster.key") {
      keyFiles($0)
    }
    let transport = choice(fields["transport"], ["multicast": Transport.multicast, "unicast": .unicast]) ?? .multicast
    let group = self.group(fields["group"]) ?? Endpoint(address: IPAddress(v4: 0xefff_464c), port: 7076)
    let heartbeat =
      duration(fields["heartbeat"], .milliseconds(1) ... .seconds(10), example: "10ms") ?? .milliseconds(10)
    let deadAfter = integer(fields["dead_after"], 2...100) ?? 3
    let aloneAfter = duration(fields["alone_after"], .zero ... .seconds(3600), example: "5s") ?? .seconds(5)
    let maximumDraining = integer(fields["max_draining"], 1...Self.maximumMembers) ?? 1
    let members = required(fields, "members", "NAME: ADDRESS for each node") { self.members($0, &references) }
    guard let name, let interface, let keys, let members else { return nil }
    return Configuration.Cluster(
      name: name, interfaces: [interface], keyFiles: keys, transport: transport, group: group, heartbeat: heartbeat,
      deadAfter: deadAfter, aloneAfter: aloneAfter, maximumDraining: maximumDraining, members: members)
  }

  /// A key that must be there.
  func required<Value>(_ fields: Fields, _ key: String, _ remedy: String, _ read: (Field) -> Value?) -> Value? {
    guard let field = fields[key] else {
      add(fields.position, "\(fields.path) needs \"\(key)\"", remedy)
      return nil
    }
    return read(field)
  }

  /// One interface; a list of one is fine.
  func interface(_ field: Field) -> String? {
    guard let items = list(field, orOne: true, item: "eth0") else { return nil }
    guard let first = items.first else {
      wrongType(field, "the name of an interface", example: "eth0")
      return nil
    }
    if items.count > 1 {
      add(items[1].position, "\(field.path): more than one interface is not supported yet", "keep one")
      return nil
    }
    guard let name = text(first, "the name of an interface", example: "eth0") else { return nil }
    // What the kernel allows (dev_valid_name): below IFNAMSIZ bytes, no slash, colon or white space.
    guard name.utf8.count <= 15, name != ".", name != "..",
      !name.utf8.contains(where: { $0 <= 32 || $0 == 47 || $0 == 58 })
    else {
      add(
        first.position, "\(field.path): \"\(name.abbreviated)\" cannot be an interface",
        "1 to 15 characters, for instance eth0")
      return nil
    }
    return name
  }

  private func keyFiles(_ field: Field) -> [Configuration.KeyFile]? {
    guard let items = list(field, orOne: true, item: "file:new.key, file:old.key") else { return nil }
    guard (1...2).contains(items.count) else {
      add(
        field.position, "\(field.path) names \(items.count) files",
        "one, or two while keys are exchanged: the new one first")
      return nil
    }
    var files: [Configuration.KeyFile] = []
    for item in items {
      guard let text = self.text(item, "file:PATH", example: "file:cluster.key") else { continue }
      guard text.hasPrefix("file:"), text.utf8.count > 5, !text.utf8.contains(0) else {
        let message = "\(item.path) must be file:PATH, not the key itself or another kind of source"
        add(item.position, message, "for instance file:cluster.key, relative to this file")
        continue
      }
      let path = String(text.dropFirst(5))
      if files.contains(where: { $0.path == path }) {
        add(item.position, "\(item.path): \"\(path.abbreviated)\" is there twice", "keep one")
      }
      files.append(Configuration.KeyFile(path: path, position: item.position))
    }
    return files.count == items.count ? files : nil
  }

  private func group(_ field: Field?) -> Endpoint? {
    guard let field else { return nil }
    guard let text = field.text, let group = Endpoint(text) else {
      wrongType(field, "ADDRESS:PORT of a multicast group", example: "239.255.70.76:7076")
      return nil
    }
    if group.address.family == .v6 {
      add(field.position, "\(field.path): IPv6 is not supported yet", "for instance 239.255.70.76:7076")
      return nil
    }
    guard group.address.isMulticast else {
      add(
        field.position, "\(field.path): \(group.address) is not a multicast address",
        "from 224.0.0.0 to 239.255.255.255")
      return nil
    }
    return group
  }

  private func members(_ field: Field, _ references: inout References) -> [MemberConfiguration]? {
    let shape = "n1: 192.0.2.11, one line for each node"
    guard let entries = named(field, "member", maximum: Self.maximumMembers, shape: shape) else { return nil }
    guard !entries.isEmpty else {
      if !hasEntries(field) { add(field.position, "\(field.path) is empty", shape) }
      return nil
    }
    var members: [MemberConfiguration] = []
    var names: [IPAddress: String] = [:]
    for (text, entry) in entries {
      references.members[text] = .some(nil)
      guard let name = NodeName(text), let (address, role) = member(entry) else { continue }
      if role == .witness { references.witnesses.insert(text) }
      guard let address else { continue }
      references.members[text] = address
      if let other = names[address] {
        add(entry.position, "\(entry.path): \(address) is the address of \(other) too", "every member has its own")
      }
      names[address] = text
      members.append(MemberConfiguration(name: name, addresses: [address], role: role))
    }
    if !members.isEmpty, members.count == entries.count, members.allSatisfy({ $0.role != .voter }) {
      add(field.keyPosition, "\(field.path) has no voter", "give one of them role: voter, or no role")
    }
    return members
  }

  private func hasEntries(_ field: Field) -> Bool {
    if case .mapping(let pairs) = field.value.content { !pairs.isEmpty } else { false }
  }

  /// ADDRESS, or {address, role}. The address is nil after a problem with it.
  private func member(_ field: Field) -> (address: IPAddress?, role: MemberConfiguration.Role)? {
    let what = "an IP address"
    guard case .mapping = field.value.content else { return (self.address(field, what, example: "192.0.2.11"), .voter) }
    guard let fields = self.fields(field, Keys(["address", "role"]), shape: "{address: 192.0.2.11, role: voter}") else {
      return nil
    }
    let role = choice(
      fields["role"], ["voter": MemberConfiguration.Role.voter, "witness": .witness, "observer": .observer])
    let address: IPAddress? = required(fields, "address", "for instance 192.0.2.11") { field in
      guard case .sequence(let items) = field.value.content else {
        return self.address(field, what, example: "192.0.2.11")
      }
      guard items.count == 1 else {
        add(field.position, "\(field.path): \(items.count) addresses are not supported yet", "write one")
        return nil
      }
      return self.address(
        Field(path: field.path, keyPosition: field.keyPosition, value: items[0]), what, example: "192.0.2.11")
    }
    return (address, role ?? .voter)
  }
}
