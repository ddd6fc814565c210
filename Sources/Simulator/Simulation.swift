// A cluster in one value. First chaos: faults drawn from the seed hit hosts and links. Then everything heals, and the
// protocol must come to rest: exactly one holder, announced last, and it stays. Invariants are checked after every event.

import ClusterNode
import Election
import Membership
import Primitives
import Wire

package struct Simulation {
  var random: SeededRandom
  let setup: SimulationSetup
  let count: Int
  let vipCount: Int
  let heartbeat: TimeSpan
  let failback: FailbackRule
  var configurations: [ClusterConfiguration] = []
  var hosts: [SimulatedHost] = []
  var network: SimulatedNetwork
  var queue = EventQueue()
  var now: Int64 = 0
  var healAt: Int64
  var endAt: Int64
  var isHealed = false
  var watch: InvariantWatch
  var totals = SimulationTotals()
  var violation: Violation?
  var log: [String] = []
  var effects = EffectBuffer()
  /// Datagrams that an attacker kept, with the epoch of their sender.
  var recordings: [(host: Int, epoch: Int, bytes: [UInt8])] = []
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
    random = SeededRandom(seed: setup.seed)
    let drawn = 2 + Int(random.next() % 5)
    count = setup.nodeCount ?? drawn
    vipCount = 1 + Int(random.next() % 4)
    let intervals: [Int64] = [2, 5, 10]
    heartbeat = .milliseconds(intervals[Int(random.next() % 3)])
    let rules: [FailbackRule] = [.never, .never, .atOnce, .after(.milliseconds(100))]
    failback = rules[Int(random.next() % 4)]
    key = random.next()
    network = SimulatedNetwork(count: count, delay: Self.chaosDelay)
    healAt = 300_000_000 + Int64(random.next() % 1_200_000_000)
    endAt = .max
    watch = InvariantWatch(vipCount: vipCount, count: count)
    makeConfigurations()
    for host in 0..<count {
      hosts.append(
        SimulatedHost(
          clockRate: Int64(random.next() % 41) - 20,
          clockOffset: 1_000_000_000 + Int64(random.next() % 1_000_000_000_000)))
      let later = Int64(random.next() % 60_000_000)
      queue.push(at: random.chance(1, in: 3) ? 0 : later, .restart(host: host, epoch: 0))
    }
    queue.push(at: 100_000_000, .fault)
    queue.push(at: 50_000_000, .replay)
    queue.push(at: healAt, .heal)
  }

  /// Sometimes the nodes differ in `prefer`, as in the middle of a rolling reload.
  private mutating func makeConfigurations() {
    let names = (0..<count).map { NodeName("n\($0 + 1)")! }
    let mixed = random.chance(1, in: 2)
    let spread = random.chance(1, in: 3)
    let unicast = random.chance(1, in: 4)
    var orders = (0..<vipCount).map { _ in names.shuffled(using: &random) }
    for node in 0..<count {
      if mixed { orders = orders.map { _ in names.shuffled(using: &random) } }
      let vips = (0..<vipCount).map { vip in
        ClusterConfiguration.VIP(
          name: "vip\(vip)", prefer: spread ? nil : orders[vip], failback: failback, isConditional: true,
          announce: .seconds(60))
      }
      configurations.append(
        ClusterConfiguration(
          clusterName: "sim", node: names[node], heartbeat: heartbeat, aloneAfter: Self.aloneAfter,
          // One may be told so before the others.
          transport: unicast || random.chance(1, in: 20) ? .unicast : .multicast,
          members: names.map { .init(name: $0) },
          vips: vips))
    }
  }

  var detection: Int64 { configurations[0].detectionTime.nanoseconds }

  mutating func run() {
    totals.seeds = 1
    while violation == nil, let (time, event) = queue.pop(), time <= endAt {
      now = time
      handle(event)
      if violation == nil { checkAfterStep() }
    }
    totals.simulatedNanoseconds = now
    if violation == nil { checkAtEnd() }
  }

  private mutating func handle(_ event: SimulatedEvent) {
    switch event {
    case .arrive(let host, let bytes, let isMulticast):
      guard hosts[host].node != nil else { return }
      if hosts[host].isPaused {
        if hosts[host].inbox.count < 512 { hosts[host].inbox.append((bytes, isMulticast, now)) }
      } else {
        receive(host, bytes, isMulticast: isMulticast, at: now)
        // As the shell: what a wake-up found is followed by what is due, by the same reading of the clock.
        advance(host)
      }
    case .wake(let host, let generation):
      guard hosts[host].wakeGeneration == generation, hosts[host].node != nil, !hosts[host].isPaused else { return }
      advance(host)
    case .handsDone(let host, let epoch):
      guard hosts[host].epoch == epoch else { return }
      handsDone(host)
    case .quietened(let host, let epoch, let vip):
      guard hosts[host].epoch == epoch else { return }
      command(host, .handoverReady(vip))
    case .guardian(let host, let epoch): guardian(host, epoch: epoch)
    case .restart(let host, let epoch):
      guard hosts[host].epoch == epoch, hosts[host].node == nil else { return }
      start(host)
    case .resume(let host, let epoch):
      guard hosts[host].epoch == epoch, hosts[host].isPaused else { return }
      resume(host)
    case .fault:
      guard !isHealed else { return }
      injectFault()
      queue.push(at: now + 1_000_000 + Int64(random.next() % 120_000_000), .fault)
    case .replay:
      replay()
      queue.push(at: now + 500_000 + Int64(random.next() % 20_000_000), .replay)
    case .heal: heal()
    }
  }

  // MARK: Electors

  mutating func start(_ host: Int) {
    hosts[host].epoch += 1
    hosts[host].startedAt = now
    hosts[host].runningSince = now
    hosts[host].hands = []
    hosts[host].inbox = []
    hosts[host].isPaused = false
    // A shell that starts removes what an earlier one left.
    hosts[host].addresses = 0
    var node = ClusterNode(
      configuration: configurations[host], authenticator: SimulatedAuthenticator(key: key),
      bootID: BootID(high: random.next(), low: random.next() | 1), randomSeed: random.next(),
      now: hosts[host].clock(now),
      plantedFaults: setup.plantedFaults)
    var none = EffectBuffer()
    for vip in 0..<vipCount {
      node.handle(requirements(of: vip, at: host), now: hosts[host].clock(now), effects: &none)
    }
    if !hosts[host].hasCarrier { node.handle(.carrier(up: false), now: hosts[host].clock(now), effects: &none) }
    if hosts[host].draining { node.handle(.draining(true), now: hosts[host].clock(now), effects: &none) }
    hosts[host].node = node
    note("start n\(host + 1)")
    advance(host)
  }

  mutating func receive(_ host: Int, _ bytes: [UInt8], isMulticast: Bool, at time: Int64) {
    let stamp = hosts[host].clock(time)
    let local = hosts[host].clock(now)
    bytes.withUnsafeBytes {
      hosts[host].node!.receive(
        $0, over: Arrival(isMulticast: isMulticast), receivedAt: stamp, now: local, effects: &effects)
    }
    carryOut(host)
  }

  mutating func advance(_ host: Int) {
    guard hosts[host].node != nil else { return }
    hosts[host].node!.advance(now: hosts[host].clock(now), effects: &effects)
    carryOut(host)
    scheduleWake(host)
  }

  mutating func command(_ host: Int, _ command: Command) {
    guard hosts[host].node != nil, !hosts[host].isPaused else { return }
    hosts[host].node!.handle(command, now: hosts[host].clock(now), effects: &effects)
    carryOut(host)
    scheduleWake(host)
  }

  private mutating func scheduleWake(_ host: Int) {
    guard let node = hosts[host].node else { return }
    hosts[host].wakeGeneration += 1
    let due = hosts[host].trueTime(node.nextDeadline)
    guard due != .max else { return }
    let jitter = Int64(random.next() % 100_000)
    queue.push(at: max(due, now) + jitter, .wake(host: host, generation: hosts[host].wakeGeneration))
  }

  mutating func note(_ text: String) {
    guard setup.keepsLog else { return }
    log.append("\(now / 1_000) us  \(text)")
  }
}
