// Listens where heartbeats go, and sends probes there: what arrives is told apart by who signed it. Beside a running agent
// it only takes a second copy of the group's datagrams, and disturbs nothing.

internal import Control
internal import Cryptography
internal import Kernel
internal import Primitives
internal import Wire

/// What was learnt on the wire.
struct Heard: Sendable {
  var members: [Reach]
  /// What members' agents and others said that concerns everybody.
  var remarks: [Finding] = []
}

struct Probing {
  /// How often probes go out, and how often what waits is read.
  static let probeInterval = TimeSpan.milliseconds(200)
  static let readInterval = TimeSpan.milliseconds(5)
  /// How long a member's port may take to answer.
  static let channelPatience = TimeSpan.milliseconds(1_000)

  private let cluster: ElectorConfiguration
  private let agentRuns: Bool
  private let clusterID: UInt64
  private let ownID: UInt64
  private let run: UInt64
  private var authenticator: HeartbeatAuthenticator
  /// By hash of the name.
  private var reaches: [UInt64: Reach] = [:]
  private var runs: [UInt64: ProbeEntry] = [:]
  /// Datagrams that are refused and name no member, by reason.
  private var strangers: [DropReason: Int] = [:]
  private var foreignMembers = 0
  private var ownNameHeard = 0
  private var faults: [String] = []
  private var turn = 0

  /// - Parameter agentRuns: an agent of this node has the port.
  init(_ cluster: ElectorConfiguration, agentRuns: Bool) {
    self.cluster = cluster
    self.agentRuns = agentRuns
    clusterID = StableHash.hash(cluster.clusterName)
    ownID = StableHash.hash(cluster.node.text)
    var random = SecureRandom()
    run = random.next()
    authenticator = HeartbeatAuthenticator(clusterKeys: cluster.keys)
    for member in cluster.members where member.name != cluster.node {
      var reach = Reach(name: member.name.text, addresses: member.addresses.map(\.description))
      for (path, interface) in cluster.interfaces.enumerated() where path < member.addresses.count {
        reach.multicastsByInterface[interface] = 0
      }
      reaches[StableHash.hash(member.name.text)] = reach
    }
  }

  /// A socket of one path.
  private final class Ear {
    let socket: HeartbeatSocket
    let path: Int
    let source: IPAddress

    init(socket: consuming HeartbeatSocket, path: Int, source: IPAddress) {
      self.socket = socket
      self.path = path
      self.source = source
    }
  }

  /// Takes `duration`, and up to `channelPatience` more.
  mutating func listen(_ duration: TimeSpan, _ network: NetworkFacts) -> Heard {
    let ears = open(network)
    let started = Clock.monotonic
    let end = started + duration
    var probeAt = started
    var channels = openChannels()
    var batch = DatagramBatch()
    while Clock.monotonic < end {
      if Clock.monotonic >= probeAt {
        // Unicast probes come late, and only to who is not known by then to have an agent: that one would have to drop them.
        speak(ears, alsoUnicast: Clock.monotonic > started + duration / 3)
        probeAt = Clock.monotonic + Self.probeInterval
      }
      for ear in ears { receive(ear, &batch) }
      lookAtChannels(&channels, now: Clock.monotonic)
      Threads.sleep(Self.readInterval)
    }
    while !channels.isEmpty {
      lookAtChannels(&channels, now: Clock.monotonic)
      Threads.sleep(Self.readInterval)
    }
    return Heard(
      members: cluster.members.compactMap { reaches[StableHash.hash($0.name.text)] }, remarks: remarks())
  }

  private mutating func open(_ network: NetworkFacts) -> [Ear] {
    var ears: [Ear] = []
    guard let own = cluster.members.first(where: { $0.name == cluster.node }) else { return [] }
    for (path, interface) in cluster.interfaces.enumerated() where path < own.addresses.count {
      guard let link = network[interface]?.link else { continue }
      do throws(SystemError) {
        let socket = try HeartbeatSocket(group: cluster.group(ofPath: path), groupOnlyOn: agentRuns ? link.index : nil)
        try socket.join(interface: link.index, source: own.addresses[path])
        ears.append(Ear(socket: socket, path: path, source: own.addresses[path]))
      } catch { faults.append("\(error) (\(interface))") }
    }
    return ears
  }

  // MARK: Hearing

  private mutating func receive(_ ear: Ear, _ batch: inout DatagramBatch) {
    while true {
      let count = batch.receive(from: ear.socket)
      for index in 0..<count {
        let datagram = batch[index]
        take(datagram.bytes, datagram.isMulticast, path: ear.path)
      }
      if count < DatagramBatch.capacity { return }
    }
  }

  private mutating func take(_ bytes: UnsafeRawBufferPointer, _ isMulticast: Bool, path: Int) {
    if ProbeDatagram.isMeant(bytes) {
      switch ProbeDatagram.open(bytes, cluster: clusterID, authenticator: &authenticator) {
      case .success(let probe): take(probe, isMulticast: isMulticast)
      case .failure(let reason): refuse(bytes, reason)
      }
      return
    }
    switch Datagram.open(bytes, clusterID: clusterID, authenticator: &authenticator) {
    case .success(let datagram): take(datagram, isMulticast, path: path)
    case .failure(let reason): refuse(bytes, reason)
    }
  }

  private mutating func take(_ probe: ProbeDatagram, isMulticast: Bool) {
    guard probe.run != run else { return }
    guard var reach = reaches[probe.sender] else {
      if probe.sender == ownID { ownNameHeard += 1 } else { foreignMembers += 1 }
      return
    }
    var entry = runs[probe.sender] ?? ProbeEntry(peer: probe.sender, run: probe.run, multicasts: 0, unicasts: 0)
    // A doctor that was started anew.
    if entry.run != probe.run { entry = ProbeEntry(peer: probe.sender, run: probe.run, multicasts: 0, unicasts: 0) }
    if isMulticast {
      entry.multicasts += 1
      reach.multicastProbes += 1
    } else {
      entry.unicasts += 1
      reach.unicastProbes += 1
    }
    runs[probe.sender] = entry
    // What it heard of this very run; one that does not tell of us yet has not heard us.
    let ours = probe.entries.first { $0.peer == ownID && $0.run == run }
    reach.hearsMulticasts = reach.hearsMulticasts == true || ours?.multicasts ?? 0 > 0
    reach.hearsUnicasts = reach.hearsUnicasts == true || ours?.unicasts ?? 0 > 0
    reaches[probe.sender] = reach
  }

  private mutating func take(_ datagram: Datagram, _ isMulticast: Bool, path: Int) {
    guard var reach = reaches[datagram.header.sender] else {
      if datagram.header.sender == ownID { ownNameHeard += 1 } else { foreignMembers += 1 }
      return
    }
    if isMulticast {
      reach.multicastHeartbeats += 1
      reach.multicastsByInterface[cluster.interfaces[path], default: 0] += 1
    } else {
      reach.unicastHeartbeats += 1
    }
    if agentRuns {
      for index in 0..<datagram.peers.count where datagram.peers[index].peer == ownID {
        // The last word counts: paths come and go.
        let paths = datagram.peers[index].multicastPaths
        reach.hearsMulticasts = paths != 0
        reach.hearsMulticastsOn = cluster.interfaces.indices.filter { paths >> UInt8($0) & 1 == 1 }.map {
          cluster.interfaces[$0]
        }
      }
    }
    reaches[datagram.header.sender] = reach
  }

  private mutating func refuse(_ bytes: UnsafeRawBufferPointer, _ reason: DropReason) {
    if let sender = DatagramLayout.claimedSender(bytes), reaches[sender] != nil {
      reaches[sender]?.refused[reason.words, default: 0] += 1
    } else {
      strangers[reason, default: 0] += 1
    }
  }

  // MARK: Speaking

  private mutating func speak(_ ears: [Ear], alsoUnicast: Bool) {
    let all = runs.values.sorted { $0.peer < $1.peer }
    turn += 1
    let first = all.isEmpty ? 0 : turn * ProbeDatagram.entryLimit % all.count
    let entries =
      all.count <= ProbeDatagram.entryLimit
      ? all : Array((all[first...] + all[..<first]).prefix(ProbeDatagram.entryLimit))
    let probe = ProbeDatagram(cluster: clusterID, sender: ownID, run: run, entries: entries)
    let bytes = probe.encode(authenticator: &authenticator)
    for ear in ears {
      if cluster.transport == .multicast {
        let code = bytes.withUnsafeBytes { ear.socket.send($0) }
        if code != 0 { note(SystemError("send a probe to \(cluster.group(ofPath: ear.path))", code: code)) }
      }
      guard alsoUnicast, !agentRuns else { continue }
      for member in cluster.members where member.name != cluster.node && ear.path < member.addresses.count {
        let reach = reaches[StableHash.hash(member.name.text)]
        if let reach, reach.multicastHeartbeats + reach.unicastHeartbeats > 0 { continue }
        let to = SocketAddress(Endpoint(address: member.addresses[ear.path], port: cluster.group.port))
        let from = SocketAddress(Endpoint(address: ear.source, port: 0))
        // A refusal tells of an earlier probe (no doctor listens there): the channel says that better.
        _ = bytes.withUnsafeBytes { ear.socket.send($0, to: to, from: from) }
      }
    }
  }

  private mutating func note(_ error: SystemError) {
    let words = "\(error)"
    if !faults.contains(words) { faults.append(words) }
  }

  // MARK: The agents' channel

  /// Attempts that are under way, by member. Owns the descriptors.
  private struct Attempts: ~Copyable {
    var list: [UInt64: (raw: Int32, until: Instant)] = [:]
    var isEmpty: Bool { list.isEmpty }

    mutating func add(_ member: UInt64, _ socket: consuming FileDescriptor, until: Instant) {
      list[member] = (socket.release(), until)
    }

    mutating func end(_ member: UInt64) {
      if let raw = list.removeValue(forKey: member)?.raw { _ = FileDescriptor(owning: raw) }
    }

    deinit { for entry in list.values { _ = FileDescriptor(owning: entry.raw) } }
  }

  private mutating func openChannels() -> Attempts {
    var attempts = Attempts()
    guard let own = cluster.members.first(where: { $0.name == cluster.node }) else { return attempts }
    for member in cluster.members where member.name != cluster.node {
      let id = StableHash.hash(member.name.text)
      do throws(SystemError) {
        let socket = try PeerSocket.connect(
          from: own.address, to: Endpoint(address: member.address, port: cluster.group.port))
        attempts.add(id, socket, until: Clock.monotonic + Self.channelPatience)
      } catch {
        reaches[id]?.channel = .failed
        reaches[id]?.channelFault = "\(error)"
      }
    }
    return attempts
  }

  private mutating func lookAtChannels(_ attempts: inout Attempts, now: Instant) {
    for (id, attempt) in attempts.list {
      if PeerSocket.isDecided(attempt.raw) {
        let error = PeerSocket.pendingError(attempt.raw, "connect to port \(cluster.group.port)")
        reaches[id]?.channel =
          error == nil ? .connects : error?.code == SystemError.connectionRefused ? .refused : .failed
        if reaches[id]?.channel == .failed { reaches[id]?.channelFault = error.map { "\($0)" } }
        attempts.end(id)
      } else if now >= attempt.until {
        reaches[id]?.channel = .silent
        attempts.end(id)
      }
    }
  }

  // MARK: What concerns everybody

  private func remarks() -> [Finding] {
    var findings: [Finding] = []
    for words in faults {
      findings.append(
        Finding(.members, .failure, words, "look at the interface, its address, and the firewall's output rules"))
    }
    if ownNameHeard > 0 {
      findings.append(
        Finding(
          .members, .failure, "another machine sends heartbeats under this node's name, \(cluster.node)",
          "give every node its own name (the host's name, node:, or --node)"))
    }
    if foreignMembers > 0 {
      findings.append(
        Finding(
          .members, .warning, "a node that is not among the members sends heartbeats with this cluster's key",
          "use the same configuration file on every node"))
    }
    for (reason, count) in strangers.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let group = cluster.group
      switch reason {
      case .wrongCluster:
        findings.append(Finding(.members, .note, "another cluster uses the group \(group) too (\(count) datagrams)"))
      default:
        findings.append(
          Finding(
            .members, .note, "\(count) datagrams from strangers at port \(group.port) were refused (\(reason.words))"))
      }
    }
    return findings
  }
}
