// A server whose address changes stays where it is until the new one has proven itself.

import Control
import Health
import Kernel
import Primitives
import Testing

@testable import Balancer

@Suite("Addresses that change") struct AddressHoldTests {
  static let one = IPAddress("192.0.2.1")!
  static let two = IPAddress("192.0.2.2")!
  static let three = IPAddress("192.0.2.3")!
  static let start = Instant(nanoseconds: 0)
  static let key = ServerKey(pool: "app", server: "s")
  static let up = ServerStanding(isHealthy: true, takesClients: true)
  static let drained = ServerStanding(isHealthy: true, takesClients: false)
  static let down = ServerStanding(isHealthy: false, takesClients: false)

  static func configuration(
    _ check: HealthCheckConfiguration.Kind = .tcp(send: [], expect: []), dns: Bool = false
  ) -> BalancerConfiguration {
    let server = ServerConfiguration(
      name: "s", endpoint: Endpoint(address: .anyV4, port: 80), hostName: "app.example")
    var pool = PoolConfiguration(
      name: "app", balance: .roundRobin, affinity: .none, servers: dns ? [] : [server],
      check: HealthCheckConfiguration(kind: check))
    if dns { pool.discovery = PoolConfiguration.Discovery(name: "app.example", port: 80) }
    return BalancerConfiguration(
      node: "n1", threads: 1, cookieKeys: [], listeners: [], pools: [pool])
  }

  static func names(_ file: BalancerConfiguration, _ addresses: IPAddress...) -> NameBook {
    var book = NameBook()
    _ = book.configure(file, now: start)
    _ = book.take("app.example", .success(NameAnswer(addresses: addresses)))
    return book
  }

  /// `file` with the addresses that `book` has, and what is held.
  static func filled(
    _ file: BalancerConfiguration, _ book: NameBook, _ holds: AddressHolds = AddressHolds()
  ) -> BalancerConfiguration {
    var adjustments = Adjustments()
    adjustments.know(book, holds)
    return adjustments.applied(to: file)
  }

  static func holds(
    _ file: BalancerConfiguration, _ book: NameBook, _ running: BalancerConfiguration, _ standings: [ServerStanding],
    before: AddressHolds = AddressHolds(), isProven: Bool = false
  ) -> AddressHolds {
    AddressHolds(file, book, running: running, standings: [standings], before: before) { _, _ in isProven }
  }

  @Test("a healthy server is held at its address until the new one has passed a check")
  func single() {
    let file = Self.configuration()
    let running = Self.filled(file, Self.names(file, Self.one))
    let book = Self.names(file, Self.two)
    #expect(Self.holds(file, Self.names(file, Self.one), running, [Self.up]) == AddressHolds(), "nothing changes")
    let held = Self.holds(file, book, running, [Self.up])
    #expect(held.servers == [Self.key: Self.one] && held.pools.isEmpty)
    #expect(Self.filled(file, book, held) == running)
    #expect(Self.holds(file, book, running, [Self.drained]) == held, "a drained one has clients, too")
    #expect(Self.holds(file, book, running, [Self.down]) == AddressHolds(), "there is nothing to be lost")
    #expect(Self.holds(file, book, running, [Self.down], before: held) == held, "it goes on by its checks")
    #expect(Self.holds(file, book, running, [Self.up], before: held, isProven: true) == AddressHolds())
    #expect(Self.filled(file, book).pools[0].servers[0].endpoint.address == Self.two)
  }

  @Test("nobody is held who is not checked, has no address yet, or gets another port")
  func notHeld() {
    let unchecked = Self.configuration(.none)
    let running = Self.filled(unchecked, Self.names(unchecked, Self.one))
    #expect(Self.holds(unchecked, Self.names(unchecked, Self.two), running, [Self.up]) == AddressHolds())
    let file = Self.configuration()
    let book = Self.names(file, Self.two)
    #expect(Self.holds(file, book, file, [Self.up]) == AddressHolds())
    var other = file
    other.pools[0].servers[0].endpoint = Endpoint(address: .anyV4, port: 81)
    #expect(Self.holds(other, book, Self.filled(file, Self.names(file, Self.one)), [Self.up]) == AddressHolds())
    var gone = file
    gone.pools = []
    #expect(Self.holds(gone, book, file, [Self.up]) == AddressHolds())
  }

  @Test("of all addresses of a name those that were healthy go on until one that is left or new takes clients")
  func discovered() {
    let file = Self.configuration(dns: true)
    let running = Self.filled(file, Self.names(file, Self.one, Self.two))
    let book = Self.names(file, Self.three)
    let held = Self.holds(file, book, running, [Self.up, Self.down])
    #expect(held.pools == ["app": [Self.one]] && held.servers.isEmpty)
    let both = Self.filled(file, book, held)
    #expect(both.pools[0].servers.map(\.endpoint.address) == [Self.three, Self.one])
    #expect(Self.holds(file, book, both, [Self.down, Self.up], before: held) == held)
    #expect(Self.holds(file, book, both, [Self.down, Self.down], before: held) == held, "it goes on by its checks")
    #expect(Self.holds(file, book, both, [Self.drained, Self.up], before: held) == held)
    #expect(Self.holds(file, book, both, [Self.up, Self.up], before: held) == AddressHolds())
    let less = Self.names(file, Self.two)
    #expect(Self.holds(file, less, running, [Self.up, Self.up]) == AddressHolds(), "another is there")
    #expect(Self.holds(file, less, running, [Self.up, Self.down]).pools == ["app": [Self.one]])
  }

  @Test("a trial that passes is the new server's first check; one that fails is told with the old one")
  func trials() throws {
    let poller = try Poller()
    func registry(_ path: String) -> (ServerRegistry, BalancerConfiguration, NameBook) {
      let file = Self.configuration(.script(path: path))
      let running = Self.filled(file, Self.names(file, Self.one))
      var registry = ServerRegistry(now: Self.start, seed: 1)
      _ = registry.configure(running, Layout(servers: [[0]]), failures: { _ in 0 }, now: Self.start)
      let book = Self.names(file, Self.two)
      let next = Self.filled(file, book)
      registry.tryOut([AddressTrial(slot: 0, pool: next.pools[0], server: next.pools[0].servers[0])], now: Self.start)
      return (registry, next, book)
    }
    var (bad, _, book) = registry("/bin/false")
    #expect(bad.servers[0]?.succession == "app.example is 192.0.2.2 now: not checked yet")
    let told = bad.apply(book.entries, news: ["app.example": "app.example is 192.0.2.2 now, it was 192.0.2.1"])
    #expect(
      told.map(\.cause) == [
        "app.example is 192.0.2.2 now, it was 192.0.2.1; 192.0.2.1 is used until a check of the new one succeeds"
      ])
    _ = bad.run(poller, from: Self.start) { $0.servers[0]?.succession.contains("exited") == true }
    #expect(bad.servers[0]?.succession == "app.example is 192.0.2.2 now: script /bin/false exited with 1")
    #expect(!bad.hasProven && !bad.isProven(Self.key, Self.two))
    #expect(bad.servers[0]?.condition(now: Self.start).hasSuffix("; this one is used until that works)") == true)
    bad.tryOut([], now: Self.start)
    #expect(bad.trials.isEmpty && bad.servers[0]?.succession == "")
    bad.close()

    var (good, next, _) = registry("/bin/true")
    let other = try Poller()
    _ = good.run(other, from: Self.start) { $0.hasProven }
    #expect(good.isProven(Self.key, Self.two) && !good.isProven(Self.key, Self.one))
    let changes = good.configure(next, Layout(servers: [[1]]), failures: { _ in 0 }, now: Self.start)
    #expect(changes.isEmpty && good.state(of: 1) == .up, "from the first moment on")
    #expect(good.servers[1]?.health.lastCheck.hasPrefix("script /bin/true succeeded") == true)
    good.close()
  }

  @Test("an address that is kept for a minute is told of, however often the new one changes")
  func longHolds() {
    let file = Self.configuration(.script(path: "/bin/false"))
    var registry = ServerRegistry(now: Self.start, seed: 1)
    _ = registry.configure(
      Self.filled(file, Self.names(file, Self.one)), Layout(servers: [[0]]), failures: { _ in 0 }, now: Self.start)
    for (second, address) in [(0, Self.two), (30, Self.three)] {
      let next = Self.filled(file, Self.names(file, address))
      registry.tryOut(
        [AddressTrial(slot: 0, pool: next.pools[0], server: next.pools[0].servers[0])],
        now: Self.start + .seconds(Int64(second)))
    }
    registry.noteHeld(pools: ["all", "new"], now: Self.start)
    registry.noteHeld(pools: ["all"], now: Self.start + .seconds(10))
    registry.noteHeld(pools: ["all", "new"], now: Self.start + .seconds(30))
    #expect(registry.warnings(now: Self.start + .seconds(59)).isEmpty)
    #expect(
      registry.warnings(now: Self.start + .seconds(61)) == [
        "app/s is used at 192.0.2.1, which it has left: app.example is 192.0.2.3 now: not checked yet",
        "pool all keeps addresses that its name has no more: no server at those that it has takes clients",
      ])
    registry.tryOut([], now: Self.start)
    registry.noteHeld(pools: [], now: Self.start)
    #expect(registry.warnings(now: Self.start + .seconds(99)).isEmpty)
  }
}
