// Operators' requests on a node that has no cluster: orders to servers act here, and are kept over restarts of the agent.

package import Control
internal import FoundationEssentials
internal import Kernel
package import Primitives

package actor LoneRequests: OperatorRequests {
  private let controls: any NodeControls
  private let file: String
  private let switchFile: String
  private var orders: [ServerOrder]
  private var routes: [RouteSwitch]

  /// Reads what is kept in `directory` and has it carried out. Throws if it is there and cannot be read.
  package init(controls: any NodeControls, directory: String) throws {
    self.controls = controls
    file = directory + "/servers.json"
    orders =
      try Files.readIfThere(file).map { try JSONDecoder().decode([ServerOrder].self, from: Data($0)) } ?? []
    switchFile = directory + "/routes.json"
    routes =
      try Files.readIfThere(switchFile).map { try JSONDecoder().decode([RouteSwitch].self, from: Data($0)) } ?? []
    controls.setOrders(orders)
    controls.setSwitches(routes)
  }

  package func drains() -> [APIDrain] { [] }
  package func warnings() -> [String] { [] }
  package func electorsRunElsewhere() -> Bool { false }

  package func drain(_ request: APIDrainRequest) throws -> APIDrainAnswer {
    throw Refusal(409, "this is a lone balancer: there is no node to drain to (take servers out with afloat server)")
  }

  package func undrain(_ request: APIUndrainRequest) throws -> APIUndrainAnswer {
    throw Refusal(409, "this is a lone balancer: it is not drained")
  }

  package func forwardMove(_ request: APIMoveRequest, to holder: NodeName) throws -> APIMoveAnswer {
    throw Refusal(409, "\(holder) holds \(request.vip): run this on \(holder)")
  }

  package func setServer(_ request: APIServerRequest) throws -> APIServerAnswer {
    let before = orders.first { $0.pool == request.pool && $0.server == request.server }
    var order =
      before ?? ServerOrder(pool: request.pool, server: request.server, administration: .ready)
    if let state = request.state { order.administration = state }
    if let weight = request.weight { order.weight = weight < 0 ? nil : weight }
    var new = orders.filter { $0.pool != request.pool || $0.server != request.server }
    if order.administration != .ready || order.weight != nil { new.append(order) }
    try record(new, in: file)
    orders = new
    controls.setOrders(new)
    controls.record("server_ordered", subject: "\(request.pool)/\(request.server)", cause: request.words)
    return APIServerAnswer(request)
  }

  package func switchRoute(_ route: String, to change: RouteSwitch?, by: String?) throws -> APISwitchAnswer {
    let new = routes.filter { $0.route != route } + (change.map { [$0] } ?? [])
    try record(new, in: switchFile)
    routes = new
    controls.setSwitches(new)
    controls.record("route_switched", subject: route, cause: RouteSwitch.words(to: change?.pool, by: by))
    return APISwitchAnswer(route: route, pool: change?.pool ?? "", configured: change == nil)
  }

  package func switches() -> [RouteSwitch] { routes }
  package func serverOrders() -> [ServerOrder] { orders }

  private func record(_ value: some Encodable, in file: String) throws {
    do {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys]
      try Files.replace(file, with: Array(try encoder.encode(value)))
    } catch { throw Refusal(503, "the order could not be recorded: \(error)") }
  }
}
