// The two seams between this node's supervision and what the cluster agreed on: what the operators' side (intents, drains,
// the channel to other agents) answers to the local API, and what it may see of this node and have it do.

package import Control
package import Primitives

/// An answer that is not 2xx: the status of the HTTP response and its body.
package struct Refusal: Error, Equatable, Sendable, CustomStringConvertible {
  package var status: Int
  package var body: APIError

  package init(_ status: Int, _ error: String, override: String? = nil, lines: [String]? = nil) {
    self.status = status
    body = APIError(error: error, override: override, lines: lines)
  }

  package var description: String { body.error }
}

/// What operators ask of the whole cluster. Everything here returns only once it is recorded, and throws `Refusal`
/// otherwise.
package protocol OperatorRequests: Sendable {
  func drains() async -> [APIDrain]
  /// The drain's answer, with 202 when recorded or 200 for a check.
  func drain(_ request: APIDrainRequest) async throws -> APIDrainAnswer
  func undrain(_ request: APIUndrainRequest) async throws -> APIUndrainAnswer
  func setServer(_ request: APIServerRequest) async throws -> APIServerAnswer
  /// `change` nil: back to what the configuration says.
  func switchRoute(_ route: String, to change: RouteSwitch?, by: String?) async throws -> APISwitchAnswer
  /// All that are kept, in force or not.
  func switches() async -> [RouteSwitch]
  /// What was asked of single servers, of those that no pool has (any more) too.
  func serverOrders() async -> [ServerOrder]
  /// Has `holder`, another node, carry out a move of a VIP that it holds.
  func forwardMove(_ request: APIMoveRequest, to holder: NodeName) async throws -> APIMoveAnswer
  /// What `status` should warn of ("not connected to n2").
  func warnings() async -> [String]
  /// Whether another node's agent has said lately that its elector runs.
  func electorsRunElsewhere() async -> Bool
}

/// This node as its children report it, at one moment.
package struct NodeView: Sendable {
  /// Nil while the elector has not reported, or is down.
  package var elector: ElectorStatus?
  /// Nil while the balancer has not reported, or is down.
  package var balancer: BalancerStatus?
  package var balancerReady = false
  package var processes: [APIProcess] = []
  /// VIPs that this node has handed over, and whose connections go on here.
  package var keptVIPs: Set<String> = []
  /// Who hears whom, among the members that are alive.
  package var links: [LinkStatus] = []
  /// By VIP: what it requires of this node, and what of it is there.
  package var requirements: [String: [APIRequirement]] = [:]
  /// From the agent itself and from the guardian.
  package var warnings: [String] = []
  /// Nil for a lone balancer.
  package var gate: GateView?

  package init() {}
}

/// What the operators' side may see of this node and have it do. None of it blocks.
package protocol NodeControls: AnyObject, Sendable {
  var view: NodeView { get }
  /// Yields after each change of `view`; bursts are merged.
  func changes() -> AsyncStream<Void>
  /// The whole list of orders that differ from `ready`, drains of members included. Kept over restarts of the balancer.
  func setOrders(_ orders: [ServerOrder])
  /// The whole list of routes that operators sent elsewhere. Kept over restarts of the balancer.
  func setSwitches(_ switches: [RouteSwitch])
  /// Whether this node is being drained: it gives its VIPs away and takes none. Kept over restarts of the elector.
  func setDraining(_ draining: Bool)
  /// The digest of the intents that heartbeats carry, so that nodes notice a difference. Kept over restarts of the elector.
  func setIntentsDigest(_ digest: UInt64)
  /// Moves a VIP that this node holds and waits for the result.
  func move(_ request: APIMoveRequest) async throws -> APIMoveAnswer
  /// Writes to the durable log; the time is now.
  func record(_ kind: String, subject: String, cause: String)
  /// All that the balancer has counted. Throws `Refusal` where it does not answer.
  func figures() async throws -> BalancerFigures
}
