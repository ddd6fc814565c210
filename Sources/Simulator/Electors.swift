// The simulator's side of a node: starts it, wakes it, gives it datagrams and commands, and reads off what it claims and
// answers for.

import ClusterNode
import Election
import Membership
import Primitives
import Wire

extension Simulation {
  mutating func start(_ host: Int) {
    // What it had not removed before it ended, its guardian has.
    guard !isRemoved(host) else { return buryAddresses(host) }
    hosts[host].epoch += 1
    hosts[host].startedAt = clocks[host].local(now)
    hosts[host].startedTrue = now
    hosts[host].quickestInterval = configurations[host].heartbeat
    hosts[host].runningSince = now
    hosts[host].hands = []
    dropInbox(host)
    hosts[host].isPaused = false
    hosts[host].stoppedAt = nil
    // A shell that starts removes what an earlier one left.
    buryAddresses(host)
    let local = clocks[host].local(now)
    var node = ClusterNode(
      configuration: configuration(of: host), authenticator: authenticator(of: host),
      bootID: BootID(high: random.next(), low: random.next() | 1), randomSeed: random.next(), now: local,
      plantedFaults: setup.plantedFaults)
    for vip in 0..<vipCount { node.handle(requirements(of: vip, at: host), now: local, effects: &effects) }
    for vip in 0..<vipCount where !hasCarrier(host, vip) {
      node.handle(.vipCarrier(VIPIndex(vip), up: false), now: local, effects: &effects)
    }
    if !hosts[host].hasCarrier { node.handle(.carrier(up: false), now: local, effects: &effects) }
    if hosts[host].draining { node.handle(.draining(true), now: local, effects: &effects) }
    // The first heartbeat is due at once.
    effects.removeAll()
    nodes[host] = node
    hosts[host].isRunning = true
    forgetWake(host)
    note("start n\(host + 1)")
    advance(host)
  }

  /// The elector's process is gone, with what waited for it.
  mutating func end(_ host: Int) {
    hosts[host].isRunning = false
    hosts[host].isPaused = false
    hosts[host].stoppedAt = nil
    hosts[host].claims = 0
    watch.lookNow()
    forgetWake(host)
    dropInbox(host)
  }

  mutating func dropInbox(_ host: Int) {
    for waiting in hosts[host].inbox { pool.drop(waiting.datagram) }
    hosts[host].inbox.removeAll()
  }

  mutating func arrive(_ host: Int, _ datagram: DatagramPool.Slot, route: SimulatedRoute) {
    guard hosts[host].isRunning else { return pool.drop(datagram) }
    if hosts[host].isPaused {
      guard hosts[host].inbox.count < 512 else { return pool.drop(datagram) }
      hosts[host].inbox.append((datagram, route, now))
    } else {
      receive(host, datagram, route: route, at: now)
      // As the shell: what a wake-up found is followed by what is due, by the same reading of the clock.
      advance(host)
    }
  }

  /// Ends a use of the datagram.
  mutating func receive(_ host: Int, _ datagram: DatagramPool.Slot, route: SimulatedRoute, at time: Int64) {
    noteLapse(host)
    let local = clocks[host].local(now)
    let stamp = time == now ? local : clocks[host].local(time)
    nodes[host].receive(
      pool[datagram], over: route.arrival, receivedAt: stamp, now: local, effects: &effects)
    pool.drop(datagram)
    // What it claims and answers for is read off after `advance`, which always follows.
    if !effects.isEmpty { carryOut(host, local) }
  }

  mutating func advance(_ host: Int) {
    guard hosts[host].isRunning else { return }
    noteLapse(host)
    let local = clocks[host].local(now)
    nodes[host].advance(now: local, effects: &effects)
    carryOut(host, local)
    scheduleWake(host)
  }

  mutating func command(_ host: Int, _ command: Command) {
    guard hosts[host].isRunning, !hosts[host].isPaused else { return }
    let local = clocks[host].local(now)
    nodes[host].handle(command, now: local, effects: &effects)
    carryOut(host, local)
    scheduleWake(host)
  }

  // MARK: Waking

  mutating func wake(_ host: Int, generation: UInt32) {
    guard hosts[host].wakeGeneration == generation else { return }
    forgetWake(host)
    guard hosts[host].isRunning, !hosts[host].isPaused else { return }
    // What it was asked for may have moved meanwhile.
    if clocks[host].local(now) < nodes[host].nextDeadline { scheduleWake(host) } else { advance(host) }
  }

  mutating func forgetWake(_ host: Int) {
    hosts[host].wakeGeneration &+= 1
    hosts[host].wakeAt = .max
    hosts[host].armedFor = .distantFuture
  }

  private mutating func scheduleWake(_ host: Int) {
    guard hosts[host].isRunning else { return }
    let deadline = nodes[host].nextDeadline
    guard deadline != hosts[host].armedFor else { return }
    hosts[host].armedFor = deadline
    let due = clocks[host].trueTime(deadline)
    guard due != .max else { return }
    let at = max(due, now) + Int64(random.below(100_000))
    // One that comes sooner will ask again.
    guard at < hosts[host].wakeAt else { return }
    hosts[host].wakeAt = at
    hosts[host].wakeGeneration &+= 1
    queue.push(at: at, .wake(host: UInt8(host), generation: hosts[host].wakeGeneration))
  }

  // MARK: What it claims and answers for

  /// As the shell after every call: what the node may answer for, and until when.
  mutating func readOff(_ host: Int) {
    guard hosts[host].isRunning, hosts[host].readOff(nodes[host], clocks[host]) else { return }
    watch.lookNow()
  }
}
