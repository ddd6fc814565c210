// Addresses that are about to leave the node. First, gently: every answer to a client that is connected to one of them is
// its last on that connection, while new connections still come in. Then SYNs to the addresses are dropped without an
// answer, requests in flight finish, and the agent is told. The clients' kernels repeat their SYNs to the next holder.

internal import Kernel
internal import Primitives

struct Handover {
  struct Job {
    let token: UInt64
    let addresses: [IPAddress]
    /// Answered at the latest.
    let deadline: Instant
    /// The gentle phase ends at the latest.
    let gentleUntil: Instant
    /// The filter was put in place, or the agent was asked for it.
    var wantsFilter = false
    /// When SYNs began to be dropped; nil until then.
    var filteringSince: Instant?
  }
  /// Not yet answered.
  var jobs: [Job] = []
  /// Leaving or gone, until `resume`.
  var addresses: [IPAddress] = []
  /// Open connections to them, tunnels apart.
  var leavingCount = 0
  /// Those among them that were there when it began.
  var earlierCount = 0
  /// Listening sockets may hold connections that have not been accepted.
  var queuesHold = false
  var nextLook = Instant(nanoseconds: 0)
}

extension Worker {
  /// A keep-alive connection that has been idle this long has no request on its way.
  private static let idleBeforeClosing = TimeSpan.milliseconds(50)
  private static let lookInterval = TimeSpan.milliseconds(8)
  /// From the first dropped SYN on: the filter is in place and handshakes that were under way have ended by then, and their
  /// clients are accepted.
  private static let handshake = TimeSpan.milliseconds(5)

  mutating func beginHandover(_ token: UInt64, _ addresses: [IPAddress], deadline: Instant, gentleUntil: Instant) {
    for address in addresses where !handover.addresses.contains(address) { handover.addresses.append(address) }
    acceptWithData()
    for index in 0..<Int32(clients.highWater) where clients[index].pointee.isOpen {
      let client = clients[index]
      if client.pointee.isLeaving { continue }
      noteLeaving(client)
      if client.pointee.isLeaving {
        client.pointee.wasThereBefore = true
        handover.earlierCount += 1
      }
    }
    handover.jobs.append(
      Handover.Job(token: token, addresses: addresses, deadline: deadline, gentleUntil: gentleUntil))
    advanceHandover()
  }

  /// Marks a client that is connected to a leaving address. Tunnels cannot be ended gently and hold nothing up.
  mutating func noteLeaving(_ client: Client) {
    if client.pointee.phase == .tunnel || !snapshot.listeners[Int(client.pointee.listener)].isHTTP { return }
    guard let local = StreamSocket.localAddress(client.pointee.stream.descriptor) else { return }
    if handover.addresses.contains(local.address) {
      client.pointee.isLeaving = true
      handover.leavingCount += 1
    }
  }

  /// It became a tunnel, is closed, or its address stays.
  mutating func stopWaitingForLeaving(_ client: Client) {
    if client.pointee.isLeaving { handover.leavingCount -= 1 }
    if client.pointee.wasThereBefore { handover.earlierCount -= 1 }
    client.pointee.isLeaving = false
    client.pointee.wasThereBefore = false
  }

  mutating func advanceHandover() {
    if now >= handover.nextLook {
      handover.nextLook = now + Self.lookInterval
      closeIdleLeaving()
    }
    var position = 0
    while position < handover.jobs.count {
      if !handover.jobs[position].wantsFilter
        && (handover.earlierCount == 0 || now >= handover.jobs[position].gentleUntil)
      {
        handover.jobs[position].wantsFilter = true
        if filter() { handover.jobs[position].filteringSince = now }
      }
      let job = handover.jobs[position]
      if job.filteringSince != nil && (handover.leavingCount == 0 || handover.queuesHold) { emptyQueues() }
      if let since = job.filteringSince,
        (handover.leavingCount == 0 && !handover.queuesHold && now - since >= Self.handshake) || now >= job.deadline
      {
        handover.jobs.remove(at: position)
        reports.post(.quietened(token: job.token), from: index)
      } else {
        position += 1
      }
    }
  }

  private mutating func closeIdleLeaving() {
    let longIdle = Tick(Self.idleBeforeClosing.nanoseconds / TimerWheel.tickNanoseconds) + 1
    for index in 0..<Int32(clients.highWater) {
      let client = clients[index]
      guard client.pointee.isOpen, client.pointee.isLeaving, client.pointee.phase == .head,
        client.pointee.stream.output.isEmpty, !client.pointee.headHasBegun,
        tick &- client.pointee.idleSince >= longIdle, !StreamSocket.hasInput(client.pointee.stream.descriptor)
      else { continue }
      closeClient(index, client, abortively: false)
    }
  }

  /// The agent drops SYNs to these addresses for us: what was accepted until now is all that came before.
  mutating func noteFilter(_ addresses: [IPAddress]) {
    for position in 0..<handover.jobs.count
    where handover.jobs[position].wantsFilter && handover.jobs[position].filteringSince == nil
      && handover.jobs[position].addresses.allSatisfy({ addresses.contains($0) })
    {
      handover.jobs[position].filteringSince = now
    }
  }

  /// Puts the filter for all addresses that leave on every listening socket, then takes what is in the queues already.
  /// False if the agent had to be asked: the filter is in force once it has answered.
  @discardableResult
  mutating func filter() -> Bool {
    var isInForce = true
    for place in 0..<listening.count where listening[place].raw >= 0 {
      do throws(SystemError) {
        if handover.addresses.isEmpty {
          try StreamSocket.acceptNewConnections(listening[place].raw)
        } else {
          try StreamSocket.dropNewConnections(listening[place].raw, to: handover.addresses)
        }
      } catch {
        isInForce = false
        reports.post(.filterRefused(handover.addresses, error), from: index)
      }
    }
    emptyQueues()
    return isInForce
  }

  private mutating func emptyQueues() {
    handover.queuesHold = false
    for place in 0..<listening.count where !acceptClients(place, atMost: Self.largestQueue) {
      handover.queuesHold = true
    }
  }

  /// They stay, or are back: connections to them are ordinary again.
  mutating func endHandover(_ addresses: [IPAddress]) {
    handover.addresses.removeAll { addresses.contains($0) }
    let unanswered = handover.jobs.filter { job in job.addresses.allSatisfy { addresses.contains($0) } }
    handover.jobs.removeAll { job in job.addresses.allSatisfy { addresses.contains($0) } }
    for job in unanswered { reports.post(.quietened(token: job.token), from: index) }
    for index in 0..<Int32(clients.highWater) where clients[index].pointee.isOpen {
      let client = clients[index]
      guard client.pointee.isLeaving else { continue }
      stopWaitingForLeaving(client)
      if !handover.addresses.isEmpty { noteLeaving(client) }
    }
    acceptWithData()
    filter()
  }
}
