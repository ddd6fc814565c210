// What survives a restart, and what a damaged file does.

import Agent
import Intents
import Kernel
import Primitives
import Testing

private let n1 = NodeName("n1")!

/// A folder of its own, removed at the end.
final class TemporaryFolder {
  let path: String
  init() throws {
    path = "/tmp/afloat-test-\(UInt64.random(in: 0 ... .max))"
    try Files.makeDirectories(path, mode: 0o700)
  }
  deinit { for name in ["/intents", "/intents.new", "/intents.damaged", ""] { try? Files.remove(path + name) } }
}

@Suite struct `The store of intents` {
  @Test func `has after a restart what it acknowledged`() throws {
    let folder = try TemporaryFolder()
    let store = IntentsStore(directory: folder.path)
    #expect(store.intents == Intents() && store.warning == nil)
    try store.update { try $0.setServer(.drain, "s1", of: "app", author: n1) }
    try store.update { try $0.setDrain(DrainIntent(reason: "r", sinceUnixNanoseconds: 1, by: "b"), of: n1, author: n1) }
    let again = IntentsStore(directory: folder.path)
    #expect(again.intents == store.intents && again.intents.registers.count == 2)
    #expect(again.warning == nil)
  }

  @Test func `changes nothing when a change fails or cannot be written`() throws {
    let folder = try TemporaryFolder()
    let store = IntentsStore(directory: folder.path)
    struct Stop: Error {}
    #expect(throws: Stop.self) {
      try store.update {
        try $0.setServer(.drain, "s1", of: "app", author: n1)
        throw Stop()
      }
    }
    #expect(store.intents == Intents())
    let nowhere = IntentsStore(directory: folder.path + "/missing")
    #expect(throws: SystemError.self) { try nowhere.update { try $0.setServer(.drain, "s1", of: "app", author: n1) } }
    #expect(nowhere.intents == Intents())
  }

  @Test(arguments: [
    "", "garbage", "afloat-intents 1\nserver/app/s1 1 n1 state=drain\nend 1 0000000000000000\n", "\u{0}",
  ])
  func `puts a damaged file aside, says so, and starts empty`(_ text: String) throws {
    let folder = try TemporaryFolder()
    try Files.replace(folder.path + "/intents", with: Array(text.utf8))
    let store = IntentsStore(directory: folder.path)
    #expect(store.intents == Intents())
    #expect(store.warning?.contains("intents.damaged") == true)
    #expect(try Files.read(folder.path + "/intents.damaged") == Array(text.utf8))
    #expect(try Files.readIfThere(folder.path + "/intents") == nil)
    try store.update { try $0.setServer(.drain, "s1", of: "app", author: n1) }
    #expect(IntentsStore(directory: folder.path).intents == store.intents)
  }
}

@Suite struct `The kernel's table of connections` {
  private let table = """
      sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
       0: 640200C0:0050 0B0200C0:D431 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1
       1: 640200C0:0050 0B0200C0:D432 08 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
       2: 640200C0:0050 0B0200C0:D433 06 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
       3: 640200C0:0051 0B0200C0:D434 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0 20 4 30 10 -1
       4: 650200C0:0050 0B0200C0:D435 01 00000000:00000000 00:00000000 00000000     0        0 5 1 0 20 4 30 10 -1
       5: 0000000000000000FFFF0000640200C0:0050 0000000000000000FFFF00000B0200C0:D436 01 00000000:00000000 00:0 0
       6: B80D0120000000000000000001000000:0050 B80D0120000000000000000002000000:D437 01 00000000:00000000 00:0 0
       7: broken
    """

  @Test func `counts what is open on an address and a port`() {
    let bytes = Array(table.utf8)
    func count(_ address: String, _ ports: Set<UInt16>) -> Int {
      ConnectionTable.openCount(table: bytes, addresses: [IPAddress(address)!], ports: ports)
    }
    #expect(count("192.0.2.100", [80]) == 3)
    #expect(count("192.0.2.100", [80, 81]) == 4)
    #expect(count("192.0.2.101", [80]) == 1)
    #expect(count("192.0.2.102", [80]) == 0)
    #expect(count("2001:db8::1", [80]) == 1)
  }
}
