// A node whose datagrams reach nobody. It hears the others, and believes none of their boots: they never echo what it says. All
// the same they are there, so it takes nothing: who speaks in one direction only is not alone.
//
// Somebody who recorded a member that is gone can keep a node without any living peer from taking a VIP for as long as the
// recording lasts; who is on the link can do worse without (claim the address). What a node holds it keeps.

import Election
import Membership
import Primitives

/// The last boots of a member that spoke and are not believed. Several, so that old ones which somebody plays do not hide the
/// one that lives: that goes on speaking, and the place of the one that has been still for longest is given away.
struct Speakers: Sendable {
  private var folds = SIMD4<UInt64>(repeating: 0)
  private var sequences = SIMD4<UInt64>(repeating: 0)
  /// When it spoke first, and last something new; nanoseconds.
  private var since = SIMD4<Int64>(repeating: .min)
  private var last = SIMD4<Int64>(repeating: .min)

  /// For how long the boot has gone on saying something new; nil if this is nothing new.
  mutating func note(_ boot: BootID, sequence: UInt64, at time: Instant) -> TimeSpan? {
    let fold = boot.fold
    if let place = folds.indices.first(where: { folds[$0] == fold }) {
      guard sequence > sequences[place] else { return nil }
      sequences[place] = sequence
      last[place] = max(last[place], time.nanoseconds)
      return TimeSpan(nanoseconds: last[place] - since[place])
    }
    let place = last.indices.min { last[$0] < last[$1] } ?? 0
    (folds[place], sequences[place], since[place], last[place]) = (fold, sequence, time.nanoseconds, time.nanoseconds)
    return .zero
  }
}

extension NodeCore {
  /// A datagram came of a boot that is not believed. After a detection time without an echo its member does not hear this node,
  /// or somebody plays it.
  mutating func noteUnconfirmed(_ hearing: Hearing, from sender: MemberIndex, receivedAt: Instant) {
    guard !members[sender].hasEnded(hearing.boot), !faults.contains(.unheardClaims),
      let spoken = speakers[sender.value].note(hearing.boot, sequence: hearing.sequence, at: receivedAt),
      spoken >= members.configuredDetection
    else { return }
    let until = receivedAt + max(longestDetection, min(hearing.detection, Self.longestUnheard))
    unheardUntil = unheardUntil == .distantFuture ? until : max(unheardUntil, until)
  }

  /// The longest that a datagram which nobody vouches for may stand for its sender.
  private static let longestUnheard = TimeSpan.seconds(5)

  func isUnheard(now: Instant) -> Bool {
    guard unheardUntil != .distantFuture, now < unheardUntil else { return false }
    return !(0..<memberCount).contains { MemberIndex($0) != selfIndex && members.isAlive(MemberIndex($0)) }
  }
}
