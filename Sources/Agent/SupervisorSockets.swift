// The listening sockets: opened here, used by the balancer. They are open as long as the configuration names their address,
// so that a new balancer goes on where a dead one stopped, and clients wait in the backlog meanwhile.

package import Control
internal import Kernel
internal import Primitives

/// The sockets of one address, one per worker; closed when the last configuration that uses it is dropped.
final class ListeningGroup: Sendable {
  let endpoint: Endpoint
  let raws: [Int32]

  init(_ endpoint: Endpoint, count: Int) throws(SystemError) {
    self.endpoint = endpoint
    var list = try ListeningSocket.open(endpoint, .init(count: count))
    var raws: [Int32] = []
    while let socket = list.takeFirst() { raws.append(socket.release()) }
    self.raws = raws
  }

  deinit { for raw in raws { _ = FileDescriptor(owning: raw) } }
}

/// All of a configuration: listener by listener, bind by bind.
package final class ListeningSockets: Sendable {
  let groups: [ListeningGroup]
  /// Those that the configuration before did not have.
  let opened: [ListeningGroup]

  /// Bind by bind, worker by worker.
  var raws: [Int32] { groups.flatMap(\.raws) }

  /// Throws a `SystemError` for the first that somebody else has. All of them before the first is opened: those of one port may
  /// overlap with each other. With what is open already they may, too, so there a port that is taken says nothing about
  /// strangers.
  static func checkAreFree(_ balancer: BalancerConfiguration, before: ListeningSockets?) throws(SystemError) {
    let ports = Set((before?.groups ?? []).map(\.endpoint.port))
    for endpoint in balancer.listeners.flatMap(\.bind) where !ports.contains(endpoint.port) {
      try ListeningSocket.checkIsFree(endpoint)
    }
  }

  /// Opens what `before` does not have; throws a `SystemError` for the first that is refused.
  package init(for balancer: BalancerConfiguration, before: ListeningSockets? = nil) throws {
    let known = Dictionary((before?.groups ?? []).map { ($0.endpoint, $0) }, uniquingKeysWith: { first, _ in first })
    let binds = balancer.listeners.flatMap(\.bind)
    try Self.checkAreFree(balancer, before: before)
    var groups: [ListeningGroup] = []
    var opened: [ListeningGroup] = []
    for endpoint in binds {
      if let group = known[endpoint] {
        groups.append(group)
        continue
      }
      let group = try ListeningGroup(endpoint, count: balancer.threads)
      groups.append(group)
      opened.append(group)
    }
    self.groups = groups
    self.opened = opened
  }
}
