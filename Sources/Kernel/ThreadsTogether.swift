// Threads that are waited for: short pieces of work that need a thread of their own, because they change something about it.

internal import CLinux
internal import Glibc
internal import Synchronization

/// What threads that were begun together give.
package final class ThreadResults<Value: Sendable>: Sendable {
  private let state: Mutex<(values: [Value?], missing: Int)>
  private let latch: Latch

  fileprivate init(count: Int) throws(SystemError) {
    latch = try Latch()
    state = Mutex((Array(repeating: nil, count: count), count))
  }

  fileprivate func give(_ value: Value?, of number: Int) {
    let isLast = state.withLock { state in
      state.values[number] = value
      state.missing -= 1
      return state.missing == 0
    }
    if isLast { latch.open() }
  }

  /// Waits for all of them, and returns what they gave by their numbers.
  package func wait() -> [Value] {
    latch.wait()
    return state.withLock { $0.values.compactMap { $0 } }
  }
}

extension Threads {
  /// Runs `body` on `count` threads at once (one at least), each with its number.
  package static func begin<Value: Sendable>(
    _ name: String, count: Int, _ body: @escaping @Sendable (Int) -> Value
  ) throws(SystemError) -> ThreadResults<Value> {
    precondition(count > 0, "nobody would ever be done")
    let results = try ThreadResults<Value>(count: count)
    for number in 0..<count {
      do throws(SystemError) {
        try start(name) { results.give(body(number), of: number) }
      } catch {
        for other in number..<count { results.give(nil, of: other) }
        _ = results.wait()
        throw error
      }
    }
    return results
  }

  /// Runs `body` on a thread of its own.
  package static func alone<Value: Sendable>(
    _ name: String, _ body: @escaping @Sendable () -> Value
  ) throws(SystemError) -> Value {
    try begin(name, count: 1) { _ in body() }.wait()[0]
  }

  /// Moves the calling thread, for good, into a network namespace of its own with nothing but a `lo` in it. Needs
  /// CAP_SYS_ADMIN.
  package static func leaveNetwork() throws(SystemError) {
    try checkedCall("make a network namespace") { afloat_leave_network() }
  }

  /// Leaves the calling thread, for good, with a table of descriptors of its own, in which only the standard ones and `kept`
  /// are. Where the kernel cannot do that it goes on with those of the process.
  package static func leaveDescriptors(keeping kept: borrowing FileDescriptor) {
    _ = afloat_leave_descriptors(UInt32(kept.raw))
  }
}
