// One node of the cluster as a value: datagrams, time and commands go in, effects come out. The elector's shell and the
// simulator drive the same code. Only the tag needs the authenticator; everything else is in `NodeCore`.

package import Election
package import Membership
package import Primitives
package import Wire

/// Not copyable: a copy would make the next change allocate, and the compiler makes copies for a look at one field.
///
/// The order of calls after a wake-up: `receive` for every datagram that waits, then `advance`, then wait until
/// `nextDeadline`. `now` never goes back between calls.
package struct ClusterNode<Authenticator: DatagramAuthenticator>: ~Copyable {
  private var core: NodeCore
  private var authenticator: Authenticator
  package private(set) var dropped = DropCounters()

  /// - Parameters:
  ///   - bootID: 128 random bits, new at every start, not zero.
  ///   - randomSeed: spreads the rotating slices; need not be secret.
  package init(
    configuration: ClusterConfiguration, authenticator: Authenticator, bootID: BootID, randomSeed: UInt64, now: Instant,
    plantedFaults: PlantedFaults = []
  ) {
    core = NodeCore(configuration: configuration, boot: bootID, seed: randomSeed, now: now, faults: plantedFaults)
    self.authenticator = authenticator
    core.exchangesKeys = authenticator.otherKeyID != nil
  }

  /// One datagram, which came over `arrival`. `receivedAt` is when the kernel got it, on the clock of `now`, clamped by the shell to be not after `now`.
  package mutating func receive(
    _ datagram: UnsafeRawBufferPointer, over arrival: Arrival = Arrival(), receivedAt: Instant, now: Instant,
    effects: inout EffectBuffer
  ) {
    switch Datagram.open(datagram, clusterID: core.clusterID, authenticator: &authenticator) {
    case .failure(let reason): dropped.count(reason)
    case .success(let opened):
      var arrival = arrival
      arrival.isByOtherKey = opened.header.keyID != authenticator.signingKeyID
      if let reason = core.receive(opened, over: arrival, receivedAt: receivedAt, now: now, effects: &effects) {
        dropped.count(reason)
      }
    }
  }

  /// Lets time pass: heartbeats, judgements, takeovers, announcements that are due at `now`.
  /// - Parameter heardAll: false if datagrams that have arrived are still unread: judgement waits for an interval then,
  ///   in a flood that lasts for a detection time at most.
  package mutating func advance(now: Instant, heardAll: Bool = true, effects: inout EffectBuffer) {
    core.advance(now: now, heardAll: heardAll, effects: &effects)
  }

  /// When `advance` has something to do next. Exact: the detection deadline of a peer is in it.
  package var nextDeadline: Instant { core.nextDeadline }

  package mutating func handle(_ command: Command, now: Instant, effects: inout EffectBuffer) {
    core.handle(command, now: now, effects: &effects)
  }

  /// A new configuration, in place: slots of names that stay keep their numbers, and VIPs that fell away are released. What
  /// else follows comes with `advance`, to be called in the same wake-up. Allocates.
  /// Precondition: same `node`, and `node` among the members.
  package mutating func reconfigure(
    _ configuration: ClusterConfiguration, authenticator: Authenticator, now: Instant, effects: inout EffectBuffer
  ) {
    if authenticator.signingKeyID != self.authenticator.signingKeyID { core.members.forgetKeys() }
    self.authenticator = authenticator
    core.exchangesKeys = authenticator.otherKeyID != nil
    core.reconfigure(configuration, now: now, effects: &effects)
  }

  /// Carries out `Effect.send`: writes the next datagram, signed, and takes its sequence. Returns its length;
  /// `destinations` says where it goes.
  /// Precondition: `buffer` has at least `DatagramLayout.maximumByteCount` bytes.
  package mutating func encodeDatagram(into buffer: UnsafeMutableRawBufferPointer, now: Instant) -> Int {
    var writer = DatagramWriter(buffer: buffer)
    core.encode(into: &writer, keyID: authenticator.signingKeyID, now: now)
    return writer.finish(authenticator: &authenticator)
  }

  /// While keys are exchanged: signs the datagram that was encoded last with the other key, in place, if a member may not
  /// have the first one yet. True: send it once more, to the same destinations.
  package mutating func signCopy(_ datagram: UnsafeMutableRawBufferPointer) -> Bool {
    guard core.wantsCopy else { return false }
    DatagramWriter.signWithOtherKey(datagram, authenticator: &authenticator)
    return true
  }

  /// Where the datagram that was encoded last goes.
  package var destinations: Destinations { core.destinations }

  package func snapshot(into status: inout StatusSnapshot, now: Instant) { core.snapshot(into: &status, now: now) }

  package var bootID: BootID { core.boot }
  /// The sequence of the next datagram: what a guardian resigns with.
  package var nextSequence: UInt64 { core.nextSequence }
  /// The detection time in force, at least the configured one.
  package var detectionTime: TimeSpan { core.detectionTime }
  /// `answers(for:)` and `answeringTime` as one instant, on the clock of `now`; nil: it must not answer from now on. Every call
  /// and every datagram that is encoded may move it, either way.
  /// It would take a datagram of that boot with that sequence for news. For the simulator.
  package func awaits(_ boot: BootID, sequence: UInt64, of member: MemberIndex) -> Bool {
    core.members[member].boot == boot && sequence > core.members[member].newestKnown
  }
  package func liveUntil(_ vip: VIPIndex) -> Instant? { core.liveUntil(vip) }
  package var selfIndex: MemberIndex { core.selfIndex }

  /// The node claims the VIP in its heartbeats.
  package func isHolder(_ vip: VIPIndex) -> Bool { core.vips[vip.value].isClaimed }

  /// The node is to answer for the VIP, for `answeringTime` from each heartbeat that it sends.
  package func answers(for vip: VIPIndex) -> Bool { core.doubt == nil && core.vips[vip.value].answers }
  /// The detection time that every peer is sure to know of, or less.
  package var answeringTime: TimeSpan { core.gateSpan }

  /// Slots by name, nil if not configured. Not for the heartbeat thread's hot path.
  package func memberIndex(_ name: NodeName) -> MemberIndex? { core.memberIndex(name) }
  package func vipIndex(_ name: String) -> VIPIndex? { core.vipIndex(name) }
  package func memberName(_ index: MemberIndex) -> NodeName? { core.memberName(index) }
  package func vipName(_ index: VIPIndex) -> String? { core.vipName(index) }
  /// Software version that a member announced, nil until heard. Allocates.
  package func softwareVersion(_ index: MemberIndex) -> String? { core.softwareVersion(index) }
}
