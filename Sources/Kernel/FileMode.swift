// Files whose permissions matter: keys.

internal import Glibc

extension Files {
  /// The whole of a regular file of at most `limit` bytes, with its permission bits, both of the same open file.
  package static func readWithMode(_ path: String, limit: Int) throws(SystemError) -> (bytes: [UInt8], mode: UInt32) {
    // Non-blocking, so that a pipe of that name does not stop us.
    let file = FileDescriptor(
      owning: try checkedCall("open \(path)") { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) })
    let raw = file.raw
    var information = stat()
    try checkedCall("look at \(path)") { fstat(raw, &information) }
    guard information.st_mode & S_IFMT == S_IFREG else {
      throw SystemError("read \(path)", code: information.st_mode & S_IFMT == S_IFDIR ? EISDIR : EINVAL)
    }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 * 1024)
    while bytes.count <= limit {
      let count = try checkedCall("read \(path)") { Glibc.read(raw, &chunk, chunk.count) }
      if count == 0 { break }
      bytes += chunk[..<count]
    }
    return (bytes, information.st_mode & 0o7777)
  }

  /// Names in a directory, in no order; none if there is no such directory.
  package static func names(in path: String) throws(SystemError) -> [String] {
    guard let directory = opendir(path) else {
      if errno == ENOENT { return [] }
      throw .last("list \(path)")
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// The file that a path leads to, symbolic links followed.
  package static func resolved(_ path: String) throws(SystemError) -> String {
    guard let real = realpath(path, nil) else { throw .last("find \(path)") }
    defer { free(real) }
    return String(cString: real)
  }

  /// Removes a file; one that is not there is fine.
  package static func remove(_ path: String) throws(SystemError) {
    if unlink(path) != 0, errno != ENOENT { throw .last("remove \(path)") }
  }
}

/// What the machine says of itself.
package enum Host {
  /// The host's name, empty if it has none.
  package static var name: String {
    var room = [CChar](repeating: 0, count: 256)
    guard gethostname(&room, 255) == 0 else { return "" }
    return String(decoding: room.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// What new files of this process are never permitted.
  package static func setFileCreationMask(_ mask: UInt32) { _ = umask(mode_t(mask)) }

  /// Writes to a closed pipe or socket are errors, not the end of the process.
  package static func ignoreBrokenPipes() { _ = signal(SIGPIPE, SIG_IGN) }
}
