// The accepted configurations on the disk.

import Agent
import Glibc
import Kernel
import Testing

@Suite struct HistoryTests {
  private func inFolder(_ body: (String) throws -> Void) throws {
    let path = "/tmp/afloat-test-\(UInt64.random(in: 0 ... .max))"
    try Files.makeDirectories(path, mode: 0o700)
    defer {
      for name in (try? Files.names(in: path + "/configurations")) ?? [] {
        try? Files.remove("\(path)/configurations/\(name)")
      }
      rmdir(path + "/configurations")
      rmdir(path)
    }
    try body(path)
  }

  @Test func `the last twenty are kept, numbered on, each as it was read`() throws {
    try inFolder { folder in
      let history = ConfigurationHistory(directory: folder)
      #expect(try history.entries().isEmpty)
      for turn in 1...25 { try history.keep(Array("text \(turn)".utf8), mode: 0o640, unixNanoseconds: Int64(turn)) }
      let entries = try history.entries()
      #expect(entries.map(\.number) == Array(6...25))
      #expect(try history.bytes(of: entries[0]) == Array("text 6".utf8))
      let name = try #require(try Files.names(in: folder + "/configurations").first { $0.hasPrefix("25-") })
      #expect(try Files.readWithMode("\(folder)/configurations/\(name)", limit: 100).mode & 0o777 == 0o640)
    }
  }

  @Test func `what was accepted last is not kept twice, and strangers' files are left alone`() throws {
    try inFolder { folder in
      let history = ConfigurationHistory(directory: folder)
      try history.keep([1], mode: 0o600, unixNanoseconds: 1)
      try history.keep([1], mode: 0o600, unixNanoseconds: 2)
      try Files.replace(folder + "/configurations/notes.yaml", with: [9])
      try Files.replace(folder + "/configurations/2-x.yaml.new", with: [9])
      #expect(try history.entries().map(\.number) == [1])
      try history.keep([2], mode: 0o600, unixNanoseconds: 3)
      try history.keep([1], mode: 0o600, unixNanoseconds: 4)
      #expect(try history.entries().map(\.number) == [1, 2, 3])
    }
  }
}
