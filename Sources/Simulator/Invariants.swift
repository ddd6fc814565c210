// What must hold, checked after every event.
//
// Always: GATE on a network that is well no two hosts answer for a VIP (but a machine whose clocks have stood still, for two
// detection times after it goes on); V3 no announcement without address and claim;
// TURNS ranks act one after another;
// STRICT nobody holds a VIP without what it strictly requires; WITNESS nobody takes one who never holds any, CARRIER or whose
// interface for it has no carrier;
// HANDOVER a planned successor starts after the gate has shut, or the address has gone, or did not go in the time for it;
// DRAIN a draining node takes nothing; LISTEN nothing is claimed before a detection time has passed; EVIDENCE nobody takes
// over from a holder that a well-connected third node hears.
// From four detection times after the heal: V4 one holder, which does not change once planned handovers are done;
// V5 the last announcement is the holder's; V6 no VIP without holder for longer than a detection time; LEFTOVER no address
// on a host that is not the holder.

import ClusterNode
import Election
import Membership
import Primitives

struct InvariantWatch {
  /// VIPs whose address more than one host has, one bit each: without any nothing can answer twice.
  var addressedTwice: UInt64 = 0
  /// When the holders are to be counted next: after a change, while a VIP has none, and when the next rule comes into force.
  var nextLookAt = Int64.max
  /// Until when hands may hang that do.
  var handsHangUntil: Int64 = 0
  /// Some node waits for an answer that will not come.
  var answersLost = false
  /// From here on one holder at most, and vacancies are short.
  var singleFrom = Int64.max
  /// The same for the last VIP, which some configuration may lack.
  var lastSingleFrom = Int64.max
  /// From here on nothing changes hands.
  var stillFrom = Int64.max
  /// How long a VIP may be without a holder then.
  var vacancyLimit = Int64.max
  var lastAnnouncer: [Int?]
  var announcedAt: [Int64]
  var vacantSince: [Int64?]
  /// When each host took each VIP last.
  var heldSince: [[Int64]]
  /// When each host last began to remove each address.
  var removalAt: [[Int64]]
  /// Unplanned takings, and those of them where another acted within the same interval.
  var takings = 0
  var coincidences = 0
  /// By VIP: how each host took it last.
  var taken: [[Taking]]
  var stillHolder: [Int?]
  /// Boot and next sequence of electors that crashed, as the guardian reads them from the shared page.
  var deadBoot: [(BootID, UInt64)?]
  /// Scratch.
  var status = StatusSnapshot()

  init(vipCount: Int, count: Int) {
    lastAnnouncer = Array(repeating: nil, count: vipCount)
    announcedAt = Array(repeating: .min, count: vipCount)
    vacantSince = Array(repeating: nil, count: vipCount)
    heldSince = Array(repeating: Array(repeating: .min / 2, count: count), count: vipCount)
    removalAt = Array(repeating: Array(repeating: .min / 2, count: count), count: vipCount)
    taken = Array(repeating: Array(repeating: .never, count: count), count: vipCount)
    stillHolder = Array(repeating: nil, count: vipCount)
    deadBoot = Array(repeating: nil, count: count)
  }

  /// Nothing has to be at rest any more.
  mutating func beginRound() {
    (singleFrom, lastSingleFrom, stillFrom, vacancyLimit, nextLookAt) = (.max, .max, .max, .max, .max)
    answersLost = false
    for vip in vacantSince.indices {
      vacantSince[vip] = nil
      stillHolder[vip] = nil
    }
  }

  /// Somebody claims or lets go.
  mutating func lookNow() { if singleFrom != .max { nextLookAt = min(nextLookAt, singleFrom) } }
}

extension Simulation {
  mutating func violate(_ invariant: String, _ what: String) {
    guard violation == nil else { return }
    violation = Violation(invariant: invariant, seed: setup.seed, atNanoseconds: now, what: what)
    note("VIOLATION \(invariant): \(what)")
    if setup.keepsLog { noteViews() }
  }

  /// How each elector sees it all, for who looks for the reason.
  private mutating func noteViews() {
    for host in 0..<count where hosts[host].isRunning {
      nodes[host].snapshot(into: &watch.status, now: clocks[host].local(now))
      let status = watch.status
      for (slot, vip) in status.vips.enumerated() where vip.isConfigured {
        let holder = vip.holder.map { "n\(hostIndex($0, at: host) + 1)" } ?? "nobody"
        let why = vip.ineligible.map { ", may not: \($0)" } ?? ""
        note("n\(host + 1)'s view of vip\(slot): \(holder) holds it (\(vip.cause)), is \(vip.position)\(why)")
      }
    }
  }

  func isHolder(_ host: Int, _ vip: VIPIndex) -> Bool { hosts[host].claims >> UInt64(vip.value) & 1 == 1 }

  mutating func checkAnnounce(_ host: Int, _ vip: VIPIndex) {
    if !hosts[host].has(vip) { violate("V3", "n\(host + 1) announces vip\(vip.value) without its address") }
    if !isHolder(host, vip) { violate("V3", "n\(host + 1) announces vip\(vip.value) without a claim") }
  }

  mutating func checkAcquire(_ host: Int, _ vip: VIPIndex, _ cause: TransitionCause) {
    // Commands reach a node at once, so what was set before this event binds it.
    if hosts[host].draining { violate("DRAIN", "n\(host + 1) takes vip\(vip.value) while it is draining") }
    if isStrict(vip.value), !hosts[host].balancerReady, !hosts[host].isUninformed(of: vip) {
      violate("STRICT", "n\(host + 1) takes vip\(vip.value) without what it requires")
    }
    if host == witness { violate("WITNESS", "n\(host + 1) takes vip\(vip.value), and never holds any") }
    if !hasCarrier(host, vip.value), !hosts[host].isUninformed(of: vip) {
      violate("CARRIER", "n\(host + 1) takes vip\(vip.value) without carrier on its interface")
    }
    checkUnheard(host, vip, cause)
    checkTurn(host, vip, cause)
    watch.heldSince[vip.value][host] = now
    let age = clocks[host].local(now) - hosts[host].startedAt
    if age.nanoseconds < detectionTime(hosts[host].quickestInterval) {
      violate("LISTEN", "n\(host + 1) takes vip\(vip.value) \(age.nanoseconds) ns after its start")
    }
    if let giver = cause.giver { return checkHandover(host, vip, from: hostIndex(giver, at: host)) }
    switch cause {
    case .holderDead(let member):
      totals.takeovers += 1
      checkEvidence(host, vip, holder: hostIndex(member, at: host))
    case .holderResigned:
      totals.takeovers += 1
      totals.resigns += 1
    default:
      totals.takeovers += 1
      for holder in 0..<count
      where holder != host && isHolder(holder, vip) && now - watch.heldSince[vip.value][holder] > 4 * atMost(detection)
      {
        checkEvidence(host, vip, holder: holder)
      }
    }
  }

  private mutating func checkHandover(_ host: Int, _ vip: VIPIndex, from: Int) {
    totals.plannedHandovers += 1
    let patience = ElectionLimits.removalDeadline.nanoseconds * (990 - drift) / 1000
    // Whose clocks have stood still may take a plan for new after which the giver has come back.
    if from != host, isAlive(from), !hosts[host].isExcused(vip.value, at: now),
      isGated
        ? hosts[from].answers(vip, at: now)
        : hosts[from].has(vip) && now - watch.removalAt[vip.value][from] < patience
    {
      violate("HANDOVER", "n\(host + 1) starts vip\(vip.value) while n\(from + 1) still answers")
    }
  }

  /// Where all hear all, the ranks act one after another, but for a few that learn of the end of a holder at different
  /// times.
  private mutating func checkTurn(_ host: Int, _ vip: VIPIndex, _ cause: TransitionCause) {
    if let giver = cause.giver {
      watch.taken[vip.value][host] = watch.taken[vip.value][hostIndex(giver, at: host)].given
      return
    }
    if isWell(since: now - 8 * atMost(detection)) {
      watch.takings += 1
      let isDouble = watch.taken[vip.value].indices.contains {
        $0 != host && isHolder($0, vip) && now - watch.taken[vip.value][$0].at < heartbeat.nanoseconds
      }
      if isDouble { watch.coincidences += 1 }
      if watch.coincidences > max(4, vipCount) + watch.takings / 4 {
        violate("TURNS", "of \(watch.takings) takings \(watch.coincidences) were at the same moment as another's")
      }
    }
    watch.taken[vip.value][host] = Taking(at: now)
  }

  /// Who has not been heard by anybody since it started leaves what a holder holds that it hears all the time.
  private mutating func checkUnheard(_ host: Int, _ vip: VIPIndex, _ cause: TransitionCause) {
    let since = max(now - 8 * atMost(detection), hosts[host].startedTrue)
    guard !cause.isPlanned, now - since >= 8 * atMost(detection), network.loss == 0, network.lossChangedAt <= since,
      !canBeHeard(host, since: hosts[host].startedTrue)
    else { return }
    for other in 0..<count where other != host && isHolder(other, vip) && watch.heldSince[vip.value][other] <= since {
      guard isAlive(other), hosts[other].runningSince <= since, !hosts[other].refusesSends,
        hosts[other].linkChangedAt <= since, hosts[host].linkChangedAt <= since,
        (0..<network.pathCount).contains(where: {
          (hosts[host].carriers & hosts[other].carriers) >> UInt8($0) & 1 == 1
            && network.isUp($0, other, host, since: since)
        })
      else { continue }
      violate("UNHEARD", "n\(host + 1) takes vip\(vip.value), which n\(other + 1) holds that it hears; nobody hears it")
    }
  }

  /// Anything of it may have reached anybody since `time`.
  private func canBeHeard(_ host: Int, since time: Int64) -> Bool {
    if hosts[host].refusesSends, hosts[host].linkChangedAt <= time { return false }
    return (0..<count).contains { other in
      other != host
        && (0..<network.pathCount).contains { path in !network.isCut(path, host, other, since: time) }
    }
  }

  /// Its configuration names the VIP: it tells of it.
  private func knows(_ host: Int, _ vip: VIPIndex) -> Bool { !hosts[host].lacksLastVIP || vip.value < vipCount - 1 }

  private var isGated: Bool { configurations[0].vips[0].isGated }
  private func isAlive(_ host: Int) -> Bool { hosts[host].isRunning && !hosts[host].isPaused }

  private func hostIndex(_ member: MemberIndex, at host: Int) -> Int {
    let name = nodes[host].memberName(member)
    return configurations.firstIndex { $0.node == name } ?? host
  }

  /// Only judged where the truth is plain: no loss, and links and processes that have been well for a while.
  private mutating func checkEvidence(_ host: Int, _ vip: VIPIndex, holder: Int) {
    let since = now - 4 * atMost(detection)
    func well(_ index: Int) -> Bool {
      isAlive(index) && hosts[index].runningSince <= since && hosts[index].hasCarrier
    }
    guard now - watch.heldSince[vip.value][holder] > 2 * heartbeat.nanoseconds, network.loss == 0,
      network.lossChangedAt <= since, network.delay.upperBound < quickestHeartbeat.nanoseconds / 2,
      isHolder(holder, vip), well(holder), well(host)
    else { return }
    // Who has just lost the holder may wait less than a member with a longer interval takes to speak of it.
    let isOld = (0..<network.pathCount).allSatisfy { network.isUnchanged($0, holder, host, since: since) }
    for witness in 0..<count where witness != host && witness != holder && knows(witness, vip) {
      if !isOld, configurations[witness].heartbeat > configurations[holder].heartbeat * 2 { continue }
      if well(witness), isLinked(witness, holder, since: since), isLinked(witness, host, since: since) {
        violate("EVIDENCE", "n\(host + 1) takes vip\(vip.value) from n\(holder + 1), which n\(witness + 1) hears")
      }
    }
  }

  /// Nothing is lost or slow, and each host reaches each over some path, without a change since `time`.
  private func isWell(since time: Int64) -> Bool {
    guard network.loss == 0, network.lossChangedAt <= time, network.delay.upperBound < quickestHeartbeat.nanoseconds / 2
    else {
      return false
    }
    return (0..<count).allSatisfy { a in (0..<a).allSatisfy { b in isLinked(a, b, since: time) } }
  }

  /// Some path carries everything between the two, in both directions, and has since `time`.
  private func isLinked(_ a: Int, _ b: Int, since time: Int64) -> Bool {
    guard hosts[a].linkChangedAt <= time, hosts[b].linkChangedAt <= time else { return false }
    guard !hosts[a].refusesSends, !hosts[b].refusesSends else { return false }
    return (0..<network.pathCount).contains { path in
      (hosts[a].carriers & hosts[b].carriers) >> UInt8(path) & 1 == 1
        && network.isUp(path, a, b, since: time) && network.isUp(path, b, a, since: time)
    }
  }

  /// Clocks that differ by what the simulation lets them differ may overlap by that much of a detection time. Two may take
  /// what nobody holds any more at the same moment, until one hears the other: they learned of it from different datagrams,
  /// or may act at all since then.
  private mutating func checkGates() {
    guard isWell(since: now - 8 * atMost(detection)) else { return }
    for vip in 0..<vipCount where watch.addressedTwice >> UInt64(vip) & 1 == 1 {
      var first: Int?
      for host in 0..<count
      where hosts[host].answers(VIPIndex(vip), at: now + driftOfGate(host)) && !hosts[host].isExcused(vip, at: now) {
        if let first {
          let isCoincidence = watch.taken[vip][first].coincides(
            with: watch.taken[vip][host], now: now, interval: heartbeat.nanoseconds, delay: network.delay.upperBound)
          if isCoincidence { continue }
          violate("GATE", "n\(first + 1) and n\(host + 1) both answer for vip\(vip)")
          return
        }
        first = host
      }
    }
  }

  /// By how much a host's gate may outlast the patience of somebody with a quicker clock.
  func driftOfGate(_ host: Int) -> Int64 {
    nodes[host].answeringTime.nanoseconds * (2 * drift + 2) / (1000 - drift)
  }

  mutating func checkAfterStep() {
    if watch.addressedTwice != 0 { checkGates() }
    if now >= watch.nextLookAt { countHolders() }
  }

  private mutating func countHolders() {
    watch.nextLookAt = now < watch.stillFrom ? watch.stillFrom : .max
    for vip in 0..<vipCount {
      if vip == vipCount - 1, now < watch.lastSingleFrom {
        watch.nextLookAt = min(watch.nextLookAt, watch.lastSingleFrom)
        continue
      }
      let holders = (0..<count).filter { isHolder($0, VIPIndex(vip)) }
      if isForbidden(vip) {
        if let holder = holders.first { violate("STRICT", "n\(holder + 1) holds vip\(vip) without what it requires") }
        continue
      }
      guard let holder = holders.first else {
        let since = watch.vacantSince[vip] ?? now
        watch.vacantSince[vip] = since
        watch.nextLookAt = now
        if now - since > watch.vacancyLimit { violate("V6", "vip\(vip) has had no holder for \(now - since) ns") }
        continue
      }
      guard holders.count == 1 else {
        return violate("V4", "vip\(vip) has \(holders.count) holders: \(holders.map { "n\($0 + 1)" })")
      }
      watch.vacantSince[vip] = nil
      guard now >= watch.stillFrom else { continue }
      if isStrict(vip), !hosts[holder].balancerReady {
        violate("STRICT", "n\(holder + 1) keeps vip\(vip) without what it requires")
      }
      if let still = watch.stillHolder[vip], still != holder {
        violate("V4", "vip\(vip) flaps from n\(still + 1) to n\(holder + 1)")
      }
      watch.stillHolder[vip] = holder
    }
  }

  /// Nobody may hold it.
  private func isForbidden(_ vip: Int) -> Bool {
    isStrict(vip) && hosts.indices.allSatisfy { !hosts[$0].balancerReady || !mayHold($0) }
  }

  mutating func checkAtRest() {
    for vip in 0..<vipCount {
      if isForbidden(vip) {
        for host in 0..<count where hosts[host].has(VIPIndex(vip)) {
          violate("LEFTOVER", "vip\(vip): an address on n\(host + 1), and nobody may hold it")
        }
        continue
      }
      guard let holder = (0..<count).first(where: { isHolder($0, VIPIndex(vip)) }) else {
        violate("V6", "vip\(vip) has no holder at the end")
        return
      }
      // Of who was cut off and has left since nobody could know: the holder's next refresh tells.
      let hasLeft =
        watch.lastAnnouncer[vip] == count - 1 && isRemoved(count - 1)
        && watch.heldSince[vip][holder] < watch.announcedAt[vip]
      if watch.lastAnnouncer[vip] != holder, !hasLeft {
        let who = watch.lastAnnouncer[vip].map { "n\($0 + 1)" } ?? "nobody"
        violate("V5", "vip\(vip) was last announced by \(who), n\(holder + 1) holds it")
      }
      for host in 0..<count where hosts[host].has(VIPIndex(vip)) != (host == holder) {
        let what = host == holder ? "no address" : "an address"
        violate("LEFTOVER", "vip\(vip): \(what) on n\(host + 1), n\(holder + 1) holds it")
      }
    }
  }
}

extension TransitionCause {
  /// Who gave the VIP by a plan to the node that takes it for this cause.
  fileprivate var giver: MemberIndex? {
    switch self {
    case .moved(let giver), .drained(let giver), .failback(let giver), .shutdown(let giver),
      .becameIneligible(let giver):
      giver
    default: nil
    }
  }
}
