// The local API's server: HTTP over the Unix socket RUN_DIR/afloat.sock, for root and the socket's group.

internal import Hummingbird
internal import Kernel
package import Logging
internal import ServiceLifecycle

package struct LocalAPI: Service {
  /// sockaddr_un holds 108 bytes with the final zero.
  package static let maximumPathByteCount = 107

  private let path: String
  private let environment: APIEnvironment
  private let logger: Logger

  package init(path: String, environment: APIEnvironment, logger: Logger) {
    self.path = path
    self.environment = environment
    self.logger = logger
  }

  package func run() async throws {
    var quiet = logger
    // The framework's own lines say nothing that ours do not.
    quiet.logLevel = .warning
    let application = Application(
      responder: APIRoutes(environment),
      configuration: ApplicationConfiguration(address: .unixDomainSocket(path: path), serverName: "afloat"),
      onServerRunning: { [path, logger] _ in
        do {
          // Created under a umask that gives others nothing; the group may be granted access with chgrp.
          try Files.changeMode(path, to: 0o660)
        } catch { logger.error("\(error)") }
        logger.info("API listening", metadata: ["socket": "\(path)"])
      },
      logger: quiet)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await application.run() }
      group.addTask {
        // A client that holds a request open must not hold up the stop.
        try await gracefulShutdown()
        try await Task.sleep(for: .seconds(1))
      }
      _ = try await group.next()
      group.cancelAll()
      do { try await group.waitForAll() } catch is CancellationError {}
    }
  }
}
