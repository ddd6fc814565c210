// The hands' end of the channel to the agent. Never waits for the agent: what it does not read is kept up to a limit, then
// the oldest is dropped, and status reports replace each other.

import Control
import Kernel
import Membership
import Primitives

struct ReporterFault: Error, CustomStringConvertible {
  let description: String
}

final class Reporter {
  /// Reports that wait for the agent to read; beyond it the oldest is dropped and counted.
  static let maximumWaiting = 1024
  static let maximumWarnings = 32

  private let control: ControlSocket
  var isConnected = true
  private var waiting: [[UInt8]] = []
  private var waitingStatus: [UInt8]?
  private var droppedReports = 0
  /// Refusals at the start: real-time scheduling, locked memory, another user.
  private var startWarnings: [String]
  /// The last ones of the running elector, newest last.
  private var warnings: [String] = []
  private var refusedAnnouncements = 0
  /// Names of settings that need a restart.
  var restartNeeded: [String] = []
  var softwareVersions: [String?] = .init(repeating: nil, count: MemberIndex.limit)

  init(control: consuming ControlSocket, warnings: [String]) {
    self.control = control
    startWarnings = warnings
  }

  var rawDescriptor: Int32 { control.descriptor.raw }

  /// Waits for the first message; later ones do not wait. Throws `SystemError` when the agent is gone, `ReporterFault` for one
  /// message that cannot be read. `descriptors` is given those that came with the message.
  func receive(_ descriptors: (inout FileDescriptorList) -> Void = { _ in }) throws -> ElectorCommand? {
    let received: ControlPacket?
    do throws(SystemError) { received = try control.receive() } catch {
      guard error.isOfOneMessage else { throw error }
      throw ReporterFault(description: "a message of the agent is lost: \(error)")
    }
    guard var packet = received else { return nil }
    descriptors(&packet.descriptors)
    do { return try MessageCoding.decode(ElectorCommand.self, from: packet.bytes) } catch {
      throw ReporterFault(description: "the agent sent a message that cannot be read: \(error)")
    }
  }

  func stopWaiting() throws(SystemError) { try control.setNonBlocking() }

  /// From here on the hands use it: what only they or the heartbeat thread could find out.
  func addStartWarning(_ warning: String) { startWarnings.append(warning) }

  var isWaiting: Bool { !waiting.isEmpty || waitingStatus != nil }

  func report(_ report: ElectorReport) {
    guard isConnected, let bytes = try? MessageCoding.encode(report) else { return }
    if case .status = report {
      waitingStatus = bytes
    } else {
      if waiting.count >= Self.maximumWaiting {
        waiting.removeFirst()
        droppedReports += 1
      }
      waiting.append(bytes)
    }
    flush()
  }

  /// Sends what the agent takes.
  func flush() {
    while isConnected, let first = waiting.first ?? waitingStatus {
      do throws(SystemError) {
        guard try control.send(first) else { return }
      } catch {
        // It is gone; reading the socket says so too, and does what follows.
        waiting = []
        waitingStatus = nil
        return
      }
      if waiting.isEmpty { waitingStatus = nil } else { waiting.removeFirst() }
    }
  }

  func event(_ kind: ElectorEvent.Kind, subject: String, cause: String, steps: [String: Int64] = [:]) {
    report(
      .event(
        ElectorEvent(
          kind: kind, subject: subject, cause: cause, unixNanoseconds: Clock.unixNanoseconds, steps: steps)))
  }

  /// Shown by `status`, and an event the first time.
  func warn(_ text: String) {
    guard !warnings.contains(text) else { return }
    if warnings.count >= Self.maximumWarnings { warnings.removeFirst() }
    warnings.append(text)
    event(.warning, subject: "elector", cause: text)
  }

  func countRefusedAnnouncement(_ error: SystemError) {
    refusedAnnouncements += 1
    warn("announcements are refused: \(error.cause)")
  }

  /// Everything that the operator should know.
  func allWarnings(_ shell: ShellCounters) -> [String] {
    var all = startWarnings + warnings
    if !restartNeeded.isEmpty {
      all.append("a restart of the agent is needed for the new \(restartNeeded.joined(separator: ", "))")
    }
    if shell.refusedSends > 0 {
      let cause = SystemError("send", code: shell.lastSendError).cause
      all.append("\(shell.refusedSends) heartbeats were refused by the system, the last because: \(cause)")
    }
    if shell.lostOrders > 0 { all.append("\(shell.lostOrders) orders did not fit the ring to the hands thread") }
    if shell.floods > 0 { all.append("\(shell.floods) times more datagrams waited than are taken at once") }
    if droppedReports > 0 { all.append("\(droppedReports) reports were dropped because the agent did not read them") }
    return all
  }
}
