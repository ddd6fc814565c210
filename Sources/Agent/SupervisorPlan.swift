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
  /// What the balancer is given on a stop for what is in flight.
  package var drainOnStop: TimeSpan
  /// What the elector is given afterwards to give up the VIPs that nobody has taken.
  package var handoverOnStop = TimeSpan.seconds(3)

  package init(
    node: NodeName, elector: ElectorConfiguration?, balancer: BalancerConfiguration?, electorPath: String,
    balancerPath: String, user: String, drainOnStop: TimeSpan
  ) {
    self.node = node
    self.elector = elector
    self.balancer = balancer
    self.electorPath = electorPath
    self.balancerPath = balancerPath
    self.user = user
    self.drainOnStop = drainOnStop
  }

  /// Addresses of a VIP, without their prefix length.
  package func addresses(of vip: String) -> [IPAddress] {
    elector?.vips.first { $0.name == vip }?.addresses.map(\.address) ?? []
  }
}
