// The heartbeat datagram: a fixed header, parts of type-length-value, a tag over everything before it. Numbers are in
// network byte order. docs/PROTOCOL.md explains the fields; WireTests holds golden bytes.
//
//      0                   1                   2                   3
//      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//     +---------------+---------------+---------------+---------------+
//   0 |      'A'      |      'F'      |      'L'      |      'T'      |
//     +---------------+---------------+---------------+---------------+
//   4 |  version = 1  |   reserved    |             flags             |
//     +---------------+---------------+---------------+---------------+
//   8 |                      cluster id (64 bits)                     |
//     +---------------+---------------+---------------+---------------+
//  16 |                            key id                             |
//     +---------------+---------------+---------------+---------------+
//  20 |        length with tag        |  fragment = 0 | fragments = 1 |
//     +---------------+---------------+---------------+---------------+
//  24 |                      sender (64 bits)                         |
//     +---------------+---------------+---------------+---------------+
//  32 |                      boot id (128 bits)                       |
//     +---------------+---------------+---------------+---------------+
//  48 |                      sequence (64 bits)                       |
//     +---------------+---------------+---------------+---------------+
//  56 |        send time, sender's monotonic clock, ns (64 bits)      |
//     +---------------+---------------+---------------+---------------+
//  64 |                    heartbeat interval, us                     |
//     +---------------+---------------+---------------+---------------+
//  68 |                 detection time in force, us                   |
//     +---------------+---------------+---------------+---------------+
//  72 |                 configuration digest (64 bits)                |
//     +---------------+---------------+---------------+---------------+
//  80 |                    intents digest (64 bits)                   |
//     +---------------+---------------+---------------+---------------+
//  88 | parts: type (16 bits), length of the value (16 bits), value … |
//     +---------------+---------------+---------------+---------------+
//   n |           tag (128 bits) over bytes 0 to n - 1                |
//     +---------------+---------------+---------------+---------------+

package import Primitives

package enum DatagramLayout {
  package static let magic: UInt32 = 0x4146_4c54
  package static let version: UInt8 = 1
  package static let headerByteCount = 88
  package static let partHeaderByteCount = 4
  package static let tagByteCount = 16
  package static let minimumByteCount = headerByteCount + tagByteCount
  /// A datagram fits an MTU of 1,280 with IPv6 and UDP headers. A state that does not fit is told in rotating slices.
  package static let maximumByteCount = 1200

  enum Offset {
    static let magic = 0, version = 4, flags = 6, cluster = 8, key = 16, length = 20, fragment = 22, fragments = 23
    static let sender = 24, boot = 32, sequence = 48, sendTime = 56, interval = 64, detection = 68
    static let configuration = 72, intents = 80
  }
}

/// Types of parts. A reader skips the types that it does not know, so that versions mix during an upgrade.
package enum PartType: UInt16, Sendable {
  /// `PeerReport`s, 32 bytes each.
  case peers = 1
  /// `VIPReport`s, 16 bytes each.
  case vips = 2
  /// `ReleaseNotice`s, 24 bytes each.
  case releases = 3
  /// The boot that sends this ends with it: one byte of `ResignReason`, three of padding.
  case resign = 4
  /// Software version, 1 to 32 bytes of UTF-8.
  case softwareVersion = 5
  /// One `Patience` per report of the part `peers`, in its order.
  case patiences = 6
  // Reserved for leases (skipped by this version): 16 lease request, 17 lease grant, 18 lease refusal, 19 term ceiling.
}

/// Flags of the header.
package struct HeartbeatFlags: OptionSet, Sendable {
  package let rawValue: UInt16
  package init(rawValue: UInt16) { self.rawValue = rawValue }
  /// Operators asked the sender to give everything away.
  package static let draining = HeartbeatFlags(rawValue: 1)
  /// The sender woke late and judges nobody for now.
  package static let stalled = HeartbeatFlags(rawValue: 2)
  /// The sender listens and claims nothing yet.
  package static let starting = HeartbeatFlags(rawValue: 4)
}

package struct HeartbeatHeader: Equatable, Sendable {
  package var flags: HeartbeatFlags
  package var clusterID: UInt64
  package var keyID: UInt32
  /// `StableHash` of the sender's name.
  package var sender: UInt64
  package var boot: BootID
  /// Starts at 1 for each boot, and never repeats in it.
  package var sequence: UInt64
  package var sendTimeNanoseconds: Int64
  package var intervalMicroseconds: UInt32
  package var detectionMicroseconds: UInt32
  package var configurationDigest: UInt64
  package var intentsDigest: UInt64

  package init(
    flags: HeartbeatFlags, clusterID: UInt64, keyID: UInt32, sender: UInt64, boot: BootID, sequence: UInt64,
    sendTimeNanoseconds: Int64, intervalMicroseconds: UInt32, detectionMicroseconds: UInt32,
    configurationDigest: UInt64,
    intentsDigest: UInt64
  ) {
    self.flags = flags
    self.clusterID = clusterID
    self.keyID = keyID
    self.sender = sender
    self.boot = boot
    self.sequence = sequence
    self.sendTimeNanoseconds = sendTimeNanoseconds
    self.intervalMicroseconds = intervalMicroseconds
    self.detectionMicroseconds = detectionMicroseconds
    self.configurationDigest = configurationDigest
    self.intentsDigest = intentsDigest
  }
}

/// What the sender last heard of a peer. The peer's own sequence under its random boot id is the nonce that comes back:
/// only somebody who heard that very datagram can name it in a signed one.
///
///     0 peer (64) | 8 boot fold (64) | 16 last sequence (64) | 24 age, us (32) | 28 loss, 1/255 (8) |
///     29 multicast paths (8) | 30 zero (16)
package struct PeerReport: Equatable, Sendable {
  package static let byteCount = 32
  package var peer: UInt64
  package var bootFold: UInt64
  package var lastSequence: UInt64
  /// How long before the sending of this datagram the sender heard `lastSequence`.
  package var ageMicroseconds: UInt32
  /// Share of the peer's last 256 heartbeats that the sender missed, in 1/255.
  package var loss: UInt8
  /// Bit i: the sender lately heard the peer's multicasts over its i-th interface. Zero from senders that do not tell.
  package var multicastPaths: UInt8
  /// The sender's round trip to the peer in 10 µs, more than that as the largest number. Zero from senders that have not
  /// measured it or do not tell.
  package var roundTrip: UInt16

  @inlinable package init(
    peer: UInt64, bootFold: UInt64, lastSequence: UInt64, ageMicroseconds: UInt32, loss: UInt8,
    multicastPaths: UInt8 = 0, roundTrip: UInt16 = 0
  ) {
    self.peer = peer
    self.bootFold = bootFold
    self.lastSequence = lastSequence
    self.ageMicroseconds = ageMicroseconds
    self.loss = loss
    self.multicastPaths = multicastPaths
    self.roundTrip = roundTrip
  }
}

/// What the sender is to a VIP. Flag 1: eligible; flag 2: it could pass on what belongs to a previous holder's connections;
/// flag 4: it hears another member that holds the VIP, and names it; flag 8: its configuration does not name the VIP any more,
/// and this is the last that it tells of it.
///
///     0 VIP (64) | 8 priority (16) | 10 role (8) | 11 flags (8) | 12 term, or with flag 4 fold of the holder's name (32)
package struct VIPReport: Equatable, Sendable {
  package enum Role: UInt8, Sendable { case idle = 0, candidate = 1, holder = 2 }
  package static let byteCount = 16
  package var vip: UInt64
  package var priority: UInt16
  package var role: Role
  package var eligible: Bool
  package var passesUnknown: Bool
  /// `StableHash.fold` of the name of the holder that the sender hears; 0 for none.
  package var holder: UInt32
  package var isUnconfigured: Bool
  package var term: UInt32

  @inlinable package init(
    vip: UInt64, priority: UInt16, role: Role, eligible: Bool, passesUnknown: Bool = false, holder: UInt32 = 0,
    isUnconfigured: Bool = false, term: UInt32 = 0
  ) {
    self.isUnconfigured = isUnconfigured
    self.vip = vip
    self.priority = priority
    self.role = role
    self.eligible = eligible
    self.passesUnknown = passesUnknown
    self.holder = holder
    self.term = term
  }
}

/// How long the sender would wait for the peer of a report before it gave it up; zero for a boot that it does not believe.
///
///     0 patience, us (32)
package struct Patience: Equatable, Sendable {
  package static let byteCount = 4
  package var microseconds: UInt32

  @inlinable package init(microseconds: UInt32) { self.microseconds = microseconds }
}

/// The sender has let a VIP go and names who takes it now. Repeated in a few datagrams; `serial` tells repeats apart.
///
///     0 VIP (64) | 8 successor (64), 0 for nobody | 16 serial (32) | 20 cause (8) | 21 flags (8) | 22 zero (16)
///
/// Flag 1: the sender keeps the TCP connections that it has, and takes their segments from the successor.
package struct ReleaseNotice: Equatable, Sendable {
  package enum Cause: UInt8, Sendable {
    case unsaid = 0, moved = 1, draining = 2, failback = 3, shutdown = 4, ineligible = 5
  }
  package static let byteCount = 24
  package var vip: UInt64
  package var successor: UInt64
  package var serial: UInt32
  package var cause: Cause
  package var keepsConnections: Bool

  @inlinable package init(vip: UInt64, successor: UInt64, serial: UInt32, cause: Cause, keepsConnections: Bool = false)
  {
    self.vip = vip
    self.successor = successor
    self.serial = serial
    self.cause = cause
    self.keepsConnections = keepsConnections
  }
}

/// Why a boot ended. Readers take numbers that they do not know for `died`.
package enum ResignReason: UInt8, Sendable { case died = 0, hung = 1, left = 2 }
