// The newest view of this node, written by the supervisor's thread, read by the API and by whoever follows changes.

internal import Synchronization

package final class StateBoard: Sendable {
  private struct State {
    var view = NodeView()
    var followers: [UInt64: AsyncStream<Void>.Continuation] = [:]
    var nextFollower: UInt64 = 0
  }
  private let state = Mutex(State())

  package init() {}

  package var view: NodeView { state.withLock { $0.view } }

  package func update(_ change: (inout NodeView) -> Void) {
    let followers = state.withLock { state in
      change(&state.view)
      return Array(state.followers.values)
    }
    for follower in followers { follower.yield() }
  }

  /// Yields after each update; what the reader missed counts as one.
  package func changes() -> AsyncStream<Void> {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let number = state.withLock { state in
      state.nextFollower += 1
      state.followers[state.nextFollower] = continuation
      return state.nextFollower
    }
    continuation.onTermination = { [weak self] _ in self?.forget(number) }
    return stream
  }

  private func forget(_ number: UInt64) { state.withLock { _ = $0.followers.removeValue(forKey: number) } }
}
