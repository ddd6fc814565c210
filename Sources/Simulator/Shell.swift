// The simulator's stand-in for the elector's shell, its hands, its balancer and its guardian: carries effects out in
// order and decides nothing.

import ClusterNode
import Election
import Membership
import Primitives
import Wire

extension Simulation {
  mutating func carryOut(_ host: Int, _ local: Instant) {
    // What it claims and answers for changes with an effect only, but for this fault.
    guard !effects.isEmpty || setup.plantedFaults.contains(.gateCountsFromWaking) else { return }
    readOff(host)
    for position in 0..<effects.count where hosts[host].isRunning {
      switch effects[position] {
      case .send:
        send(host, local)
        readOff(host)
      case .acquire(let vip, let cause):
        note("n\(host + 1) acquires vip\(vip.value): \(cause)")
        checkAcquire(host, vip, cause)
        work(host, .add(vip))
      case .release(let vip, let cause):
        note("n\(host + 1) releases vip\(vip.value): \(cause)")
        if case .yielded = cause { totals.yields += 1 }
        watch.removalAt[vip.value][host] = now
        work(host, .remove(vip))
      case .announce(let vip):
        totals.announcements += 1
        checkAnnounce(host, vip)
        if !hosts[host].refusesSends {
          watch.lastAnnouncer[vip.value] = host
          watch.announcedAt[vip.value] = now
        }
      case .handoverStarting(let vip, let to, _):
        note("n\(host + 1) hands vip\(vip.value) over to slot \(to.value)")
        // Sometimes the balancer never answers.
        guard !random.chance(1, in: 20) else { continue }
        queue.push(
          at: now + draw(0...5_000_000),
          .quietened(host: UInt8(host), epoch: hosts[host].epoch, vip: UInt8(vip.value)))
      case .handoverCancelled, .moveRefused, .event, .keepConnections, .passUnknown: break
      case .exit:
        note("n\(host + 1) exits")
        end(host)
        queue.push(at: now + 20_000_000, .restart(host: UInt8(host), epoch: hosts[host].epoch))
      }
    }
    effects.removeAll()
  }

  private mutating func send(_ host: Int, _ local: Instant) {
    let (datagram, room) = pool.take()
    let length = nodes[host].encodeDatagram(into: room, now: local)
    pool.setLength(length, of: datagram)
    let destinations = nodes[host].destinations
    if !hosts[host].refusesSends { transmit(from: host, datagram, to: destinations) }
    if configuresTwoKeys(host), !hosts[host].refusesSends {
      let (copy, copyRoom) = pool.take()
      copyRoom.copyMemory(from: UnsafeRawBufferPointer(rebasing: room[..<length]))
      pool.setLength(length, of: copy)
      let isWanted = nodes[host].signCopy(UnsafeMutableRawBufferPointer(rebasing: copyRoom[..<length]))
      if isWanted {
        totals.copies += 1
        transmit(from: host, copy, to: destinations)
      }
      pool.drop(copy)
    }
    pool.drop(datagram)
  }

  private mutating func transmit(from host: Int, _ datagram: DatagramPool.Slot, to destinations: Destinations) {
    if random.chance(1, in: 50) { record(host, datagram) }
    if destinations.group { multicast(from: host, datagram) }
    for path in 0..<network.pathCount where destinations.members[path] != 0 {
      // All nodes have the same members, and number them in the order of their names: as the hosts.
      for other in 0..<count where destinations.members[path] >> UInt64(other) & 1 == 1 {
        totals.unicasts += 1
        transmit(.unicast, path, from: host, to: other, datagram)
      }
    }
  }

  /// Over every path.
  mutating func multicast(from host: Int, _ datagram: DatagramPool.Slot) {
    for path in 0..<network.pathCount {
      totals.datagrams += 1
      for other in 0..<count where other != host { transmit(.multicast, path, from: host, to: other, datagram) }
    }
  }

  /// One datagram on its way from one host to another: it may be lost, come twice, or late.
  private mutating func transmit(
    _ kind: SimulatedNetwork.Kind, _ path: Int, from host: Int, to other: Int, _ datagram: DatagramPool.Slot
  ) {
    guard network.carries(kind, path, host, other),
      (hosts[host].carriers & hosts[other].carriers) >> UInt8(path) & 1 == 1
    else { return }
    if network.loss > 0, random.below(1000) < network.loss {
      totals.lost += 1
      return
    }
    let copies = network.duplication > 0 && random.below(1000) < network.duplication ? 2 : 1
    if copies == 2 { totals.duplicated += 1 }
    let route = SimulatedRoute(path: UInt8(path), isMulticast: kind == .multicast)
    for _ in 0..<copies {
      pool.use(datagram)
      queue.push(at: now + draw(network.delay), .arrive(host: UInt8(other), datagram: datagram, route: route))
    }
  }

  private mutating func record(_ host: Int, _ datagram: DatagramPool.Slot) {
    pool.use(datagram)
    let said = (boot: nodes[host].bootID, sequence: nodes[host].nextSequence - 1)
    let recording = Recording(
      host: host, epoch: hosts[host].epoch, boot: said.boot, sequence: said.sequence, datagram: datagram)
    guard recordings.count == 200 else { return recordings.append(recording) }
    let position = Int(random.below(200))
    pool.drop(recordings[position].datagram)
    recordings[position] = recording
  }

  /// Somebody without the key sends what was recorded, to whomever it likes. Only words of ended boots, and to those who do not
  /// know of the end only what they may have heard: what never arrived is as good as late.
  mutating func replay() {
    guard !recordings.isEmpty else { return }
    let recording = recordings[Int(random.below(UInt64(recordings.count)))]
    let host = Int(random.below(UInt64(count)))
    guard recording.epoch < hosts[recording.host].epoch, host != recording.host,
      !nodes[host].awaits(recording.boot, sequence: recording.sequence, of: MemberIndex(recording.host))
    else { return }
    totals.replayed += 1
    pool.use(recording.datagram)
    let route = SimulatedRoute(
      path: UInt8(random.below(UInt64(network.pathCount))), isMulticast: random.chance(1, in: 2))
    queue.push(
      at: now + 1_000,
      .arrive(host: UInt8(host), datagram: recording.datagram, route: route))
  }

  // MARK: Hands

  private mutating func work(_ host: Int, _ piece: SimulatedHost.Work) {
    hosts[host].hands.append(piece)
    if hosts[host].hands.count == 1 {
      hosts[host].handsBusySince = now
      scheduleHands(host)
    }
  }

  private mutating func scheduleHands(_ host: Int) {
    let isHung = !isHealed && random.chance(1, in: 300)
    let time = isHung ? draw(Self.hang) : draw(random.chance(1, in: 30) ? 0...30_000_000 : 30_000...330_000)
    if isHung {
      watch.handsHangUntil = max(watch.handsHangUntil, now) + time
      // The node gives an answer up before it comes.
      if watch.handsHangUntil - now > 900_000_000 { watch.answersLost = true }
    }
    queue.push(at: now + time, .handsDone(host: UInt8(host), epoch: hosts[host].epoch))
  }

  mutating func handsDone(_ host: Int) {
    guard hosts[host].isRunning, let piece = hosts[host].hands.first else { return }
    if hosts[host].isPaused {
      scheduleHands(host)
      return
    }
    hosts[host].hands.removeFirst()
    if !hosts[host].hands.isEmpty { scheduleHands(host) }
    switch piece {
    case .add(let vip):
      let fails = !isHealed && random.chance(1, in: 100)
      if !fails { setAddresses(host, hosts[host].addresses | 1 << UInt64(vip.value)) }
      if !isHealed, random.chance(1, in: 100) {
        note("n\(host + 1) never hears of vip\(vip.value)'s address")
        totals.lostAnswers += 1
        watch.answersLost = true
      } else {
        command(host, .addressResult(vip, ok: !fails))
      }
    case .remove(let vip):
      setAddresses(host, hosts[host].addresses & ~(1 << UInt64(vip.value)))
      command(host, .addressRemoved(vip))
    }
  }

  // MARK: Ends and starts

  /// The elector's process ends, the machine and its addresses stay; the guardian acts soon.
  mutating func crashElector(_ host: Int) {
    guard hosts[host].isRunning else { return }
    totals.electorCrashes += 1
    note("crash of the elector of n\(host + 1)")
    watch.deadBoot[host] = (nodes[host].bootID, nodes[host].nextSequence)
    end(host)
    queue.push(at: now + draw(100_000...1_100_000), .guardian(host: UInt8(host), epoch: hosts[host].epoch))
  }

  mutating func setAddresses(_ host: Int, _ addresses: UInt64) {
    hosts[host].addresses = addresses
    var once: UInt64 = 0
    watch.addressedTwice = 0
    for host in hosts.indices {
      watch.addressedTwice |= once & hosts[host].addresses
      once |= hosts[host].addresses
    }
  }

  mutating func buryAddresses(_ host: Int) {
    hosts[host].shutGates()
    setAddresses(host, 0)
  }

  /// Shuts the gate, removes the addresses, then resigns in the name of the dead boot.
  mutating func guardian(_ host: Int, epoch: UInt32) {
    guard hosts[host].epoch == epoch, !hosts[host].isRunning, let (boot, sequence) = watch.deadBoot[host] else {
      return
    }
    let resignsFirst = setup.plantedFaults.contains(.resignsBeforeGate)
    if !resignsFirst { buryAddresses(host) }
    note("n\(host + 1)'s guardian resigns")
    var keys = authenticator(of: host)
    resign(host, boot, sequence, &keys)
    // In both keys: others may have one of them only.
    if var other = keys.other {
      resign(host, boot, sequence, &other)
    }
    if resignsFirst { queue.push(at: now + 2_000_000, .buried(host: UInt8(host), epoch: epoch)) }
    queue.push(at: now + draw(5_000_000...305_000_000), .restart(host: UInt8(host), epoch: epoch))
  }

  private mutating func resign(
    _ host: Int, _ boot: BootID, _ sequence: UInt64, _ authenticator: inout SimulatedAuthenticator
  ) {
    let (datagram, room) = pool.take()
    let length = ResignDatagram.encode(
      clusterName: "sim", node: configurations[host].node, boot: boot, sequence: sequence, reason: .died,
      now: clocks[host].local(now), authenticator: &authenticator, into: room)
    pool.setLength(length, of: datagram)
    record(host, datagram)
    multicast(from: host, datagram)
    for path in 0..<network.pathCount {
      for other in 0..<count where other != host { transmit(.unicast, path, from: host, to: other, datagram) }
    }
    pool.drop(datagram)
  }

  /// Power loss: addresses are gone with the machine.
  mutating func crashHost(_ host: Int) {
    guard hosts[host].isRunning else { return }
    totals.hostCrashes += 1
    note("power loss of n\(host + 1)")
    end(host)
    buryAddresses(host)
    queue.push(at: now + draw(1_000_000...401_000_000), .restart(host: UInt8(host), epoch: hosts[host].epoch))
  }

  /// - Parameter whole: the machine with its clocks, not its processes alone.
  mutating func pause(_ host: Int, for length: Int64, whole: Bool = false) {
    guard hosts[host].isRunning, !hosts[host].isPaused else { return }
    if whole { totals.stops += 1 } else { totals.pauses += 1 }
    note("n\(host + 1)\(whole ? " with its clocks" : "") freezes for \(length / 1000) us")
    hosts[host].isPaused = true
    if whole { hosts[host].stoppedAt = now }
    queue.push(at: now + length, .resume(host: UInt8(host), epoch: hosts[host].epoch))
  }

  mutating func resume(_ host: Int) {
    note("n\(host + 1) goes on")
    hosts[host].isPaused = false
    hosts[host].untold = .max
    hosts[host].runningSince = now
    let wasStopped = hosts[host].stoppedAt != nil
    if let since = hosts[host].stoppedAt { clocksGoOn(host, since: since) } else { excuseDrift(host) }
    let waiting = hosts[host].inbox
    hosts[host].inbox = []
    for (datagram, route, at) in waiting {
      if hosts[host].isRunning {
        receive(host, datagram, route: route, at: wasStopped ? now : at)
      } else {
        pool.drop(datagram)
      }
    }
    advance(host)
    // What the hands and the agent had to say meanwhile.
    command(host, .carrier(up: hosts[host].hasCarrier))
    tellVIPs(host)
  }
}
