// Starting and watching our own children.

internal import CLinux
internal import Glibc

/// A child process, held by its pidfd, so that a signal never reaches a stranger who got the same number.
package struct ChildProcess: ~Copyable, Sendable {
  package let pid: Int32
  /// Becomes readable when the child has ended.
  package let pidfd: FileDescriptor

  /// Starts `path`. `descriptors` become 3, 4, … of the child; 0, 1 and 2 are ours; everything else must be close-on-exec.
  /// The child starts with default signal handlers and an empty signal mask.
  package static func start(
    _ path: String, arguments: [String], descriptors: [Int32]
  ) throws(SystemError) -> ChildProcess {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // First out of the way of the targets, then into place.
    var moved: [Int32] = []
    defer { for raw in moved { close(raw) } }
    for raw in descriptors {
      moved.append(try checkedCall("duplicate a descriptor") { fcntl(raw, F_DUPFD_CLOEXEC, Int32(64)) })
    }
    for (offset, raw) in moved.enumerated() {
      posix_spawn_file_actions_adddup2(&actions, raw, Int32(3 + offset))
    }
    return try spawn(path, arguments: arguments, &actions, ownGroup: false, environment: nil)
  }

  /// - Parameters:
  ///   - ownGroup: the child leads a process group of its own.
  ///   - environment: nil is ours.
  static func spawn(
    _ path: String, arguments: [String], _ actions: inout posix_spawn_file_actions_t, ownGroup: Bool,
    environment: [String]?
  ) throws(SystemError) -> ChildProcess {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var defaults = sigset_t()
    sigfillset(&defaults)
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    var mask = sigset_t()
    sigemptyset(&mask)
    posix_spawnattr_setsigmask(&attributes, &mask)
    var flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
    if ownGroup { flags |= POSIX_SPAWN_SETPGROUP }
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(&attributes, Int16(flags))

    var pid: pid_t = 0
    var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
    defer { for argument in argv { free(argument) } }
    var variables = environment.map { $0.map { strdup($0) } + [nil] } ?? []
    defer { for variable in variables { free(variable) } }
    let code = variables.withUnsafeMutableBufferPointer { own in
      posix_spawn(
        &pid, path, &actions, &attributes, &argv, environment == nil ? afloat_environment() : own.baseAddress)
    }
    guard code == 0 else { throw SystemError("start \(path)", code: code) }
    return try watched(pid, ownGroup: ownGroup)
  }

  /// A child that cannot be watched does not live on unknown, nor what it has started in its own group. `open` is pidfd_open(2).
  static func watched(
    _ pid: Int32, ownGroup: Bool = false, open: (Int32) -> Int32 = { afloat_pidfd_open($0) }
  ) throws(SystemError) -> ChildProcess {
    do throws(SystemError) {
      let pidfd = try checkedCall("watch process \(pid)") { open(pid) }
      return ChildProcess(pid: pid, pidfd: FileDescriptor(owning: pidfd))
    } catch {
      // Not reaped yet, so the number is still the child's.
      kill(ownGroup ? -pid : pid, SIGKILL)
      var status: Int32 = 0
      while waitpid(pid, &status, 0) < 0, errno == EINTR {}
      throw error
    }
  }

  package borrowing func signal(_ number: Int32) { _ = afloat_pidfd_send_signal(pidfd.raw, number) }

  /// How it ended, in words ("exit status 1", "signal 9 (killed)"); nil while it runs. Reaps it.
  package borrowing func endedBecause() -> String? { ending()?.words }

  /// As `endedBecause`, not yet in words.
  borrowing func ending() -> ProcessEnding? {
    var status: Int32 = 0
    return waitpid(pid, &status, WNOHANG) == pid ? ProcessEnding(status: status) : nil
  }
}
