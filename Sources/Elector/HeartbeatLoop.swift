// The heartbeat thread: waits, drains the socket, lets the node judge, carries out what it says. Makes no call that blocks
// and allocates nothing once it runs (a reload does). Everything slow goes to the hands by a ring.

import ClusterNode
import Control
import Cryptography
import Election
import Kernel
import Membership
import Primitives
import Wire

struct HeartbeatLoop: ~Copyable {
  /// The page's beat moves at least this often, whatever the heartbeat interval: the guardian judges after 50 ms.
  static let beatInterval = TimeSpan.milliseconds(15)
  /// How often the agent is told while nothing changes: a picture of many VIPs costs more, and seldomer.
  static func statusInterval(vips: Int) -> TimeSpan { .milliseconds(250) * Int64(min(max(1, vips / 50), 4)) }
  /// The timer never fires sooner than this after it was armed, so that no mistake can spin a real-time thread.
  static let shortestWait = TimeSpan.microseconds(20)
  /// Batches taken at one wake-up; a flood beyond it waits for the next, so that heartbeats go out meanwhile.
  static let maximumBatches = 16
  /// Room in the ring that announcements and events leave free for additions and removals of addresses.
  static let reservedOrders = ElectorShared.handsRingCapacity / 2

  private enum Token: UInt64 { case timer = 1, socket, orders }

  private var node: ClusterNode<HeartbeatAuthenticator>
  private let shared: ElectorShared
  private let page: SharedMemory
  private let poller: Poller
  private let timer: Timer
  private var batch = DatagramBatch()
  private var effects = EffectBuffer()
  private var addresses: PeerAddresses
  private let buffer: UnsafeMutableRawBufferPointer
  private var times: ReceiveTimes
  private var gate: GateRefresh
  /// When this wake-up began, on the gate's clock: what the node decides now, it decides as of then.
  private var wokeAt = Instant(nanoseconds: 0)
  private var armedAt = Instant.distantFuture
  private var statusDueAt: Instant
  private var statusInterval: TimeSpan
  private var beat: UInt64 = 0
  private var counters = ShellCounters()
  /// Members whose software version the hands know.
  private var versionsTold: UInt64 = 0
  /// Releases that found the ring full, how many of each VIP; tried again at each wake-up.
  private var releasesOwed = [Int](repeating: 0, count: VIPIndex.limit)
  private var owesReleases = false
  /// A table of names that found the ring full. Nothing else is said before it.
  private var namesOwed: NameTable?
  /// The last configuration that was taken over, until the hands hear of that.
  private var revisionOwed: UInt64?
  private var wantsToEnd = false
  private var ended = false

  init(
    node: consuming ClusterNode<HeartbeatAuthenticator>, shared: ElectorShared, page: consuming SharedMemory,
    plan: ElectorPlan, gate: GateRefresh
  ) throws(SystemError) {
    let poller = try Poller(capacity: 8)
    let timer = try Timer()
    try poller.add(timer.descriptor.raw, .read, token: Token.timer.rawValue)
    for path in shared.paths { try poller.add(path.socket.descriptor.raw, .read, token: Token.socket.rawValue) }
    try poller.add(shared.nodeWakeUp.descriptor.raw, .read, token: Token.orders.rawValue)
    addresses = PeerAddresses(of: node, plan: plan)
    self.node = node
    self.shared = shared
    self.page = page
    self.gate = gate
    self.poller = poller
    self.timer = timer
    buffer = .allocate(byteCount: DatagramLayout.maximumByteCount, alignment: 16)
    buffer.initializeMemory(as: UInt8.self, repeating: 0)
    times = ReceiveTimes(now: Clock.monotonic)
    statusDueAt = Instant(nanoseconds: 0)
    statusInterval = Self.statusInterval(vips: plan.cluster.vips.count)
    store(self.node.bootID.high, .bootHigh)
    store(self.node.bootID.low, .bootLow)
    store(self.node.nextSequence, .nextSequence)
    store(UInt64(self.node.detectionTime.nanoseconds), .detectionNanoseconds)
    store(ElectorPage.magic, .magic)
  }

  deinit { buffer.deallocate() }

  private func store(_ value: UInt64, _ word: ElectorPage.Word) { page.store(value, in: word.rawValue) }

  /// Runs until the node has handed everything over.
  mutating func run() {
    while !ended {
      wakeUp()
      if ended { break }
      let now = Clock.monotonic
      var next = min(node.nextDeadline, min(statusDueAt, now + Self.beatInterval))
      next = max(next, now + Self.shortestWait)
      if next != armedAt {
        timer.arm(at: next)
        armedAt = next
      }
      for index in 0..<poller.wait(timeout: nil) {
        // The timer is cleared by arming it again, and the socket by draining it.
        if poller.token(index) == Token.orders.rawValue { shared.nodeWakeUp.clear() }
      }
    }
  }

  /// One pass: datagrams, orders, time, and what follows from them. One reading of the clock serves it all, so that the
  /// node sees one wake-up, however much had gathered.
  private mutating func wakeUp() {
    let now = Clock.monotonic
    wokeAt = Clock.boot
    if gate.hasLapsed(at: wokeAt) {
      node.handle(.silenced, now: now, effects: &effects)
      carryOut(now: now)
    }
    let heardAll = drainSockets(now: now, unixNow: Clock.unixNanoseconds)
    while let order = shared.toNode.pop() { take(order, now: now) }
    node.advance(now: now, heardAll: heardAll, effects: &effects)
    carryOut(now: now)
    if owesReleases { payReleases() }
    if let revision = revisionOwed, push(.reconfigured(revision: revision)) {
      revisionOwed = nil
      shared.handsWakeUp.signal()
    }
    offerStatus(now: now)
    if wantsToEnd, !owesReleases, push(.exit) {
      ended = true
      shared.handsWakeUp.signal()
    }
    beat &+= 1
    store(beat, .beat)
    store(UInt64(node.detectionTime.nanoseconds), .detectionNanoseconds)
  }

  /// Everything that has arrived is known before any timer is judged. False if more waits than is taken at once.
  private mutating func drainSockets(now: Instant, unixNow: Int64) -> Bool {
    var heardAll = true
    for path in shared.paths.indices where !drain(path, now: now, unixNow: unixNow) { heardAll = false }
    if heardAll { times.drained(at: now) } else { counters.floods &+= 1 }
    return heardAll
  }

  private mutating func drain(_ path: Int, now: Instant, unixNow: Int64) -> Bool {
    for _ in 0..<Self.maximumBatches {
      let count = batch.receive(from: shared.paths[path].socket)
      for index in 0..<count {
        let datagram = batch[index]
        let receivedAt = times.instant(stamp: datagram.stampUnixNanoseconds, unixNow: unixNow, now: now)
        node.receive(
          datagram.bytes, over: Arrival(path: path, isMulticast: datagram.isMulticast), receivedAt: receivedAt,
          now: now, effects: &effects)
        if !effects.isEmpty { carryOut(now: now) }
      }
      if count < DatagramBatch.capacity { return true }
    }
    return false
  }

  private mutating func take(_ order: NodeOrder, now: Instant) {
    switch order {
    case .command(let command): node.handle(command, now: now, effects: &effects)
    case .reconfigure(let plan, let revision):
      node.reconfigure(plan.cluster, authenticator: plan.authenticator, now: now, effects: &effects)
      addresses = PeerAddresses(of: node, plan: plan)
      statusInterval = Self.statusInterval(vips: plan.cluster.vips.count)
      // Slots that fall away are released under their old names first; what new ones stand for is known before anything
      // is acquired.
      carryOut(now: now)
      if owesReleases { payReleases() }
      namesOwed = NameTable(of: node, configuration: plan.configuration)
      if !payNames() { counters.lostOrders &+= 1 }
      versionsTold = 0
      gate.assign(node, plan)
      revisionOwed = revision
    }
    statusDueAt = now
    carryOut(now: now)
  }

  /// Carries out what the node said, in order.
  private mutating func carryOut(now: Instant) {
    var position = 0
    var wakesHands = false
    // Answers to effects that could not be passed on may add effects at the end.
    while position < effects.count {
      let effect = effects[position]
      position += 1
      if case .send = effect {
        send(now: now)
        continue
      }
      wakesHands = true
      pass(effect, now: now)
    }
    effects.removeAll()
    if wakesHands { shared.handsWakeUp.signal() }
  }

  private mutating func send(now: Instant) {
    // Stopped since it woke, for so long that others have taken over: what it decided then must not be said now.
    guard Clock.monotonic - now < node.answeringTime else { return }
    let count = node.encodeDatagram(into: buffer, now: now)
    // A guardian that resigns for us from here on must use a later sequence.
    store(node.nextSequence, .nextSequence)
    let datagram = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
    transmit(UnsafeRawBufferPointer(datagram))
    if node.signCopy(datagram) { transmit(UnsafeRawBufferPointer(datagram)) }
  }

  private mutating func transmit(_ datagram: UnsafeRawBufferPointer) {
    let destinations = node.destinations
    let refusedBefore = counters.refusedSends
    var attempts: UInt64 = 0
    for path in shared.paths.indices {
      if destinations.group {
        attempts += 1
        note(shared.paths[path].socket.send(datagram))
      }
      var left = destinations.members[path]
      while left != 0 {
        let slot = left.trailingZeroBitCount
        left &= left - 1
        guard let to = addresses.member(slot, path: path), let from = addresses.own(path: path) else { continue }
        attempts += 1
        note(shared.paths[path].socket.send(datagram, to: to, from: from))
      }
    }
    // What the system refused altogether nobody heard. (A lone member may have nobody to send to.)
    if attempts == 0 || counters.refusedSends - refusedBefore < attempts { gate.refresh(node, sentAt: wokeAt) }
  }

  private mutating func note(_ code: Int32) {
    guard code != 0 else { return }
    counters.refusedSends &+= 1
    counters.lastSendError = code
  }

  private mutating func pass(_ effect: Effect, now: Instant) {
    switch effect {
    case .send: break
    case .acquire(let vip, _):
      gate.acquire(vip, now: wokeAt)
      payReleases(of: vip.value)
      // One that is lost is not answered: an answer now would be taken for that to an earlier one. The node's deadline for it
      // passes, and the release that follows settles the accounts.
      if releasesOwed[vip.value] > 0 || !push(.acquire(vip)) { counters.lostOrders &+= 1 }
    case .release(let vip, _):
      gate.shut(vip)
      payReleases(of: vip.value)
      if releasesOwed[vip.value] > 0 || !push(.release(vip)) {
        counters.lostOrders &+= 1
        releasesOwed[vip.value] += 1
        owesReleases = true
      }
    case .keepConnections(let vip, let gently):
      gate.keepConnections(vip, now: wokeAt)
      tellHands(.keepConnections(vip, gently: gently))
    case .passUnknown(let vip, let member):
      gate.passUnknown(vip, to: member)
      tellHands(.passUnknown(vip, to: member))
    case .announce(let vip): tellHands(.announce(vip))
    case .handoverStarting(let vip, let member, let deadline):
      tellHands(.handoverStarting(vip, to: member, deadline: deadline))
    case .handoverCancelled(let vip): tellHands(.handoverCancelled(vip))
    case .moveRefused(let vip, let refusal): tellHands(.moveRefused(vip, refusal))
    case .event(let event):
      if case .memberDead(let member) = event.kind { versionsTold &= ~(1 << UInt64(member.value)) }
      tellHands(.event(event, at: now))
    case .exit: wantsToEnd = true
    }
    if case .announce = effect {} else { statusDueAt = now }
  }

  /// Passes on what may be lost when the hands are far behind; the loss is counted, and shown by `status`.
  private mutating func tellHands(_ order: HandsOrder) {
    if shared.toHands.free <= Self.reservedOrders || !push(order) { counters.lostOrders &+= 1 }
  }

  /// Under the right names, or not at all.
  private mutating func push(_ order: HandsOrder) -> Bool { payNames() && shared.toHands.push(order) }

  private mutating func payNames() -> Bool {
    guard let names = namesOwed else { return true }
    guard shared.toHands.push(.names(names)) else { return false }
    namesOwed = nil
    shared.handsWakeUp.signal()
    return true
  }

  private mutating func payReleases() {
    owesReleases = false
    for slot in 0..<VIPIndex.limit {
      payReleases(of: slot)
      if releasesOwed[slot] > 0 { owesReleases = true }
    }
    shared.handsWakeUp.signal()
  }

  private mutating func payReleases(of slot: Int) {
    while releasesOwed[slot] > 0, push(.release(VIPIndex(slot))) { releasesOwed[slot] -= 1 }
  }

  /// Gives the hands a picture of the node when one is due and they have read the last.
  private mutating func offerStatus(now: Instant) {
    guard now >= statusDueAt else { return }
    let status = shared.status
    guard status.isFree else {
      statusDueAt = now + .milliseconds(1)
      return
    }
    node.snapshot(into: &status.snapshot, now: now)
    var reason = 0
    while reason < StatusExchange.reasonCount, let name = DropReason(rawValue: reason) {
      status.dropped[reason] = node.dropped[name]
      reason += 1
    }
    status.shell = counters
    for slot in 0..<MemberIndex.limit where versionsTold & (1 << UInt64(slot)) == 0 {
      guard status.snapshot.members[slot].isConfigured, let text = node.softwareVersion(MemberIndex(slot)) else {
        continue
      }
      versionsTold |= 1 << UInt64(slot)
      tellHands(.softwareVersion(MemberIndex(slot), text))
    }
    status.offer()
    statusDueAt = now + statusInterval
    shared.handsWakeUp.signal()
  }
}
