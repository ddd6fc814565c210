// The rules of iptables where it is the old one, beside nftables: out of `iptables-legacy-save` (iptables-save(8)).

package import Primitives

package enum IPTables {
  /// The chains of the tables that filter (`filter`, `raw` and `mangle`).
  package static func read(_ text: String, family: IPAddress.Family) -> [FirewallChain] {
    var chains: [String: FirewallChain] = [:]
    var table = ""
    let tool = family == .v4 ? "iptables" : "ip6tables"
    for line in text.split(separator: "\n") {
      let words = Self.words(line)
      guard let first = words.first else { continue }
      if first.hasPrefix("*") {
        table = String(first.dropFirst())
      } else if first.hasPrefix(":"), words.count >= 2, ["filter", "raw", "mangle"].contains(table) {
        let name = String(first.dropFirst())
        let hook: FirewallPacket.Hook? =
          switch name {
          case "INPUT", "PREROUTING": .input
          case "OUTPUT", "POSTROUTING": .output
          default: nil
          }
        let key = "\(tool) \(table) \(name)"
        chains[key] = FirewallChain(
          key: key, name: "chain \(name) of \(tool) (table \(table))", hook: hook, families: [family],
          dropsTheRest: words[1] == "DROP")
      } else if first == "-A", words.count >= 2, let rule = rule(Array(words[2...]), "\(tool) \(table)", String(line)) {
        chains["\(tool) \(table) \(words[1])"]?.rules.append(rule)
      }
    }
    return Array(chains.values)
  }

  /// Words separated by spaces; quotation marks hold some together (comments).
  private static func words(_ line: Substring) -> [String] {
    var words: [String] = []
    var word = ""
    var isQuoted = false
    for character in line {
      switch character {
      case "\"": isQuoted.toggle()
      case " " where !isQuoted:
        if !word.isEmpty { words.append(word) }
        word = ""
      default: word.append(character)
      }
    }
    return word.isEmpty ? words : words + [word]
  }

  /// Nil for rules without a verdict.
  private static func rule(_ words: [String], _ place: String, _ text: String) -> FirewallRule? {
    var conditions: [FirewallCondition] = []
    var verdict: FirewallVerdict?
    var isNegated = false
    var index = 0
    /// The option's value.
    func value() -> String {
      index += 1
      return index < words.count ? words[index] : ""
    }
    func add(_ condition: FirewallCondition?) {
      conditions.append(condition.map { isNegated ? .not($0) : $0 } ?? .unknown)
      isNegated = false
    }
    while index < words.count {
      switch words[index] {
      case "!": isNegated = true
      case "-s": add(range(value()).map { .source([$0]) })
      case "-d": add(range(value()).map { .destination([$0]) })
      case "-p": add(number(value()).map { .transport([$0]) })
      case "-i": add(.interface(.input, [value()]))
      case "-o": add(.interface(.output, [value()]))
      case "--dport": add(ports(value()).map { .destinationPort([$0]) })
      case "--dports":
        let all = value().split(separator: ",").map { ports(String($0)) }
        add(all.contains { $0 == nil } ? nil : .destinationPort(all.compactMap { $0 }))
      case "--pkt-type": add(.packetType([value()]))
      case "--ctstate", "--state":
        add(.connectionState(Set(value().lowercased().split(separator: ",").map(String.init))))
      // Modules whose options are understood, or change nothing.
      case "-m":
        if !["udp", "tcp", "multiport", "pkttype", "conntrack", "state", "comment"].contains(value()) { add(nil) }
      case "--comment", "--reject-with": _ = value()
      case "-j": verdict = Self.verdict(value(), place, jumps: true)
      case "-g": verdict = Self.verdict(value(), place, jumps: false)
      default: if words[index].hasPrefix("-"), verdict == nil { add(nil) }
      }
      index += 1
    }
    return verdict.map { FirewallRule(conditions, $0, text: text) }
  }

  private static func verdict(_ target: String, _ place: String, jumps: Bool) -> FirewallVerdict? {
    switch target {
    case "ACCEPT": .accept
    case "DROP", "REJECT": .drop
    case "RETURN": .return
    // Targets that change or count a packet.
    case "LOG", "NFLOG", "MARK", "CONNMARK", "TOS", "DSCP", "NOTRACK", "CT", "TRACE", "": nil
    default: jumps ? .jump("\(place) \(target)") : .go("\(place) \(target)")
    }
  }

  private static func range(_ text: String) -> ClosedRange<IPAddress>? {
    if let prefix = AddressPrefix(text) { return prefix.range }
    return IPAddress(text).map { $0...$0 }
  }

  private static func number(_ text: String) -> UInt8? {
    switch text {
    case "igmp": 2
    case "tcp": 6
    case "udp": 17
    case "icmp": 1
    case "ipv6-icmp", "icmpv6": 58
    case "vrrp": 112
    default: UInt8(text)
    }
  }

  /// `7076` or `7000:7100`.
  private static func ports(_ text: String) -> ClosedRange<UInt16>? {
    let bounds = text.split(separator: ":").map { UInt16($0) }
    guard let first = bounds.first ?? nil, let last = bounds.last ?? nil, first <= last else { return nil }
    return first...last
  }
}
