// The state machine behind `ClusterNode`, without the authenticator. Bodies follow.
import Election
import Membership
import Primitives
import Wire

struct NodeCore {
  let clusterID: UInt64
  let boot: BootID
  var nextSequence: UInt64 = 1
  var detectionTime: TimeSpan
  var selfIndex = MemberIndex(0)
  var nextDeadline: Instant { .distantFuture }
  init(configuration: ClusterConfiguration, boot: BootID, seed: UInt64, now: Instant, faults: PlantedFaults) {
    clusterID = StableHash.hash(configuration.clusterName)
    self.boot = boot
    detectionTime = configuration.detectionTime
  }
  mutating func receive(_ datagram: Datagram, receivedAt: Instant, now: Instant, effects: inout EffectBuffer)
    -> DropReason?
  { nil }
  mutating func advance(now: Instant, effects: inout EffectBuffer) {}
  mutating func handle(_ command: Command, now: Instant, effects: inout EffectBuffer) {}
  mutating func reconfigure(_ configuration: ClusterConfiguration, now: Instant, effects: inout EffectBuffer) {}
  mutating func encode(into writer: inout DatagramWriter, keyID: UInt32, now: Instant) {}
  func snapshot(into status: inout StatusSnapshot, now: Instant) {}
  func memberIndex(_ name: NodeName) -> MemberIndex? { nil }
  func vipIndex(_ name: String) -> VIPIndex? { nil }
  func memberName(_ index: MemberIndex) -> NodeName? { nil }
  func vipName(_ index: VIPIndex) -> String? { nil }
  func softwareVersion(_ index: MemberIndex) -> String? { nil }
}
