// The heartbeat thread's hand on the kernel gate. A VIP that this node answers for is open from each heartbeat that was sent
// until the detection time that the heartbeat tells the peers: when they give this node up, it has fallen silent. Nothing here
// asks the kernel; each change is one store.

import ClusterNode
import Cryptography
import Election
import Kernel
import Primitives

struct GateRefresh {
  private let deadlines: GateDeadlines?
  /// By VIP of the node: its slot in the gate; none for a VIP that is not behind it.
  private var slots = [Int](repeating: GateRefresh.none, count: VIPIndex.limit)
  private var isOpen = [Bool](repeating: false, count: VIPIndex.limit)
  /// The deadline of everything that is open.
  private var openUntil = Instant.distantFuture

  private static let none = -1

  /// Without `deadlines` nothing is gated.
  init(
    deadlines: GateDeadlines?, node: borrowing ClusterNode<HeartbeatAuthenticator>, slots: [String: Int]?
  ) {
    self.deadlines = deadlines
    assign(node, slots: slots)
  }

  /// After a new configuration. VIPs that stay keep their slots in the node and in the gate. Allocates.
  mutating func assign(_ node: borrowing ClusterNode<HeartbeatAuthenticator>, slots names: [String: Int]?) {
    for vip in 0..<VIPIndex.limit {
      let slot = node.vipName(VIPIndex(vip)).flatMap { names?[$0] } ?? Self.none
      guard slot != slots[vip] else { continue }
      shut(VIPIndex(vip))
      slots[vip] = slot
    }
  }

  /// Whether something was open and its deadline has passed: a stall, or heartbeats that the system refused.
  func hasLapsed(at now: Instant) -> Bool { now >= openUntil }

  /// A heartbeat was sent. `sentAt`, on `Clock.boot`, must not be later than the sending; as the beginning of the wake-up that
  /// sent it, it is also not later than what the node knew: a process that was stopped in between stores a deadline that has
  /// passed, and opens nothing.
  mutating func refresh(_ node: borrowing ClusterNode<HeartbeatAuthenticator>, sentAt: Instant) {
    guard let deadlines else { return }
    // The peers are told whole microseconds.
    let deadline = sentAt + .microseconds(node.detectionTime.nanoseconds / 1_000)
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

  mutating func shut(_ vip: VIPIndex) {
    guard let deadlines, slots[vip.value] != Self.none else { return }
    deadlines.shut(slots[vip.value])
    isOpen[vip.value] = false
    if !isOpen.contains(true) { openUntil = .distantFuture }
  }
}
