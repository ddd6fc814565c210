// Operators' requests on a node that has no cluster: orders to servers act here, and are kept over restarts of the agent.

package import Control
internal import FoundationEssentials
internal import Kernel
package import Primitives

package actor LoneRequests: OperatorRequests {
  private let controls: any NodeControls
  private let file: String
  private var orders: [ServerOrder]

  /// Reads what is kept in `directory` and has it carried out. Throws if it is there and cannot be read.
  package init(controls: any NodeControls, directory: String) throws {
    self.controls = controls
    file = directory + "/servers.json"
    orders =
      try Files.readIfThere(file).map { try JSONDecoder().decode([ServerOrder].self, from: Data($0)) } ?? []
    controls.setOrders(orders)
  }

  package func drains() -> [APIDrain] { [] }
  package func warnings() -> [String] { [] }

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
    var new = orders.filter { $0.pool != request.pool || $0.server != request.server }
    if request.state != .ready {
      new.append(ServerOrder(pool: request.pool, server: request.server, administration: request.state))
    }
    do {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys]
      try Files.replace(file, with: Array(try encoder.encode(new)))
    } catch { throw Refusal(503, "the order could not be recorded: \(error)") }
    orders = new
    controls.setOrders(new)
    let by = request.by.map { " by \($0)" } ?? ""
    controls.record(
      "server_ordered", subject: "\(request.pool)/\(request.server)", cause: "\(request.state.rawValue)\(by)")
    return APIServerAnswer(pool: request.pool, server: request.server, state: request.state)
  }
}
