// Small files: read whole, and replaced in one piece, so that a crash or a power loss leaves the old or the new one.

internal import CLinux
internal import Glibc

package enum Files {
  /// The whole of a file, at most `limit` bytes (EFBIG above). Throws ENOENT if there is none.
  package static func read(_ path: String, limit: Int = 64 * 1024 * 1024) throws(SystemError) -> [UInt8] {
    let file = FileDescriptor(owning: try checkedCall("open \(path)") { open(path, O_RDONLY | O_CLOEXEC) })
    let raw = file.raw
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    while true {
      let count = try checkedCall("read \(path)") { Glibc.read(raw, &chunk, chunk.count) }
      if count == 0 { return bytes }
      guard bytes.count + count <= limit else { throw SystemError("read \(path)", code: EFBIG) }
      bytes += chunk[..<count]
    }
  }

  /// Nil if there is no such file.
  package static func readIfThere(_ path: String, limit: Int = 64 * 1024 * 1024) throws(SystemError) -> [UInt8]? {
    do throws(SystemError) { return try read(path, limit: limit) } catch {
      if error.code == ENOENT { return nil }
      throw error
    }
  }

  /// Puts `bytes` in the place of `path`: temporary file, fsync, rename, fsync of the directory. On the disk on return.
  package static func replace(_ path: String, with bytes: [UInt8], mode: UInt32 = 0o600) throws(SystemError) {
    let temporary = path + ".new"
    do {
      let file = FileDescriptor(
        owning: try checkedCall("create \(temporary)") {
          open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode_t(mode))
        })
      let raw = file.raw
      try checkedCall("set the mode of \(temporary)") { fchmod(raw, mode_t(mode)) }
      var written = 0
      while written < bytes.count {
        written += try checkedCall("write \(temporary)") {
          bytes.withUnsafeBytes { Glibc.write(raw, $0.baseAddress! + written, $0.count - written) }
        }
      }
      try checkedCall("bring \(temporary) to the disk") { fsync(raw) }
    }
    try checkedCall("put \(temporary) in the place of \(path)") { Glibc.rename(temporary, path) }
    try synchronizeDirectory(of: path)
  }

  package static func synchronizeDirectory(of path: String) throws(SystemError) {
    let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let file = FileDescriptor(
      owning: try checkedCall("open \(directory)") { open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) })
    let raw = file.raw
    try checkedCall("bring \(directory) to the disk") { fsync(raw) }
  }

  /// Creates `path` and what leads to it where missing; `mode` for the ones it creates.
  package static func makeDirectories(_ path: String, mode: UInt32) throws(SystemError) {
    var built = path.hasPrefix("/") ? "/" : ""
    for part in path.split(separator: "/") {
      built += part
      if mkdir(built, mode_t(mode)) != 0, errno != EEXIST { throw .last("create the directory \(built)") }
      built += "/"
    }
  }

  /// Opens `path` for appending, creating it.
  package static func openToAppend(_ path: String, mode: UInt32 = 0o640) throws(SystemError) -> FileDescriptor {
    FileDescriptor(
      owning: try checkedCall("open \(path)") { open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, mode_t(mode)) })
  }

  /// Creates and locks `path` for as long as the descriptor lives; nil if another process has it.
  package static func lock(_ path: String) throws(SystemError) -> FileDescriptor? {
    let file = FileDescriptor(
      owning: try checkedCall("open \(path)") { open(path, O_RDWR | O_CREAT | O_CLOEXEC, mode_t(0o644)) })
    if afloat_lock_file(file.raw) == 0 { return file }
    if errno == EWOULDBLOCK { return nil }
    throw .last("lock \(path)")
  }

  /// The executable of this process.
  package static func ownExecutable() throws(SystemError) -> String {
    var room = [UInt8](repeating: 0, count: 4096)
    let count = try checkedCall("read /proc/self/exe") {
      room.withUnsafeMutableBytes {
        readlink("/proc/self/exe", $0.baseAddress!.assumingMemoryBound(to: CChar.self), 4096)
      }
    }
    return String(decoding: room[..<count], as: UTF8.self)
  }

  package static func rename(_ path: String, to other: String) throws(SystemError) {
    try checkedCall("rename \(path) to \(other)") { Glibc.rename(path, other) }
  }

  package static func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 }

  package static func changeMode(_ path: String, to mode: UInt32) throws(SystemError) {
    try checkedCall("set the mode of \(path)") { chmod(path, mode_t(mode)) }
  }
}

extension FileDescriptor {
  /// Writes everything to a blocking descriptor.
  package borrowing func writeAll(_ bytes: [UInt8]) throws(SystemError) {
    let raw = raw
    var written = 0
    while written < bytes.count {
      written += try checkedCall("write") {
        bytes.withUnsafeBytes { Glibc.write(raw, $0.baseAddress! + written, $0.count - written) }
      }
    }
  }

  /// Length of the file in bytes.
  package borrowing func size() throws(SystemError) -> Int {
    let raw = raw
    return Int(try checkedCall("measure a file") { lseek(raw, 0, SEEK_END) })
  }

  /// Has the kernel bring the file's data to the disk.
  package borrowing func synchronize() throws(SystemError) {
    let raw = raw
    try checkedCall("bring a file to the disk") { fdatasync(raw) }
  }
}
