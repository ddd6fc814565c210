// The guardian.
internal import Control
internal import Kernel
internal import Primitives

/// The page that an elector and the agent share.
final class ElectorPageMemory: Sendable {
  let memory: SharedMemory
  init() throws(SystemError) { memory = try SharedMemory(name: "afloat-elector", byteCount: ElectorPage.byteCount) }
}

struct GuardianReport: Sendable {
  var failures: [String] = []
  var steps: [String: Int64] = [:]
  func describe(_ reason: String) -> String { reason }
}

final class Guardian: Sendable {
  init(plan: SupervisorPlan, report: @escaping @Sendable (Supervisor.Command) -> Void) throws {}
  func newPage() throws(SystemError) -> ElectorPageMemory { try ElectorPageMemory() }
  func watch(_ pidfd: Int32, page: ElectorPageMemory) throws {}
}
