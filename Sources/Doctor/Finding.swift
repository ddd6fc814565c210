// What the doctor says: findings, each with what to do about it, and the verdict over all of them.

internal import Primitives

/// One thing that was looked at.
package struct Finding: Codable, Equatable, Sendable {
  package enum Level: String, Codable, Comparable, Sendable {
    case ok
    /// Could not be looked at, or is worth knowing and no fault.
    case note
    /// Works, and something is worse than it should be.
    case warning
    /// Afloat would not start, or would not do what its configuration says.
    case failure

    private var rank: Int {
      switch self {
      case .ok: 0
      case .note: 1
      case .warning: 2
      case .failure: 3
      }
    }
    package static func < (left: Level, right: Level) -> Bool { left.rank < right.rank }
  }

  package enum Area: String, Codable, CaseIterable, Sendable {
    case configuration, agent, permissions, kernel
    case realTime = "real time"
    case scheduling, clocks, listeners, interfaces, firewall, members
  }

  package var area: Area
  package var level: Level
  package var message: String
  /// What to do, in words; nil where there is nothing to do.
  package var remedy: String?

  package init(_ area: Area, _ level: Level, _ message: String, _ remedy: String? = nil) {
    self.area = area
    self.level = level
    self.message = message
    self.remedy = remedy
  }
}

/// How late the timer of one core woke the doctor.
package struct StallFigure: Codable, Equatable, Sendable {
  package var core: Int
  /// Measured under real-time scheduling, as the elector has it.
  package var isRealTime: Bool
  package var wakeUpCount: Int
  package var p99Milliseconds: Double
  package var worstMilliseconds: Double

  package init(
    core: Int, isRealTime: Bool, wakeUpCount: Int, p99Milliseconds: Double, worstMilliseconds: Double
  ) {
    self.core = core
    self.isRealTime = isRealTime
    self.wakeUpCount = wakeUpCount
    self.p99Milliseconds = p99Milliseconds
    self.worstMilliseconds = worstMilliseconds
  }

  enum CodingKeys: String, CodingKey {
    case core
    case isRealTime = "real_time"
    case wakeUpCount = "wake_ups"
    case p99Milliseconds = "p99_ms"
    case worstMilliseconds = "worst_ms"
  }
}

/// What `afloat doctor --json` prints.
package struct Diagnosis: Codable, Equatable, Sendable {
  package enum Verdict: String, Codable, Sendable {
    case ok = "OK"
    case warning = "WARNING"
    case failure = "FAILURE"
  }

  package var verdict: Verdict
  /// Null where the configuration does not say who this is.
  package var node: String?
  package var findings: [Finding]
  package var stalls: [StallFigure]
  package var members: [Reach]

  package init(node: String?, findings: [Finding], stalls: [StallFigure], members: [Reach]) {
    let worst = findings.map(\.level).max() ?? .ok
    verdict = worst == .failure ? .failure : worst == .warning ? .warning : .ok
    self.node = node
    // By area, as it is read; within one area as it was found.
    self.findings = Finding.Area.allCases.flatMap { area in findings.filter { $0.area == area } }
    self.stalls = stalls
    self.members = members
  }

  /// As that of `afloat status`: 0 all is well, 1 warnings, 2 something would not work.
  package var exitStatus: Int32 {
    switch verdict {
    case .ok: 0
    case .warning: 1
    case .failure: 2
    }
  }
}

/// Lengths of time for sentences.
enum Spoken {
  /// `0.08 ms`, `3.4 ms`, `120 ms`, `2.5 s`.
  static func span(_ span: TimeSpan) -> String {
    let microseconds = max(0, span.nanoseconds) / 1_000
    switch microseconds {
    case ..<1_000: return "0.\(pad(microseconds / 10)) ms"
    case ..<100_000: return "\(microseconds / 1_000).\(microseconds / 100 % 10) ms"
    case ..<1_000_000: return "\(microseconds / 1_000) ms"
    default: return "\(microseconds / 1_000_000).\(microseconds / 100_000 % 10) s"
    }
  }

  private static func pad(_ hundredths: Int64) -> String { hundredths < 10 ? "0\(hundredths)" : "\(hundredths)" }

  /// `a`, `a and b`, `a, b and c`.
  static func list(_ items: [String]) -> String {
    items.count < 2 ? items.first ?? "" : items.dropLast().joined(separator: ", ") + " and " + items[items.count - 1]
  }
}
