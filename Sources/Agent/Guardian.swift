// The guardian: when the elector dies or hangs, the node must not keep VIPs that nobody looks after, and the peers must not
// wait for the detection time. A plain thread with real-time priority does that within a fraction of a millisecond: it waits
// for the elector's pidfd, shuts the kernel gate, sends a signed resign in the elector's name, and removes the VIPs' addresses.
// Where there is no gate the addresses go first: what still answers must not be resigned for. Everything that it needs for
// this is prepared when an elector starts.

internal import Control
internal import Cryptography
internal import Kernel
internal import Primitives
internal import Synchronization
internal import Wire

/// The page that an elector and the agent share; one per elector that is started.
final class ElectorPageMemory: Sendable {
  let memory: SharedMemory

  init() throws(SystemError) { memory = try SharedMemory(name: "afloat-elector", byteCount: ElectorPage.byteCount) }

  subscript(_ word: ElectorPage.Word) -> UInt64 { memory.load(word.rawValue) }
  var isInUse: Bool { self[.magic] == ElectorPage.magic }
  var detection: TimeSpan { TimeSpan(nanoseconds: Int64(clamping: self[.detectionNanoseconds])) }
}

/// What the guardian saw and did.
struct GuardianReport: Sendable {
  var hung = false
  var resigned = false
  var failures: [String] = []
  /// Durations since the guardian knew: "resign", "remove".
  var steps: [String: Int64] = [:]

  /// The end of the elector in words.
  func describe(_ reason: String) -> String {
    let how = hung ? "did not move any more and was killed" : reason
    return resigned ? "\(how); resigned in its name" : how
  }
}

final class Guardian: Sendable {
  /// A running elector.
  final class Ward: Sendable {
    let process: FileDescriptor
    let page: ElectorPageMemory

    init(process: consuming FileDescriptor, page: ElectorPageMemory) {
      self.process = process
      self.page = page
    }
  }

  private let next = Mutex<Ward?>(nil)
  private let newConfiguration = Mutex<ElectorConfiguration?>(nil)
  private let wakeUp: WakeUp

  /// Starts the thread. `report` is called on it, and must not block.
  init(plan: SupervisorPlan, gate: GateWarden?, report: @escaping @Sendable (Supervisor.Command) -> Void) throws {
    guard let configuration = plan.elector else { preconditionFailure("a lone balancer has no guardian") }
    wakeUp = try WakeUp()
    try Threads.start("guardian") { [self] in
      do {
        try GuardianLoop(guardian: self, configuration: configuration, gate: gate, report: report).run()
      } catch {
        report(.warning("nobody guards the elector: \(error)"))
      }
    }
  }

  func newPage() throws(SystemError) -> ElectorPageMemory { try ElectorPageMemory() }

  /// Watches a new elector from now on. The one before has been reported.
  func watch(_ pidfd: Int32, page: ElectorPageMemory) throws {
    let ward = Ward(process: try FileDescriptor.duplicate(of: pidfd), page: page)
    next.withLock { $0 = ward }
    wakeUp.signal()
  }

  /// From now on it cleans up after an elector of this configuration.
  func update(_ configuration: ElectorConfiguration) {
    newConfiguration.withLock { $0 = configuration }
    wakeUp.signal()
  }

  var wakeUpDescriptor: Int32 { wakeUp.descriptor.raw }

  func takeConfiguration() -> ElectorConfiguration? {
    newConfiguration.withLock { new in
      defer { new = nil }
      return new
    }
  }

  func takeNext() -> Ward? {
    wakeUp.clear()
    return next.withLock { next in
      defer { next = nil }
      return next
    }
  }
}
