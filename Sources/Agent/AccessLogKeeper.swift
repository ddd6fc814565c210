// The access log's file: opened by the agent, which has the power to, and handed to the balancer. It is opened anew on every reload,
// and soon after somebody has renamed or removed it, so that a rotation needs no signal.

internal import Control
internal import Kernel
internal import Logging
internal import ServiceLifecycle
internal import Synchronization

/// What the balancer writes to; open for as long as somebody holds it.
package final class OpenedLog: Sendable {
  let file: FileDescriptor
  /// Nil for standard output.
  let identity: FileIdentity?

  init(_ file: consuming FileDescriptor, isFile: Bool) {
    identity = isFile ? FileIdentity(of: file) : nil
    self.file = file
  }
}

package final class AccessLogKeeper: Service {
  /// Between two looks whether the file is still the one that its path leads to.
  private static let lookInterval = Duration.seconds(2)

  private struct State {
    var target: AccessLogConfiguration.Target?
    var opened: OpenedLog?
    var failure: String?
  }
  private let state = Mutex(State())
  private let logger: Logger
  /// Hands a descriptor to the balancer, this one and later ones.
  private let hand: @Sendable (OpenedLog?) -> Void

  init(logger: Logger, hand: @escaping @Sendable (OpenedLog?) -> Void) {
    self.logger = logger
    self.hand = hand
  }

  /// Why there is no log, for `status`.
  var failure: String? { state.withLock { $0.failure } }

  /// Opens what lines go to; nil where that is not ours to open.
  static func open(_ target: AccessLogConfiguration.Target?) throws(SystemError) -> OpenedLog? {
    switch target {
    case .file(let path): OpenedLog(try LogTarget.open(path), isFile: true)
    case .standardOutput: OpenedLog(try LogTarget.duplicateOutput(), isFile: false)
    case .syslog, nil: nil
    }
  }

  /// From now on this is the log.
  func adopt(_ target: AccessLogConfiguration.Target?, _ opened: OpenedLog?) {
    state.withLock { $0 = State(target: target, opened: opened) }
    hand(opened)
  }

  /// At the start of the agent: what cannot be opened yet is tried again and again, since requests matter more than lines.
  func begin(_ target: AccessLogConfiguration.Target?) {
    state.withLock { $0.target = target }
    look()
  }

  /// Opens the file if it is not open, or is another one by now.
  func look() {
    let (target, opened) = state.withLock { ($0.target, $0.opened) }
    switch target {
    case nil, .syslog: return
    case .standardOutput: if opened != nil { return }
    case .file(let path): if let identity = opened?.identity, FileIdentity(path: path) == identity { return }
    }
    do throws(SystemError) {
      let next = try Self.open(target)
      let isCurrent = state.withLock { state in
        guard state.target == target else { return false }
        state.opened = next
        state.failure = nil
        return true
      }
      if isCurrent { hand(next) }
    } catch {
      let words = "there is no access log: \(error)"
      let isNew = state.withLock { state in
        // A reload may have had another idea meanwhile.
        guard state.target == target, state.failure != words else { return false }
        state.failure = words
        return true
      }
      if isNew { logger.error("\(words)") }
    }
  }

  package func run() async throws {
    await cancelWhenGracefulShutdown {
      while (try? await Task.sleep(for: Self.lookInterval)) != nil { self.look() }
    }
  }
}
