// What the elector's two threads say to each other. The heartbeat thread speaks in slots and numbers, because it may not
// allocate; the hands thread has the names, the addresses and the time to put things into words.

import ClusterNode
import Control
import Cryptography
import Election
import Kernel
import Membership
import Primitives
import Synchronization

/// Heartbeat thread → hands.
enum HandsOrder: Sendable {
  /// Add the VIP's addresses and answer `addressResult`.
  case acquire(VIPIndex)
  /// Remove them and answer `addressRemoved`.
  case release(VIPIndex)
  case announce(VIPIndex)
  /// The next `release` leaves the addresses to the connections that there are.
  case keepConnections(VIPIndex, gently: Bool)
  /// Before an `acquire`: what belongs to connections that are unknown here is the member's.
  case passUnknown(VIPIndex, to: MemberIndex)
  case handoverStarting(VIPIndex, to: MemberIndex, deadline: TimeSpan)
  case handoverCancelled(VIPIndex)
  case moveRefused(VIPIndex, MoveRefusal)
  case event(NodeEvent, at: Instant)
  case softwareVersion(MemberIndex, String)
  /// After a new configuration: which slots mean what from here on.
  case names(NameTable)
  /// The configuration that came under this revision is in force, and the first heartbeat under it has left.
  case reconfigured(revision: UInt64)
  /// Everything is handed over: end the process.
  case exit
}

/// Hands → heartbeat thread.
enum NodeOrder: Sendable {
  case command(Command)
  case reconfigure(ElectorPlan, revision: UInt64)

  /// The node waits for it, or the hands go by it already.
  var mustArrive: Bool {
    switch self {
    case .command(.addressResult), .command(.addressRemoved), .reconfigure: true
    case .command: false
    }
  }
}

/// Which member and which VIP a slot stands for.
struct NameTable: Sendable {
  var members: [NodeName?]
  var vips: [VIPConfiguration?]

  /// Allocates; for starts and reloads.
  init(of node: borrowing ClusterNode<HeartbeatAuthenticator>, configuration: ElectorConfiguration) {
    members = (0..<MemberIndex.limit).map { node.memberName(MemberIndex($0)) }
    vips = []
    for slot in 0..<VIPIndex.limit {
      let name = node.vipName(VIPIndex(slot))
      vips.append(name.flatMap { name in configuration.vips.first { $0.name == name } })
    }
  }

  func member(_ index: MemberIndex) -> String { members[index.value]?.text ?? "a former member" }
  func vip(_ index: VIPIndex) -> String { vips[index.value]?.name ?? "a former VIP" }
  func memberIndex(_ name: NodeName) -> MemberIndex? { members.firstIndex(of: name).map(MemberIndex.init) }
  func vipIndex(_ name: String) -> VIPIndex? { vips.firstIndex { $0?.name == name }.map(VIPIndex.init) }
}

/// The one place through which a picture of the node goes from the heartbeat thread to the hands: it is either the one's to
/// fill or the other's to read, so nothing is copied and nothing allocated.
final class StatusExchange: @unchecked Sendable {
  // Unchecked: `full` says whose turn it is; each side touches the rest only in its turn.
  private let full = Atomic<Bool>(false)
  var snapshot = StatusSnapshot()
  var dropped = [UInt64](repeating: 0, count: StatusExchange.reasonCount)
  var shell = ShellCounters()

  static let reasonCount = 64

  /// Heartbeat thread: whether it may fill now.
  var isFree: Bool { !full.load(ordering: .acquiring) }
  /// Heartbeat thread: filled.
  func offer() { full.store(true, ordering: .releasing) }
  /// Hands: whether there is something to read.
  var isOffered: Bool { full.load(ordering: .acquiring) }
  /// Hands: read.
  func giveBack() { full.store(false, ordering: .releasing) }
}

/// What went wrong in the shell itself.
struct ShellCounters: Sendable {
  var refusedSends: UInt64 = 0
  /// errno of the last refused send.
  var lastSendError: Int32 = 0
  /// Orders that found the ring to the hands full.
  var lostOrders: UInt64 = 0
  /// Wake-ups at which more datagrams waited than are taken at once.
  var floods: UInt64 = 0
}

/// What both threads use. Everything in it is made before the second thread starts.
final class ElectorShared: Sendable {
  /// Twice the most effects of one call, so that a burst fits behind another one.
  static let handsRingCapacity = 8192
  static let nodeRingCapacity = 1024

  /// By number of the path.
  let paths: [HeartbeatPath]
  let toHands = SingleProducerRing<HandsOrder>(capacity: handsRingCapacity)
  let toNode = SingleProducerRing<NodeOrder>(capacity: nodeRingCapacity)
  let handsWakeUp: WakeUp
  let nodeWakeUp: WakeUp
  let status = StatusExchange()

  init(paths: [HeartbeatPath]) throws(SystemError) {
    self.paths = paths
    handsWakeUp = try WakeUp()
    nodeWakeUp = try WakeUp()
  }
}
