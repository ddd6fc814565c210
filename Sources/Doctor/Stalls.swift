// How long this host keeps a program from running that has to run now. Every core gets a thread that sleeps for a
// millisecond at a time, at the elector's kind of priority, and notes how much later it wakes: what the elector would
// see of virtual machines that are not scheduled, of firmware, and of interrupts that take too long.

package import Kernel
package import Primitives

/// How late a thread woke, one entry per wake-up.
package struct Lateness: Sendable {
  var core: Int
  var isRealTime: Bool
  /// In the order of the wake-ups until `figure` sorts them.
  var samples: [TimeSpan]

  package init(core: Int, isRealTime: Bool, samples: [TimeSpan]) {
    self.core = core
    self.isRealTime = isRealTime
    self.samples = samples
  }

  /// The largest, and the one that a hundredth of them is above.
  package var figure: StallFigure {
    let sorted = samples.sorted()
    func milliseconds(_ span: TimeSpan?) -> Double { Double((span?.nanoseconds ?? 0) / 1_000) / 1_000 }
    return StallFigure(
      core: core, isRealTime: isRealTime, wakeUpCount: sorted.count,
      p99Milliseconds: milliseconds(sorted.isEmpty ? nil : sorted[max(0, sorted.count * 99 / 100 - 1)]),
      worstMilliseconds: milliseconds(sorted.last))
  }
}

package enum Stalls {
  /// Just below the elector's own priority: a doctor beside a running elector takes nothing from it.
  static let priority: Int32 = 19
  static let interval = TimeSpan.milliseconds(1)
  /// More cores than these are not measured.
  package static let coreLimit = 64

  /// Begins to measure for `duration`, on as many threads as there are cores.
  package static func begin(_ duration: TimeSpan) throws(SystemError) -> ThreadResults<StallFigure> {
    let cores = Array(Threads.allowedCores().prefix(coreLimit))
    let until = Clock.monotonic + duration
    return try Threads.begin("stalls", count: max(1, cores.count)) { number in
      measure(core: cores.isEmpty ? 0 : cores[number], until: until).figure
    }
  }

  private static func measure(core: Int, until: Instant) -> Lateness {
    Threads.pin(to: core)
    var lateness = Lateness(
      core: core, isRealTime: Privileges.becomeRealTime(priority: priority) == nil, samples: [])
    // All the room at once: what is to be measured is not the allocator.
    lateness.samples.reserveCapacity(Int(max(0, until.nanoseconds - Clock.monotonic.nanoseconds) / 1_000_000) + 16)
    guard let timer = try? Timer(), let poller = try? Poller(capacity: 1),
      (try? poller.add(timer.descriptor.raw, .read, token: 0)) != nil
    else { return lateness }
    var due = Clock.monotonic + interval
    while due < until {
      timer.arm(at: due)
      while Clock.monotonic < due { _ = poller.wait(timeout: nil) }
      let now = Clock.monotonic
      timer.clear()
      lateness.samples.append(now - due)
      due = now + interval
    }
    return lateness
  }

  /// - Parameter timing: of the configured cluster; nil for a lone balancer.
  package static func judge(_ figures: [StallFigure], _ timing: (heartbeat: TimeSpan, deadAfter: Int)?) -> Finding {
    func span(_ milliseconds: Double) -> TimeSpan { .nanoseconds(Int64(milliseconds * 1_000_000)) }
    guard let worst = figures.max(by: { $0.worstMilliseconds < $1.worstMilliseconds }), worst.wakeUpCount > 0 else {
      return Finding(.scheduling, .note, "how late this host wakes a program could not be measured")
    }
    let most = span(worst.worstMilliseconds)
    let usual = span(figures.map(\.p99Milliseconds).max() ?? 0)
    let realTime = figures.allSatisfy(\.isRealTime)
    let measured =
      "a timer woke \(Spoken.span(most)) late at the worst (core \(worst.core)), 99 of 100 within \(Spoken.span(usual))"
      + (realTime ? "" : ", without real-time scheduling")
    guard let timing else { return Finding(.scheduling, .ok, measured) }
    let detection = timing.heartbeat * Int64(timing.deadAfter)
    let against =
      "heartbeat \(Spoken.span(timing.heartbeat)), dead after \(Spoken.span(detection))"
    // Whole tens of milliseconds from there on, three times what was seen.
    let better = max(10, (most.milliseconds * 3 / 10 + 1) * 10)
    let remedy =
      (realTime ? "" : "allow real-time scheduling (CAP_SYS_NICE); ")
      + "find what holds the processors (steal time of a virtual machine, firmware, other real-time programs), "
      + "or set cluster.heartbeat to \(better)ms or more"
    if usual >= detection {
      return Finding(
        .scheduling, .failure, "\(measured): longer than peers wait for this node (\(against)); it would lose its VIPs",
        remedy)
    }
    if most >= timing.heartbeat {
      let consequence =
        most >= detection
        ? "longer than peers wait for this node"
        : "longer than a heartbeat: peers would have to wait longer for this node"
      return Finding(.scheduling, .warning, "\(measured): \(consequence) (\(against))", remedy)
    }
    return Finding(.scheduling, .ok, "\(measured) (\(against))")
  }
}
