// The folders of a running agent: the run folder with its lock and socket, the state folder with what must outlive it.

internal import Cryptography
internal import Glibc
internal import Kernel
package import Settings

/// Why the agent does not start, for its operator. The exit status is the program's.
package struct StartFailure: Error, Equatable, Sendable, CustomStringConvertible {
  package var description: String
  package var exitStatus: Int32

  package init(_ description: String, exitStatus: Int32 = 1) {
    self.description = description
    self.exitStatus = exitStatus
  }
}

/// Holds the run folder for this process.
package final class Directories: Sendable {
  package let run: String
  package let state: String
  private let lock: FileDescriptor
  /// Of the state folder, where that is another one.
  private let stateLock: FileDescriptor?

  package var socketPath: String { run + "/afloat.sock" }

  /// Makes the folders and takes the lock. Throws `StartFailure` if another agent has it, or the paths cannot be used.
  package init(run: String, state: String) throws {
    self.run = Self.withoutSlash(run)
    self.state = Self.withoutSlash(state)
    let socketPath = self.run + "/afloat.sock"
    guard socketPath.utf8.count <= LocalAPI.maximumPathByteCount else {
      throw StartFailure(
        "the socket's path \(socketPath) is longer than \(LocalAPI.maximumPathByteCount) bytes (use a shorter --run-dir)",
        exitStatus: 2)
    }
    do {
      try Files.makeDirectories(self.run, mode: 0o755)
      try Files.makeDirectories(self.state, mode: 0o700)
      guard let lock = try Files.lock(self.run + "/afloat.lock") else {
        throw StartFailure(
          "another agent runs in \(self.run) (stop it; one that is to run beside it needs its own network namespace, with "
            + "another --run-dir and --state-dir)")
      }
      self.lock = lock
      if try Files.resolved(self.state) == Files.resolved(self.run) {
        stateLock = nil
      } else {
        guard let stateLock = try Files.lock(self.state + "/afloat.lock") else {
          throw StartFailure("another agent keeps its state in \(self.state) (give this one another --state-dir)")
        }
        self.stateLock = consume stateLock
      }
    } catch let error as SystemError {
      throw StartFailure("\(error)\(error.code == EACCES ? " (run as root, or use --run-dir and --state-dir)" : "")")
    }
  }

  /// The key of a lone balancer's cookies: made once, kept, readable by root only.
  package func loneCookieKey() throws -> [UInt8] {
    let path = state + "/cookie.key"
    if let bytes = try Files.readIfThere(path, limit: 16) {
      if bytes.count == 16 { return bytes }
      throw StartFailure("\(path) does not hold a key of 16 bytes (remove it; clients then choose servers anew once)")
    }
    let key = SecureRandom.bytes(16)
    try Files.replace(path, with: key, mode: 0o600)
    return key
  }

  private static func withoutSlash(_ path: String) -> String {
    var path = path
    while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
    return path
  }
}

/// How the configuration and its keys are read.
package enum ConfigurationFiles {
  /// Reads and validates the file and the keys that it names. `text` stands for what is in the file.
  package static func load(_ path: String, text: FileContents? = nil) throws(SettingsError) -> LoadedConfiguration {
    try LoadedConfiguration.load(path: path) { (other, limit) throws(FileFault) in
      if let text, other == path { return text }
      return try read(other, limit)
    }
  }

  package static func read(_ path: String, _ limit: Int = Configuration.maximumByteCount) throws(FileFault)
    -> FileContents
  {
    do throws(SystemError) {
      let file = try Files.readWithMode(path, limit: limit)
      return FileContents(bytes: file.bytes, mode: file.mode)
    } catch {
      throw FileFault(cause: error.cause, isAbsent: error.code == ENOENT)
    }
  }
}
