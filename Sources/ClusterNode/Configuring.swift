// Slots: names that stay in the configuration keep theirs, so that effects and answers in flight still mean the same.

import Election
import Membership
import Primitives
import Wire

extension NodeCore {
  mutating func reconfigure(_ new: ClusterConfiguration, now: Instant, effects: inout EffectBuffer) {
    precondition(new.node == configuration.node, "a node does not change its name while it runs")
    guard !hasExited else { return }
    configure(new, now: now, effects: &effects)
    // Judged by `advance`, when the shell knows what the slots mean.
    evaluateAllWanted = true
    sendWanted = true
  }

  mutating func configure(_ new: ClusterConfiguration, now: Instant, effects: inout EffectBuffer) {
    precondition(
      new.members.count <= MemberIndex.limit && new.vips.count <= VIPIndex.limit
        && (1...Arrival.pathLimit).contains(new.pathCount), "the configuration is too large")
    configuration = new
    clusterID = StableHash.hash(new.clusterName)
    if interval != new.heartbeat { changeInterval(to: new.heartbeat, now: now) }
    members.configuredDetection = new.detectionTime
    adapt(now: now)
    members.pathCount = new.pathCount
    configureMembers(new)
    configureVIPs(new, now: now, effects: &effects)
    candidacies.makeRoom(vips: vipCount, members: memberCount)
    links.makeRoom(members: memberCount)
    let version = Array(new.softwareVersion.utf8.prefix(Datagram.softwareVersionLimit))
    for (offset, byte) in version.enumerated() { versionBytes[offset] = byte }
    versionByteCount = version.count
    earliestStep = Instant(nanoseconds: .min)
  }

  private mutating func configureMembers(_ new: ClusterConfiguration) {
    let wanted = Set(new.members.map { StableHash.hash($0.name.text) })
    var kept = Set<UInt64>()
    for slot in 0..<MemberIndex.limit {
      let hash = members[MemberIndex(slot)].nameHash
      guard hash != 0 else { continue }
      if wanted.contains(hash) {
        kept.insert(hash)
      } else {
        members.remove(MemberIndex(slot))
        links.forget(MemberIndex(slot))
        candidacies.forget(member: MemberIndex(slot))
        versionsHeard[slot] = VersionText()
      }
    }
    let sorted = new.members.sorted { $0.name < $1.name }
    memberSlots.removeAll()
    for (rank, member) in sorted.enumerated() {
      let hash = StableHash.hash(member.name.text)
      let slot = (0..<MemberIndex.limit).first { members[MemberIndex($0)].nameHash == (kept.contains(hash) ? hash : 0) }
      guard let slot else { preconditionFailure("no free slot for a member") }
      if !kept.contains(hash) { members.configure(MemberIndex(slot), nameHash: hash) }
      members.setNameRank(MemberIndex(slot), rank)
      memberSlots.insert(hash, slot: slot)
      if member.name == new.node {
        members.selfIndex = MemberIndex(slot)
        mayHold = member.mayHold
      }
    }
    guard memberSlots.slot(of: StableHash.hash(new.node.text)) != nil else {
      preconditionFailure("the node is not among the members")
    }
    otherMemberCount = new.members.count - 1
  }

  private mutating func configureVIPs(_ new: ClusterConfiguration, now: Instant, effects: inout EffectBuffer) {
    let wanted = Set(new.vips.map { StableHash.hash($0.name) })
    var taken = Set<Int>()
    var kept: [UInt64: Int] = [:]
    for slot in 0..<VIPIndex.limit where vips[slot].isConfigured {
      taken.insert(slot)
      if wanted.contains(vips[slot].nameHash) {
        kept[vips[slot].nameHash] = slot
        continue
      }
      let lost = vips[slot]
      if lost.isClaimed {
        effects.append(.release(VIPIndex(slot), cause: .unconfigured))
        effects.append(.event(NodeEvent(.vipLost(VIPIndex(slot)), cause: .unconfigured)))
      }
      vips[slot] = VIPRecord()
      // Answers to what the shell was asked before are still on their way, whatever the slot is used for.
      vips[slot].acquiresPending = lost.acquiresPending
      vips[slot].releasesPending = lost.releasesPending + (lost.isClaimed ? 1 : 0)
      lose(slot, lost, now: now)
      if vips[slot].lost == nil { candidacies.forget(vip: VIPIndex(slot)) }
    }
    vipSlots.removeAll()
    let alive = (0..<memberCount).map { MemberIndex($0) }.filter { members.isAlive($0) }
    var listenFor = alive.map { members[$0].patience }.max() ?? .zero
    // Whom nobody has heard knows of no holder but by what it hears from here on.
    if !isEchoed, otherMemberCount > 0, lastSendAt != nil {
      listenFor = max(listenFor, interval * ElectionLimits.hearsayIntervals)
    }
    for vip in new.vips {
      let hash = StableHash.hash(vip.name)
      // Lost before, and not told yet: its ordinary line says the same from now on.
      for other in vips.indices where vips[other].lost?.nameHash == hash { vips[other].lost = nil }
      // A slot that was freed just now is used last: an answer to its release may still be on its way.
      let slots = 0..<VIPIndex.limit
      guard
        let slot = kept[hash] ?? slots.first(where: { !vips[$0].isConfigured && !taken.contains($0) })
          ?? slots.first(where: { !vips[$0].isConfigured })
      else { preconditionFailure("no free slot for a VIP") }
      // A peer that had it before tells of it when it hears of this node's new configuration, in several heartbeats.
      if kept[hash] == nil, listenFor > .zero { vips[slot].unheardUntil = now + listenFor }
      tellLost(slot, now: now)
      takeBack(hash)
      vips[slot].forgetAddressFailures()
      vips[slot].nameHash = hash
      vips[slot].failback = vip.failback
      vips[slot].isConditional = vip.isConditional
      vips[slot].announce = vip.announce
      vips[slot].isGated = vip.isGated
      vips[slot].keepsConnections = vip.isGated && vip.keepsConnections
      vips[slot].priority = Preference.priority(vip: vip.name, node: new.node, prefer: vip.prefer)
      vips[slot].urgentRepeats = ElectionLimits.releaseRepeats
      hasNews = true
      vipSlots.insert(hash, slot: slot)
    }
    vipCount = (0..<VIPIndex.limit).last { vips[$0].isConfigured }.map { $0 + 1 } ?? 0
  }

  // MARK: Names

  func memberIndex(_ name: NodeName) -> MemberIndex? {
    memberSlots.slot(of: StableHash.hash(name.text)).map { MemberIndex($0) }
  }
  func vipIndex(_ name: String) -> VIPIndex? { vipSlots.slot(of: StableHash.hash(name)).map { VIPIndex($0) } }
  func memberName(_ index: MemberIndex) -> NodeName? {
    let hash = members[index].nameHash
    return configuration.members.first { StableHash.hash($0.name.text) == hash }?.name
  }
  func vipName(_ index: VIPIndex) -> String? {
    let hash = vips[index.value].nameHash
    return configuration.vips.first { StableHash.hash($0.name) == hash }?.name
  }
  func softwareVersion(_ index: MemberIndex) -> String? { versionsHeard[index.value].text }
}
