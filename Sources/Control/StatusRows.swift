// Servers in a status, in rows instead of fields with names: there may be ten thousand of them, several times in a few seconds.

internal import Primitives

extension ServerStatus {
  /// Its fields in their order. What a newer version adds comes last.
  var row: MessageValue {
    .array([
      .text(name), .unsigned(UInt64(endpoint.address.family.rawValue)), .unsigned(endpoint.address.high),
      .unsigned(endpoint.address.low), .unsigned(UInt64(endpoint.port)), .text(state.rawValue), .integer(Int64(weight)),
      .integer(Int64(connections)), .unsigned(requests), .unsigned(failures), .text(lastCheck),
      .double(requestsPerSecond),
    ])
  }

  /// Nil if it is none.
  init?(row: MessageValue) {
    guard case .array(let fields) = row, fields.count >= 12, case .text(let name) = fields[0],
      case .unsigned(let family) = fields[1], case .unsigned(let high) = fields[2], case .unsigned(let low) = fields[3],
      case .unsigned(let port) = fields[4], case .text(let stateName) = fields[5],
      case .integer(let weight) = fields[6],
      case .integer(let connections) = fields[7], case .unsigned(let requests) = fields[8],
      case .unsigned(let failures) = fields[9], case .text(let lastCheck) = fields[10],
      case .double(let requestsPerSecond) = fields[11], let port = UInt16(exactly: port),
      let state = ServerState(rawValue: stateName), let weight = Int(exactly: weight),
      let connections = Int(exactly: connections)
    else { return nil }
    let address: IPAddress
    switch family {
    case 4:
      guard high == 0, let value = UInt32(exactly: low) else { return nil }
      address = IPAddress(v4: value)
    case 6: address = IPAddress(v6High: high, low: low)
    default: return nil
    }
    self.init(
      name: name, endpoint: Endpoint(address: address, port: port), state: state, weight: weight,
      connections: connections, requests: requests, failures: failures, lastCheck: lastCheck,
      requestsPerSecond: requestsPerSecond)
  }
}

extension PoolStatus: Codable {
  private enum Key: CodingKey { case name, isBeingLookedUp, rows }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(name, forKey: .name)
    try container.encode(isBeingLookedUp, forKey: .isBeingLookedUp)
    try container.encode(MessageValue.array(servers.map(\.row)), forKey: .rows)
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    let rows = try container.decode(MessageValue.self, forKey: .rows)
    func fault() -> DecodingError {
      .dataCorruptedError(forKey: .rows, in: container, debugDescription: "expected rows of servers")
    }
    guard case .array(let values) = rows else { throw fault() }
    let servers = try values.map { value in
      guard let server = ServerStatus(row: value) else { throw fault() }
      return server
    }
    self.init(
      name: try container.decode(String.self, forKey: .name), servers: servers,
      isBeingLookedUp: try container.decode(Bool.self, forKey: .isBeingLookedUp))
  }
}
