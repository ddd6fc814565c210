// By which ways a member is heard. There is one path per pair of interfaces, and on each of them two routes: the group's
// multicasts and what is addressed to this node alone. The same datagram may come by all of them. Which routes work is
// known from the sequences that came by each, and told to the member in reports of it.

package import Primitives

/// The way by which a datagram came.
package struct Arrival: Hashable, Sendable {
  /// The most interfaces that heartbeats may use.
  package static let pathLimit = 4

  /// Position of the interface in the configuration's list.
  package let path: Int
  package let isMulticast: Bool
  /// Signed with the other of two live keys than this node signs with.
  package var isByOtherKey = false

  /// Precondition: `path` is from 0 to `pathLimit - 1`.
  package init(path: Int = 0, isMulticast: Bool = true) {
    precondition((0..<Self.pathLimit).contains(path), "no such path")
    self.path = path
    self.isMulticast = isMulticast
  }

  static let routeLimit = 2 * pathLimit
  var route: Int { isMulticast ? path : Self.pathLimit + path }
}

/// What came by one route from one member.
struct Route: Sendable {
  var window = ReplayWindow()
  /// Of the copies that were signed with the other key.
  var otherWindow = ReplayWindow()
  var heardAt: Instant?
}

extension MemberTable {
  /// Notes a datagram of the believed boot. True if it is the first copy by its route, and no older than the window of the
  /// boot: a copy by another route is no replay.
  mutating func noteArrival(of sequence: UInt64, from slot: Int, over arrival: Arrival, at: Instant) -> Bool {
    let index = slot * Arrival.routeLimit + arrival.route
    let verdict =
      arrival.isByOtherKey ? routes[index].otherWindow.accept(sequence) : routes[index].window.accept(sequence)
    let highest = peers[slot].window.highest
    guard verdict != .replayed, sequence >= highest || highest - sequence < ReplayWindow.width else { return false }
    if verdict == .newest { routes[index].heardAt = max(routes[index].heardAt ?? at, at) }
    return true
  }

  /// This node signs with another key from now on: nobody is known to have it.
  package mutating func forgetKeys() { for slot in peers.indices { peers[slot].hasOurKey = false } }

  mutating func forgetRoutes(of slot: Int) {
    for index in (slot * Arrival.routeLimit)..<((slot + 1) * Arrival.routeLimit) { routes[index] = Route() }
  }

  /// When anything was last heard from the member over that path.
  package func lastHeard(_ member: MemberIndex, path: Int) -> Instant? {
    let first = member.value * Arrival.routeLimit
    let multicast = lastMulticast(member, path: path)
    let unicast = routes[first + Arrival(path: path, isMulticast: false).route].heardAt
    guard let multicast else { return unicast }
    return unicast.map { max($0, multicast) } ?? multicast
  }

  /// When a multicast of the member was last heard over that path.
  package func lastMulticast(_ member: MemberIndex, path: Int) -> Instant? {
    routes[member.value * Arrival.routeLimit + Arrival(path: path).route].heardAt
  }

  /// Bit per path: the member's multicasts were heard there within an interval and a half. So early, because whoever is
  /// not heard that way must be reached by another before its detection time is over.
  package func multicastPaths(from member: MemberIndex, now: Instant) -> UInt8 {
    let patience = peers[member.value].interval + peers[member.value].interval / 2
    var paths: UInt8 = 0
    for path in 0..<pathCount {
      let route = member.value * Arrival.routeLimit + path
      if let heardAt = routes[route].heardAt, now - heardAt <= patience { paths |= 1 << UInt8(path) }
    }
    return paths
  }

  /// Bit per path: multicasts get through there in both directions, as far as is known.
  package func multicastPathsBothWays(_ member: MemberIndex, now: Instant) -> UInt8 {
    guard hearsUs(member, now: now) else { return 0 }
    return peers[member.value].hearsOurMulticasts & multicastPaths(from: member, now: now)
  }
}
