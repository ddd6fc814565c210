// What the system lets the agent and its children do, tried or read with the powers of whoever runs the doctor.

internal import Control
internal import Kernel
internal import Primitives
package import Settings

/// Capabilities by number (capabilities(7)), with what Afloat needs them for.
struct NeededCapability: Sendable {
  var number: Int
  var name: String
  var level: Finding.Level
  /// What does not work without it.
  var consequence: String
}

package struct PowerFacts: Sendable {
  var isRoot: Bool
  /// Effective capabilities, bit by number; nil where they cannot be read.
  var effective: UInt64?
  var hasUser: Bool
  /// From this port on no power is needed to listen.
  var firstFreePort: Int

  package init(isRoot: Bool, effective: UInt64?, hasUser: Bool, firstFreePort: Int) {
    self.isRoot = isRoot
    self.effective = effective
    self.hasUser = hasUser
    self.firstFreePort = firstFreePort
  }

  static func look() -> PowerFacts {
    let line = SystemFile.text("/proc/thread-self/status")?.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
    return PowerFacts(
      isRoot: Privileges.isRoot,
      effective: line.flatMap { UInt64($0.drop { $0 != "\t" }.dropFirst(), radix: 16) },
      hasUser: Privileges.serviceUser() != Privileges.standInUser,
      firstFreePort: SystemFile.number("/proc/sys/net/ipv4/ip_unprivileged_port_start") ?? 1024)
  }
}

package enum PowersLook {
  /// What `configuration` needs.
  static func needed(_ configuration: Configuration, firstFreePort: Int) -> [NeededCapability] {
    var needed: [NeededCapability] = []
    if configuration.cluster != nil {
      needed += [
        NeededCapability(
          number: 12, name: "CAP_NET_ADMIN", level: .failure, consequence: "VIPs cannot be added to an interface"),
        NeededCapability(
          number: 13, name: "CAP_NET_RAW", level: .failure,
          consequence: "VIPs cannot be announced, nor claims of others be seen"),
        NeededCapability(
          number: 39, name: "CAP_BPF", level: .warning,
          consequence:
            "there is no kernel gate: a node whose processes are all stopped goes on answering for some seconds"),
        NeededCapability(
          number: 23, name: "CAP_SYS_NICE", level: .warning,
          consequence: "the elector has no real-time scheduling: a busy host delays heartbeats"),
        NeededCapability(
          number: 14, name: "CAP_IPC_LOCK", level: .warning,
          consequence: "the elector's memory is not locked: a host that swaps delays heartbeats"),
      ]
    }
    needed += [
      NeededCapability(
        number: 8, name: "CAP_SETPCAP", level: .failure,
        consequence: "the children cannot give up their powers, and do not start"),
      NeededCapability(
        number: 7, name: "CAP_SETUID", level: .warning, consequence: "the children keep the agent's user"),
      NeededCapability(
        number: 6, name: "CAP_SETGID", level: .warning, consequence: "the children keep the agent's groups"),
    ]
    let lowest = configuration.listeners.flatMap(\.bind).map { Int($0.port) }.min()
    if let lowest, lowest < firstFreePort {
      needed.append(
        NeededCapability(
          number: 10, name: "CAP_NET_BIND_SERVICE", level: .failure,
          consequence: "nobody can listen on port \(lowest)"))
    }
    return needed
  }

  package static func judge(_ facts: PowerFacts, _ configuration: Configuration?) -> [Finding] {
    var findings: [Finding] = []
    if !facts.isRoot {
      findings.append(
        Finding(
          .permissions, .note, "this is not root: what follows is what this user may do, not what the agent may",
          "run the doctor as the agent runs, as root"))
    }
    if let configuration, let effective = facts.effective {
      // CAP_SYS_ADMIN does for CAP_BPF.
      let held = effective | (effective >> 21 & 1) << 39
      let missing = needed(configuration, firstFreePort: facts.firstFreePort).filter {
        held >> UInt64($0.number) & 1 == 0
      }
      for one in missing {
        findings.append(
          Finding(
            .permissions, facts.isRoot ? one.level : min(one.level, .warning), "no \(one.name): \(one.consequence)",
            "run the agent as root, or add \(one.name) to its unit (AmbientCapabilities, CapabilityBoundingSet) or container"
          ))
      }
      if missing.isEmpty {
        findings.append(Finding(.permissions, .ok, "every capability that the configuration needs"))
      }
    }
    if !facts.hasUser {
      findings.append(
        Finding(
          .permissions, .note, "there is no user afloat: elector and balancer run as \(Privileges.standInUser)",
          "useradd --system --no-create-home --shell /usr/sbin/nologin afloat"))
    }
    return findings
  }

  /// Tried on a thread of its own, as the elector asks for it. Returns refusals in words.
  static func tryRealTime() -> [String] {
    do { return try Threads.alone("real time") { Privileges.claimRealTime(priority: Stalls.priority) } } catch {
      return ["\(error)"]
    }
  }

  /// - Parameter share: microseconds of each second that real-time threads may have (kernel.sched_rt_runtime_us).
  package static func judgeRealTime(_ refusals: [String], _ powers: PowerFacts, share: Int?) -> [Finding] {
    // Who has the capability and is refused all the same is in a control group without a share of real time.
    let holdsNice = (powers.effective ?? 0) >> 23 & 1 == 1
    var findings = refusals.map { refusal in
      let isScheduling = refusal.contains("real-time scheduling")
      if isScheduling, holdsNice {
        return Finding(
          .realTime, .warning,
          "cannot get real-time scheduling in spite of CAP_SYS_NICE: this control group has no share of real time; "
            + "on a busy host heartbeats come late",
          "give it one (cpu.rt_runtime_us), or run the agent in the root control group of the cpu controller")
      }
      return Finding(
        .realTime, .warning,
        "\(refusal): on a \(isScheduling ? "busy" : "swapping") host heartbeats come late",
        isScheduling
          ? "run the agent as root, or with CAP_SYS_NICE and LimitRTPRIO=20 in its unit"
          : "run the agent as root, or with CAP_IPC_LOCK, CAP_SYS_RESOURCE and LimitMEMLOCK=infinity in its unit")
    }
    if share == 0 {
      findings.append(
        Finding(
          .realTime, .warning, "kernel.sched_rt_runtime_us is 0: real-time threads do not run at all",
          "sysctl -w kernel.sched_rt_runtime_us=950000"))
    }
    return findings.isEmpty ? [Finding(.realTime, .ok, "real-time scheduling and locked memory are allowed")] : findings
  }
}
