// What systemd (Type=notify, WatchdogSec=) hears of us: one datagram per message to the socket that NOTIFY_SOCKET names.

internal import Glibc
internal import Kernel
package import Primitives

/// The service manager, or nobody where NOTIFY_SOCKET is not set.
package struct ServiceManager: Sendable {
  private let path: String?
  /// How often `keepAlive` must be said; nil: nobody asks.
  package let watchdogInterval: TimeSpan?

  package init(environment: (String) -> String?, processIdentifier: Int32) {
    path = environment("NOTIFY_SOCKET").flatMap { $0.isEmpty ? nil : $0 }
    let meant = environment("WATCHDOG_PID").flatMap { Int32($0) }
    if let microseconds = environment("WATCHDOG_USEC").flatMap({ Int64($0) }), microseconds > 0,
      meant == nil || meant == processIdentifier
    {
      // Half of what is allowed, as sd_watchdog_enabled(3) advises.
      watchdogInterval = .microseconds(microseconds / 2)
    } else {
      watchdogInterval = nil
    }
  }

  /// From the variables of this process. They are taken out of the environment, so that children cannot speak for us.
  package static func fromEnvironment() -> ServiceManager {
    let manager = ServiceManager(
      environment: { name in getenv(name).map { String(cString: $0) } }, processIdentifier: getpid())
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] { unsetenv(name) }
    return manager
  }

  package func ready(_ status: String) { send("READY=1\nSTATUS=\(status)") }
  package func stopping() { send("STOPPING=1") }
  package func keepAlive() { send("WATCHDOG=1") }

  private func send(_ text: String) {
    guard let path else { return }
    // A manager that does not listen is its own business.
    UnixDatagram.send(Array(text.utf8), toPath: path)
  }
}
