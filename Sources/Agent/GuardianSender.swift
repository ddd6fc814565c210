// How a resign leaves: over every interface of the heartbeats, to the group and to each member. Whoever misses it waits for
// the detection time; that is why it is not left to one way.

internal import Control
internal import Kernel
internal import Primitives

/// Sockets and addresses that are ready before they are needed.
final class GuardianSender {
  private final class Path {
    let socket: HeartbeatSocket
    let own: SocketAddress
    let members: [SocketAddress]

    init(socket: consuming HeartbeatSocket, own: SocketAddress, members: [SocketAddress]) {
      self.socket = socket
      self.own = own
      self.members = members
    }
  }

  private let paths: [Path]
  private let usesGroup: Bool

  /// Nil if this node is not among the members, or none of the interfaces is there.
  init?(_ configuration: ElectorConfiguration, links: [NetworkLink]) {
    guard let node = configuration.members.first(where: { $0.name == configuration.node }) else { return nil }
    let others = configuration.members.filter { $0.name != configuration.node }
    usesGroup = configuration.transport == .multicast
    paths = zip(configuration.interfaces, node.addresses).enumerated().compactMap { index, way in
      guard let link = links.first(where: { $0.name == way.0 }),
        let socket = try? HeartbeatSocket(group: configuration.group(ofPath: index), receives: false),
        (try? socket.join(interface: link.index, source: way.1, joins: false)) != nil
      else { return nil }
      return Path(
        socket: socket, own: SocketAddress(Endpoint(address: way.1, port: 0)),
        members: others.filter { index < $0.addresses.count }.map {
          SocketAddress(Endpoint(address: $0.addresses[index], port: configuration.group.port))
        })
    }
    guard !paths.isEmpty else { return nil }
  }

  /// 0 if it left by any way, else the errno of the first refusal. Never blocks.
  func send(_ bytes: UnsafeRawBufferPointer) -> Int32 {
    var refusal: Int32 = 0
    var left = false
    func note(_ code: Int32) {
      if code == 0 { left = true } else if refusal == 0 { refusal = code }
    }
    for path in paths {
      if usesGroup { note(path.socket.send(bytes)) }
      for member in path.members { note(path.socket.send(bytes, to: member, from: path.own)) }
    }
    // A lone member has nobody to tell.
    return left ? 0 : refusal
  }
}
