// Why a datagram was dropped. Each is counted, and shown by `members`, before any state of the node is touched.

package enum DropReason: Int, CaseIterable, Sendable, Error {
  case tooShort
  case tooLong
  case wrongMagic
  case wrongVersion
  /// The length in the header is not the length that arrived.
  case wrongLength
  case wrongCluster
  case unknownKey
  case wrongTag
  /// A part runs past the end, or a known part has an impossible length.
  case malformedPart
  /// Signed with our key, but by a name that our configuration does not list.
  case unknownSender
  /// Our own datagram, looped back (not a fault), or another node with our name.
  case ownName
  /// A sequence that was seen already, or is older than the window.
  case replayed
  /// A boot that has not yet shown that it heard us lately, or one that has ended.
  case unconfirmedBoot

  /// In words, for `members` and the metrics.
  package var words: String {
    switch self {
    case .tooShort: "too short"
    case .tooLong: "too long"
    case .wrongMagic: "not a heartbeat"
    case .wrongVersion: "unknown protocol version"
    case .wrongLength: "wrong length"
    case .wrongCluster: "other cluster"
    case .unknownKey: "unknown key"
    case .wrongTag: "wrong key or altered"
    case .malformedPart: "malformed"
    case .unknownSender: "unknown member"
    case .ownName: "own name"
    case .replayed: "replayed"
    case .unconfirmedBoot: "unconfirmed or ended boot"
    }
  }
}

/// Counts per reason; a fixed set, so counting never allocates.
package struct DropCounters: Sendable {
  private var counts = [UInt64](repeating: 0, count: DropReason.allCases.count)

  package init() {}

  package subscript(reason: DropReason) -> UInt64 { counts[reason.rawValue] }
  package mutating func count(_ reason: DropReason) { counts[reason.rawValue] &+= 1 }

  /// All but loop-backs of our own datagrams, which are no fault.
  package var total: UInt64 { counts.reduce(0, +) - counts[DropReason.ownName.rawValue] }
}
