// Which worker stands still, and when that is sure.

import Primitives
import Testing

@testable import Balancer

struct WorkerWatchTests {
  private func at(_ second: Int64) -> Instant { Instant(nanoseconds: second * 1_000_000_000) }

  @Test func `a worker that stands still is found after ten looks, one that turns or has ended is not`() {
    var watch = WorkerWatch(workerCount: 3)
    for second in Int64(0)..<10 {
      let turns: [UInt64?] = [UInt64(second) / 4, 7, nil]
      #expect(watch.stuckWorker(now: at(second)) { turns[$0] } == nil)
      #expect(watch.nextLook == at(second + 1))
    }
    #expect(watch.stuckWorker(now: at(10)) { [3, 7, nil][$0] } == 1)
  }

  @Test func `time in which nobody looked is no time in which a worker stood still`() {
    var watch = WorkerWatch(workerCount: 1)
    for second in Int64(0)..<5 { #expect(watch.stuckWorker(now: at(second)) { _ in 7 } == nil) }
    #expect(watch.stuckWorker(now: at(3_600)) { _ in 7 } == nil)
  }
}
