// Looks up the names of servers on threads of its own: the system's resolver blocks, for seconds where a DNS server is silent. A
// thread lives as long as names wait, so there is none while nobody asks.

internal import Kernel
internal import Primitives
internal import Synchronization

final class NameResolver: Sendable {
  typealias Answer = (name: String, result: Result<NameAnswer, NameFault>)

  /// Names that are looked up at once: those that nobody answers for hold up the others only when there are so many.
  private static let threadCount = 4

  private struct State {
    /// Asked for and not answered; a name is in it once.
    var asked: Set<String> = []
    var queue: [String] = []
    var threads = 0
    var answers: [Answer] = []
  }

  private let state = Mutex(State())
  /// Signalled when answers have come.
  let wakeUp: WakeUp

  init() throws(SystemError) { wakeUp = try WakeUp() }

  /// Those that are being looked up already are not asked for twice.
  func ask(_ names: [String]) {
    let starts = state.withLock { state in
      for name in names where state.asked.insert(name).inserted { state.queue.append(name) }
      let starts = min(Self.threadCount - state.threads, state.queue.count)
      state.threads += starts
      return starts
    }
    for _ in 0..<starts {
      do throws(SystemError) {
        try Threads.start("names") { [self] in work() }
      } catch {
        // Asked for again in the next round, if no other thread gets to them.
        state.withLock { $0.threads -= 1 }
      }
    }
  }

  func takeAll() -> [Answer] {
    wakeUp.clear()
    return state.withLock { state in
      defer { state.answers = [] }
      return state.answers
    }
  }

  private func work() {
    while let name = next() {
      let result = NameLookup.addresses(of: name)
      state.withLock { state in
        state.asked.remove(name)
        state.answers.append((name, result))
      }
      wakeUp.signal()
    }
  }

  private func next() -> String? {
    state.withLock { state in
      if state.queue.isEmpty {
        state.threads -= 1
        return nil
      }
      return state.queue.removeFirst()
    }
  }
}
