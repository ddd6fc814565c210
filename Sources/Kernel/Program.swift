// Programs that operators name, for checks and hooks: run in a process group of their own, so that what they start can be
// ended with them, and with what they print in a pipe.

internal import CLinux
internal import Glibc
package import Primitives

/// How a process ended.
package enum ProcessEnding: Equatable, Sendable {
  case exited(Int32)
  case signalled(Int32)

  /// From waitpid(2).
  init(status: Int32) {
    let signal = status & 0x7f
    self = signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
  }

  /// `exit status 1`, `signal 9 (killed)`.
  package var words: String {
    switch self {
    case .exited(let status): "exit status \(status)"
    case .signalled(let signal): "signal \(signal) (\(String(cString: strsignal(signal)).lowercased()))"
    }
  }
}

/// The process group of a program, for who does not hold the program. Once the program has been reaped its number may be another's.
package struct ProcessGroup: Sendable {
  fileprivate let leader: Int32

  /// Ends all of it.
  package func kill() { _ = Glibc.kill(-leader, SIGKILL) }
}

package struct Program: ~Copyable, Sendable {
  private let process: ChildProcess
  private let output: FileDescriptor

  /// Becomes readable when the program itself has ended; what it started may still run.
  package var processDescriptor: Int32 { process.pidfd.raw }
  /// Becomes readable when something was printed, on standard output or standard error.
  package var outputDescriptor: Int32 { output.raw }

  /// Starts `path`. Its standard input is empty, beyond standard output and error it has no other descriptor;
  /// `environment` is all that it gets, `NAME=VALUE` each. `descriptorLimit`: how many descriptors it, and what it starts, may
  /// have open from its first moments on; nil: as many as we.
  package init(
    _ path: String, arguments: [String] = [], environment: [String], descriptorLimit: UInt64? = nil
  ) throws(SystemError) {
    var ends: [Int32] = [-1, -1]
    try checkedCall("create a pipe") { afloat_pipe(&ends) }
    let output = FileDescriptor(owning: ends[0])
    let theirs = FileDescriptor(owning: ends[1])
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, theirs.raw, 1)
    posix_spawn_file_actions_adddup2(&actions, theirs.raw, 2)
    let code = afloat_spawn_closes_from(&actions, 3)
    guard code == 0 else { throw SystemError("start \(path)", code: code) }
    process = try ChildProcess.spawn(path, arguments: arguments, &actions, ownGroup: true, environment: environment)
    self.output = output
    if let descriptorLimit { afloat_limit_open_files_of(process.pid, descriptorLimit) }
  }

  package var group: ProcessGroup { ProcessGroup(leader: process.pid) }

  /// Waits until the program has ended, or there is something to be read, if that is asked for; sometimes for less.
  package borrowing func wait(forOutput: Bool) {
    var polls = [
      pollfd(fd: process.pidfd.raw, events: Int16(POLLIN), revents: 0),
      pollfd(fd: output.raw, events: Int16(POLLIN), revents: 0),
    ]
    _ = poll(&polls, forOutput ? 2 : 1, -1)
  }

  /// What it has printed, up to the room: nil when there is nothing now, no bytes at the end.
  package borrowing func read(_ room: inout [UInt8]) -> ArraySlice<UInt8>? {
    let raw = output.raw
    var count: Int
    repeat { count = Glibc.read(raw, &room, room.count) } while count < 0 && errno == EINTR
    return count < 0 ? nil : room[..<count]
  }

  /// Ends the program and everything in its group. Only before `ending` has answered: later the number may be another's.
  package borrowing func killGroup() { group.kill() }

  /// Whether the program itself has ended, reaped or not.
  package var hasEnded: Bool { ProcessDescriptor.hasEnded(process.pidfd, within: .zero) }

  /// How it ended; nil while it runs. Reaps it.
  package borrowing func ending() -> ProcessEnding? { process.ending() }
}

/// A program that is run to its end for what it prints.
extension Program {
  package struct Result: Sendable {
    /// Nil: it took too long or printed too much, and was killed.
    package var ending: ProcessEnding?
    package var output: [UInt8]
  }

  /// Waits at most `timeout`, for at most `limit` bytes of standard output and standard error.
  package static func run(
    _ path: String, arguments: [String], limit: Int, timeout: TimeSpan
  ) throws(SystemError) -> Result {
    let program = try Program(
      path, arguments: arguments, environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"])
    let poller = try Poller(capacity: 1)
    try poller.add(program.outputDescriptor, .read, token: 0)
    let deadline = Clock.monotonic + timeout
    var output: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 64 * 1024)
    while output.count <= limit, Clock.monotonic < deadline {
      guard let bytes = program.read(&room) else {
        _ = poller.wait(timeout: deadline - Clock.monotonic)
        continue
      }
      if bytes.isEmpty { break }
      output += bytes
    }
    // Its end follows that of its output, if that was not the reason to stop.
    while output.count <= limit, Clock.monotonic < deadline {
      if let ending = program.ending() { return Result(ending: ending, output: output) }
      Threads.sleep(.milliseconds(1))
    }
    program.killGroup()
    while program.ending() == nil { Threads.sleep(.milliseconds(1)) }
    return Result(ending: nil, output: output)
  }
}

/// What an operator's program should be, seen from outside.
extension Files {
  /// Why `path` cannot be run, or should not be, in words; nil if it can.
  package static func faultOfProgram(_ path: String) -> String? {
    var information = stat()
    guard stat(path, &information) == 0 else { return SystemError.last("look at \(path)").cause }
    guard information.st_mode & S_IFMT == S_IFREG else { return "it is no file" }
    guard isExecutable(path) else { return "it is not executable (chmod +x \(path))" }
    guard information.st_mode & 0o022 == 0 else {
      return "others than its owner may change it (chmod go-w \(path))"
    }
    return nil
  }

  /// Why files below the folder `path` cannot be sent by the user that the balancer runs as, in words; nil if they can.
  package static func faultOfServedFolder(_ path: String) -> String? {
    var information = stat()
    guard stat(path, &information) == 0 else { return SystemError.last("look at \(path)").cause }
    guard information.st_mode & S_IFMT == S_IFDIR else { return "it is no folder" }
    let user = Privileges.serviceUser()
    guard Privileges.isRoot, let entry = getpwnam(user) else { return nil }
    // It has to pass through each folder on the way.
    var folder = ""
    let parts: [Substring] = [""] + path.split(separator: "/")
    for part in parts {
      folder += folder.hasSuffix("/") ? "\(part)" : "/\(part)"
      guard stat(folder, &information) == 0 else { return SystemError.last("look at \(folder)").cause }
      let shift =
        information.st_uid == entry.pointee.pw_uid ? 6 : information.st_gid == entry.pointee.pw_gid ? 3 : mode_t(0)
      if information.st_mode >> shift & 1 == 0 { return "user \(user) may not enter \(folder)" }
    }
    return nil
  }

  /// Why no file can be made in the folder `path`, in words; nil if it can.
  package static func faultOfFolder(_ path: String) -> String? {
    access(path, W_OK | X_OK) == 0 ? nil : SystemError.last("look at \(path)").cause
  }

  package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
}
