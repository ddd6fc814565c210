// A handful of nodes on one perfect wire, driven by hand: for tests that tell a story, effect by effect.

import ClusterNode
import Election
import Membership
import Primitives
import Wire

struct PlainAuthenticator: DatagramAuthenticator {
  /// One or two; the first signs.
  var keys: [UInt32] = [7]
  var signingKeyID: UInt32 { keys[0] }
  var otherKeyID: UInt32? { keys.count > 1 ? keys[1] : nil }
  func sign(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) { sign(bytes, keys[0], tag) }
  func signWithOther(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    sign(bytes, keys[1], tag)
  }
  private func sign(_ bytes: UnsafeRawBufferPointer, _ key: UInt32, _ tag: UnsafeMutableRawBufferPointer) {
    var state = UInt64(key)
    var offset = 0
    while offset + 8 <= bytes.count {
      state = state &* 1_099_511_628_211 ^ bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      state ^= state >> 29
      offset += 8
    }
    while offset < bytes.count {
      state = state &* 1_099_511_628_211 ^ UInt64(bytes[offset])
      offset += 1
    }
    tag.storeBytes(of: state, toByteOffset: 0, as: UInt64.self)
    tag.storeBytes(of: ~state, toByteOffset: 8, as: UInt64.self)
  }
  func verify(_ bytes: UnsafeRawBufferPointer, tag: UnsafeRawBufferPointer, keyID: UInt32) -> TagVerdict {
    guard keys.contains(keyID) else { return .unknownKey }
    var expected = [UInt8](repeating: 0, count: 16)
    expected.withUnsafeMutableBytes { sign(bytes, keyID, $0) }
    return expected.elementsEqual(tag) ? .valid : .wrongTag
  }
}

/// Every node has one VIP "web" unless said otherwise; addresses are added and removed at once; the balancer never answers
/// by itself.
struct Bench {
  /// An array holds nothing that is not copyable.
  final class Box {
    var node: ClusterNode<PlainAuthenticator>
    init(_ node: consuming ClusterNode<PlainAuthenticator>) { self.node = node }
  }
  var nodes: [Box?] = []
  var now = Instant(nanoseconds: 1_000_000_000_000)
  /// All effects since the last `clear`, with who made them.
  var made: [(node: Int, effect: Effect, at: Instant)] = []
  /// From a node to another, by whatever way; by multicast only; by unicast only; by one path only (its number comes last).
  var cut: Set<[Int]> = []
  var multicastCut: Set<[Int]> = []
  var unicastCut: Set<[Int]> = []
  var pathCut: Set<[Int]> = []
  /// By how much each node's clock is behind, and whose stands still now.
  private var lag: [TimeSpan]
  private var still: Int?
  /// How what leaves a node at once comes.
  enum Order { case kept, reversed, firstLast }
  var order = Order.kept
  /// What becomes of a datagram on the wire.
  var changes: (([UInt8]) -> [UInt8])?
  /// Datagrams that were signed once more with the other key.
  var copies = 0
  /// The longest datagram.
  var largest = 0
  /// Datagrams that were sent to single members.
  var unicasts = 0
  var confirmsAddresses = true
  /// The last datagram of each node.
  var sent: [[UInt8]]
  let configurations: [ClusterConfiguration]
  private var effects = EffectBuffer()
  private var inFlight: [(bytes: [UInt8], to: Int, arrival: Arrival)] = []
  private var isArriving = false

  init(
    count: Int, heartbeat: TimeSpan = .milliseconds(10), failback: FailbackRule = .never, vips: Int = 1,
    prefer: Bool = true, transport: ClusterConfiguration.Transport = .multicast, paths: Int = 1,
    gated: Bool = false, keepsConnections: Bool = false, deadAfter: Int = 3
  ) {
    let names = (0..<count).map { NodeName("n\($0 + 1)")! }
    configurations = names.map { name in
      ClusterConfiguration(
        clusterName: "bench", node: name, heartbeat: heartbeat, deadAfter: deadAfter, transport: transport,
        pathCount: paths,
        members: names.map { .init(name: $0) },
        vips: (0..<vips).map {
          .init(
            name: $0 == 0 ? "web" : "web\($0)", prefer: prefer ? names : nil, failback: failback,
            isConditional: true, isGated: gated, keepsConnections: keepsConnections)
        }, softwareVersion: "1.0")
    }
    sent = Array(repeating: [], count: count)
    lag = Array(repeating: .zero, count: count)
    for index in 0..<count { nodes.append(nil); start(index) }
  }

  private func clock(_ index: Int) -> Instant { now - lag[index] }

  /// A machine that does not run, and does not know it: its clock stands still as well.
  mutating func standStill(_ index: Int, _ span: TimeSpan) {
    still = index
    run(span)
    still = nil
    lag[index] = lag[index] + span
  }

  mutating func start(_ index: Int) {
    nodes[index] = Box(
      ClusterNode(
        configuration: configurations[index], authenticator: PlainAuthenticator(),
        bootID: BootID(high: UInt64(index + 1), low: UInt64(bitPattern: now.nanoseconds)), randomSeed: UInt64(index),
        now: clock(index)))
    requirements(index, .met)
  }

  /// The same for every VIP.
  mutating func requirements(_ index: Int, _ verdict: RequirementVerdict) {
    for vip in configurations[index].vips.indices { command(index, .requirements(VIPIndex(vip), verdict)) }
  }

  mutating func command(_ index: Int, _ command: Command) {
    nodes[index]!.node.handle(command, now: clock(index), effects: &effects)
    carryOut(index)
  }

  /// Delivers raw bytes to a node.
  mutating func deliver(_ bytes: [UInt8], to index: Int, over arrival: Arrival = Arrival()) {
    guard nodes[index] != nil else { return }
    inFlight.append((bytes, index, arrival))
    arriveAll()
  }

  /// One datagram after the other, in the order of their sending: what one causes is not nested in it.
  private mutating func arriveAll() {
    guard !isArriving else { return }
    isArriving = true
    var next = 0
    while next < inFlight.count {
      let (bytes, index, arrival) = inFlight[next]
      next += 1
      guard nodes[index] != nil, index != still else { continue }
      let now = clock(index)
      bytes.withUnsafeBytes {
        nodes[index]!.node.receive($0, over: arrival, receivedAt: now, now: now, effects: &effects)
      }
      nodes[index]!.node.advance(now: now, effects: &effects)
      carryOut(index)
    }
    inFlight = []
    isArriving = false
  }

  private mutating func send(_ index: Int) {
    var bytes = [UInt8](repeating: 0, count: DatagramLayout.maximumByteCount)
    let length = bytes.withUnsafeMutableBytes { nodes[index]!.node.encodeDatagram(into: $0, now: clock(index)) }
    bytes.removeLast(bytes.count - length)
    sent[index] = bytes
    largest = max(largest, length)
    transmit(index, changes?(bytes) ?? bytes)
    let isCopied = bytes.withUnsafeMutableBytes { nodes[index]!.node.signCopy($0) }
    guard isCopied else { return }
    copies += 1
    transmit(index, bytes)
  }

  private mutating func transmit(_ index: Int, _ datagram: [UInt8]) {
    let destinations = nodes[index]!.node.destinations
    for other in nodes.indices where other != index {
      let slot = nodes[index]!.node.memberIndex(configurations[other].node)!.value
      for path in 0..<configurations[index].pathCount where !pathCut.contains([index, other, path]) {
        if destinations.group, cut.union(multicastCut).isDisjoint(with: [[index, other]]) {
          inFlight.append((datagram, other, Arrival(path: path)))
        }
        guard destinations.members[path] >> UInt64(slot) & 1 == 1 else { continue }
        unicasts += 1
        if cut.union(unicastCut).isDisjoint(with: [[index, other]]) {
          inFlight.append((datagram, other, Arrival(path: path, isMulticast: false)))
        }
      }
    }
  }

  /// Wakes every node at its own deadlines until `span` has passed.
  mutating func run(_ span: TimeSpan) {
    let end = now + span
    while true {
      let next = nodes.indices.filter { nodes[$0] != nil && $0 != still }.min { deadline($0) < deadline($1) }
      guard let next, deadline(next) <= end else { break }
      now = max(now, deadline(next))
      nodes[next]!.node.advance(now: clock(next), effects: &effects)
      carryOut(next)
    }
    now = end
  }

  private func deadline(_ index: Int) -> Instant {
    let own = nodes[index]!.node.nextDeadline
    return own == .distantFuture ? own : own + lag[index]
  }

  mutating func clear() { made = [] }

  /// A reload with other keys.
  mutating func exchangeKeys(_ index: Int, _ keys: [UInt32]) {
    nodes[index]!.node.reconfigure(
      configurations[index], authenticator: PlainAuthenticator(keys: keys), now: clock(index), effects: &effects)
    carryOut(index)
  }

  mutating func reload(_ index: Int, _ changed: ClusterConfiguration) {
    nodes[index]!.node.reconfigure(changed, authenticator: PlainAuthenticator(), now: clock(index), effects: &effects)
    nodes[index]!.node.advance(now: clock(index), effects: &effects)
    carryOut(index)
  }

  var deaths: Int {
    made.count { if case .event(let event) = $0.effect, case .memberDead = event.kind { true } else { false } }
  }

  private mutating func carryOut(_ index: Int) {
    let batch = effects.effects
    effects.removeAll()
    let waiting = inFlight.count
    for effect in batch where nodes[index] != nil {
      made.append((index, effect, now))
      switch effect {
      case .send: send(index)
      case .acquire(let vip, _) where confirmsAddresses: command(index, .addressResult(vip, ok: true))
      case .release(let vip, _) where confirmsAddresses: command(index, .addressRemoved(vip))
      case .exit: nodes[index] = nil
      default: break
      }
    }
    switch order {
    case .kept: break
    case .reversed: inFlight[waiting...].reverse()
    case .firstLast:
      let first = inFlight[waiting...].first?.0
      let late = inFlight[waiting...].filter { $0.0 == first }
      inFlight[waiting...].removeAll { $0.0 == first }
      inFlight += late
    }
    arriveAll()
  }

  func holders(_ vip: Int = 0) -> [Int] { nodes.indices.filter { nodes[$0]?.node.isHolder(VIPIndex(vip)) ?? false } }

  func acquisitions() -> [(node: Int, at: Instant)] {
    made.compactMap { if case .acquire = $0.effect { ($0.node, $0.at) } else { nil } }
  }

  func index(_ node: Int) -> MemberIndex { nodes.compactMap { $0 }[0].node.memberIndex(configurations[node].node)! }
}
