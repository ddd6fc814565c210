// The filter on the listening sockets that lets SYNs to a leaving address go unanswered. The balancer puts it there itself
// where the kernel lets it; some let only the privileged, and then it asks.

internal import Kernel
internal import Logging
internal import Primitives

extension SupervisorLoop {
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
