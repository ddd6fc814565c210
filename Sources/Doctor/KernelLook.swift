// The kernel: whether it has what Afloat is built on, and clocks that can be trusted.

internal import Control
internal import Gate
internal import Kernel
package import Primitives

package struct ClockFacts: Sendable {
  /// tsc, kvm-clock, hpet, …; nil where it is not said.
  var source: String?
  var resolution: TimeSpan
  /// How long this machine was suspended since it booted: CLOCK_BOOTTIME counts that, CLOCK_MONOTONIC does not.
  var suspended: TimeSpan

  package init(source: String?, resolution: TimeSpan, suspended: TimeSpan) {
    self.source = source
    self.resolution = resolution
    self.suspended = suspended
  }

  static func look() -> ClockFacts {
    let monotonic = Clock.monotonic
    let boot = Clock.boot
    return ClockFacts(
      source: SystemFile.text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
      resolution: Clock.resolution, suspended: boot - monotonic)
  }
}

package enum KernelLook {
  /// pidfd_open; and what the kernel gate needs.
  private static let oldest = (major: 5, minor: 3)
  private static let oldestWithGate = (major: 5, minor: 10)
  private static let slowSources = ["hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies"]

  package static func version(_ release: String?) -> [Finding] {
    let numbers = (release ?? "").split(separator: ".").prefix(2).map { part in Int(part.prefix { $0.isNumber }) ?? 0 }
    guard let release, numbers.count == 2 else {
      return [Finding(.kernel, .note, "the kernel does not say its version")]
    }
    let version = (numbers[0], numbers[1])
    if version < (oldest.major, oldest.minor) {
      return [
        Finding(
          .kernel, .failure,
          "Linux \(release) is older than \(oldest.major).\(oldest.minor): processes cannot be watched (pidfd)",
          "use Linux 5.10 or later")
      ]
    }
    if version < (oldestWithGate.major, oldestWithGate.minor) {
      return [
        Finding(
          .kernel, .warning, "Linux \(release) is older than 5.10: there is no kernel gate", "use Linux 5.10 or later")
      ]
    }
    return [Finding(.kernel, .ok, "Linux \(release)")]
  }

  /// What the trial of the gate gave, in a network namespace of its own, where it disturbs nothing.
  enum Trial: Sendable {
    case attached
    /// It loads; whether it attaches cannot be tried here.
    case loaded(why: String)
    case refused(String)
  }

  static func tryGate() -> Trial {
    do {
      return try Threads.alone("gate") {
        do {
          let left: String?
          do throws(SystemError) {
            try Threads.leaveNetwork()
            left = nil
          } catch { left = "\(error)" }
          let gate = try KernelGate()
          if let left { return .loaded(why: left) }
          guard let loopback = try NetlinkConnection().links().first else {
            return .loaded(why: "a fresh network namespace has no interface")
          }
          try gate.attach(to: loopback)
          return .attached
        } catch { return .refused("\(error)") }
      }
    } catch { return .refused("\(error)") }
  }

  static func judge(_ trial: Trial) -> Finding {
    switch trial {
    case .attached: Finding(.kernel, .ok, "the kernel gate (eBPF on clsact) can be loaded and attached")
    case .loaded(let why): Finding(.kernel, .note, "the kernel gate can be loaded; attaching it was not tried: \(why)")
    case .refused(let why):
      Finding(
        .kernel, .warning,
        "no kernel gate: \(why); a node whose processes are all stopped answers for its VIPs until their addresses expire, "
          + "for some seconds, and a handover closes connections",
        "run the agent as root of the machine itself (no user namespace, a container with CAP_BPF and CAP_NET_ADMIN)")
    }
  }

  /// What an agent that runs says of its gate.
  static func judge(fences: [(vip: String, fence: String)]) -> Finding? {
    let open = fences.filter { $0.fence != "kernel-gate" }.map(\.vip)
    guard !fences.isEmpty else { return nil }
    if open.isEmpty { return Finding(.kernel, .ok, "every VIP is behind the kernel gate") }
    return Finding(
      .kernel, .warning, "not behind the kernel gate: VIP \(Spoken.list(open))", "the agent's own warnings say why")
  }

  package static func judge(_ clocks: ClockFacts) -> [Finding] {
    var findings: [Finding] = []
    if clocks.resolution >= .milliseconds(1) {
      findings.append(
        Finding(
          .clocks, .failure,
          "timers are only good to \(Spoken.span(clocks.resolution)): this kernel has no high-resolution timers",
          "use a kernel with CONFIG_HIGH_RES_TIMERS, without highres=off"))
    }
    if let source = clocks.source, slowSources.contains(source) {
      findings.append(
        Finding(
          .clocks, .warning, "the clock source is \(source): reading it is slow, or coarse",
          "find why the kernel distrusts the processor's counter (dmesg | grep -i clocksource)"))
    }
    if clocks.suspended > .seconds(1) {
      findings.append(
        Finding(
          .clocks, .note,
          "this machine was suspended for \(Spoken.span(clocks.suspended)) since it booted; a holder that is suspended loses its VIPs",
          "drain a node before it is suspended"))
    }
    if findings.isEmpty {
      let source = clocks.source.map { ", source \($0)" } ?? ""
      findings.append(Finding(.clocks, .ok, "monotonic and boot clock agree\(source)"))
    }
    return findings
  }
}
