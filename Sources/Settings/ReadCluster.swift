// `cluster:` – over which network its members speak, and how fast a dead one is noticed. Who belongs to it is read in
// ReadMembers.swift.

import Control
import Primitives

extension Reader {
  static let maximumMembers = 64
  static let maximumInterfaces = 4
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
    let interfaces = required(fields, "interface", "the network interface of the heartbeats, for instance eth0") {
      self.interfaces($0)
    }
    let keys = required(fields, "key", "make one with `afloat keygen > cluster.key` and write key: file:cluster.key") {
      keyFiles($0)
    }
    let transport = choice(fields["transport"], ["multicast": Transport.multicast, "unicast": .unicast]) ?? .multicast
    let group = fields["group"].flatMap { self.group($0) }
    let heartbeat =
      duration(fields["heartbeat"], .milliseconds(1) ... .seconds(10), example: "10ms") ?? .milliseconds(10)
    let deadAfter = integer(fields["dead_after"], 2...100) ?? 3
    let aloneAfter = duration(fields["alone_after"], .zero ... .seconds(3600), example: "5s") ?? .seconds(5)
    let maximumDraining = integer(fields["max_draining"], 1...Self.maximumMembers) ?? 1
    let members = required(fields, "members", "NAME: ADDRESS for each node") {
      self.members($0, interfaces ?? [], &references)
    }
    guard let name, let interfaces, let keys, let members, let first = members.first else { return nil }
    if let group, let field = fields["group"] { checkFamilies(of: members, group, field) }
    return Configuration.Cluster(
      name: name, interfaces: interfaces, keyFiles: keys, transport: transport,
      group: group ?? .heartbeats(of: first.address.family), heartbeat: heartbeat,
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

  /// One interface, or a list of them: redundant paths.
  private func interfaces(_ field: Field) -> [String]? {
    guard let items = list(field, orOne: true, item: "eth0, eth1") else { return nil }
    guard (1...Self.maximumInterfaces).contains(items.count) else {
      add(field.position, "\(field.path) names \(items.count) interfaces", "from 1 to \(Self.maximumInterfaces)")
      return nil
    }
    var names: [String] = []
    for item in items {
      guard let name = interfaceName(item) else { continue }
      if names.contains(name) { add(item.position, "\(item.path): \(name) is there twice", "keep one") }
      names.append(name)
    }
    return names.count == items.count ? names : nil
  }

  /// One interface; a list of one is fine.
  func interface(_ field: Field) -> String? {
    guard let items = list(field, orOne: true, item: "eth0") else { return nil }
    guard let first = items.first else {
      wrongType(field, "the name of an interface", example: "eth0")
      return nil
    }
    if items.count > 1 {
      add(items[1].position, "\(field.path) names \(items.count) interfaces", "keep one")
      return nil
    }
    return interfaceName(first)
  }

  private func interfaceName(_ field: Field) -> String? {
    guard let name = text(field, "the name of an interface", example: "eth0") else { return nil }
    // What the kernel allows (dev_valid_name): below IFNAMSIZ bytes, no slash, colon or white space.
    guard name.utf8.count <= 15, name != ".", name != "..",
      !name.utf8.contains(where: { $0 <= 32 || $0 == 47 || $0 == 58 })
    else {
      add(
        field.position, "\(field.path): \"\(name.abbreviated)\" cannot be an interface",
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

  private func group(_ field: Field) -> Endpoint? {
    guard let text = field.text, let group = Endpoint(text) else {
      wrongType(field, "ADDRESS:PORT of a multicast group", example: "239.255.70.76:7076")
      return nil
    }
    guard group.address.isMulticast else {
      add(
        field.position, "\(field.path): \(group.address) is not a multicast address",
        group.address.family == .v4
          ? "from 224.0.0.0 to 239.255.255.255" : "for instance \(Endpoint.heartbeats(of: .v6))")
      return nil
    }
    // ff00::/16 is reserved, ff01::/16 does not leave the host.
    if group.address.family == .v6, group.address.high >> 48 & 0xf <= 1 {
      add(
        field.position, "\(field.path): \(group.address) does not leave the host",
        "for instance \(Endpoint.heartbeats(of: .v6))")
      return nil
    }
    return group
  }

  /// A group of a family that no interface uses would be a mistake; one that another interface cannot use is not.
  private func checkFamilies(of members: [MemberConfiguration], _ group: Endpoint, _ field: Field) {
    let families = Set(members.flatMap { $0.addresses.map(\.family) })
    guard !families.contains(group.address.family), let other = families.first else { return }
    add(
      field.position,
      "\(field.path): \(group.address) is \(group.address.family.words), the members' addresses are not",
      "for instance \(Endpoint.heartbeats(of: other))")
  }
}

extension IPAddress.Family {
  /// In words.
  var words: String { self == .v4 ? "IPv4" : "IPv6" }
}
