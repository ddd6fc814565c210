// What the registry has to say about all checks together: that they are late, that this node lacks something for them, and that
// addresses are kept for long because the new ones do not work.

internal import Control
internal import Health
internal import Kernel
internal import Primitives

extension ServerRegistry {
  /// Checks that have waited so long for their turn are told of.
  private static let longWait = TimeSpan.seconds(10)
  /// How long a check that could not be made is told of.
  private static let shortageSpan = TimeSpan.seconds(10)
  /// An address that is kept for so long is told of.
  private static let longHold = TimeSpan.seconds(60)
  /// More are only counted.
  private static let mostHolds = 4

  /// Remembers what was lacking for a check.
  mutating func note(_ outcome: CheckOutcome, _ now: Instant) {
    if case .notMade(let words?) = outcome { shortage = (words, now) }
  }

  /// Pools that keep addresses which their names have no more.
  mutating func noteHeld(pools: some Sequence<String>, now: Instant) {
    let before = heldPools
    heldPools = Dictionary(pools.map { ($0, before[$0] ?? now) }, uniquingKeysWith: { first, _ in first })
  }

  func warnings(now: Instant) -> [String] { [lateness(now), lack(now)].compactMap { $0 } + holds(now) }

  /// Said while checks come late because too many are scripts, or those take too long.
  private func lateness(_ now: Instant) -> String? {
    let trials = waitingTrials
    let since = min(turns.waitingSince ?? .distantFuture, trials.since)
    let count = turns.count + trials.count
    guard count > 0, now - since >= Self.longWait else { return nil }
    return "checks by script are late: \(ScriptRuns.largestCount) run at once, and \(count) wait for their turn"
  }

  private func lack(_ now: Instant) -> String? {
    guard let shortage, now - shortage.at < Self.shortageSpan else { return nil }
    return "checks are put off, this node lacks something for them: \(shortage.words)"
  }

  private func holds(_ now: Instant) -> [String] {
    let late = trials.filter { now - $0.value.since >= Self.longHold }
      .sorted { ($0.key.pool, $0.key.server) < ($1.key.pool, $1.key.server) }
    let few = late.prefix(Self.mostHolds).compactMap { key, trial -> String? in
      guard let server = servers[trial.slot] else { return nil }
      let address = server.configuration.endpoint.address
      return "\(key.pool)/\(key.server) is used at \(address), which it has left: \(server.succession)"
    }
    let rest = late.count - Self.mostHolds
    let pools = heldPools.filter { now - $0.value >= Self.longHold }.keys.sorted().map {
      "pool \($0) keeps addresses that its name has no more: no server at those that it has takes clients"
    }
    return few + (rest > 0 ? ["\(rest) more servers are used at addresses that they have left"] : []) + pools
  }
}
