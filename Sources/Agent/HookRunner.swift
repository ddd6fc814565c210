// `on_change` hooks: programs that operators have run when a VIP comes or goes. Each VIP has a queue of its own and at most
// one hook running, so its events arrive in order; a hook that hangs holds up nobody else's, and no election.

internal import Dispatch
internal import Kernel
package import Logging
package import Primitives
internal import Synchronization

package struct HookEvent: Equatable, Sendable {
  /// `lost`: the address is gone or going; `failed`: it could not be added.
  package enum Kind: String, Sendable { case gained, lost, failed }
  package var vip: String
  package var kind: Kind
  package var cause: String
  /// The program.
  package var path: String
  package var addresses: String
  package var interface: String

  package init(vip: String, kind: Kind, cause: String, path: String, addresses: String = "", interface: String = "") {
    self.vip = vip
    self.kind = kind
    self.cause = cause
    self.path = path
    self.addresses = addresses
    self.interface = interface
  }

  /// What the program gets besides what every program of operators gets. There is no term without quorum.
  package var environment: [String] {
    [
      "AFLOAT_VIP=\(vip)", "AFLOAT_EVENT=\(kind.rawValue)", "AFLOAT_TERM=", "AFLOAT_CAUSE=\(cause)",
      "AFLOAT_ADDRESSES=\(addresses)", "AFLOAT_INTERFACE=\(interface)",
    ]
  }
}

/// Events of one VIP that wait for its hook.
package struct HookQueue: Sendable {
  /// At the limit the oldest one is dropped: what matters in the end is how things are.
  package static let limit = 32
  private var waiting: [HookEvent] = []
  private var dropped = 0

  package init() {}

  package var isEmpty: Bool { waiting.isEmpty }

  package mutating func add(_ event: HookEvent) {
    if waiting.count >= Self.limit {
      waiting.removeFirst()
      dropped += 1
    }
    waiting.append(event)
  }

  /// The next one, and how many before it were dropped.
  package mutating func next() -> (event: HookEvent, dropped: Int)? {
    guard !waiting.isEmpty else { return nil }
    defer { dropped = 0 }
    return (waiting.removeFirst(), dropped)
  }
}

package final class HookRunner: Sendable {
  /// A hook that takes longer is killed with all that it started.
  package static let timeLimit = TimeSpan.seconds(30)
  /// So many lines of a run go into the log.
  package static let maximumLines = 100
  /// How long a stopping agent waits for hooks that run or wait.
  static let patienceAtStop = TimeSpan.seconds(3)

  struct Mail {
    var events: [HookEvent] = []
    /// Leave when nothing is left to do, at the latest then.
    var stopBy: Instant?
  }

  let wakeUp: WakeUp
  let environment: [String]
  let timeLimit: TimeSpan
  let logger: Logger
  private let events: EventLog
  private let mail = Mutex(Mail())
  private let ended = DispatchSemaphore(value: 0)

  /// Starts the thread.
  /// - Parameter environment: what every hook gets, `NAME=VALUE` each.
  package init(environment: [String], events: EventLog, logger: Logger, timeLimit: TimeSpan = HookRunner.timeLimit)
    throws
  {
    wakeUp = try WakeUp()
    self.environment = environment
    self.events = events
    self.logger = logger
    self.timeLimit = timeLimit
    try Threads.start("hooks") { [self] in
      do { try HookLoop(runner: self).run() } catch { logger.error("hooks are not run: \(error)") }
      ended.signal()
    }
  }

  package func post(_ event: HookEvent) {
    mail.withLock { $0.events.append(event) }
    wakeUp.signal()
  }

  /// Returns when everything that was posted has been run, or after some seconds; what runs then is killed.
  package func stop() {
    mail.withLock { $0.stopBy = Clock.monotonic + Self.patienceAtStop }
    wakeUp.signal()
    _ = ended.wait(timeout: .now() + .milliseconds(Int(Self.patienceAtStop.milliseconds) + 500))
  }

  func takeMail() -> Mail {
    wakeUp.clear()
    return mail.withLock { mail in
      defer { mail.events = [] }
      return mail
    }
  }

  func failed(_ event: HookEvent, _ why: String) {
    events.record(
      "hook_failed", subject: event.vip, cause: "\(event.path) (\(event.kind.rawValue)): \(why)", level: .warning)
  }
}
