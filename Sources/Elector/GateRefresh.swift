// The heartbeat thread's hand on the kernel gate. A VIP that this node answers for is open from each heartbeat that was sent
// until the detection time that heartbeats tell the peers: when they give this node up, it has fallen silent. Nothing here
// asks the kernel; each change is one store.

import ClusterNode
import Control
import Cryptography
import Election
import Kernel
import Membership
import Primitives

struct GateRefresh {
  private let deadlines: GateDeadlines?
  /// By VIP of the node: its slot in the gate; none for a VIP that is not behind it.
  private var slots = [Int](repeating: GateRefresh.none, count: VIPIndex.limit)
  /// Members' addresses on the links of VIPs whose connections can be kept, path by path; and each such VIP's path.
  private var addresses = [LinkAddresses?](repeating: nil, count: MemberIndex.limit * Arrival.pathLimit)
  private var paths = [Int](repeating: GateRefresh.none, count: VIPIndex.limit)
  private let ownIndex: MemberIndex
  /// Who has connections of a VIP that is about to be acquired.
  private var keepers = [MemberIndex?](repeating: nil, count: VIPIndex.limit)
  private var isOpen = [Bool](repeating: false, count: VIPIndex.limit)
  /// The deadline of everything that is open.
  private var openUntil = Instant.distantFuture

  private static let none = -1

  /// Without `deadlines` nothing is gated.
  init(deadlines: GateDeadlines?, node: borrowing ClusterNode<HeartbeatAuthenticator>, plan: ElectorPlan) {
    self.deadlines = deadlines
    ownIndex = node.selfIndex
    assign(node, plan)
  }

  /// After a new configuration. VIPs that stay keep their slots in the node and in the gate. Allocates.
  mutating func assign(_ node: borrowing ClusterNode<HeartbeatAuthenticator>, _ plan: ElectorPlan) {
    for index in addresses.indices { addresses[index] = nil }
    for member in plan.configuration.members {
      guard let slot = node.memberIndex(member.name)?.value else { continue }
      for (path, address) in member.addresses.prefix(Arrival.pathLimit).enumerated() {
        addresses[slot * Arrival.pathLimit + path] = LinkAddresses(ofMember: address)
      }
    }
    for vip in 0..<VIPIndex.limit {
      let name = node.vipName(VIPIndex(vip))
      paths[vip] = name.flatMap { plan.pathOfConnections(ofVIP: $0) } ?? Self.none
      let slot = name.flatMap { plan.configuration.gateSlots?[$0] } ?? Self.none
      guard slot != slots[vip] else { continue }
      shut(VIPIndex(vip))
      if slots[vip] != Self.none { deadlines?.endConnections(slots[vip]) }
      slots[vip] = slot
    }
  }

  private func address(of member: MemberIndex, beside vip: VIPIndex) -> LinkAddresses? {
    paths[vip.value] == Self.none ? nil : addresses[member.value * Arrival.pathLimit + paths[vip.value]]
  }

  /// Whether something was open and its deadline has passed: a stall, or heartbeats that the system refused.
  func hasLapsed(at now: Instant) -> Bool { now >= openUntil }

  /// A heartbeat was sent. `sentAt`, on `Clock.boot`, must not be later than the sending; as the beginning of the wake-up that
  /// sent it, it is also not later than what the node knew: a process that was stopped in between stores a deadline that has
  /// passed, and opens nothing.
  mutating func refresh(_ node: borrowing ClusterNode<HeartbeatAuthenticator>, sentAt: Instant) {
    guard let deadlines else { return }
    // The peers are told whole microseconds.
    let deadline = sentAt + .microseconds(node.answeringTime.nanoseconds / 1_000)
    openUntil = .distantFuture
    for vip in 0..<VIPIndex.limit where slots[vip] != Self.none {
      if node.answers(for: VIPIndex(vip)) {
        deadlines.open(slots[vip], until: deadline)
        isOpen[vip] = true
        openUntil = deadline
      } else if isOpen[vip] {
        shut(VIPIndex(vip))
      }
    }
  }

  /// Shuts it, and leaves the connections that there are. The hands prolong that.
  mutating func keepConnections(_ vip: VIPIndex, now: Instant) {
    guard let deadlines, slots[vip.value] != Self.none, let own = address(of: ownIndex, beside: vip) else { return }
    deadlines.shutKeepingConnections(
      slots[vip.value], until: now + Self.keptAtOnce, own: own, strays: now + Self.straysDropped)
    shut(vip)
  }

  /// A node whose hands stop altogether keeps connections no longer than this.
  static let keptAtOnce = TimeSpan.seconds(8)
  /// How long clients may take to hear of the new holder.
  private static let straysDropped = TimeSpan.seconds(1)

  /// The next acquisition leaves unknown connections to the member.
  mutating func passUnknown(_ vip: VIPIndex, to member: MemberIndex) { keepers[vip.value] = member }

  /// Before the VIP is open.
  mutating func acquire(_ vip: VIPIndex, now: Instant) {
    guard let deadlines, slots[vip.value] != Self.none else { return }
    if let keeper = keepers[vip.value], let to = address(of: keeper, beside: vip) {
      deadlines.passUnknown(slots[vip.value], to: to, until: now + ElectionLimits.connectionsKept)
    } else {
      deadlines.endConnections(slots[vip.value])
    }
    keepers[vip.value] = nil
  }

  mutating func shut(_ vip: VIPIndex) {
    guard let deadlines, slots[vip.value] != Self.none else { return }
    deadlines.shut(slots[vip.value])
    isOpen[vip.value] = false
    if !isOpen.contains(true) { openUntil = .distantFuture }
  }
}
