// A token bucket as one number. A bucket holds up to `burst` tokens, gains one every interval, and a request takes one. It is
// all said by the instant at which the bucket will be full (the "generic cell rate algorithm"): a request moves it by one
// interval, and is refused if it would then be further away than a whole bucket.

package import Primitives

package struct RateRule: Equatable, Sendable {
  /// Between two tokens.
  package let intervalNanoseconds: Int64
  /// To fill an empty bucket.
  package let depthNanoseconds: Int64

  /// At least one request and a burst of one; intervals below a nanosecond are one.
  package init(requests: Int, every: TimeSpan, burst: Int) {
    intervalNanoseconds = max(1, every.nanoseconds / Int64(max(1, requests)))
    let (depth, overflow) = intervalNanoseconds.multipliedReportingOverflow(by: Int64(max(1, burst)))
    depthNanoseconds = overflow ? Int64.max / 4 : min(depth, Int64.max / 4)
  }

  /// `fullAt`: of the bucket, in nanoseconds; whatever lies in the past is a full bucket. Returns when it is full after this
  /// request, and 0; or, of a request that is refused and takes nothing, how long until the next would be taken.
  @inlinable package func take(fullAt: Int64, now: Int64) -> (fullAt: Int64, waitNanoseconds: Int64) {
    // A clock of another boot, or a rule that has changed: never more than an empty bucket.
    let before = min(max(fullAt, now), now &+ depthNanoseconds)
    let after = before &+ intervalNanoseconds
    let wait = after &- depthNanoseconds &- now
    return wait > 0 ? (before, wait) : (after, 0)
  }
}
