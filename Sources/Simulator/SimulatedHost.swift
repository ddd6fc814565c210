// A virtual machine: an elector that may crash, freeze and start again, the hands that add and remove addresses, the
// addresses themselves (which outlive the process), and a clock that runs at its own rate.

import ClusterNode
import Election
import Primitives

struct SimulatedHost {
  enum Work { case add(VIPIndex), remove(VIPIndex) }

  /// An elector runs, or is frozen.
  var isRunning = false
  /// Counts starts: events of an earlier elector are stale.
  var epoch: UInt32 = 0
  /// The wake-up that is under way, and the deadline for which it was asked: until that moves nothing has to be done.
  var wakeGeneration: UInt32 = 0
  var wakeAt = Int64.max
  var armedFor = Instant.distantFuture
  /// The last start on its own clock and in true time, and since when it has run without a pause.
  var startedAt = Instant(nanoseconds: 0)
  var startedTrue: Int64 = 0
  var runningSince: Int64 = 0
  /// Frozen with everything on it; datagrams wait in its socket.
  var isPaused = false
  /// The whole machine is frozen, its clocks with it (a virtual one that its host stops): since when.
  var stoppedAt: Int64?
  /// Its clocks have stood still. Until then its gates may be open though others have given it up.
  var excusedUntil = Int64.min
  /// Which VIPs that is true of, one bit each.
  var excused: UInt64 = 0
  var inbox: [(datagram: DatagramPool.Slot, route: SimulatedRoute, at: Int64)] = []
  var hands: [Work] = []
  /// Since when they have had something to do.
  var handsBusySince: Int64 = 0
  /// VIPs whose addresses answer on this host, one bit each.
  var addresses: UInt64 = 0
  /// VIPs that its elector claims, one bit each.
  var claims: UInt64 = 0
  /// Until which true time the kernel's gate of each VIP is open; it outlives the process.
  var gates: [Int64]
  /// The same on its own clock, as its elector said it last.
  var liveUntil: [Instant?]
  var draining = false
  var balancerReady = true
  /// Bit per path.
  var carriers: UInt8
  /// Its system refuses everything that is sent.
  var refusesSends = false
  /// When one of both changed.
  var linkChangedAt: Int64 = 0
  /// VIPs whose own interface has carrier, one bit each.
  var vipCarriers = UInt64.max
  /// VIPs of which the elector has not been told yet what they have, one bit each.
  var untold: UInt64 = 0
  /// Which keys it has, see `Simulation.authenticator`.
  var keyStage = 0
  /// Which interval it has, of `Simulation.intervals`.
  var intervalStage = 0
  /// The quickest that it had since its elector started.
  var quickestInterval = TimeSpan.zero
  /// Odd: the last host is no member in its configuration.
  var memberStage = 0
  /// Its configuration lacks the last VIP.
  var lacksLastVIP = false

  init(vipCount: Int, pathCount: Int) {
    carriers = 1 << UInt8(pathCount) - 1
    gates = Array(repeating: .min, count: vipCount)
    liveUntil = Array(repeating: nil, count: vipCount)
  }

  /// The node has carrier as long as one of its interfaces has.
  var hasCarrier: Bool { carriers != 0 }

  /// It would answer for the VIP, whatever its processes do.
  func answers(_ vip: VIPIndex, at time: Int64) -> Bool { has(vip) && stoppedAt == nil && gates[vip.value] > time }
  func isExcused(_ vip: Int, at time: Int64) -> Bool { time < excusedUntil && excused >> UInt64(vip) & 1 == 1 }
  mutating func shutGates() {
    for vip in gates.indices {
      gates[vip] = .min
      liveUntil[vip] = nil
    }
  }

  func isUninformed(of vip: VIPIndex) -> Bool { untold >> UInt64(vip.value) & 1 == 1 }
  func has(_ vip: VIPIndex) -> Bool { addresses >> UInt64(vip.value) & 1 == 1 }
}

extension SimulatedHost {
  /// What its elector claims and answers for. True if it claims something else than before.
  mutating func readOff(_ node: borrowing ClusterNode<SimulatedAuthenticator>, _ clock: HostClock) -> Bool {
    var claimed: UInt64 = 0
    for vip in gates.indices {
      if node.isHolder(VIPIndex(vip)) { claimed |= 1 << UInt64(vip) }
      let until = node.liveUntil(VIPIndex(vip))
      guard until != liveUntil[vip] else { continue }
      liveUntil[vip] = until
      let gate = until.map { clock.trueTime($0) } ?? .min
      // As the shell: what the system refused opens nothing.
      gates[vip] = refusesSends ? min(gates[vip], gate) : gate
    }
    defer { claims = claimed }
    return claimed != claims
  }
}

/// A clock that runs at its own rate.
struct HostClock {
  /// Parts per thousand by which it is fast, and where it stood at true time 0.
  let rate: Int64
  private(set) var offset: Int64

  init(rate: Int64, offset: Int64) {
    self.rate = rate
    self.offset = offset
  }

  /// It has stood still between the two true times.
  mutating func stoodStill(from: Int64, to: Int64) { offset += local(from).nanoseconds - local(to).nanoseconds }

  func local(_ time: Int64) -> Instant { Instant(nanoseconds: offset + time + time / 1000 * rate) }

  /// The first true time at which it shows `instant` or later.
  func trueTime(_ instant: Instant) -> Int64 {
    guard instant != .distantFuture else { return .max }
    var time = (instant.nanoseconds - offset) / (1000 + rate) * 1000
    while local(time) < instant { time += 1000 }
    return time
  }
}
