// What POST /v1/… takes and answers. An answer that is not 2xx carries `APIError`; its status says what kind it is:
// 400 the request makes no sense, 404 no such node, VIP, pool or server, 409 refused (with the override, if there is
// one), 503 it could not be done or recorded now.

/// A node that is being emptied, or is empty. In `drains` of GET /v1/status, and the array of GET /v1/drains.
package struct APIDrain: Codable, Equatable, Sendable {
  package enum Phase: String, Codable, Sendable {
    case draining
    /// Observed: no VIP, no connection on its servers or listeners.
    case drained
    /// The deadline passed before it was empty; the node stays out of work until `undrain`.
    case deadlinePassed = "deadline_passed"
  }

  package var node: String
  package var phase: Phase
  /// The node (and user, where known) that asked.
  package var by: String
  package var reason: String
  package var since: APITime
  @OrNull package var deadline: APITime?
  package var untilReboot: Bool
  /// What still keeps it from being empty; empty when drained.
  package var blocking: [APIBlocker]

  package init(
    node: String, phase: Phase, by: String, reason: String, since: APITime, deadline: APITime? = nil,
    untilReboot: Bool = false, blocking: [APIBlocker] = []
  ) {
    self.node = node
    self.phase = phase
    self.by = by
    self.reason = reason
    self.since = since
    self.deadline = deadline
    self.untilReboot = untilReboot
    self.blocking = blocking
  }

  enum CodingKeys: String, CodingKey {
    case node, phase, by, reason, since, deadline, blocking
    case untilReboot = "until_reboot"
  }
}

/// One thing that a drain waits for.
package struct APIBlocker: Codable, Equatable, Sendable {
  package enum Kind: String, Codable, Sendable { case vip, server, listener, service, node }

  package var kind: Kind
  /// The VIP; `POOL/SERVER`; the listener.
  package var name: String
  /// The node where it was seen.
  package var node: String
  /// Open connections and requests in flight, where that is what blocks.
  package var connections: Int
  /// In words: `3 connections`, `no successor is eligible`.
  package var detail: String

  package init(kind: Kind, name: String, node: String, connections: Int, detail: String) {
    self.kind = kind
    self.name = name
    self.node = node
    self.connections = connections
    self.detail = detail
  }
}

/// POST /v1/drain.
package struct APIDrainRequest: Codable, Equatable, Sendable {
  package enum OnDeadline: String, Codable, Sendable { case fail, force }

  /// Nil: the node that is asked.
  package var node: String?
  package var reason: String?
  /// Nil: `balancer.drain_timeout`; 0: no deadline.
  package var deadlineMilliseconds: Int64?
  package var onDeadline: OnDeadline?
  /// Only say whether it would be accepted and what would happen.
  package var check: Bool?
  package var untilReboot: Bool?
  /// Override a refusal.
  package var force: Bool?
  /// Who asks, for the record: the user at the terminal.
  package var by: String?

  package init(
    node: String? = nil, reason: String? = nil, deadlineMilliseconds: Int64? = nil, onDeadline: OnDeadline? = nil,
    check: Bool? = nil, untilReboot: Bool? = nil, force: Bool? = nil, by: String? = nil
  ) {
    self.node = node
    self.reason = reason
    self.deadlineMilliseconds = deadlineMilliseconds
    self.onDeadline = onDeadline
    self.check = check
    self.untilReboot = untilReboot
    self.force = force
    self.by = by
  }

  enum CodingKeys: String, CodingKey {
    case node, reason, check, force, by
    case deadlineMilliseconds = "deadline_ms"
    case onDeadline = "on_deadline"
    case untilReboot = "until_reboot"
  }
}

/// 200 for a check, 202 when recorded. A refusal is 409 with `APIError`, an intent that could not be recorded 503.
package struct APIDrainAnswer: Codable, Equatable, Sendable {
  /// The node that is emptied.
  package var node: String
  /// False for a check.
  package var recorded: Bool
  /// What happens, or would happen, in words, one step a line.
  package var steps: [String]
  @OrNull package var drain: APIDrain?

  package init(node: String, recorded: Bool, steps: [String], drain: APIDrain? = nil) {
    self.node = node
    self.recorded = recorded
    self.steps = steps
    self.drain = drain
  }
}

/// POST /v1/undrain.
package struct APIUndrainRequest: Codable, Equatable, Sendable {
  /// Nil: the node that is asked.
  package var node: String?
  /// Give VIPs back to the order of `prefer`.
  package var rebalance: Bool?
  package var by: String?

  package init(node: String? = nil, rebalance: Bool? = nil, by: String? = nil) {
    self.node = node
    self.rebalance = rebalance
    self.by = by
  }
}

package struct APIUndrainAnswer: Codable, Equatable, Sendable {
  package var node: String
  /// False if it was not draining or drained.
  package var changed: Bool

  package init(node: String, changed: Bool) {
    self.node = node
    self.changed = changed
  }
}

/// POST /v1/move. Answered when the VIP has moved, or with 409 and why not.
package struct APIMoveRequest: Codable, Equatable, Sendable {
  package var vip: String
  package var to: String

  package init(vip: String, to: String) {
    self.vip = vip
    self.to = to
  }
}

package struct APIMoveAnswer: Codable, Equatable, Sendable {
  package var vip: String
  @OrNull package var from: String?
  package var to: String
  /// Measured: from the removal of the address on one node to its presence on the other; null if not measured.
  @OrNull package var gapMilliseconds: Double?

  package init(vip: String, from: String?, to: String, gapMilliseconds: Double?) {
    self.vip = vip
    self.from = from
    self.to = to
    self.gapMilliseconds = gapMilliseconds
  }

  enum CodingKeys: String, CodingKey {
    case vip, from, to
    case gapMilliseconds = "gap_ms"
  }
}

/// POST /v1/reload: reads the configuration file again. A file with errors is refused with 409 and all of them in `lines`;
/// then, and whenever it is refused, the configuration stays as it was.
package struct APIReloadRequest: Codable, Equatable, Sendable {
  /// Only say whether it would be accepted and what it would change.
  package var check: Bool?
  package var by: String?

  package init(check: Bool? = nil, by: String? = nil) {
    self.check = check
    self.by = by
  }
}

package struct APIReloadAnswer: Codable, Equatable, Sendable {
  /// False for a check.
  package var applied: Bool
  /// What it changes, in words, a line each; empty if it means the same as before.
  package var changes: [String]
  package var warnings: [String]
  /// Hash of the file, 16 hex digits, as in `members`.
  package var configuration: String

  package init(applied: Bool, changes: [String], warnings: [String], configuration: String) {
    self.applied = applied
    self.changes = changes
    self.warnings = warnings
    self.configuration = configuration
  }
}

/// GET /v1/config: an array of these, oldest first.
package struct APIAcceptedConfiguration: Codable, Equatable, Sendable {
  package var number: Int
  package var accepted: APITime
  /// Whether it is the one in force.
  package var current: Bool

  package init(number: Int, accepted: APITime, current: Bool) {
    self.number = number
    self.accepted = accepted
    self.current = current
  }
}

/// GET /v1/config/text?number=N.
package struct APIConfigurationText: Codable, Equatable, Sendable {
  package var number: Int
  package var text: String

  package init(number: Int, text: String) {
    self.number = number
    self.text = text
  }
}

/// POST /v1/config/rollback: writes an accepted configuration back to the file and reloads.
package struct APIRollbackRequest: Codable, Equatable, Sendable {
  /// Nil: the one before the present one.
  package var number: Int?
  package var by: String?

  package init(number: Int? = nil, by: String? = nil) {
    self.number = number
    self.by = by
  }
}

/// POST /v1/server: a state, or a weight.
package struct APIServerRequest: Codable, Equatable, Sendable {
  package var pool: String
  package var server: String
  package var state: ServerAdministration?
  /// 0 to 1,000; -1: what the configuration says.
  package var weight: Int?
  package var by: String?

  package init(
    pool: String, server: String, state: ServerAdministration? = nil, weight: Int? = nil, by: String? = nil
  ) {
    self.pool = pool
    self.server = server
    self.state = state
    self.weight = weight
    self.by = by
  }
}

package struct APIServerAnswer: Codable, Equatable, Sendable {
  package var pool: String
  package var server: String
  package var state: ServerAdministration?
  package var weight: Int?
  /// Members that have not confirmed yet; they follow when they can be reached.
  package var pending: [String]

  package init(_ request: APIServerRequest, pending: [String] = []) {
    pool = request.pool
    server = request.server
    state = request.state
    weight = request.weight
    self.pending = pending
  }
}

/// POST /v1/switch: sends a route to another pool, on every node. To the pool that the configuration names it goes back.
package struct APISwitchRequest: Codable, Equatable, Sendable {
  /// The route's name; LISTENER/default is a listener's own pool.
  package var route: String
  /// Needed unless it goes `back`.
  package var pool: String?
  /// To the pool of the configuration, whichever that is; a switch of a route that is not there is forgotten.
  package var back: Bool?
  package var by: String?

  package init(route: String, pool: String?, back: Bool? = nil, by: String? = nil) {
    self.route = route
    self.pool = pool
    self.back = back
    self.by = by
  }
}

package struct APISwitchAnswer: Codable, Equatable, Sendable {
  package var route: String
  /// Empty if there is no such route (any more).
  package var pool: String
  /// Whether that is what the configuration says.
  package var configured: Bool
  /// Members that have not confirmed yet; they follow when they can be reached.
  package var pending: [String]
  /// Why the pool takes no new clients, if it does not.
  package var warning: String?

  package init(route: String, pool: String, configured: Bool, pending: [String] = []) {
    self.route = route
    self.pool = pool
    self.configured = configured
    self.pending = pending
  }
}
