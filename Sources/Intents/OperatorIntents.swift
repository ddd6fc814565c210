// The intents that this version acts on, read from and written to registers: drains of nodes and states of servers.

package import Primitives

/// "Empty this node", by an operator.
package struct DrainIntent: Equatable, Sendable {
  /// What happens when the deadline passes before the node is drained: the drain is reported as failed and goes on, or what
  /// is left is cut off.
  package enum OnDeadline: String, Sendable { case fail, force }

  /// Longer texts are refused.
  package static let maximumTextByteCount = 200

  package var reason: String
  package var sinceUnixNanoseconds: Int64
  /// Nil: none.
  package var deadlineUnixNanoseconds: Int64?
  package var onDeadline: OnDeadline
  /// Who asked, for people: `root@n2`.
  package var by: String
  /// The node itself ends the drain after it has been restarted.
  package var untilReboot: Bool

  package init(
    reason: String, sinceUnixNanoseconds: Int64, deadlineUnixNanoseconds: Int64? = nil, onDeadline: OnDeadline = .fail,
    by: String, untilReboot: Bool = false
  ) {
    self.reason = reason
    self.sinceUnixNanoseconds = sinceUnixNanoseconds
    self.deadlineUnixNanoseconds = deadlineUnixNanoseconds
    self.onDeadline = onDeadline
    self.by = by
    self.untilReboot = untilReboot
  }

  func value(key: IntentKey) throws(IntentsFault) -> IntentValue {
    for text in [reason, by] {
      guard text.utf8.count <= Self.maximumTextByteCount else {
        throw .invalidValue(key: key.text, why: "a text is longer than \(Self.maximumTextByteCount) bytes")
      }
      guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) }) else {
        throw .invalidValue(key: key.text, why: "a text holds control characters")
      }
    }
    return try IntentValue(
      [
        "reason": reason, "since": String(sinceUnixNanoseconds), "deadline": deadlineUnixNanoseconds.map(String.init),
        "on-deadline": onDeadline.rawValue, "by": by, "until-reboot": untilReboot ? "yes" : nil,
      ], key: key)
  }

  /// Nil unless all fields that this version knows are there and valid.
  init?(_ value: IntentValue) {
    guard let since = value["since"].flatMap({ Int64($0) }) else { return nil }
    var deadline: Int64?
    if let text = value["deadline"] {
      guard let number = Int64(text) else { return nil }
      deadline = number
    }
    // A later version may know more ways: taken as the harmless one.
    let onDeadline = value["on-deadline"].flatMap(OnDeadline.init) ?? .fail
    self.init(
      reason: value["reason"] ?? "", sinceUnixNanoseconds: since, deadlineUnixNanoseconds: deadline,
      onDeadline: onDeadline, by: value["by"] ?? "", untilReboot: value["until-reboot"] == "yes")
  }
}

/// Where an operator sent a route.
package struct RouteIntent: Equatable, Sendable {
  package var pool: String
  /// What the route was, if it was called by its place (`RouteConfiguration.identity`).
  package var identity: UInt64?

  package init(pool: String, identity: UInt64? = nil) {
    self.pool = pool
    self.identity = identity
  }

  init?(_ value: IntentValue) {
    guard let pool = value["pool"] else { return nil }
    // Of a later version, in a form that this one cannot read: then it is no route that is known here.
    self.init(pool: pool, identity: value["match"].map { UInt64($0, radix: 16) ?? 0 })
  }
}

/// What an operator asked of one server.
package enum ServerIntent: String, Sendable { case ready, drain, maint }

/// A server by the names of the configuration.
package struct ServerName: Hashable, Comparable, Sendable {
  package var pool: String
  package var server: String

  package init(pool: String, server: String) {
    self.pool = pool
    self.server = server
  }

  package static func < (left: ServerName, right: ServerName) -> Bool {
    (left.pool, left.server) < (right.pool, right.server)
  }
}

extension Intents {
  package func drain(of node: NodeName) -> DrainIntent? { value(of: .drain(of: node)).flatMap(DrainIntent.init) }

  /// Every node that is asked to be empty.
  package var drains: [NodeName: DrainIntent] {
    var result: [NodeName: DrainIntent] = [:]
    for (key, register) in registers where key.hasPrefix("drain/") {
      guard let node = NodeName(String(key.dropFirst(6))), let intent = register.value.flatMap(DrainIntent.init) else {
        continue
      }
      result[node] = intent
    }
    return result
  }

  /// Asks for a drain, or ends it (nil).
  package mutating func setDrain(_ intent: DrainIntent?, of node: NodeName, author: NodeName) throws(IntentsFault) {
    let key = IntentKey.drain(of: node)
    try set(key, to: intent?.value(key: key), author: author)
  }

  package mutating func setServer(
    _ intent: ServerIntent, _ server: String, of pool: String, author: NodeName
  ) throws(IntentsFault) {
    let key = try IntentKey.server(server, of: pool)
    try set(key, to: try IntentValue(["state": intent.rawValue], key: key), author: author)
  }

  /// `weight` nil: what the configuration says.
  package mutating func setWeight(
    _ weight: Int?, of server: String, of pool: String, author: NodeName
  ) throws(IntentsFault) {
    let key = try IntentKey.weight(of: server, of: pool)
    var value: IntentValue?
    if let weight { value = try IntentValue(["weight": String(weight)], key: key) }
    try set(key, to: value, author: author)
  }

  /// `intent` nil: where the configuration sends it.
  package mutating func setRoute(
    _ route: String, to intent: RouteIntent?, author: NodeName
  ) throws(IntentsFault) {
    let key = try IntentKey.route(route)
    var value: IntentValue?
    if let intent {
      value = try IntentValue(
        ["pool": intent.pool, "match": intent.identity.map { String($0, radix: 16) }], key: key)
    }
    try set(key, to: value, author: author)
  }

  /// Weights that operators gave.
  package var weights: [ServerName: Int] {
    var result: [ServerName: Int] = [:]
    for (key, register) in registers where key.hasPrefix("weight/") {
      let parts = key.split(separator: "/").map(String.init)
      guard parts.count == 3, let weight = register.value.flatMap(Self.weight) else { continue }
      result[ServerName(pool: parts[1], server: parts[2])] = weight
    }
    return result
  }

  private static func weight(_ value: IntentValue) -> Int? {
    value["weight"].flatMap { Int($0) }.flatMap { (0...1_000).contains($0) ? $0 : nil }
  }

  /// Routes that operators sent to another pool, by name.
  package var switches: [String: RouteIntent] {
    var result: [String: RouteIntent] = [:]
    for (key, register) in registers where key.hasPrefix("route/") {
      if let intent = register.value.flatMap(RouteIntent.init) { result[String(key.dropFirst(6))] = intent }
    }
    return result
  }

  /// Servers that are to be something other than ready.
  package var servers: [ServerName: ServerIntent] {
    var result: [ServerName: ServerIntent] = [:]
    for (key, register) in registers where key.hasPrefix("server/") {
      let parts = key.split(separator: "/").map(String.init)
      guard parts.count == 3, let state = register.value?["state"].flatMap(ServerIntent.init), state != .ready else {
        continue
      }
      result[ServerName(pool: parts[1], server: parts[2])] = state
    }
    return result
  }

  /// Refuses a register of a kind that this version knows with a value that it cannot act on.
  func check(_ register: IntentRegister, at key: IntentKey) throws(IntentsFault) {
    guard let value = register.value else { return }
    let parts = key.parts
    switch parts[0] {
    case "drain":
      guard parts.count == 2, let intent = DrainIntent(value) else {
        throw .invalidValue(key: key.text, why: "not a drain")
      }
      _ = try intent.value(key: key)
    case "server":
      guard parts.count == 3, value["state"].flatMap(ServerIntent.init) != nil else {
        throw .invalidValue(key: key.text, why: "the state is drain, maint or ready")
      }
    case "weight":
      guard parts.count == 3, Self.weight(value) != nil else {
        throw .invalidValue(key: key.text, why: "a weight is 0 to 1000")
      }
    case "route":
      guard let pool = value["pool"], NodeName.isValid(pool) else {
        throw .invalidValue(key: key.text, why: "not a pool")
      }
    default: break
    }
  }
}
