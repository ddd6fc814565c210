// What the supervisor starts, and with what: settled before its thread runs.

package import Control
internal import Kernel
package import Primitives

/// Everything of the configuration that supervision needs.
package struct SupervisorPlan: Sendable {
  package var node: NodeName
  /// Nil for a lone balancer.
  package var elector: ElectorConfiguration?
  /// Nil where no listener is configured.
  package var balancer: BalancerConfiguration?
  /// Where the children's executables are, and as whom they run.
  package var electorPath: String
  package var balancerPath: String
  package var user: String
  /// All that checks and hooks get, `NAME=VALUE` each.
  package var programEnvironment: [String] = []
  /// How long VIPs may take to be handed over on a stop, and what the balancer is given afterwards for what is in flight.
  package var handoverOnStop = TimeSpan.seconds(3)
  package var drainOnStop = TimeSpan.seconds(5)

  package init(
    node: NodeName, elector: ElectorConfiguration?, balancer: BalancerConfiguration?, electorPath: String,
    balancerPath: String, user: String
  ) {
    self.node = node
    self.elector = elector
    self.balancer = balancer
    self.electorPath = electorPath
    self.balancerPath = balancerPath
    self.user = user
  }

  /// Addresses of a VIP, without their prefix length.
  package func addresses(of vip: String) -> [IPAddress] {
    elector?.vips.first { $0.name == vip }?.addresses.map(\.address) ?? []
  }
}

/// The listening sockets of every listener, bind by bind, worker by worker: open as long as the agent lives, so that a new
/// balancer goes on where a dead one stopped and clients wait in the backlog meanwhile.
package final class ListeningSockets: Sendable {
  let raws: [Int32]

  /// Opens all of them; throws a `SystemError` for the first that is refused.
  package init(for balancer: BalancerConfiguration) throws {
    var raws: [Int32] = []
    do {
      for listener in balancer.listeners {
        for endpoint in listener.bind {
          // Not held back until the client has sent something (TCP_DEFER_ACCEPT), though it would save a wake-up per
          // connection: a handover can only wait for connections that the balancer sees, and the requests of those that
          // it did not see were lost (measured).
          var list = try ListeningSocket.open(endpoint, .init(count: balancer.threads, awaitsData: false))
          while let socket = list.takeFirst() { raws.append(socket.release()) }
        }
      }
    } catch {
      for raw in raws { _ = FileDescriptor(owning: raw) }
      throw error
    }
    self.raws = raws
  }

  deinit { for raw in raws { _ = FileDescriptor(owning: raw) } }
}
