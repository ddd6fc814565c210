// The cluster's key: one line, `afloat-key-1:` and 32 bytes in hexadecimal, in a file that only its owner reads. Files come
// in through a closure, so that all of this is tested without a disk.

/// What a reader of files hands over.
package struct FileContents: Sendable {
  package var bytes: [UInt8]
  /// Permission bits.
  package var mode: UInt32

  package init(bytes: [UInt8], mode: UInt32) {
    self.bytes = bytes
    self.mode = mode
  }
}

/// Why a file could not be read, in words: `no such file or directory`.
package struct FileFault: Error, Equatable, Sendable {
  package var cause: String
  /// There is no such file.
  package var isAbsent: Bool

  package init(cause: String, isAbsent: Bool) {
    self.cause = cause
    self.isAbsent = isAbsent
  }
}

/// Reads a regular file of at most `limit` bytes; for a larger one it may stop after `limit + 1`.
package typealias ReadFile = (_ path: String, _ limit: Int) throws(FileFault) -> FileContents

package enum ClusterKey {
  package static let byteCount = 32
  package static let label = "afloat-key-1:"

  /// The line that `afloat keygen` prints, without its end.
  package static func line(_ key: [UInt8]) -> String {
    precondition(key.count == byteCount)
    let digits = Array("0123456789abcdef")
    return label + String(key.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }

  /// Nil unless `bytes` are exactly that line, with or without an end of line.
  package static func parse(_ bytes: [UInt8]) -> [UInt8]? {
    var text = bytes[...]
    if text.last == 10 { text = text.dropLast() }
    if text.last == 13 { text = text.dropLast() }
    guard text.starts(with: label.utf8) else { return nil }
    let digits = text.dropFirst(label.utf8.count).map { byte -> UInt8? in
      switch byte {
      case 48...57: byte - 48
      case 65...70: byte - 55
      case 97...102: byte - 87
      default: nil
      }
    }
    guard digits.count == 2 * byteCount else { return nil }
    var key: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = digits[index], let low = digits[index + 1] else { return nil }
      key.append(high << 4 | low)
    }
    return key
  }
}

/// A configuration and the keys that it names.
package struct LoadedConfiguration: Sendable {
  package var configuration: Configuration
  /// 32 bytes each, in the order of `cluster.key`; empty for a lone balancer.
  package var keys: [[UInt8]]
  /// Key files that were not there, where that was allowed.
  package var absentKeys: [String]

  /// Reads and validates the file at `path` and the keys that it names. Throws all errors at once.
  /// `mayLackKeys`: an absent key file is no error, as when a configuration is checked away from its nodes.
  package static func load(
    path: String, mayLackKeys: Bool = false, read: ReadFile
  ) throws(SettingsError) -> LoadedConfiguration {
    let start = Position(line: 1, column: 1)
    let file: FileContents
    do {
      file = try read(path, Document.maximumByteCount)
    } catch {
      throw SettingsError(file: path, problems: [Problem(start, "cannot read the configuration: \(error.cause)")])
    }
    let configuration = try Configuration.parse(file.bytes, file: path)
    var loaded = LoadedConfiguration(configuration: configuration, keys: [], absentKeys: [])
    var problems: [Problem] = []
    for keyFile in configuration.cluster?.keyFiles ?? [] {
      let keyPath = resolve(keyFile.path, besides: path)
      do throws(FileFault) {
        let contents = try read(keyPath, 4096)
        if let problem = fault(of: contents, keyPath, keyFile.position) {
          problems.append(problem)
        } else if let key = ClusterKey.parse(contents.bytes) {
          loaded.keys.append(key)
        }
      } catch {
        if error.isAbsent, mayLackKeys {
          loaded.absentKeys.append(keyPath)
        } else {
          let remedy =
            error.isAbsent ? "make one: (umask 077; afloat keygen > \(keyPath)), the same on every node" : nil
          problems.append(Problem(keyFile.position, "cannot read the key \(keyPath): \(error.cause)", remedy))
        }
      }
    }
    if loaded.keys.count == 2, loaded.keys[0] == loaded.keys[1],
      let position = configuration.cluster?.keyFiles.last?.position
    {
      problems.append(Problem(position, "both key files hold the same key", "keep one, or make a new key"))
    }
    guard problems.isEmpty else { throw SettingsError(file: path, problems: problems) }
    return loaded
  }

  private static func fault(of contents: FileContents, _ path: String, _ position: Position) -> Problem? {
    guard contents.mode & 0o077 == 0 else {
      let mode = String(contents.mode & 0o7777, radix: 8)
      return Problem(position, "the key \(path) can be read by others (mode \(mode))", "run chmod 600 \(path)")
    }
    guard ClusterKey.parse(contents.bytes) != nil else {
      let what = contents.bytes.isEmpty ? "is empty" : "does not hold a key"
      return Problem(position, "the file \(path) \(what)", "it holds the one line that `afloat keygen` prints")
    }
    return nil
  }

  /// A path in the configuration is relative to the configuration's folder.
  package static func resolve(_ path: String, besides file: String) -> String {
    guard !path.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return path }
    return String(file[...slash]) + path
  }
}
