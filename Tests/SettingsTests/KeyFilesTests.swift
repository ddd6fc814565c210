// The cluster's key beside the file: what it looks like, who may read it, and what is said when it is wrong.

import Settings
import Testing

@Suite("Key files") struct KeyFilesTests {
  static let key = (0..<32).map { UInt8($0 * 7) }
  static let line = Array((ClusterKey.line(key) + "\n").utf8)

  /// Loads `text` with these files beside it.
  func load(
    _ text: String, _ files: [String: FileContents], mayLackKeys: Bool = false
  ) throws(SettingsError) -> LoadedConfiguration {
    try LoadedConfiguration.load(path: "/etc/afloat/afloat.yaml", mayLackKeys: mayLackKeys) {
      (path, limit) throws(FileFault) in
      if path == "/etc/afloat/afloat.yaml" { return FileContents(bytes: Array(text.utf8), mode: 0o644) }
      guard let file = files[path] else { throw FileFault(cause: "no such file or directory", isAbsent: true) }
      return file
    }
  }

  @Test("a key's line reads back, with any end of line") func roundTrip() {
    #expect(
      ClusterKey.line([UInt8](repeating: 0xab, count: 32)) == "afloat-key-1:" + String(repeating: "ab", count: 32))
    let text = Array(ClusterKey.line(Self.key).utf8)
    #expect(ClusterKey.parse(text) == Self.key)
    #expect(ClusterKey.parse(text + [10]) == Self.key)
    #expect(ClusterKey.parse(text + [13, 10]) == Self.key)
    #expect(ClusterKey.parse(Array("afloat-key-1:".utf8)) == nil)
    #expect(ClusterKey.parse(text + [48, 48]) == nil)
    #expect(ClusterKey.parse(text.dropLast() + [103]) == nil)
    #expect(ClusterKey.parse(text + [10, 10]) == nil)
    #expect(ClusterKey.parse([]) == nil)
  }

  @Test("the key is looked for beside the file") func besideTheFile() throws {
    let loaded = try load(cluster, ["/etc/afloat/cluster.key": FileContents(bytes: Self.line, mode: 0o600)])
    #expect(loaded.keys == [Self.key])
    #expect(LoadedConfiguration.resolve("/a/b", besides: "/etc/x.yaml") == "/a/b")
    #expect(LoadedConfiguration.resolve("b", besides: "x.yaml") == "b")
    #expect(LoadedConfiguration.resolve("k/b", besides: "etc/x.yaml") == "etc/k/b")
  }

  @Test(
    "a key that others can read, or that is none, is refused",
    arguments: [
      (
        FileContents(bytes: line, mode: 0o644),
        "the key /etc/afloat/cluster.key can be read by others (mode 644) (run chmod 600 /etc/afloat/cluster.key)"
      ),
      (
        FileContents(bytes: line, mode: 0o640),
        "the key /etc/afloat/cluster.key can be read by others (mode 640) (run chmod 600 /etc/afloat/cluster.key)"
      ),
      (
        FileContents(bytes: [], mode: 0o600),
        "the file /etc/afloat/cluster.key is empty (it holds the one line that `afloat keygen` prints)"
      ),
      (
        FileContents(bytes: Array("secret\n".utf8), mode: 0o400),
        "the file /etc/afloat/cluster.key does not hold a key (it holds the one line that `afloat keygen` prints)"
      ),
    ]) func wrongKeys(_ contents: FileContents, _ expected: String)
  {
    let error = #expect(throws: SettingsError.self) { try load(cluster, ["/etc/afloat/cluster.key": contents]) }
    #expect(error?.lines == ["/etc/afloat/afloat.yaml:4:8: " + expected])
  }

  @Test("an absent key is an error of the agent, and a remark of a check") func absentKey() throws {
    let error = #expect(throws: SettingsError.self) { try load(cluster, [:]) }
    #expect(
      error?.lines == [
        "/etc/afloat/afloat.yaml:4:8: cannot read the key /etc/afloat/cluster.key: no such file or directory "
          + "(make one: (umask 077; afloat keygen > /etc/afloat/cluster.key), the same on every node)"
      ])
    #expect(try load(cluster, [:], mayLackKeys: true).absentKeys == ["/etc/afloat/cluster.key"])
  }

  @Test("two keys are for an exchange, so they differ") func twoKeys() throws {
    let text = cluster.replacing("file:cluster.key", with: "[file:new.key, file:old.key]")
    let other = Array(ClusterKey.line([UInt8](repeating: 1, count: 32)).utf8)
    let new = FileContents(bytes: Self.line, mode: 0o600)
    let loaded = try load(
      text, ["/etc/afloat/new.key": new, "/etc/afloat/old.key": FileContents(bytes: other, mode: 0o600)])
    #expect(loaded.keys == [Self.key, [UInt8](repeating: 1, count: 32)])
    let error = #expect(throws: SettingsError.self) {
      try load(text, ["/etc/afloat/new.key": new, "/etc/afloat/old.key": new])
    }
    #expect(
      error?.lines == ["/etc/afloat/afloat.yaml:4:23: both key files hold the same key (keep one, or make a new key)"])
  }

  @Test("a configuration that cannot be read says why") func unreadable() {
    let error = #expect(throws: SettingsError.self) {
      try LoadedConfiguration.load(path: "x.yaml") { (_, _) throws(FileFault) in
        throw FileFault(cause: "permission denied", isAbsent: false)
      }
    }
    #expect(error?.lines == ["x.yaml:1:1: cannot read the configuration: permission denied"])
  }
}
