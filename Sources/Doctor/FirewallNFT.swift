// The rules of nftables, out of `nft -j list ruleset` (libnftables-json(5)), with their wording out of
// `nft -a list ruleset`. Rules of iptables-nft are among them.

internal import FoundationEssentials
internal import Primitives

/// Any JSON value.
enum JSONValue: Decodable {
  case null, bool(Bool), number(Int64), text(String), list([JSONValue]), object([String: JSONValue])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .text(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .list(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  subscript(key: String) -> JSONValue? {
    if case .object(let fields) = self { fields[key] } else { nil }
  }
  var text: String? { if case .text(let text) = self { text } else { nil } }
  var number: Int64? { if case .number(let number) = self { number } else { nil } }
  var list: [JSONValue]? { if case .list(let list) = self { list } else { nil } }
}

package enum NFTables {
  private static let protocolNumbers: [String: UInt8] = [
    "icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "icmpv6": 58, "vrrp": 112, "sctp": 132, "udplite": 136,
  ]

  /// - Parameter wording: what `nft -a list ruleset` prints.
  package static func read(json: [UInt8], wording: String) throws -> [FirewallChain] {
    let root = try JSONDecoder().decode(JSONValue.self, from: Data(json))
    let items = root["nftables"]?.list ?? []
    var sets: [String: JSONValue] = [:]
    var chains: [String: FirewallChain] = [:]
    let words = Self.words(wording)
    for item in items {
      if let set = item["set"], let place = Self.place(set), let name = set["name"]?.text {
        sets["\(place) \(name)"] = set["elem"] ?? .list([])
      }
      if let chain = item["chain"].flatMap(Self.chain) { chains[chain.key] = chain }
    }
    for item in items {
      guard let rule = item["rule"], let place = Self.place(rule), let name = rule["chain"]?.text else { continue }
      let handle = rule["handle"]?.number ?? 0
      let text = words["\(place) \(handle)"] ?? "rule \(handle)"
      chains["\(place) \(name)"]?.rules += rules(rule["expr"]?.list ?? [], place: place, sets: sets, text: text)
    }
    return Array(chains.values)
  }

  /// `inet filter`.
  private static func place(_ value: JSONValue) -> String? {
    guard let family = value["family"]?.text, let table = value["table"]?.text else { return nil }
    return "\(family) \(table)"
  }

  private static func chain(_ value: JSONValue) -> FirewallChain? {
    guard let family = value["family"]?.text, let place = place(value), let name = value["name"]?.text else {
      return nil
    }
    let families: Set<IPAddress.Family>
    switch family {
    case "ip": families = [.v4]
    case "ip6": families = [.v6]
    case "inet", "netdev": families = [.v4, .v6]
    default: return nil
    }
    let hook: FirewallPacket.Hook?
    switch value["hook"]?.text {
    case "input", "prerouting", "ingress": hook = .input
    case "output", "postrouting", "egress": hook = .output
    default: hook = nil
    }
    // Chains of other types translate addresses or choose routes.
    let filters = value["type"]?.text.map { $0 == "filter" } ?? true
    return FirewallChain(
      key: "\(place) \(name)", name: "chain \(name) of table \(place)", hook: filters ? hook : nil, families: families,
      dropsTheRest: value["policy"]?.text == "drop")
  }

  /// Handle → wording. Handles are unique within a table.
  private static func words(_ wording: String) -> [String: String] {
    var words: [String: String] = [:]
    var place = ""
    for line in wording.split(separator: "\n") {
      let parts = line.split { $0 == " " || $0 == "\t" }
      if parts.first == "table", parts.count >= 3 { place = "\(parts[1]) \(parts[2])" }
      // `RULE # handle N`; tables and chains have handles of their own.
      guard parts.count > 3, parts[parts.count - 2] == "handle", parts[parts.count - 3] == "#",
        parts.first != "table", parts.first != "chain", parts.first != "set"
      else { continue }
      words["\(place) \(parts[parts.count - 1])"] = parts.dropLast(3).joined(separator: " ")
    }
    return words
  }

  /// One rule, or one for each entry of a verdict map.
  private static func rules(
    _ expressions: [JSONValue], place: String, sets: [String: JSONValue], text: String
  ) -> [FirewallRule] {
    var conditions: [FirewallCondition] = []
    var rules: [FirewallRule] = []
    for expression in expressions {
      if let match = expression["match"] {
        conditions += Self.conditions(match, place: place, sets: sets)
      } else if let map = expression["vmap"], let key = map["key"] {
        for entry in elements(map["data"] ?? .null, place: place, sets: sets) {
          guard let pair = entry.list, pair.count == 2, let verdict = Self.verdict(pair[1], place) else { continue }
          let match = Self.conditions(left: key, right: pair[0], negated: false, place: place, sets: sets)
          rules.append(FirewallRule(conditions + match, verdict, text: text))
        }
      } else if let verdict = Self.verdict(expression, place) {
        rules.append(FirewallRule(conditions, verdict, text: text))
      } else if expression["limit"] != nil || expression["xt"] != nil || expression["quota"] != nil {
        conditions.append(.unknown)
      }
    }
    return rules
  }

  private static func verdict(_ value: JSONValue, _ place: String) -> FirewallVerdict? {
    guard case .object(let fields) = value else { return nil }
    if fields["accept"] != nil { return .accept }
    if fields["drop"] != nil || fields["reject"] != nil { return .drop }
    if fields["return"] != nil { return .return }
    if let target = fields["jump"]?["target"]?.text { return .jump("\(place) \(target)") }
    if let target = fields["goto"]?["target"]?.text { return .go("\(place) \(target)") }
    return nil
  }

  private static func conditions(_ match: JSONValue, place: String, sets: [String: JSONValue]) -> [FirewallCondition] {
    guard let left = match["left"], let right = match["right"] else { return [.unknown] }
    switch match["op"]?.text {
    case "==", "in": return conditions(left: left, right: right, negated: false, place: place, sets: sets)
    case "!=": return conditions(left: left, right: right, negated: true, place: place, sets: sets)
    default: return [.unknown]
    }
  }

  private static func conditions(
    left: JSONValue, right: JSONValue, negated: Bool, place: String, sets: [String: JSONValue]
  ) -> [FirewallCondition] {
    let values = elements(right, place: place, sets: sets)
    func made(_ condition: FirewallCondition?) -> FirewallCondition {
      condition.map { negated ? .not($0) : $0 } ?? .unknown
    }
    let texts = Set(values.compactMap(\.text))
    if let payload = left["payload"], let field = payload["field"]?.text, let kind = payload["protocol"]?.text {
      switch (kind, field) {
      case ("ip", "saddr"): return [.family(.v4), made(ranges(values).map(FirewallCondition.source))]
      case ("ip6", "saddr"): return [.family(.v6), made(ranges(values).map(FirewallCondition.source))]
      case ("ip", "daddr"): return [.family(.v4), made(ranges(values).map(FirewallCondition.destination))]
      case ("ip6", "daddr"): return [.family(.v6), made(ranges(values).map(FirewallCondition.destination))]
      case ("ip", "protocol"): return [.family(.v4), made(numbers(values).map(FirewallCondition.transport))]
      case ("ip6", "nexthdr"): return [.family(.v6), made(numbers(values).map(FirewallCondition.transport))]
      case ("udp", "dport"), ("tcp", "dport"), ("th", "dport"):
        let transport = protocolNumbers[kind].map { [FirewallCondition.transport([$0])] } ?? []
        return transport + [made(ports(values).map(FirewallCondition.destinationPort))]
      default:
        // A field of another protocol than ours is there only in packets of that protocol.
        return (protocolNumbers[kind].map { [.transport([$0])] } ?? []) + [.unknown]
      }
    }
    if let key = left["meta"]?["key"]?.text {
      switch key {
      case "iif", "iifname": return [made(.interface(.input, Array(texts)))]
      case "oif", "oifname": return [made(.interface(.output, Array(texts)))]
      case "pkttype": return [made(.packetType(texts))]
      case "l4proto": return [made(numbers(values).map(FirewallCondition.transport))]
      case "nfproto": return [made(texts == ["ipv4"] ? .family(.v4) : texts == ["ipv6"] ? .family(.v6) : nil)]
      default: return [.unknown]
      }
    }
    if left["ct"]?["key"]?.text == "state" { return [made(.connectionState(texts))] }
    return [.unknown]
  }

  /// The members of a set, named or not; a single value is a set of one.
  private static func elements(_ value: JSONValue, place: String, sets: [String: JSONValue]) -> [JSONValue] {
    if let name = value.text, name.hasPrefix("@") {
      return elements(sets["\(place) \(name.dropFirst())"] ?? .null, place: place, sets: sets)
    }
    let list = value["set"]?.list ?? value.list ?? [value]
    // Elements with a time-out or a comment are wrapped.
    return list.map { $0["elem"]?["val"] ?? $0 }
  }

  private static func ranges(_ values: [JSONValue]) -> [ClosedRange<IPAddress>]? {
    var ranges: [ClosedRange<IPAddress>] = []
    for value in values {
      if let address = value.text.flatMap({ IPAddress($0) }) {
        ranges.append(address...address)
      } else if let prefix = value["prefix"], let address = prefix["addr"]?.text.flatMap({ IPAddress($0) }),
        let length = prefix["len"]?.number,
        let whole = AddressPrefix(address: address, length: Int(clamping: length))
      {
        ranges.append(whole.range)
      } else if let bounds = value["range"]?.list, bounds.count == 2,
        let first = bounds[0].text.flatMap({ IPAddress($0) }), let last = bounds[1].text.flatMap({ IPAddress($0) }),
        first <= last
      {
        ranges.append(first...last)
      } else {
        return nil
      }
    }
    return ranges
  }

  private static func ports(_ values: [JSONValue]) -> [ClosedRange<UInt16>]? {
    var ranges: [ClosedRange<UInt16>] = []
    for value in values {
      let bounds = (value["range"]?.list ?? [value, value]).map { $0.number.flatMap { UInt16(exactly: $0) } }
      guard bounds.count == 2, let first = bounds[0], let last = bounds[1], first <= last else { return nil }
      ranges.append(first...last)
    }
    return ranges
  }

  private static func numbers(_ values: [JSONValue]) -> Set<UInt8>? {
    var numbers: Set<UInt8> = []
    for value in values {
      let number = value.number.flatMap { UInt8(exactly: $0) } ?? value.text.flatMap { protocolNumbers[$0] }
      // A name that is not known is none of ours.
      if let number { numbers.insert(number) } else if value.text == nil { return nil }
    }
    return numbers
  }
}
