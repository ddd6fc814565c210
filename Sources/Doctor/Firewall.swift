// What a firewall would do with a packet, as far as its rules can be read. An answer is never guessed: a rule with a
// condition that is not understood may match or not, and both ways are followed.

package import Primitives

/// A packet of ours, as rules see it.
package struct FirewallPacket: Sendable {
  package enum Hook: String, Sendable { case input, output }
  package enum Transport: Sendable, Equatable {
    case udp(port: UInt16)
    case tcp(port: UInt16)
    case igmp

    var number: UInt8 {
      switch self {
      case .igmp: 2
      case .tcp: 6
      case .udp: 17
      }
    }
    var port: UInt16? {
      switch self {
      case .igmp: nil
      case .tcp(let port), .udp(let port): port
      }
    }
  }

  package var hook: Hook
  package var interface: String
  package var source: IPAddress
  package var destination: IPAddress
  package var transport: Transport

  package init(
    hook: Hook, interface: String, source: IPAddress, destination: IPAddress, transport: Transport
  ) {
    self.hook = hook
    self.interface = interface
    self.source = source
    self.destination = destination
    self.transport = transport
  }
}

/// A question that a rule asks of a packet.
package indirect enum FirewallCondition: Equatable, Sendable {
  case source([ClosedRange<IPAddress>])
  case destination([ClosedRange<IPAddress>])
  /// Numbers of protocols above IP.
  case transport(Set<UInt8>)
  case destinationPort([ClosedRange<UInt16>])
  /// A name, or its beginning and `*` (nftables) or `+` (iptables). Of the direction in which the packet goes, or not.
  case interface(FirewallPacket.Hook, [String])
  /// unicast, multicast, broadcast, host.
  case packetType(Set<String>)
  case family(IPAddress.Family)
  /// new, established, …
  case connectionState(Set<String>)
  case not(FirewallCondition)
  /// Not understood: may hold or not.
  case unknown

  enum Answer { case yes, no, perhaps }

  func holds(for packet: FirewallPacket) -> Answer {
    switch self {
    case .source(let ranges): return ranges.contains { $0.contains(packet.source) } ? .yes : .no
    case .destination(let ranges): return ranges.contains { $0.contains(packet.destination) } ? .yes : .no
    case .transport(let numbers): return numbers.contains(packet.transport.number) ? .yes : .no
    case .destinationPort(let ranges):
      return packet.transport.port.map { port in ranges.contains { $0.contains(port) } } ?? false ? .yes : .no
    case .interface(let hook, let names):
      // An incoming packet has no outgoing interface, and the other way round.
      return hook == packet.hook && names.contains { Self.matches(packet.interface, $0) } ? .yes : .no
    case .packetType(let types):
      let own: Set<String> = packet.destination.isMulticast ? ["multicast"] : ["unicast", "host"]
      return types.isDisjoint(with: own) ? .no : .yes
    case .family(let family): return packet.destination.family == family ? .yes : .no
    case .connectionState(let states):
      // A multicast is never answered, so it belongs to no connection; unicasts both ways come to be one.
      let isMulticast = packet.destination.isMulticast
      if states.contains("new") { return isMulticast || states.contains("established") ? .yes : .perhaps }
      return states.contains("established") && !isMulticast ? .perhaps : .no
    case .not(let condition):
      switch condition.holds(for: packet) {
      case .yes: return .no
      case .no: return .yes
      case .perhaps: return .perhaps
      }
    case .unknown: return .perhaps
    }
  }

  private static func matches(_ name: String, _ pattern: String) -> Bool {
    guard pattern.hasSuffix("*") || pattern.hasSuffix("+") else { return name == pattern }
    return name.hasPrefix(String(pattern.dropLast()))
  }
}

package enum FirewallVerdict: Equatable, Sendable {
  case accept, drop, `return`
  case jump(String), go(String)
}

package struct FirewallRule: Equatable, Sendable {
  package var conditions: [FirewallCondition]
  /// Nil for rules that only count, log or mark.
  package var verdict: FirewallVerdict?
  /// As its tool prints it.
  package var text: String

  package init(_ conditions: [FirewallCondition], _ verdict: FirewallVerdict?, text: String) {
    self.conditions = conditions
    self.verdict = verdict
    self.text = text
  }
}

/// A chain; those with a hook are where packets enter.
package struct FirewallChain: Equatable, Sendable {
  /// Unique among all: family, table and name.
  package var key: String
  /// For sentences: `chain input of table inet filter`.
  package var name: String
  package var hook: FirewallPacket.Hook?
  /// What families of packets come by.
  package var families: Set<IPAddress.Family>
  /// What becomes of a packet that no rule decides about.
  package var dropsTheRest: Bool
  package var rules: [FirewallRule]

  package init(
    key: String, name: String, hook: FirewallPacket.Hook?, families: Set<IPAddress.Family>, dropsTheRest: Bool,
    rules: [FirewallRule] = []
  ) {
    self.key = key
    self.name = name
    self.hook = hook
    self.families = families
    self.dropsTheRest = dropsTheRest
    self.rules = rules
  }
}

package struct Firewall: Sendable {
  package var chains: [String: FirewallChain]

  package init(_ chains: [FirewallChain]) {
    self.chains = Dictionary(chains.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// What may become of a packet.
  package struct Fate: Equatable, Sendable {
    /// Some way through all chains lets it pass.
    package var mayPass = true
    /// Rules and policies that drop it, or may.
    package var drops: [String] = []

    package init(mayPass: Bool = true, drops: [String] = []) {
      self.mayPass = mayPass
      self.drops = drops
    }
  }

  /// Chains that jump deeper than this are not followed: the kernel allows 16.
  private static let depthLimit = 16
  /// Rules that are looked at for one packet; beyond it the rest may do anything.
  private static let ruleLimit = 100_000

  private struct Course {
    var accepts = false
    var drops: [String] = []
    /// Reaches the end, or returns.
    var fallsThrough = false
  }

  package func fate(of packet: FirewallPacket) -> Fate {
    var fate = Fate()
    var left = Self.ruleLimit
    let entries = chains.values.filter {
      $0.hook == packet.hook && $0.families.contains(packet.destination.family)
    }
    for chain in entries.sorted(by: { $0.key < $1.key }) {
      var course = follow(chain, packet, depth: 0, &left)
      if course.fallsThrough {
        if chain.dropsTheRest { course.drops.append("the policy of \(chain.name)") } else { course.accepts = true }
      }
      fate.mayPass = fate.mayPass && course.accepts
      fate.drops += course.drops
    }
    return fate
  }

  private func follow(_ chain: FirewallChain, _ packet: FirewallPacket, depth: Int, _ left: inout Int) -> Course {
    var course = Course()
    for rule in chain.rules {
      left -= 1
      guard left > 0 else {
        course.accepts = true
        return course
      }
      var answer = FirewallCondition.Answer.yes
      for condition in rule.conditions where answer != .no {
        switch condition.holds(for: packet) {
        case .yes: break
        case .no: answer = .no
        case .perhaps: answer = .perhaps
        }
      }
      guard answer != .no, let verdict = rule.verdict else { continue }
      var goesOn = answer == .perhaps
      switch verdict {
      case .accept: course.accepts = true
      case .drop: course.drops.append("\"\(rule.text)\" in \(chain.name)")
      case .return: course.fallsThrough = true
      case .jump(let key), .go(let key):
        guard depth < Self.depthLimit, let target = chains[key] else {
          goesOn = true
          break
        }
        let within = follow(target, packet, depth: depth + 1, &left)
        course.accepts = course.accepts || within.accepts
        course.drops += within.drops
        if within.fallsThrough {
          if case .go = verdict { course.fallsThrough = true } else { goesOn = true }
        }
      }
      guard goesOn else { return course }
    }
    course.fallsThrough = true
    return course
  }
}

extension AddressPrefix {
  /// First and last address.
  var range: ClosedRange<IPAddress> {
    let bits = address.bitCount - length
    func ones(_ count: Int) -> UInt64 { count <= 0 ? 0 : count >= 64 ? ~0 : 1 << UInt64(count) - 1 }
    if let value = address.v4Value {
      let mask = UInt32(truncatingIfNeeded: ones(bits))
      return IPAddress(v4: value & ~mask)...IPAddress(v4: value | mask)
    }
    let (high, low) = (ones(bits - 64), ones(bits))
    return IPAddress(
      v6High: address.high & ~high, low: address.low & ~low)...IPAddress(
        v6High: address.high | high, low: address.low | low)
  }
}
