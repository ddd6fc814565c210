// Comparisons of other rooms' enums as switches: `==` on them goes through their raw values, by way of a generic call.
// Seen in a profile; half a percent of the balancer's time.

internal import Balancing
internal import HTTP1

extension BodyFraming {
  var isNone: Bool { if case .none = self { true } else { false } }
  var isCounted: Bool { if case .counted = self { true } else { false } }
  var isUntilClose: Bool { if case .untilClose = self { true } else { false } }
}

extension OutgoingFraming {
  var isChunked: Bool { if case .chunked = self { true } else { false } }
}

extension RequestMethod {
  var isHead: Bool { if case .head = self { true } else { false } }
}

extension ServerAvailability {
  var isUp: Bool { if case .up = self { true } else { false } }
  var isDraining: Bool { if case .draining = self { true } else { false } }
  /// Idle connections to the server may be of use.
  var keepsConnections: Bool {
    switch self {
    case .up, .draining, .ejected, .unchecked: true
    case .down, .maintenance: false
    }
  }
}

extension ChoiceCause {
  var isCookie: Bool { if case .cookie = self { true } else { false } }
  /// Servers are up, and have no room.
  var isFull: Bool {
    switch self {
    case .allFull, .cookieFull: true;
    default: false
    }
  }
  var isNoneUp: Bool { if case .noneUp = self { true } else { false } }
}

extension BodyStatus {
  var isEnd: Bool { if case .end = self { true } else { false } }
  var isMore: Bool { if case .more = self { true } else { false } }
}
