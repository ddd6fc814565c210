// Messages between our processes: round trips, skipped unknown fields, and hostile bytes.

import Control
import Primitives
import Testing

@Suite("Messages between processes")
struct MessageCodingTests {
  static let configuration = ElectorConfiguration(
    clusterName: "zone-a", node: NodeName("n1")!, interfaces: ["eth0"], group: Endpoint("239.255.70.76:7076")!,
    keys: [[UInt8](repeating: 7, count: 32)], heartbeat: .milliseconds(10), deadAfter: 3, aloneAfter: .seconds(5),
    members: [MemberConfiguration(name: NodeName("n1")!, addresses: [IPAddress("192.0.2.11")!], role: .voter)],
    vips: [
      VIPConfiguration(
        name: "web", addresses: [AddressPrefix("192.0.2.100/24")!], interface: "eth0", prefer: nil,
        failback: .after(.seconds(3)),
        requires: [
          Requirement(.balancer), Requirement(.pool("app", atLeast: 2), strict: true), Requirement(.interface("eth1")),
          Requirement(.script(ScriptCheck(path: "/bin/true"))), Requirement(.process("p")), Requirement(.file("/f")),
        ], announce: .seconds(60)),
      VIPConfiguration(
        name: "db", addresses: [], interface: "eth1", prefer: [NodeName("n2")!], failback: .never,
        announce: .seconds(1)),
    ], digest: .max)

  @Test("an elector's configuration survives the journey")
  func configuration() throws {
    let bytes = try MessageCoding.encode(ElectorCommand.configure(Self.configuration))
    guard case .configure(let back) = try MessageCoding.decode(ElectorCommand.self, from: bytes) else {
      Issue.record("another command came back")
      return
    }
    #expect(back == Self.configuration)
  }

  @Test("a balancer's configuration with every kind of check survives the journey")
  func balancer() throws {
    let kinds: [HealthCheckConfiguration.Kind] = [
      .none, .tcp(send: [1, 2], expect: []),
      .http(
        path: "/healthz", method: "GET", host: "a.example",
        expect: .init(status: [200...399, 404...404], bodyContains: nil)),
    ]
    for kind in kinds {
      let pool = PoolConfiguration(
        name: "app", balance: .leastConnections,
        affinity: .cookie(name: "AFLOAT", maxAge: .seconds(3), secure: true, sameSite: nil),
        servers: [ServerConfiguration(name: "a", endpoint: Endpoint("[2001:db8::1]:80")!, member: NodeName("n1"))],
        check: HealthCheckConfiguration(kind: kind))
      #expect(try MessageCoding.decode(PoolConfiguration.self, from: MessageCoding.encode(pool)) == pool)
    }
  }

  @Test("an unknown field is skipped, a missing one is an error that names it")
  func unknownFields() throws {
    struct Newer: Codable { var name = "x"; var count = 3; var extra = [["a": 1.5]] }
    struct Known: Codable { var name: String; var count: Int }
    struct Demanding: Codable { var name: String; var colour: String }
    let bytes = try MessageCoding.encode(Newer())
    #expect(try MessageCoding.decode(Known.self, from: bytes).count == 3)
    #expect(throws: DecodingError.self) { try MessageCoding.decode(Demanding.self, from: bytes) }
  }

  @Test("numbers that do not fit are refused, not cut")
  func numbers() throws {
    #expect(throws: DecodingError.self) { try MessageCoding.decode([UInt8].self, from: MessageCoding.encode([256])) }
    #expect(throws: DecodingError.self) { try MessageCoding.decode([UInt64].self, from: MessageCoding.encode([-1])) }
    #expect(try MessageCoding.decode([UInt64].self, from: MessageCoding.encode([UInt64.max])) == [.max])
    #expect(try MessageCoding.decode([Int64?].self, from: MessageCoding.encode([Int64.min, nil])) == [.min, nil])
  }

  @Test("every truncation is an error")
  func truncation() throws {
    let bytes = try MessageCoding.encode(Self.configuration)
    for count in 0..<bytes.count {
      #expect(throws: MessageFault.self) { try MessageCoding.parse(Array(bytes.prefix(count))) }
    }
    #expect(throws: MessageFault.trailingBytes(1)) { try MessageCoding.parse(bytes + [0]) }
  }

  @Test("deep nesting is refused before it can exhaust the stack")
  func depth() {
    var bytes: [UInt8] = []
    for _ in 0..<100_000 { bytes += [7, 0, 0, 0, 1] }
    #expect(throws: MessageFault.tooDeep) { try MessageCoding.parse(bytes) }
  }

  @Test("mutated messages never crash")
  func mutations() throws {
    let original = try MessageCoding.encode(ElectorCommand.configure(Self.configuration))
    var random = SeededRandom(seed: 42)
    var refused = 0
    for _ in 0..<5_000 {
      var bytes = original
      for _ in 0...(random.next() % 4) {
        bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      do { _ = try MessageCoding.decode(ElectorCommand.self, from: bytes) } catch { refused += 1 }
    }
    #expect(refused > 1_000)
  }
}
