// What a refused system call says: operation, subject, cause. The remedy is added by whoever knows it.

internal import CLinux
internal import Glibc

/// A system call that failed.
package struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
  /// "bind 192.0.2.1:80".
  package let operation: String
  package let code: Int32

  package init(_ operation: String, code: Int32) {
    self.operation = operation
    self.code = code
  }

  /// With the calling thread's errno. The operation's text is only built on failure.
  package static func last(_ operation: @autoclosure () -> String) -> SystemError {
    let code = errno
    return SystemError(operation(), code: code)
  }

  package static let tryAgain = EAGAIN
  package static let permissionDenied = EPERM

  /// This node lacks something for the moment: nobody else has a part in it.
  package var isShortage: Bool { Self.isShortage(code) }
  package static func isShortage(_ code: Int32) -> Bool {
    [EAGAIN, ENOMEM, EMFILE, ENFILE, ENOBUFS].contains(code)
  }

  package var cause: String { String(cString: strerror(code)).lowercasedFirst }
  package var description: String { "cannot \(operation): \(cause)" }
}

extension String {
  fileprivate var lowercasedFirst: String { prefix(1).lowercased() + dropFirst() }
}

/// Runs a call again while a signal interrupts it; nil means that it would block.
@discardableResult
package func retryingCall<Result: SignedInteger>(
  _ operation: @autoclosure () -> String, _ call: () -> Result
) throws(SystemError) -> Result? {
  while true {
    let result = call()
    if result >= 0 { return result }
    switch errno {
    case EINTR: continue
    case EAGAIN: return nil
    default: throw .last(operation())
    }
  }
}

/// Runs a call that never blocks for longer than it should; throws on every failure.
@discardableResult
package func checkedCall<Result: SignedInteger>(
  _ operation: @autoclosure () -> String, _ call: () -> Result
) throws(SystemError) -> Result {
  while true {
    let result = call()
    if result >= 0 { return result }
    if errno != EINTR { throw .last(operation()) }
  }
}
