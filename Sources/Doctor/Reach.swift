// How this node and the other members hear each other, as far as it can be told from here, and in words what is wrong with it.
// Nothing is taken for granted: what only the other side could know, and did not say, stays unknown.

package import Control
internal import Primitives

/// One other member.
package struct Reach: Codable, Equatable, Sendable {
  /// What an attempt to connect to its agent's channel met.
  package enum Channel: String, Codable, Sendable {
    case connects, refused, silent, failed
  }

  package var name: String
  package var addresses: [String]
  /// Authenticated heartbeats of it that arrived here while the doctor listened, and another doctor's probes.
  package var multicastHeartbeats = 0
  package var unicastHeartbeats = 0
  /// The multicasts by the interface on which they arrived; every interface on which they could is there.
  package var multicastsByInterface: [String: Int] = [:]
  package var multicastProbes = 0
  package var unicastProbes = 0
  /// Whether it said that it hears this node: its agent in heartbeats, or a doctor there; null where nobody said anything.
  @OrNull package var hearsMulticasts: Bool?
  @OrNull package var hearsUnicasts: Bool?
  /// Interfaces (by this node's names) over which its agent last said to hear this node's multicasts; null without an agent
  /// here, or as long as it said nothing.
  @OrNull package var hearsMulticastsOn: [String]?
  /// Datagrams in its name that were refused, by reason in words.
  package var refused: [String: Int] = [:]
  @OrNull package var channel: Channel?
  /// Why, where connecting failed otherwise.
  @OrNull package var channelFault: String?
  /// What the agent of this node says, if it runs.
  @OrNull package var state: APIMember.State?
  @OrNull package var agentHears: Bool?
  @OrNull package var agentIsHeard: Bool?
  @OrNull package var lossIn: Double?
  @OrNull package var lossOut: Double?
  @OrNull package var rttMilliseconds: Double?

  package init(name: String, addresses: [String]) {
    self.name = name
    self.addresses = addresses
  }

  enum CodingKeys: String, CodingKey {
    case name, addresses, refused, channel, state
    case multicastHeartbeats = "multicast_heartbeats"
    case unicastHeartbeats = "unicast_heartbeats"
    case multicastsByInterface = "multicasts_by_interface"
    case hearsMulticastsOn = "hears_multicasts_on"
    case multicastProbes = "multicast_probes"
    case unicastProbes = "unicast_probes"
    case hearsMulticasts = "hears_multicasts"
    case hearsUnicasts = "hears_unicasts"
    case channelFault = "channel_fault"
    case agentHears = "agent_hears"
    case agentIsHeard = "agent_is_heard"
    case lossIn = "loss_in"
    case lossOut = "loss_out"
    case rttMilliseconds = "rtt_ms"
  }

  /// What the agent here says of it.
  package mutating func take(_ member: APIMember, links: [APILink]) {
    state = member.state
    rttMilliseconds = member.rttMilliseconds
    lossIn = member.lossIn
    lossOut = member.lossOut
    let link = links.first { $0.name == name }
    agentHears = link?.hears ?? (member.state == .dead ? false : nil)
    agentIsHeard = link?.isHeard
  }
}

package enum ReachWords {
  /// A share of lost heartbeats from here on is worth a sentence.
  private static let lossWorthWords = 0.02

  package struct Setting: Sendable {
    var usesMulticasts: Bool
    var agentRuns: Bool
    /// Group or port, for sentences.
    var way: String
    var port: UInt16

    package init(usesMulticasts: Bool, agentRuns: Bool, way: String, port: UInt16) {
      self.usesMulticasts = usesMulticasts
      self.agentRuns = agentRuns
      self.way = way
      self.port = port
    }
  }

  package static func judge(_ reach: Reach, _ setting: Setting) -> [Finding] {
    if let refusal = judgeRefusals(reach) { return [refusal] }
    return setting.agentRuns ? judgeBesideAgent(reach, setting) : judgeAlone(reach, setting)
  }

  /// Datagrams in its name that nobody believes, and none that is believed.
  private static func judgeRefusals(_ reach: Reach) -> Finding? {
    guard reach.multicastHeartbeats + reach.unicastHeartbeats + reach.multicastProbes + reach.unicastProbes == 0,
      let most = reach.refused.max(by: { ($0.value, $1.key) < ($1.value, $0.key) })
    else { return nil }
    let remedy =
      switch most.key {
      case "unknown key", "wrong key or altered":
        "copy the key file of a node that is right to the other one (afloat keygen was run on both?)"
      case "other cluster": "give both the same cluster.name"
      case "unknown protocol version": "install the same version of Afloat on both"
      default: "look for a program that sends to the heartbeats' port"
      }
    return Finding(
      .members, .failure, "\(reach.name): its heartbeats arrive and are refused (\(most.key))", remedy)
  }

  // MARK: With an agent here

  private static func judgeBesideAgent(_ reach: Reach, _ setting: Setting) -> [Finding] {
    guard let state = reach.state else {
      return [
        Finding(
          .members, .warning, "\(reach.name): the agent here does not know this member",
          "afloat reload: the agent runs an older configuration")
      ]
    }
    if reach.agentHears == true, reach.agentIsHeard == false {
      return [
        Finding(
          .members, .failure, "\(reach.name): heard here, and does not hear this node: a one-way link",
          "look at the firewall of \(reach.name) (UDP port \(setting.port)), at this node's, and at the switch")
      ]
    }
    if state == .dead { return [judgeSilence(reach, setting)] }
    if state == .starting {
      return [
        Finding(.members, .note, "\(reach.name): its agent has just started and claims nothing yet")
      ]
    }
    var faults: [Finding] = []
    if setting.usesMulticasts, reach.multicastHeartbeats == 0 {
      faults.append(
        Finding(
          .members, .warning,
          "\(reach.name): its multicasts to \(setting.way) do not arrive here; its heartbeats come by unicast instead",
          multicastRemedy(at: "this node", from: reach.name)))
    } else if setting.usesMulticasts, reach.hearsMulticasts == false {
      faults.append(
        Finding(
          .members, .warning,
          "\(reach.name): does not get this node's multicasts to \(setting.way); heartbeats to it go by unicast instead",
          multicastRemedy(at: reach.name, from: "this node")))
    }
    if setting.usesMulticasts, faults.isEmpty { faults += judgeInterfaces(reach, setting) }
    for (loss, which) in [
      (reach.lossIn, "of its heartbeats are lost on the way here"),
      (reach.lossOut, "of this node's heartbeats are lost on the way there"),
    ] {
      guard let loss, loss >= lossWorthWords else { continue }
      faults.append(
        Finding(
          .members, .warning, "\(reach.name): \(Int((loss * 100).rounded())) % \(which)",
          "look for an overloaded link, port or host (ip -s link, ethtool -S)"))
    }
    if let channel = judgeChannel(reach, setting) { faults.append(channel) }
    if !faults.isEmpty { return faults }
    let trip = reach.rttMilliseconds.map { ", round trip \(Spoken.span(.nanoseconds(Int64($0 * 1_000_000))))" } ?? ""
    let way = setting.usesMulticasts ? "multicast" : "unicast"
    return [Finding(.members, .ok, "\(reach.name): heard, and hears this node, by \(way)\(trip)")]
  }

  /// With several interfaces one may be dead without anybody noticing.
  private static func judgeInterfaces(_ reach: Reach, _ setting: Setting) -> [Finding] {
    let all = reach.multicastsByInterface.keys.sorted()
    var faults: [Finding] = []
    for name in all where reach.multicastsByInterface[name] == 0 {
      faults.append(
        Finding(
          .members, .warning,
          "\(reach.name): its multicasts to \(setting.way) do not arrive on \(name), only on others",
          multicastRemedy(at: "this node", from: reach.name)))
    }
    for name in all where reach.hearsMulticastsOn.map({ !$0.contains(name) }) ?? false {
      faults.append(
        Finding(
          .members, .warning,
          "\(reach.name): does not get this node's multicasts to \(setting.way) by \(name), only by others",
          multicastRemedy(at: reach.name, from: "this node")))
    }
    return faults
  }

  // MARK: Without an agent here

  private static func judgeAlone(_ reach: Reach, _ setting: Setting) -> [Finding] {
    let hasHeartbeats = reach.multicastHeartbeats + reach.unicastHeartbeats > 0
    let hasProbes = reach.multicastProbes + reach.unicastProbes > 0
    guard hasHeartbeats || hasProbes else { return [judgeSilence(reach, setting)] }
    var faults: [Finding] = []
    let hearsByMulticast = reach.multicastHeartbeats + reach.multicastProbes > 0
    if setting.usesMulticasts, !hearsByMulticast {
      faults.append(
        Finding(
          .members, .warning, "\(reach.name): its multicasts to \(setting.way) do not arrive here, its unicasts do",
          multicastRemedy(at: "this node", from: reach.name)))
    }
    if hasProbes {
      if setting.usesMulticasts, reach.hearsMulticasts == false {
        faults.append(
          Finding(
            .members, reach.hearsUnicasts == true ? .warning : .failure,
            "\(reach.name): the doctor there does not hear this node's multicasts to \(setting.way)",
            multicastRemedy(at: reach.name, from: "this node")))
      } else if !setting.usesMulticasts, reach.hearsUnicasts == false {
        faults.append(
          Finding(
            .members, .failure, "\(reach.name): the doctor there does not hear this node",
            "look at the firewall of \(reach.name) (UDP port \(setting.port)), and at this node's"))
      }
      if !faults.isEmpty { return faults }
      return [
        Finding(
          .members, .ok,
          "\(reach.name): the doctors of both nodes hear each other by \(setting.usesMulticasts ? "multicast" : "unicast")"
        )
      ]
    }
    if let channel = judgeChannel(reach, setting) { faults.append(channel) }
    let way = hearsByMulticast ? "multicast" : "unicast"
    return faults + [
      Finding(
        .members, .note,
        "\(reach.name): its heartbeats arrive here by \(way); whether it hears this node cannot be told without an agent here",
        "start the agent and ask again, or run `afloat doctor` there at the same time")
    ]
  }

  /// Neither heartbeats nor probes.
  private static func judgeSilence(_ reach: Reach, _ setting: Setting) -> Finding {
    let address = reach.addresses.first ?? reach.name
    switch reach.channel {
    case .connects:
      return Finding(
        .members, .failure,
        "\(reach.name): its agent runs (\(address) takes connections on port \(setting.port)), and none of its heartbeats arrives",
        "look at the firewalls of both (UDP port \(setting.port)), at the switch"
          + (setting.usesMulticasts ? " (IGMP snooping without a querier)" : "")
          + ", and at cluster.group and cluster.interface of both")
    case .refused:
      return Finding(
        .members, setting.agentRuns ? .warning : .note,
        "\(reach.name): the host answers at \(address), and no agent runs there",
        setting.agentRuns
          ? "start its agent"
          : "start its agent, or run `afloat doctor` there at the same time: both then try the way between them")
    case .failed:
      return Finding(
        .members, .failure,
        "\(reach.name): nothing is heard of it, and \(reach.channelFault ?? "it cannot be reached")",
        "look at the address, the interface and the route")
    case .silent, nil:
      return Finding(
        .members, .failure, "\(reach.name): nothing is heard of it, and \(address) does not answer",
        "is the host up, is the address right, and does a firewall drop port \(setting.port)?")
    }
  }

  /// The agents' own channel, over which drains and server states go.
  private static func judgeChannel(_ reach: Reach, _ setting: Setting) -> Finding? {
    guard let channel = reach.channel, channel != .connects else { return nil }
    let what =
      switch channel {
      case .refused: "refuses connections"
      case .failed: reach.channelFault ?? "cannot be connected to"
      default: "does not answer connections"
      }
    return Finding(
      .members, .warning,
      "\(reach.name): \(reach.addresses.first ?? reach.name) \(what) on TCP port \(setting.port): drains and server states do not get there",
      "let TCP port \(setting.port) pass between the members")
  }

  private static func multicastRemedy(at hearer: String, from sender: String) -> String {
    "look at the firewall of \(hearer), at that of \(sender), and at the switch: IGMP snooping needs a querier; "
      + "or set cluster.transport: unicast"
  }
}
