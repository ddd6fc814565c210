// Dropping power, and asking for the little that a thread may need: the first thing that a child does.

internal import CLinux
internal import Glibc

/// The capabilities that a process keeps.
package struct Capabilities: OptionSet, Sendable {
  package let rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }
  package static let netAdmin = Capabilities(rawValue: AFLOAT_CAPABILITY_NET_ADMIN)
  package static let netRaw = Capabilities(rawValue: AFLOAT_CAPABILITY_NET_RAW)
}

package enum Privileges {
  package static var isRoot: Bool { geteuid() == 0 }

  /// Becomes `user` and keeps exactly `capabilities`, for good. Call before the process has a second thread.
  /// Returns a warning in words if it could not become that user (a user namespace with one uid) but dropped the rest.
  package static func drop(to user: String, keeping capabilities: Capabilities) throws(SystemError) -> String? {
    var warning: String?
    var uid = getuid()
    var gid = getgid()
    if uid == 0 {
      if let entry = getpwnam(user) {
        uid = entry.pointee.pw_uid
        gid = entry.pointee.pw_gid
      } else {
        throw SystemError("find the user \(user)", code: ENOENT)
      }
    } else {
      warning = "started without root: stays user \(uid)"
    }
    var step: UnsafePointer<CChar>?
    if afloat_drop_privileges(uid, gid, capabilities.rawValue, &step) != 0 {
      let failure = SystemError.last(step.map { String(cString: $0) } ?? "drop privileges")
      // In a user namespace that maps a single uid nobody else can be become (EINVAL, or EPERM where setgroups is denied);
      // capabilities there end at its border.
      guard failure.code == EINVAL || failure.code == EPERM, uid != getuid() else { throw failure }
      warning = "cannot become user \(user) in this user namespace: stays user \(getuid())"
      if afloat_drop_privileges(getuid(), getgid(), capabilities.rawValue, &step) != 0 {
        throw .last(step.map { String(cString: $0) } ?? "drop privileges")
      }
    }
    return warning
  }

  /// Who runs the children on a machine without a user `afloat`.
  package static let standInUser = "nobody"

  /// `afloat`, or the stand-in where that user does not exist.
  package static func serviceUser() -> String { getpwnam("afloat") != nil ? "afloat" : standInUser }

  /// Real-time scheduling for the calling thread; the refusal in words, or nil.
  package static func becomeRealTime(priority: Int32) -> String? {
    afloat_set_fifo(priority) == 0 ? nil : SystemError.last("get real-time scheduling").description
  }

  /// Raises the limit of open files to `count`, or as far as allowed. Returns what it is now.
  package static func raiseOpenFiles(to count: UInt64) -> UInt64 {
    afloat_set_limit(AFLOAT_LIMIT_OPEN_FILES, count) == 0 ? count : afloat_open_files_to_hard_limit()
  }
}

package enum Threads {
  /// The cores that this process may run on.
  package static func allowedCores() -> [Int] {
    var cores = [Int32](repeating: 0, count: 1024)
    let count = afloat_allowed_cores(&cores, 1024)
    return cores.prefix(Int(max(0, count))).map(Int.init)
  }

  /// Pins the calling thread.
  package static func pin(to core: Int) { _ = afloat_pin_to_core(Int32(core)) }

  /// The calling thread has little to do at a time, and should do it at once: it does not wait for the turns of threads that
  /// work for long. It gets no more of a processor than before. Before Linux 6.12 nothing changes.
  package static func takeShortTurns() { _ = afloat_set_turn(100_000) }

  /// Names the calling thread; at most 15 bytes count.
  package static func name(_ name: String) { afloat_set_thread_name(name) }

  /// Starts a detached thread that runs `body` to its end.
  package static func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
    final class Box: Sendable {
      let name: String
      let body: @Sendable () -> Void
      init(_ name: String, _ body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
      }
    }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(name, body))
    let code = pthread_create(
      &thread, nil,
      { argument in
        let box = Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue()
        Threads.name(box.name)
        box.body()
        return nil
      }, box.toOpaque())
    guard code == 0 else {
      box.release()
      throw SystemError("start the thread \(name)", code: code)
    }
    pthread_detach(thread)
  }
}
