// Whether the workers work: each has to come back to its events again and again. One that does not (a file on a disk that hangs,
// a fault of ours) would leave its clients without an answer for good, and nobody would know.

internal import Primitives

struct WorkerWatch {
  /// Above a worker's longest wait.
  private static let largestLookCount = 10
  private static let interval = TimeSpan.seconds(1)

  private struct Seen {
    var turns: UInt64 = 0
    var looks = 0
  }

  private(set) var nextLook = Instant(nanoseconds: 0)
  private var seen: [Seen]

  init(workerCount: Int) { seen = Array(repeating: Seen(), count: workerCount) }

  /// A worker that has stood still, as far as looks can tell: time in which nobody looked, as everything stood still, does
  /// not count. `turns`: of a worker, nil once it has ended.
  mutating func stuckWorker(now: Instant, turns: (Int) -> UInt64?) -> Int? {
    nextLook = now + Self.interval
    for worker in seen.indices {
      guard let turns = turns(worker) else { continue }
      if turns != seen[worker].turns { seen[worker] = Seen(turns: turns) }
      seen[worker].looks += 1
      if seen[worker].looks > Self.largestLookCount { return worker }
    }
    return nil
  }
}
