// Slots and snapshots over changes of the configuration: who keeps a number, what is freed and when.

import Balancing
import Control
import Primitives
import Testing

@testable import Balancer

struct SlotTableTests {
  @Test func `names keep their slots, and a slot is given on only after it was released`() {
    var table = SlotTable<String>(capacity: 4)
    #expect(table.assign(["a", "b"]) == [0, 1])
    #expect(table.assign(["b", "c"]) == [1, 2])
    #expect(table.retired == [0])
    #expect(table.assign(["c", "d"]) == [2, 3])
    #expect(table.retired == [0, 1])
    // Back while its slot was still held.
    #expect(table.assign(["c", "a"]) == [2, 0])
    #expect(table.retired == [1, 3])
    table.release(1)
    #expect(table.retiredCount == 1)
    #expect(table.assign(["c", "a", "e"]) == [2, 0, 1])
  }

  @Test func `what does not fit changes nothing`() {
    var table = SlotTable<String>(capacity: 2)
    #expect(table.assign(["a", "b"]) == [0, 1])
    #expect(table.assign(["c"]) == nil)
    #expect(table.retired.isEmpty)
    #expect(table.assign(["b"]) == [1])
    table.release(0)
    #expect(table.assign(["c"]) == [0])
    #expect(table.assign([]) == [])
    #expect(table.retired == [0, 1])
  }
}

struct SnapshotTests {
  private func configuration(
    pools: [String: [String]] = ["app": ["a", "b"]], pool: String = "app", affinity: Affinity = .none,
    keys: [[UInt8]] = [Array(0..<16)]
  ) -> BalancerConfiguration {
    func servers(_ names: [String]) -> [ServerConfiguration] {
      names.map { ServerConfiguration(name: $0, endpoint: Endpoint(address: IPAddress("192.0.2.1")!, port: 80)) }
    }
    return BalancerConfiguration(
      node: "n1", threads: 1, cookieKeys: keys,
      listeners: [ListenerConfiguration(name: "web", mode: .http, bind: [], pool: pool, servedByHeader: "X-By")],
      pools: pools.sorted { $0.key < $1.key }.map {
        PoolConfiguration(
          name: $0.key, balance: .roundRobin, affinity: affinity, servers: servers($0.value), check: .init(kind: .none))
      })
  }

  private func words(_ text: Text) -> String { String(decoding: text, as: UTF8.self) }

  @Test func `what the agent should have found is refused`() {
    var maker = SnapshotMaker()
    #expect(throws: BalancerFault.self) { try maker.make(configuration(pool: "missing")) }
    let cookie = Affinity.cookie(name: "C", maxAge: nil, secure: false, sameSite: nil)
    #expect(throws: BalancerFault.self) { try maker.make(configuration(affinity: cookie, keys: [])) }
    #expect(maker.listenerSlots.holders.isEmpty)
    #expect(throws: Never.self) { try maker.make(configuration(affinity: cookie)) }
  }

  @Test func `a removed server keeps its record without a place until it is released`() throws {
    var maker = SnapshotMaker()
    let first = try maker.make(configuration())
    #expect(maker.layout.servers == [[0, 1]])
    let second = try maker.make(configuration(pools: ["app": ["b", "c"]]))
    #expect(maker.layout.servers == [[1, 2]])
    let servers = second.snapshot.servers
    #expect(servers.map(\.isRetired) == [true, false, false])
    #expect(servers.map(\.place) == [-1, 0, 1])
    // An answer that is on its way still names it.
    #expect(words(servers[0].servedBy[0]) == "X-By: n1/a\r\n")
    #expect(words(servers[0].name) == "a" && words(servers[0].host) == "192.0.2.1:80")
    // By texts of its own: nothing of what its pool was is kept for it.
    let before = first.snapshot.servers[0]
    #expect(servers[0].name.baseAddress != before.name.baseAddress)
    #expect(servers[0].servedBy[0].baseAddress != before.servedBy[0].baseAddress)
    #expect(Array(second.snapshot.pools[0].servers) == [1, 2])
    #expect(!first.snapshot.pools[0].plan.isSame(as: second.snapshot.pools[0].plan))

    #expect(maker.release(maker.retired, except: SlotUse(servers: [0])).servers.isEmpty)
    #expect(maker.release(maker.retired, except: SlotUse()).servers == [0])
    let third = try maker.make(configuration(pools: ["app": ["b", "c", "d"]]))
    #expect(maker.layout.servers == [[1, 2, 0]])
    #expect(third.snapshot.servers.map(\.place) == [2, 0, 1])
  }

  @Test func `a pool that did not change is the same one in the next snapshot`() throws {
    var maker = SnapshotMaker()
    let first = try maker.make(configuration(pools: ["app": ["a"], "other": ["x"]]))
    let second = try maker.make(configuration(pools: ["app": ["a"], "other": ["x", "y"]]))
    #expect(first.snapshot.pools[0].plan.isSame(as: second.snapshot.pools[0].plan))
    #expect(!first.snapshot.pools[1].plan.isSame(as: second.snapshot.pools[1].plan))
  }

  @Test func `a removed pool keeps its servers as long as it or a removed listener is used`() throws {
    var maker = SnapshotMaker()
    _ = try maker.make(configuration(pools: ["app": ["a"], "old": ["x"]]))
    let owner = try maker.make(configuration(pools: ["app": ["a"]]))
    let record = owner.snapshot.servers[1]
    #expect(record.isRetired && record.place == 0 && record.pool == 1)
    #expect(Array(owner.snapshot.pools[1].servers) == [1])
    let kept = maker.release(maker.retired, except: SlotUse(pools: [1]))
    #expect(kept.pools.isEmpty && kept.servers.isEmpty)
    let freed = maker.release(maker.retired, except: SlotUse())
    #expect(freed.pools == [1] && freed.servers == [1])

    var other = configuration(pools: ["app": ["a"], "old": ["x"]])
    other.listeners.append(ListenerConfiguration(name: "more", mode: .tcp, bind: [], pool: "old"))
    _ = try maker.make(other)
    _ = try maker.make(configuration(pools: ["app": ["a"]]))
    let busy = maker.release(maker.retired, except: SlotUse(listeners: [1]))
    #expect(busy.listeners.isEmpty && busy.pools.isEmpty && busy.servers.isEmpty)
    let idle = maker.release(maker.retired, except: SlotUse())
    #expect(idle.listeners == [1] && idle.pools == [1] && idle.servers == [1])
  }

  @Test func `a server at another address is another server`() throws {
    var maker = SnapshotMaker()
    _ = try maker.make(configuration())
    var next = configuration()
    next.pools[0].servers[0].endpoint = Endpoint(address: IPAddress("192.0.2.9")!, port: 80)
    let owner = try maker.make(next)
    #expect(maker.layout.servers == [[2, 1]])
    #expect(owner.snapshot.servers.map(\.isRetired) == [true, false, false])
  }

  @Test func `what workers said of slots before a change frees none after it`() throws {
    var registry = ServerRegistry(now: Instant(nanoseconds: 0), seed: 1)
    var plane = try DataPlane(configuration())
    _ = try plane.start(sockets: [], descriptorLimit: 1024, registry: &registry)
    func take(_ servers: [String]) throws {
      _ = try plane.reconfigure(
        configuration(pools: ["app": servers]), opened: [], sockets: [], registry: &registry, now: at(0))
    }
    func question() throws -> UInt64 {
      for case .findUse(let token) in plane.mailboxes[0].takeAll() { return token }
      throw BalancerFault("nothing was asked")
    }
    try take(["b"])
    plane.lookForUnused(at(1))
    let token = try question()
    // In the meantime it was there again, and a connection may have been made to it.
    try take(["a", "b"])
    try take(["b"])
    plane.noteUse(SlotUse(), token: token, worker: 0)
    try take(["b", "c"])
    #expect(plane.layout.servers == [[1, 2]])
    plane.lookForUnused(at(3))
    plane.noteUse(SlotUse(), token: try question(), worker: 0)
    try take(["b", "c", "d"])
    #expect(plane.layout.servers == [[1, 2, 0]])
  }

  private func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }
}
