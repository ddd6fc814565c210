// The guardian's thread.

internal import Control
internal import Cryptography
internal import Kernel
internal import Primitives
internal import Wire

final class GuardianLoop {
  /// Above the elector's threads: it acts for a few microseconds when one of them has died, or hangs and spins.
  static let priority: Int32 = 60
  /// When copies of the resign follow the first, for a lost datagram.
  private static let copiesAfter = [TimeSpan.milliseconds(1), .milliseconds(4)]
  /// How long a killed elector may take to end. One that is stuck in the kernel cannot be resigned for.
  private static let patience = TimeSpan.seconds(2)
  private enum Token: UInt64 { case next, process, timer }

  private let guardian: Guardian
  private var configuration: ElectorConfiguration
  private let gate: GateWarden?
  private let report: @Sendable (Supervisor.Command) -> Void
  private let poller: Poller
  private let timer: Timer
  private let netlink: NetlinkConnection
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: DatagramLayout.maximumByteCount, alignment: 8)
  private let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: DatagramLayout.maximumByteCount, alignment: 8)
  private var authenticator: HeartbeatAuthenticator
  private var ward: Guardian.Ward?
  private var addresses: [InterfaceAddress] = []
  private var sender: GuardianSender?
  private var beats = BeatWatch()
  private var nextWakeUp = Instant.distantFuture

  init(
    guardian: Guardian, configuration: ElectorConfiguration, gate: GateWarden?,
    report: @escaping @Sendable (Supervisor.Command) -> Void
  ) throws {
    self.guardian = guardian
    self.configuration = configuration
    self.gate = gate
    self.report = report
    poller = try Poller(capacity: 8)
    timer = try Timer()
    netlink = try NetlinkConnection()
    authenticator = HeartbeatAuthenticator(clusterKeys: configuration.keys)
  }

  deinit {
    buffer.deallocate()
    copy.deallocate()
  }

  func run() throws {
    if let refusal = Privileges.becomeRealTime(priority: Self.priority) { report(.warning("guardian: \(refusal)")) }
    try poller.add(guardian.wakeUpDescriptor, .read, token: Token.next.rawValue)
    try poller.add(timer.descriptor.raw, .read, token: Token.timer.rawValue)
    while true {
      let count = poller.wait(timeout: nil)
      for index in 0..<count {
        switch Token(rawValue: poller.token(index)) {
        case .process: bury(hung: false)
        case .timer: lookAtBeat()
        case .next:
          takeOver()
          reconfigure()
        case nil: break
        }
      }
    }
  }

  /// A new elector: prepare everything that its end will need.
  private func takeOver() {
    guard let new = guardian.takeNext() else { return }
    ward = new
    beats = BeatWatch()
    prepare()
    // Becomes readable at once if it has ended meanwhile.
    do { try poller.add(new.process.raw, .read, token: Token.process.rawValue) } catch {
      report(.warning("the elector's end will be noticed late: \(error)"))
    }
    scheduleWakeUp(Clock.monotonic)
  }

  /// What the elector had before is cleaned up by itself or, if it dies in this moment, by the next elector.
  private func reconfigure() {
    guard let new = guardian.takeConfiguration() else { return }
    configuration = new
    authenticator = HeartbeatAuthenticator(clusterKeys: new.keys)
    prepare()
  }

  /// Finds interfaces and opens the socket; what is missing now is tried again when it is needed.
  private func prepare() {
    guard let links = try? netlink.links() else { return }
    addresses = configuration.vips.flatMap { vip -> [InterfaceAddress] in
      guard let link = links.first(where: { $0.name == vip.interface }) else { return [] }
      return vip.addresses.map { InterfaceAddress(interface: link.index, prefix: $0, isOurs: true) }
    }
    sender = GuardianSender(configuration, links: links) ?? sender
  }

  // MARK: Beat

  private func scheduleWakeUp(_ now: Instant) {
    guard let ward else { return timer.arm(at: .distantFuture) }
    nextWakeUp = now + BeatWatch.interval(detection: ward.page.detection)
    timer.arm(at: nextWakeUp)
  }

  private func lookAtBeat() {
    timer.clear()
    guard let ward else { return }
    let now = Clock.monotonic
    // Before its first heartbeat there is nothing to resign for; what does not start is the supervisor's.
    if ward.page.isInUse,
      beats.wake(
        now: now, lateBy: now - nextWakeUp, beat: ward.page[.beat], detection: ward.page.detection)
    {
      ProcessDescriptor.signal(ward.process, 9)
      if waitForEnd(of: ward, now + Self.patience) { return bury(hung: true) }
      report(.warning("the elector hangs and cannot be killed: its VIPs are removed, nothing is said to the peers"))
      gate?.deadlines?.shutAll()
      var ignored = GuardianReport()
      removeAddresses(&ignored)
    }
    scheduleWakeUp(Clock.monotonic)
  }

  private func waitForEnd(of ward: Guardian.Ward, _ deadline: Instant) -> Bool {
    while Clock.monotonic < deadline {
      if ProcessDescriptor.hasEnded(ward.process, within: .milliseconds(50)) { return true }
    }
    return false
  }

  // MARK: The end of an elector

  private func bury(hung: Bool) {
    guard let ward else { return }
    let start = Clock.monotonic
    self.ward = nil
    poller.remove(ward.process.raw)
    var done = GuardianReport()
    done.hung = hung
    // Nobody but the elector opens it, and that is gone.
    gate?.deadlines?.shutAll()
    if isGated, sender != nil {
      resign(for: ward.page, hung: hung, start, &done)
      removeAllAddresses(start, &done)
    } else {
      // Without a gate an address that is still there would answer beside the successor's: first away with it.
      removeAllAddresses(start, &done)
      resign(for: ward.page, hung: hung, start, &done)
    }
    timer.arm(at: .distantFuture)
    report(.electorGone(done))
  }

  /// Every VIP is behind the gate.
  private var isGated: Bool {
    guard let fenced = gate?.view.fenced else { return false }
    return configuration.vips.allSatisfy { fenced.contains($0.name) }
  }

  private func removeAllAddresses(_ start: Instant, _ done: inout GuardianReport) {
    removeAddresses(&done)
    done.steps["remove"] = (Clock.monotonic - start).nanoseconds
    // An interface may have come back under another index since it was looked up.
    let before = addresses
    prepare()
    if addresses != before { removeAddresses(&done) }
  }

  private func removeAddresses(_ done: inout GuardianReport) {
    for address in addresses {
      do { try netlink.remove(address) } catch { done.failures.append("\(error)") }
    }
  }

  private func resign(for page: ElectorPageMemory, hung: Bool, _ start: Instant, _ done: inout GuardianReport) {
    let boot = BootID(high: page[.bootHigh], low: page[.bootLow])
    guard page.isInUse, boot != BootID(high: 0, low: 0) else { return }
    guard let sender else {
      let interfaces = configuration.interfaces.joined(separator: ", ")
      done.failures.append("cannot resign in the elector's name: the interface \(interfaces) is not there")
      return
    }
    // The elector may have died between taking a sequence and noting the next one.
    let sequence = page[.nextSequence] &+ 4
    let length = ResignDatagram.encode(
      clusterName: configuration.clusterName, node: configuration.node, boot: boot, sequence: sequence,
      reason: hung ? .hung : .died, now: Clock.monotonic, authenticator: &authenticator, into: buffer)
    let datagram = UnsafeMutableRawBufferPointer(rebasing: buffer[..<length])
    var code = send(datagram, by: sender)
    done.steps["resign"] = (Clock.monotonic - start).nanoseconds
    for pause in Self.copiesAfter {
      Threads.sleep(pause)
      let again = send(datagram, by: sender)
      if code != 0 { code = again }
    }
    done.resigned = code == 0
    if code != 0 { done.failures.append("\(SystemError("resign in the elector's name", code: code))") }
  }

  /// While keys are exchanged, in both: some peers may have only one of them.
  private func send(_ datagram: UnsafeMutableRawBufferPointer, by sender: GuardianSender) -> Int32 {
    let code = sender.send(UnsafeRawBufferPointer(datagram))
    guard authenticator.otherKeyID != nil else { return code }
    copy.copyMemory(from: UnsafeRawBufferPointer(datagram))
    let again = UnsafeMutableRawBufferPointer(rebasing: copy[..<datagram.count])
    DatagramWriter.signWithOtherKey(again, authenticator: &authenticator)
    _ = sender.send(UnsafeRawBufferPointer(again))
    return code
  }
}
