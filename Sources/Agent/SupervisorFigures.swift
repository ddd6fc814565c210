// Questions to the balancer for all its figures, and its answers.

package import Control
internal import Kernel
internal import Primitives

/// Somebody who waits for figures.
struct PendingFigures {
  /// A balancer with thousands of servers takes its time.
  static let patience = TimeSpan.seconds(3)
  /// Beyond it the next one is refused: the balancer is stuck, or asked far too often.
  static let maximumCount = 64

  let token: UInt64
  let reply: CheckedContinuation<BalancerFigures, any Error>
  let deadline = Clock.monotonic + PendingFigures.patience

  func refuse(_ why: String) { reply.resume(throwing: Refusal(503, why)) }
}

extension Supervisor {
  /// All that the balancer has counted. Throws `Refusal` where it does not answer.
  package func figures() async throws -> BalancerFigures {
    try await withCheckedThrowingContinuation { continuation in post(.figures(continuation)) }
  }
}

extension SupervisorLoop {
  func askForFigures(_ reply: CheckedContinuation<BalancerFigures, any Error>) {
    lastFiguresToken += 1
    let pending = PendingFigures(token: lastFiguresToken, reply: reply)
    guard plan.balancer != nil else {
      reply.resume(returning: BalancerFigures(taken: Clock.monotonic.nanoseconds))
      return
    }
    guard balancer.isReady else { return pending.refuse("the balancer is not serving") }
    guard figures.count < PendingFigures.maximumCount else { return pending.refuse("the balancer is asked too often") }
    figures.append(pending)
    tellBalancer(.figures(token: pending.token))
  }

  func figuresAre(_ answer: BalancerFigures, _ token: UInt64) {
    guard let place = figures.firstIndex(where: { $0.token == token }) else { return }
    figures.remove(at: place).reply.resume(returning: answer)
  }

  func expireFigures(_ now: Instant) {
    while let first = figures.first, now >= first.deadline {
      figures.removeFirst()
      first.refuse("the balancer has not given its figures in time")
    }
  }

  func giveUpFigures(_ why: String) {
    for pending in figures { pending.refuse(why) }
    figures = []
  }
}
