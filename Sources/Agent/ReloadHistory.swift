// The configurations that were accepted, newest last: STATE_DIR/configurations/NUMBER-SECONDS.yaml, as they were read, with the
// permissions of the file. Keys are in files of their own and so are not in here.

package import Control
internal import Kernel
internal import Settings

package struct ConfigurationHistory: Sendable {
  package static let maximumCount = 20

  package struct Entry: Equatable, Sendable {
    package var number: Int
    package var accepted: APITime
    var name: String
  }

  private let directory: String

  package init(directory: String) { self.directory = directory + "/configurations" }

  /// Oldest first. Files of other names are nobody's business.
  package func entries() throws -> [Entry] {
    try Files.names(in: directory).compactMap { name in
      guard name.hasSuffix(".yaml") else { return nil }
      let parts = name.dropLast(5).split(separator: "-").map { Int($0) }
      guard parts.count == 2, let number = parts[0], let seconds = parts[1], number > 0 else { return nil }
      return Entry(number: number, accepted: APITime(unixNanoseconds: Int64(seconds) * 1_000_000_000), name: name)
    }.sorted { $0.number < $1.number }
  }

  package func bytes(of entry: Entry) throws -> [UInt8] {
    try Files.read("\(directory)/\(entry.name)", limit: Configuration.maximumByteCount)
  }

  /// Keeps `bytes` unless they are what was accepted last; drops what is beyond the limit. On the disk on return.
  package func keep(_ bytes: [UInt8], mode: UInt32, unixNanoseconds: Int64) throws {
    try Files.makeDirectories(directory, mode: 0o700)
    let entries = try entries()
    if let last = entries.last, let newest = try? self.bytes(of: last), newest == bytes { return }
    let number = (entries.last?.number ?? 0) + 1
    try Files.replace("\(directory)/\(number)-\(unixNanoseconds / 1_000_000_000).yaml", with: bytes, mode: mode)
    for old in entries.dropLast(Self.maximumCount - 1) { try Files.remove("\(directory)/\(old.name)") }
  }
}
