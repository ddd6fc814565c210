// Checks that really run, in the registry's own time.

import Kernel
import Primitives

@testable import Balancer

extension ServerRegistry {
  /// Runs what is due until `isDone`, for 20 s at most. Returns the registry's time.
  mutating func run(
    _ poller: borrowing Poller, from: Instant, until isDone: (ServerRegistry) -> Bool
  ) -> Instant {
    var now = from
    let deadline = Clock.monotonic + .seconds(20)
    while !isDone(self), Clock.monotonic < deadline {
      now = now + .milliseconds(100)
      _ = advance(now: now, poller: poller)
      for position in 0..<poller.wait(timeout: .milliseconds(50)) {
        _ = probeIsReady(poller.event(position), now: now)
      }
    }
    return now
  }
}
