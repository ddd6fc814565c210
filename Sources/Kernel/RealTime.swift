// Real-time scheduling and locked memory for a whole process, asked for before it drops its power: some hosts refuse to raise
// the limits (no CAP_SYS_RESOURCE) and still allow the thing itself (CAP_SYS_NICE, CAP_IPC_LOCK), or the other way round.

internal import CLinux
internal import Glibc

extension Privileges {
  /// Gives the calling thread SCHED_FIFO at `priority`, which threads that it starts inherit (each may lower its own with
  /// `lowerRealTime`), and locks memory on fault. Call before `drop`. Returns refusals in words, for `status`.
  package static func claimRealTime(priority: Int32) -> [String] {
    var refusals: [String] = []
    // The limits serve whoever has to ask again after power is dropped; a refusal alone harms nothing.
    _ = afloat_set_limit(AFLOAT_LIMIT_REAL_TIME_PRIORITY, UInt64(priority))
    if afloat_set_fifo_for_threads(priority) != 0 {
      refusals.append(SystemError.last("get real-time scheduling").description + " (needs CAP_SYS_NICE)")
    }
    if afloat_set_limit(AFLOAT_LIMIT_LOCKED_MEMORY, UInt64.max) == 0 {
      if afloat_lock_memory_on_fault() != 0 { refusals.append(SystemError.last("lock memory").description) }
    } else {
      // With the limit in force, locking what comes later would make later allocations fail.
      let limit = SystemError.last("raise the limit of locked memory").description
      let locked = afloat_lock_current_memory_on_fault() == 0
      refusals.append(limit + (locked ? ": only the memory of the start is locked" : ": memory is not locked"))
    }
    return refusals
  }

  /// What takes milliseconds is done at everybody's priority: nothing else runs on a processor meanwhile that a thread has
  /// under SCHED_FIFO. Gives the calling thread its priority back afterwards.
  package static func atNormalPriority<Result, Failure: Error>(
    _ work: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let priority = afloat_fifo_priority()
    guard priority > 0, afloat_set_normal() == 0 else { return try work() }
    defer {
      if afloat_set_fifo(priority) != 0 { Console.error("\(SystemError.last("get real-time scheduling back"))") }
    }
    return try work()
  }

  /// Lowers the calling thread within SCHED_FIFO, which needs no power; nothing happens to a thread that is not in it.
  package static func lowerRealTime(to priority: Int32) {
    if sched_getscheduler(0) == SCHED_FIFO { _ = afloat_set_fifo_for_threads(priority) }
  }
}
