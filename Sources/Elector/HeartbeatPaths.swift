// The ways of heartbeats as the shell has them: a socket per interface, and where each member is reached over it.

import ClusterNode
import Control
import Cryptography
import Kernel
import Membership
import Primitives

/// One of the interfaces over which heartbeats travel.
final class HeartbeatPath: Sendable {
  let interface: String
  let socket: HeartbeatSocket

  init(interface: String, group: Endpoint) throws(SystemError) {
    self.interface = interface
    socket = try HeartbeatSocket(group: group)
  }
}

/// Addresses by slot and path, in the kernel's form: the heartbeat thread looks them up without allocating.
struct PeerAddresses: Sendable {
  private var members: [SocketAddress?]
  private var own: [SocketAddress]

  /// Allocates; for starts and reloads.
  init(of node: borrowing ClusterNode<HeartbeatAuthenticator>, plan: ElectorPlan) {
    let configuration = plan.configuration
    own = plan.addresses.map { SocketAddress(Endpoint(address: $0, port: 0)) }
    members = Array(repeating: nil, count: MemberIndex.limit * Arrival.pathLimit)
    for member in configuration.members {
      guard let slot = node.memberIndex(member.name)?.value else { continue }
      for (path, address) in member.addresses.prefix(Arrival.pathLimit).enumerated() {
        members[slot * Arrival.pathLimit + path] = SocketAddress(
          Endpoint(address: address, port: configuration.group.port))
      }
    }
  }

  func member(_ slot: Int, path: Int) -> SocketAddress? { members[slot * Arrival.pathLimit + path] }
  func own(path: Int) -> SocketAddress? { path < own.count ? own[path] : nil }
}
