// A cluster in one value. It goes through rounds: first chaos, in which faults drawn from the seed hit hosts and links; then
// everything heals, and the protocol must come to rest: exactly one holder, announced last, and it stays. Invariants are
// checked after every event that can change what they look at.

import ClusterNode
import Election
import Membership
import Primitives
import Wire

/// What an attacker has of a host: which of its electors said it, and what.
struct Recording {
  var host: Int
  var epoch: UInt32
  var boot: BootID
  var sequence: UInt64
  var datagram: DatagramPool.Slot
}

package struct Simulation: ~Copyable {
  var random: SeededRandom
  let setup: SimulationSetup
  let count: Int
  let vipCount: Int
  /// Those that were configured in turn; nodes may differ while they reload one after another.
  var intervals: [TimeSpan]
  /// Member that never holds a VIP.
  let witness: Int?
  /// Parts per thousand by which a clock may be fast or slow.
  let drift: Int64
  let failback: FailbackRule
  let mix: FaultMix
  /// VIPs that a node gives up rather than hold without what they require, one bit each.
  let strict: UInt64
  var configurations: [ClusterConfiguration] = []
  var hosts: [SimulatedHost] = []
  var clocks: [HostClock] = []
  /// The electors of the hosts; where none runs the last one, which nobody asks.
  var nodes: NodeStore
  var network: SimulatedNetwork
  var queue = EventQueue()
  var now: Int64 = 0
  /// Counts from 1.
  var round: UInt32 = 0
  /// Time between two faults of this round.
  var pace: ClosedRange<Int64> = 0...0
  var isHealed = false
  var hasEnded = false
  var watch: InvariantWatch
  var totals = SimulationTotals()
  var violation: Violation?
  var log: [String] = []
  var effects = EffectBuffer()
  var pool = DatagramPool()
  /// Datagrams that an attacker kept, with the epoch of their sender.
  var recordings: [Recording] = []
  let key: UInt64

  static let chaosDelay: ClosedRange<Int64> = 50_000...400_000
  static let aloneAfter = TimeSpan.milliseconds(300)

  package static func run(_ setup: SimulationSetup) -> SimulationOutcome {
    var simulation = Simulation(setup)
    simulation.run()
    return SimulationOutcome(totals: simulation.totals, violation: simulation.violation, log: simulation.log)
  }

  init(_ setup: SimulationSetup) {
    self.setup = setup
    var random = SeededRandom(seed: setup.seed)
    let drawn = 2 + Int(random.below(5))
    count = setup.nodeCount ?? drawn
    let drawnVIPs = 1 + Int(random.below(4))
    vipCount = setup.vipCount ?? drawnVIPs
    // The quick ones cost most of the time, and show little that others do not.
    let choices: [Int64] = [2, 5, 5, 5, 10, 10, 10, 10, 10, 10, 20, 20, 20, 20, 20, 50, 50, 50, 100, 100]
    let interval = choices[Int(random.below(20))]
    intervals = [setup.heartbeat ?? .milliseconds(interval)]
    let rules: [FailbackRule] = [.never, .never, .atOnce, .after(.milliseconds(100))]
    failback = rules[Int(random.below(4))]
    key = random.next()
    let mixes: [FaultMix] = [.all, .all, .hostsOnly]
    mix = mixes[Int(random.below(3))]
    strict = random.chance(1, in: 3) ? random.next() : 0
    witness = count > 2 && random.chance(1, in: 5) ? Int(random.below(UInt64(count - 1))) : nil
    drift = random.chance(1, in: 4) ? 100 : 20
    let pathCount = random.chance(1, in: 4) ? 2 : 1
    network = SimulatedNetwork(count: count, pathCount: pathCount, delay: Self.chaosDelay)
    watch = InvariantWatch(vipCount: vipCount, count: count)
    self.random = random
    nodes = NodeStore(capacity: count)
    makeConfigurations()
    for host in 0..<count {
      hosts.append(SimulatedHost(vipCount: vipCount, pathCount: pathCount))
      clocks.append(
        HostClock(
          rate: Int64(self.random.below(UInt64(2 * drift + 1))) - drift,
          offset: 1_000_000_000 + Int64(self.random.below(1_000_000_000_000))))
      nodes.append(
        NodeStore.Node(
          configuration: configurations[host], authenticator: SimulatedAuthenticator(key: key),
          bootID: BootID(high: 0, low: 1), randomSeed: 0, now: clocks[host].local(0)))
      let later = Int64(self.random.below(60_000_000))
      queue.push(at: self.random.chance(1, in: 3) ? 0 : later, .restart(host: UInt8(host), epoch: 0))
    }
    queue.push(at: 50_000_000, .replay)
    beginRound()
  }

  /// Sometimes the nodes differ in `prefer`, as in the middle of a rolling reload.
  private mutating func makeConfigurations() {
    let names = (0..<count).map { NodeName("n\($0 + 1)")! }
    let mixed = random.chance(1, in: 2)
    let spread = random.chance(1, in: 3)
    let isGated = random.chance(1, in: 2)
    let unicast = random.chance(1, in: 4)
    var orders: [[NodeName]] = []
    for node in 0..<count {
      if mixed || node == 0 { orders = (0..<vipCount).map { _ in names.shuffled(using: &random) } }
      let vips = (0..<vipCount).map { vip in
        ClusterConfiguration.VIP(
          name: "vip\(vip)", prefer: spread ? nil : orders[vip], failback: failback, isConditional: true,
          announce: .seconds(60), isGated: isGated)
      }
      configurations.append(
        ClusterConfiguration(
          clusterName: "sim", node: names[node], heartbeat: intervals[0], aloneAfter: Self.aloneAfter,
          // One may be told so before the others.
          transport: unicast || random.chance(1, in: 20) ? .unicast : .multicast,
          pathCount: network.pathCount,
          members: names.indices.map { .init(name: names[$0], mayHold: $0 != witness) },
          vips: vips))
    }
  }

  /// Chaos begins, quick, middling or slow.
  private mutating func beginRound() {
    round += 1
    totals.rounds += 1
    isHealed = false
    watch.beginRound()
    network.delay = Self.chaosDelay
    let paces: [(between: ClosedRange<Int64>, lasts: ClosedRange<Int64>)] = [
      (1_000_000...120_000_000, 300_000_000...1_500_000_000),
      (10_000_000...500_000_000, 1_000_000_000...6_000_000_000),
      (100_000_000...3_000_000_000, 3_000_000_000...15_000_000_000),
    ]
    let (between, lasts) = paces[Int(random.below(3))]
    pace = between.lowerBound * slowness...between.upperBound * slowness
    let number = round
    note("round \(number)")
    queue.push(at: now + (round == 1 ? 100_000_000 : draw(pace)), .fault(round: number))
    queue.push(at: now + draw(lasts) * slowness, .heal)
  }

  /// Faults come and last the longer, the more time a cluster with slow heartbeats takes.
  var slowness: Int64 { intervals[0] <= .milliseconds(10) ? 1 : intervals[0] <= .milliseconds(20) ? 2 : 4 }

  mutating func draw(_ range: ClosedRange<Int64>) -> Int64 {
    range.lowerBound + Int64(random.below(UInt64(range.upperBound - range.lowerBound) + 1))
  }

  /// The slowest that was ever configured, and the quickest.
  var heartbeat: TimeSpan { intervals.max() ?? .zero }
  var quickestHeartbeat: TimeSpan { intervals.min() ?? .zero }

  /// As configured at the slowest. What is in force may be longer, see `longestDetection`.
  var detection: Int64 { detectionTime(heartbeat) }
  func detectionTime(_ heartbeat: TimeSpan) -> Int64 {
    heartbeat.nanoseconds * Int64(configurations[0].deadAfter) + heartbeat.nanoseconds / 2
  }

  /// The longest true time that a slow clock may take for a span.
  func atMost(_ span: Int64) -> Int64 { span / (1000 - drift) * 1000 + 1000 }

  /// The longest that anybody waits for anybody now.
  mutating func longestDetection() -> Int64 {
    var longest = detection
    for host in 0..<count where hosts[host].isRunning {
      nodes[host].snapshot(into: &watch.status, now: clocks[host].local(now))
      longest = max(longest, watch.status.detectionTime.nanoseconds)
      for member in watch.status.members { longest = max(longest, member.patience?.nanoseconds ?? 0) }
    }
    return longest
  }

  mutating func run() {
    totals.seeds = 1
    while violation == nil, !hasEnded, let (time, event) = queue.pop() {
      now = time
      handle(event)
      if violation == nil { checkAfterStep() }
    }
    totals.simulatedNanoseconds = now
  }

  private mutating func handle(_ event: SimulatedEvent) {
    switch event {
    case .arrive(let host, let datagram, let route): arrive(Int(host), datagram, route: route)
    case .wake(let host, let generation): wake(Int(host), generation: generation)
    case .handsDone(let host, let epoch):
      guard hosts[Int(host)].epoch == epoch else { return }
      handsDone(Int(host))
    case .quietened(let host, let epoch, let vip):
      guard hosts[Int(host)].epoch == epoch else { return }
      command(Int(host), .handoverReady(VIPIndex(Int(vip))))
    case .guardian(let host, let epoch): guardian(Int(host), epoch: epoch)
    case .buried(let host, let epoch):
      if hosts[Int(host)].epoch == epoch, !hosts[Int(host)].isRunning { buryAddresses(Int(host)) }
    case .restart(let host, let epoch):
      guard hosts[Int(host)].epoch == epoch, !hosts[Int(host)].isRunning else { return }
      start(Int(host))
    case .resume(let host, let epoch):
      guard hosts[Int(host)].epoch == epoch, hosts[Int(host)].isPaused else { return }
      resume(Int(host))
    case .fault(let number):
      guard !isHealed, number == round else { return }
      totals.faults += 1
      injectFault()
      queue.push(at: now + draw(pace), .fault(round: round))
    case .replay:
      replay()
      queue.push(at: now + draw(500_000...40_000_000), .replay)
    case .heal: heal()
    case .rested:
      checkAtRest()
      let isLong = now >= setup.length.nanoseconds && totals.faults >= setup.faults
      if isLong { hasEnded = true } else { beginRound() }
    }
  }

  mutating func note(_ text: @autoclosure () -> String) {
    guard setup.keepsLog else { return }
    log.append("\(now / 1_000) us  \(text())")
  }
}
