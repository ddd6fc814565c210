// The sockets of checks. One whose check has ended with a reset is not closed but dissolved, and serves the next check of any
// server: to make, watch and close one costs more than a quarter of a whole check.

internal import Kernel

final class CheckSockets {
  /// Of each family; those beyond are closed.
  static let largestIdleCount = 64

  private struct Place {
    var raw: Int32 = -1
    var isV4 = true
    /// Of the sockets that were here: what still comes of one before is not taken for the present one's.
    var generation: UInt32 = 0
    var isWatched = false
    /// Whom events are for.
    var owner: EventToken?
  }

  private var places: [Place] = []
  private var empty: [Int32] = []
  private var idleV4: [Int32] = []
  private var idleV6: [Int32] = []

  deinit { for place in places where place.raw >= 0 { StreamSocket.close(place.raw) } }

  /// Starts a connection. A place, or a negative error number. `speaks`: this side says something first, and once.
  func connect(to address: SocketAddress, speaks: Bool) -> Int32 {
    let isV4 = address.isV4
    let place: Int32
    if let kept = isV4 ? idleV4.popLast() : idleV6.popLast() {
      place = kept
    } else {
      var raw = StreamSocket.open(v4: isV4)
      if StreamSocket.isOutOfDescriptors(raw), closeIdle(v4: !isV4) { raw = StreamSocket.open(v4: isV4) }
      if raw < 0 { return raw }
      place = newPlace()
      places[Int(place)].raw = raw
      places[Int(place)].isV4 = isV4
    }
    let raw = places[Int(place)].raw
    if speaks { StreamSocket.acknowledgeLater(raw) }
    let result = StreamSocket.connect(raw, to: address)
    if result < 0 { leave(place) }
    return result < 0 ? result : place
  }

  func descriptor(_ place: Int32) -> Int32 { places[Int(place)].raw }

  /// Has `poller` tell of what comes, until `end`; `owner` of those events is `token`.
  func watch(_ place: Int32, _ poller: borrowing Poller, _ token: EventToken) throws(SystemError) {
    if !places[Int(place)].isWatched {
      let own = EventToken(.client, index: place, generation: places[Int(place)].generation)
      try poller.add(places[Int(place)].raw, .allEdges, token: own.rawValue)
      places[Int(place)].isWatched = true
    }
    places[Int(place)].owner = token
  }

  /// Whom an event is for; nil: for nobody any more.
  func owner(of event: EventToken) -> EventToken? {
    let index = Int(event.index)
    guard places.indices.contains(index), event.isFor(places[index].generation) else { return nil }
    return places[index].owner
  }

  /// The check has ended. `abortively`: nothing is left that a reset could destroy.
  func end(_ place: Int32, abortively: Bool) {
    let raw = places[Int(place)].raw
    let isV4 = places[Int(place)].isV4
    places[Int(place)].owner = nil
    if abortively, places[Int(place)].isWatched, (isV4 ? idleV4.count : idleV6.count) < Self.largestIdleCount,
      StreamSocket.dissolve(raw)
    {
      if isV4 { idleV4.append(place) } else { idleV6.append(place) }
      return
    }
    if abortively { StreamSocket.closeAbortively(raw) } else { StreamSocket.close(raw) }
    leave(place)
  }

  /// For a socket of the other family. False if none is idle.
  private func closeIdle(v4: Bool) -> Bool {
    guard let place = v4 ? idleV4.popLast() : idleV6.popLast() else { return false }
    StreamSocket.close(places[Int(place)].raw)
    leave(place)
    return true
  }

  private func newPlace() -> Int32 {
    if let place = empty.popLast() { return place }
    places.append(Place())
    return Int32(places.count - 1)
  }

  /// Its socket has been closed.
  private func leave(_ place: Int32) {
    places[Int(place)] = Place(generation: places[Int(place)].generation &+ 1)
    empty.append(place)
  }
}
