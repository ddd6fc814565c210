// The simulator's stand-in for the elector's shell, its hands, its balancer and its guardian: carries effects out in
// order and decides nothing.

import ClusterNode
import Election
import Membership
import Primitives
import Wire

extension Simulation {
  mutating func carryOut(_ host: Int) {
    let batch = effects.effects
    effects.removeAll()
    for effect in batch where hosts[host].node != nil {
      switch effect {
      case .send: send(host)
      case .acquire(let vip, let cause):
        note("n\(host + 1) acquires vip\(vip.value): \(cause)")
        checkAcquire(host, vip, cause)
        work(host, .add(vip))
      case .release(let vip, let cause):
        note("n\(host + 1) releases vip\(vip.value): \(cause)")
        if case .yielded = cause { totals.yields += 1 }
        work(host, .remove(vip))
      case .announce(let vip):
        totals.announcements += 1
        checkAnnounce(host, vip)
        watch.lastAnnouncer[vip.value] = host
      case .handoverStarting(let vip, let to, _):
        note("n\(host + 1) hands vip\(vip.value) over to slot \(to.value)")
        // Sometimes the balancer never answers.
        guard !random.chance(1, in: 20) else { continue }
        let quiet = now + Int64(random.next() % 5_000_000)
        queue.push(at: quiet, .quietened(host: host, epoch: hosts[host].epoch, vip: vip))
      case .handoverCancelled, .moveRefused, .event, .keepConnections, .passUnknown: break
      case .exit:
        note("n\(host + 1) exits")
        hosts[host].node = nil
        queue.push(at: now + 20_000_000, .restart(host: host, epoch: hosts[host].epoch))
      }
    }
  }

  private mutating func send(_ host: Int) {
    var bytes = [UInt8](repeating: 0, count: DatagramLayout.maximumByteCount)
    let local = hosts[host].clock(now)
    let length = bytes.withUnsafeMutableBytes { hosts[host].node!.encodeDatagram(into: $0, now: local) }
    bytes.removeLast(bytes.count - length)
    if random.chance(1, in: 50) { record(host, bytes) }
    let destinations = hosts[host].node!.destinations
    if destinations.group { multicast(from: host, bytes) }
    guard destinations.members[0] != 0 else { return }
    for other in 0..<count where other != host {
      let slot = hosts[host].node!.memberIndex(configurations[other].node)!.value
      guard destinations.members[0] >> UInt64(slot) & 1 == 1 else { continue }
      totals.unicasts += 1
      transmit(.unicast, from: host, to: other, bytes)
    }
  }

  mutating func multicast(from host: Int, _ bytes: [UInt8]) {
    totals.datagrams += 1
    for other in 0..<count where other != host { transmit(.multicast, from: host, to: other, bytes) }
  }

  /// One datagram on its way from one host to another: it may be lost, come twice, or late.
  private mutating func transmit(_ kind: SimulatedNetwork.Kind, from host: Int, to other: Int, _ bytes: [UInt8]) {
    guard network.carries(kind, host, other), hosts[host].hasCarrier, hosts[other].hasCarrier else { return }
    if random.chance(network.loss, in: 1000) {
      totals.lost += 1
      return
    }
    let copies = random.chance(network.duplication, in: 1000) ? 2 : 1
    if copies == 2 { totals.duplicated += 1 }
    for _ in 0..<copies {
      queue.push(at: now + delay(), .arrive(host: other, bytes: bytes, isMulticast: kind == .multicast))
    }
  }

  private mutating func delay() -> Int64 {
    network.delay.lowerBound + Int64(random.next() % UInt64(network.delay.upperBound - network.delay.lowerBound + 1))
  }

  private mutating func record(_ host: Int, _ bytes: [UInt8]) {
    let recording = (host: host, epoch: hosts[host].epoch, bytes: bytes)
    if recordings.count < 200 { recordings.append(recording) } else { recordings[Int(random.next() % 200)] = recording }
  }

  /// Somebody without the key sends what was recorded, to whomever it likes. After the heal only words of ended boots:
  /// a datagram of a living boot that never arrived is indistinguishable from a late one.
  mutating func replay() {
    guard !recordings.isEmpty else { return }
    let recording = recordings[Int(random.next() % UInt64(recordings.count))]
    guard recording.epoch < hosts[recording.host].epoch else { return }
    totals.replayed += 1
    let target = Int(random.next() % UInt64(count))
    queue.push(
      at: now + 1_000, .arrive(host: target, bytes: recording.bytes, isMulticast: random.chance(1, in: 2)))
  }

  // MARK: Hands

  private mutating func work(_ host: Int, _ piece: SimulatedHost.Work) {
    hosts[host].hands.append(piece)
    if hosts[host].hands.count == 1 { scheduleHands(host) }
  }

  private mutating func scheduleHands(_ host: Int) {
    let slow = random.chance(1, in: 30)
    let time = slow ? Int64(random.next() % 30_000_000) : 30_000 + Int64(random.next() % 300_000)
    queue.push(at: now + time, .handsDone(host: host, epoch: hosts[host].epoch))
  }

  mutating func handsDone(_ host: Int) {
    guard hosts[host].node != nil, let piece = hosts[host].hands.first else { return }
    if hosts[host].isPaused {
      scheduleHands(host)
      return
    }
    hosts[host].hands.removeFirst()
    if !hosts[host].hands.isEmpty { scheduleHands(host) }
    switch piece {
    case .add(let vip):
      let fails = !isHealed && random.chance(1, in: 100)
      if !fails { hosts[host].addresses |= 1 << UInt64(vip.value) }
      if !isHealed, random.chance(1, in: 100) {
        note("n\(host + 1) never hears of vip\(vip.value)'s address")
        totals.lostAnswers += 1
      } else {
        command(host, .addressResult(vip, ok: !fails))
      }
    case .remove(let vip):
      hosts[host].addresses &= ~(1 << UInt64(vip.value))
      command(host, .addressRemoved(vip))
    }
  }

  // MARK: Ends and starts

  /// The elector's process ends, the machine and its addresses stay; the guardian acts soon.
  mutating func crashElector(_ host: Int) {
    guard let node = hosts[host].node else { return }
    totals.electorCrashes += 1
    note("crash of the elector of n\(host + 1)")
    watch.deadBoot[host] = (node.bootID, node.nextSequence)
    hosts[host].node = nil
    hosts[host].isPaused = false
    queue.push(at: now + 100_000 + Int64(random.next() % 1_000_000), .guardian(host: host, epoch: hosts[host].epoch))
  }

  /// Shuts nothing down itself: removes the addresses, then resigns in the name of the dead boot.
  mutating func guardian(_ host: Int, epoch: Int) {
    guard hosts[host].epoch == epoch, hosts[host].node == nil, let (boot, sequence) = watch.deadBoot[host] else {
      return
    }
    hosts[host].addresses = 0
    var bytes = [UInt8](repeating: 0, count: DatagramLayout.maximumByteCount)
    var authenticator = SimulatedAuthenticator(key: key)
    let local = hosts[host].clock(now)
    let length = bytes.withUnsafeMutableBytes {
      ResignDatagram.encode(
        clusterName: "sim", node: configurations[host].node, boot: boot, sequence: sequence, reason: .died, now: local,
        authenticator: &authenticator, into: $0)
    }
    bytes.removeLast(bytes.count - length)
    note("n\(host + 1)'s guardian resigns")
    record(host, bytes)
    multicast(from: host, bytes)
    for other in 0..<count where other != host { transmit(.unicast, from: host, to: other, bytes) }
    queue.push(at: now + 5_000_000 + Int64(random.next() % 300_000_000), .restart(host: host, epoch: epoch))
  }

  /// Power loss: addresses are gone with the machine.
  mutating func crashHost(_ host: Int) {
    guard hosts[host].node != nil else { return }
    totals.hostCrashes += 1
    note("power loss of n\(host + 1)")
    hosts[host].node = nil
    hosts[host].isPaused = false
    hosts[host].addresses = 0
    queue.push(at: now + 1_000_000 + Int64(random.next() % 400_000_000), .restart(host: host, epoch: hosts[host].epoch))
  }

  mutating func pause(_ host: Int, for length: Int64) {
    guard hosts[host].node != nil, !hosts[host].isPaused else { return }
    totals.pauses += 1
    note("n\(host + 1) freezes for \(length / 1000) us")
    hosts[host].isPaused = true
    queue.push(at: now + length, .resume(host: host, epoch: hosts[host].epoch))
  }

  mutating func resume(_ host: Int) {
    note("n\(host + 1) goes on")
    hosts[host].isPaused = false
    hosts[host].runningSince = now
    let waiting = hosts[host].inbox
    hosts[host].inbox = []
    for (bytes, isMulticast, at) in waiting where hosts[host].node != nil {
      receive(host, bytes, isMulticast: isMulticast, at: at)
    }
    if hosts[host].node != nil { advance(host) }
  }
}
