// Servers of a status, which travel in rows.

import Primitives
import Testing

@testable import Control

@Suite("A status of the balancer")
struct StatusRowTests {
  private static let servers = [
    ServerStatus(
      name: "s1", endpoint: Endpoint("192.0.2.1:80")!, state: .up, weight: 100, connections: 3, requests: .max,
      failures: 7, lastCheck: "200 in 3 ms", requestsPerSecond: 12.5),
    ServerStatus(
      name: "é", endpoint: Endpoint("[2001:db8::1]:65535")!, state: .backup, weight: 0, connections: 0, requests: 0,
      failures: 0, lastCheck: ""),
  ]

  @Test("comes out as it went in")
  func roundTrip() throws {
    let states: [ServerState] = [.up, .down, .starting, .drain, .maint, .backup]
    for state in states {
      var servers = Self.servers
      servers[0].state = state
      let pool = PoolStatus(name: "app", servers: servers, isBeingLookedUp: true)
      #expect(try MessageCoding.decode(PoolStatus.self, from: try MessageCoding.encode(pool)) == pool)
    }
  }

  @Test("takes rows of a newer version, which end with more")
  func longer() throws {
    guard case .array(let fields) = Self.servers[0].row else { throw MessageFault.truncated }
    #expect(ServerStatus(row: .array(fields + [.text("new")])) == Self.servers[0])
  }

  @Test("refuses what is no row of a server", arguments: 0..<12)
  func refused(field: Int) throws {
    guard case .array(var fields) = Self.servers[0].row else { throw MessageFault.truncated }
    #expect(ServerStatus(row: .array(Array(fields[..<field]))) == nil, "too short")
    fields[field] = .null
    #expect(ServerStatus(row: .array(fields)) == nil)
    let pool = MessageValue.map([
      "name": .text("app"), "isBeingLookedUp": .bool(false), "rows": .array([.array(fields)]),
    ])
    #expect(throws: DecodingError.self) { try PoolStatus(from: MessageDecoding(value: pool, codingPath: [])) }
  }

  @Test("refuses addresses and ports that are none")
  func addresses() throws {
    guard case .array(let fields) = Self.servers[0].row else { throw MessageFault.truncated }
    for (place, value) in [(1, UInt64(5)), (2, 1), (3, 1 << 32), (4, 65_536)] {
      var changed = fields
      changed[place] = .unsigned(value)
      #expect(ServerStatus(row: .array(changed)) == nil)
    }
  }
}
