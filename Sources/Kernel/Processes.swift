// Other processes of this machine, by name: found in /proc, then watched by pidfd, so that an end is known at once.

internal import CLinux
internal import Glibc

/// A process that is not our child.
package final class OtherProcess: Sendable {
  package let pid: Int32
  private let name: String
  private let pidfd: FileDescriptor

  /// Becomes readable when the process has ended.
  package var descriptor: Int32 { pidfd.raw }

  /// Nil if the process is gone, or does not have that name (any more).
  package init?(pid: Int32, name: String) {
    let raw = afloat_pidfd_open(pid)
    guard raw >= 0 else { return nil }
    pidfd = FileDescriptor(owning: raw)
    self.pid = pid
    self.name = name
    // Looked at after it was opened: the number may have gone to another in between.
    guard Processes.runs(pid, as: name) else { return nil }
  }

  /// It still has its name: a process may become another program.
  package var isStillNamed: Bool { Processes.runs(pid, as: name) }
}

package enum Processes {
  /// What the kernel keeps of a name (TASK_COMM_LEN - 1).
  static let keptByteCount = 15

  /// A process for each of the names that has one. The name is the kernel's, as `ps -e` shows it; one that is longer than
  /// the kernel keeps is compared with the executable's.
  package static func find(_ names: Set<String>) -> [String: Int32] {
    guard !names.isEmpty, let directory = opendir("/proc") else { return [:] }
    defer { closedir(directory) }
    let byKept = Dictionary(grouping: names) { String(decoding: $0.utf8.prefix(keptByteCount), as: UTF8.self) }
    var found: [String: Int32] = [:]
    while found.count < names.count, let entry = readdir(directory) {
      let text = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      guard let pid = Int32(text), let kept = keptName(of: pid) else { continue }
      for name in byKept[kept] ?? [] where found[name] == nil && runs(pid, as: name, kept: kept) { found[name] = pid }
    }
    return found
  }

  static func runs(_ pid: Int32, as name: String) -> Bool {
    guard let kept = keptName(of: pid) else { return false }
    return runs(pid, as: name, kept: kept)
  }

  private static func runs(_ pid: Int32, as name: String, kept: String) -> Bool {
    guard name.utf8.count > keptByteCount else { return kept == name }
    guard kept.utf8.elementsEqual(name.utf8.prefix(keptByteCount)) else { return false }
    var room = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/\(pid)/exe", &room, room.count)
    guard count > 0 else { return false }
    let path = String(decoding: room[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.split(separator: "/").last.map { $0 == name } ?? false
  }

  /// The kernel's name of a process that is alive; nil for one that is gone or only waits to be reaped.
  private static func keptName(of pid: Int32) -> String? {
    let raw = open("/proc/\(pid)/stat", O_RDONLY | O_CLOEXEC)
    guard raw >= 0 else { return nil }
    let file = FileDescriptor(owning: raw)
    var room = [UInt8](repeating: 0, count: 128)
    let count = read(file.raw, &room, room.count)
    // `PID (NAME) STATE …`; a name may hold anything, also parentheses, and what follows it never does.
    guard count > 0, let opening = room[..<count].firstIndex(of: 40), let closing = room[..<count].lastIndex(of: 41),
      opening < closing, closing + 2 < count
    else { return nil }
    let state = room[closing + 2]
    guard state != UInt8(ascii: "Z"), state != UInt8(ascii: "X") else { return nil }
    return String(decoding: room[(opening + 1)..<closing], as: UTF8.self)
  }
}
