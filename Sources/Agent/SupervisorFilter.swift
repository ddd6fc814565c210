// The filter on the listening sockets that lets SYNs to a leaving address go unanswered. The balancer puts it there itself
// where the kernel lets it; some let only the privileged, and then it asks.

internal import Control
internal import Kernel
internal import Logging
internal import Primitives

extension SupervisorLoop {
  /// Of VIPs that this node holds and gives up when its balancer is gone: those for which another member is alive.
  var addressesAboutToLeave: [IPAddress] {
    guard let status = supervisor.board.view.elector, let vips = plan.elector?.vips,
      status.members.contains(where: { $0.name != plan.node && $0.state == .alive && !$0.draining })
    else { return [] }
    return vips.filter { vip in
      vip.requires.contains { $0.kind == .balancer }
        && status.vips.contains { $0.name == vip.name && $0.role == .holder }
    }.flatMap { $0.addresses.map(\.address) }
  }

  /// SYNs to `addresses`, and to no others, are dropped from now on. The sockets are shared with the balancer, which
  /// removes the filter when the addresses stay or return.
  func ignoreNewConnections(to addresses: [IPAddress]) {
    for raw in supervisor.sockets?.raws ?? [] {
      do throws(SystemError) {
        if addresses.isEmpty {
          try StreamSocket.acceptNewConnections(raw)
        } else {
          try StreamSocket.dropNewConnections(raw, to: addresses)
        }
      } catch {
        logger.warning("clients that connect during the handover may be reset: \(error)")
        return
      }
    }
  }
}
