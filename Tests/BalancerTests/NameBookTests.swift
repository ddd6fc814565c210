// What is known of the names of servers, and what becomes of a server whose address changes.

import Balancing
import Control
import Kernel
import Primitives
import Testing

@testable import Balancer

struct NameBookTests {
  private let one = IPAddress("192.0.2.1")!
  private let two = IPAddress("192.0.2.2")!
  private let start = Instant(nanoseconds: 0)

  private func found(_ addresses: IPAddress...) -> Result<NameAnswer, NameFault> {
    .success(NameAnswer(addresses: addresses))
  }

  private func configuration(_ names: String?...) -> BalancerConfiguration {
    let servers = names.enumerated().map { index, name in
      ServerConfiguration(
        name: "s\(index)", endpoint: Endpoint(address: name == nil ? one : .anyV4, port: 80), hostName: name)
    }
    let pool = PoolConfiguration(
      name: "app", balance: .roundRobin, affinity: .none, servers: servers,
      check: HealthCheckConfiguration(kind: .none))
    return BalancerConfiguration(
      node: "n1", threads: 1, cookieKeys: [], listeners: [], pools: [pool])
  }

  @Test func `without names there is nothing to do`() {
    var book = NameBook()
    #expect(book.configure(configuration(nil), now: start).isEmpty && book.nextRound == .distantFuture)
  }

  @Test func `each name is asked for once a round`() {
    var book = NameBook()
    #expect(book.configure(configuration("b", "a", nil, "b"), now: start) == ["a", "b"])
    #expect(book.nextRound == start + NameBook.interval)
    #expect(book.beginRound(start + .seconds(11)) == ["a", "b"])
    #expect(book.nextRound == start + .seconds(11) + NameBook.interval)
  }

  @Test func `a name that is new begins with the address that the server has`() {
    var book = NameBook()
    book.inherit(configuration("a"), from: configuration(nil))
    #expect(book.configure(configuration("a"), now: start) == ["a"])
    #expect(book.addresses == ["a": one])
    #expect(book.take("a", found(two)) == "a is 192.0.2.2 now, it was 192.0.2.1")
    book.inherit(configuration("a"), from: configuration(nil))
    #expect(book.addresses == ["a": two], "what is known is better")
    var other = NameBook()
    other.inherit(configuration("a"), from: configuration("b"))
    #expect(other.addresses.isEmpty, "it had none")
  }

  @Test func `the addresses of a pool go on under another name`() {
    var (before, next) = (configuration(), configuration())
    before.pools[0].discovery = PoolConfiguration.Discovery(name: "old", port: 80)
    before.pools[0].servers = before.pools[0].discovery!.servers([one, two])
    next.pools[0].discovery = PoolConfiguration.Discovery(name: "new", port: 80)
    var book = NameBook()
    book.inherit(next, from: before)
    #expect(book.configure(next, now: start) == ["new"])
    #expect(book.allAddresses == ["new": [one, two]])
  }

  @Test func `a pool goes on with all of its servers where one of them has the same name`() {
    var before = configuration("app")
    before.pools[0].servers[0].endpoint = Endpoint(address: two, port: 80)
    var all = before.pools[0]
    (all.name, all.discovery) = ("all", PoolConfiguration.Discovery(name: "app", port: 80))
    all.servers = all.discovery!.servers([one, two])
    var few = all
    (few.name, few.servers) = ("few", all.discovery!.servers([one]))
    for pools in [[before.pools[0], all, few], [few, all, before.pools[0]]] {
      before.pools = pools
      var book = NameBook()
      book.inherit(before, from: before)
      #expect(book.allAddresses == ["app": [one, two]] && book.addresses == ["app": two])
      #expect(book.configure(before, now: start) == ["app"])
      _ = book.take("app", found(two))
      book.inherit(before, from: before)
      #expect(book.allAddresses == ["app": [two]], "what is known is better")
    }
  }

  @Test func `an address stays while it is one of those of its name`() {
    var book = NameBook()
    _ = book.configure(configuration("a"), now: start)
    #expect(book.take("a", found(one, two)) == "a is 192.0.2.1")
    #expect(book.take("a", found(two, one)) == nil && book.addresses == ["a": one])
    #expect(book.take("a", found(two)) == "a is 192.0.2.2 now, it was 192.0.2.1")
    #expect(book.take("a", found(one, two)) == nil && book.addresses == ["a": two])
    #expect(book.take("c", found(one)) == nil, "an answer for a name that is gone")
  }

  @Test func `a failure is told once, and takes no address away`() {
    var book = NameBook()
    _ = book.configure(configuration("a"), now: start)
    let fault = NameFault(words: "Name or service not known")
    #expect(book.take("a", .failure(fault)) == "a: no address: Name or service not known")
    #expect(book.take("a", .failure(fault)) == nil && book.addresses.isEmpty)
    #expect(book.take("a", found(one)) == "a is 192.0.2.1")
    #expect(book.take("a", .failure(fault)) == nil && book.addresses == ["a": one])
    #expect(book.entries["a"]?.failure == "a: no address: Name or service not known")
    _ = book.configure(configuration("a"), now: start)
    #expect(book.addresses == ["a": one], "known over a reload")
    #expect(book.configure(configuration("b"), now: start) == ["b"] && book.addresses.isEmpty)
  }

  @Test func `a server has the address of its name, and is another one with another address`() throws {
    let file = configuration("a", nil, "b")
    var adjustments = Adjustments()
    var maker = SnapshotMaker()
    _ = try maker.make(file)
    let unknown = maker.layout.servers[0]
    adjustments.addresses = ["a": two, "gone": one]
    adjustments.allAddresses = ["a": [two], "gone": [one]]
    let filled = adjustments.applied(to: file)
    #expect(filled.pools[0].servers.map(\.endpoint.description) == ["192.0.2.2:80", "192.0.2.1:80", "0.0.0.0:80"])
    let owner = try maker.make(filled)
    let known = maker.layout.servers[0]
    #expect(known[0] != unknown[0] && known[1...] == unknown[1...])
    #expect(owner.snapshot.servers[unknown[0]].isRetired && !owner.snapshot.servers[known[0]].isRetired)
  }

  @Test func `all addresses of a name are servers of their own`() {
    var file = configuration(nil, "a")
    file.pools[0].servers.removeAll()
    file.pools[0].discovery = PoolConfiguration.Discovery(name: "all", port: 81)
    file.pools[0].discovery?.refresh = .seconds(2)
    var book = NameBook()
    #expect(book.configure(file, now: start) == ["all"] && book.nextRound == start + .seconds(2))
    #expect(book.beginRound(start + .seconds(1)).isEmpty && book.beginRound(start + .seconds(2)) == ["all"])
    _ = book.take("all", .failure(NameFault(words: "none")))
    #expect(book.warnings == ["pool app has no servers: all: no address: none"])
    let other = IPAddress("2001:db8::2")!
    _ = book.take("all", found(one, other))
    #expect(book.warnings.isEmpty)
    var adjustments = Adjustments()
    adjustments.allAddresses = book.allAddresses
    adjustments.weights = [ServerOrder(pool: "app", server: "2001-db8--2", administration: .ready, weight: 5)]
    let servers = adjustments.applied(to: file).pools[0].servers
    #expect(servers.map(\.name) == ["192.0.2.1", "2001-db8--2"] && servers.map(\.weight) == [100, 5])
    #expect(servers.map(\.endpoint.description) == ["192.0.2.1:81", "[2001:db8::2]:81"])
    #expect(servers.allSatisfy { PoolConfiguration.Discovery.isServerName($0.name) })
    _ = book.take("all", .failure(NameFault(words: "none")))
    #expect(book.warnings == ["pool app keeps its servers: all: no address: none"])
    #expect(book.allAddresses == ["all": [one, other]])
  }

  @Test func `what a name may not stand for is told, while it stands for something else`() {
    var book = NameBook()
    _ = book.configure(configuration("a"), now: start)
    let refused = "127.0.0.1 is refused: it is a loopback address"
    _ = book.take("a", .success(NameAnswer(addresses: [one], refused: refused)))
    #expect(book.addresses == ["a": one] && book.warnings == ["a: " + refused])
    _ = book.take("a", found(one))
    #expect(book.warnings.isEmpty)
  }

  @Test func `a pool whose name is looked up for the first time is told apart, for a while`() {
    var file = configuration("a")
    file.pools[0].servers = []
    file.pools[0].discovery = PoolConfiguration.Discovery(name: "all", port: 81)
    var book = NameBook()
    _ = book.configure(file, now: start + .seconds(1))
    #expect(book.unknownPools(start + .seconds(10)) == ["app"])
    #expect(book.unknownPools(start + .seconds(11)).isEmpty, "nobody answers")
    _ = book.configure(file, now: start + .seconds(9))
    #expect(book.unknownPools(start + .seconds(11)).isEmpty, "nor after a reload")
    for result in [found(one), .failure(NameFault(words: "none"))] {
      var answered = book
      _ = answered.take("all", result)
      #expect(answered.unknownPools(start + .seconds(2)).isEmpty)
    }
  }

  @Test func `many that come and go are one event`() {
    let words = Housekeeper.words("all", come: (1...200).map { "192.0.2.\($0)" }, gone: ["198.51.100.1"])
    let come = "200 addresses are new (192.0.2.1, 192.0.2.2, 192.0.2.3 and 197 more)"
    #expect(words == "all: \(come), 1 address is gone (198.51.100.1)")
    #expect(Housekeeper.words("all", come: [], gone: ["a", "b", "c"]) == "all: 3 addresses are gone (a, b, c)")
  }

  @Test func `a server without an address is down, and not checked or not`() {
    var registry = ServerRegistry(now: start, seed: 1)
    var maker = SnapshotMaker()
    let file = configuration("a", nil)
    guard (try? maker.make(file)) != nil else { return }
    _ = registry.configure(file, maker.layout, failures: { _ in 0 }, now: start)
    let slots = maker.layout.servers[0]
    #expect(registry.state(of: slots[0]) == .starting && registry.state(of: slots[1]) == .up)
    #expect(registry.servers[slots[0]]?.condition(now: start) == "a is being looked up")
    #expect(registry.availabilities[slots[0]] == .down)
    var book = NameBook()
    _ = book.configure(file, now: start)
    let words = book.take("a", .failure(NameFault(words: "none")))
    let changes = registry.apply(book.entries, news: words.map { ["a": $0] } ?? [:])
    #expect(changes.map(\.index) == [slots[0]] && changes.first?.cause == "a: no address: none")
    #expect(registry.state(of: slots[0]) == .down)
    #expect(registry.servers[slots[0]]?.condition(now: start) == "a: no address: none")
  }
}
