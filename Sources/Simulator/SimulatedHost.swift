// A virtual machine: an elector that may crash, freeze and start again, the hands that add and remove addresses, the
// addresses themselves (which outlive the process), and a clock that runs at its own rate.

import ClusterNode
import Election
import Primitives

struct SimulatedHost {
  enum Work { case add(VIPIndex), remove(VIPIndex) }

  /// Nil while no elector runs.
  var node: ClusterNode<SimulatedAuthenticator>?
  /// Counts starts: events of an earlier elector are stale.
  var epoch = 0
  var wakeGeneration: UInt64 = 0
  /// True time of the last start, and since when it has run without a pause.
  var startedAt: Int64 = 0
  var runningSince: Int64 = 0
  /// Frozen with everything on it; datagrams wait in its socket.
  var isPaused = false
  var inbox: [(bytes: [UInt8], isMulticast: Bool, at: Int64)] = []
  var hands: [Work] = []
  /// VIPs whose addresses answer on this host, one bit each.
  var addresses: UInt64 = 0
  var draining = false
  var drainingSince: Int64 = 0
  var balancerReady = true
  var hasCarrier = true
  /// Parts per thousand by which its clock is fast, and where it stood at true time 0.
  let clockRate: Int64
  let clockOffset: Int64

  func clock(_ time: Int64) -> Instant { Instant(nanoseconds: clockOffset + time + time / 1000 * clockRate) }

  /// The first true time at which the clock shows `instant` or later.
  func trueTime(_ instant: Instant) -> Int64 {
    guard instant != .distantFuture else { return .max }
    let local = instant.nanoseconds - clockOffset
    var time = local / (1000 + clockRate) * 1000
    while clock(time) < instant { time += 1000 }
    return time
  }

  func has(_ vip: VIPIndex) -> Bool { addresses >> UInt64(vip.value) & 1 == 1 }
}

/// Who hears whom.
struct SimulatedNetwork {
  enum Kind: CaseIterable { case multicast, unicast }

  let count: Int
  /// One way: `cut[from * count + to]` for both kinds, and when that link last changed in either.
  private var multicastCut: [Bool]
  private var unicastCut: [Bool]
  private var changedAt: [Int64]
  /// In 1/1000 of the datagrams.
  var loss: UInt64 = 0
  var duplication: UInt64 = 0
  var lossChangedAt: Int64 = 0
  /// Delay of a datagram, uniform; a wide range reorders.
  var delay: ClosedRange<Int64>

  init(count: Int, delay: ClosedRange<Int64>) {
    self.count = count
    self.delay = delay
    multicastCut = Array(repeating: false, count: count * count)
    unicastCut = multicastCut
    changedAt = Array(repeating: 0, count: count * count)
  }

  func carries(_ kind: Kind, _ from: Int, _ to: Int) -> Bool {
    switch kind {
    case .multicast: !multicastCut[from * count + to]
    case .unicast: !unicastCut[from * count + to]
    }
  }

  /// Carries everything.
  func isUp(_ from: Int, _ to: Int) -> Bool { carries(.multicast, from, to) && carries(.unicast, from, to) }

  /// The link has been up, without a change, since `time`.
  func isUp(_ from: Int, _ to: Int, since time: Int64) -> Bool {
    isUp(from, to) && changedAt[from * count + to] <= time
  }

  mutating func set(_ from: Int, _ to: Int, up: Bool, at time: Int64) {
    for kind in Kind.allCases { set(kind, from, to, up: up, at: time) }
  }

  mutating func set(_ kind: Kind, _ from: Int, _ to: Int, up: Bool, at time: Int64) {
    guard carries(kind, from, to) != up else { return }
    switch kind {
    case .multicast: multicastCut[from * count + to] = !up
    case .unicast: unicastCut[from * count + to] = !up
    }
    changedAt[from * count + to] = time
  }

  mutating func healAll(at time: Int64) {
    for from in 0..<count { for to in 0..<count { set(from, to, up: true, at: time) } }
  }
}
