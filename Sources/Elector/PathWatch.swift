// Over which of several interfaces each member is heard, for people: nothing is decided by it. A path that has gone is news
// while the member is heard by another one; it is back only after it has worked for a while, so that one that comes and goes
// is told of once.

import Membership
import Primitives

struct PathWatch {
  /// A path is not heard after this, or four times as long as this node waits for the member if that is longer: as long as the
  /// member is heard elsewhere there is no hurry, and a busy host must not cry wolf.
  static let shortestPatience = TimeSpan.seconds(1)
  /// It is back after it has been heard for so long without a break.
  static let steadyAfter = TimeSpan.seconds(5)

  enum News: Hashable { case lost, back }

  private struct Path {
    var isLost = false
    /// Since when it has been heard without a break.
    var heardSince: Instant?
  }
  private var paths = [Path](repeating: Path(), count: MemberIndex.limit * Arrival.pathLimit)
  /// Since when the member has been heard at all; nil while it is not.
  private var hereSince = [Instant?](repeating: nil, count: MemberIndex.limit)

  /// When the member was looked at last.
  private var lookedAt = [Instant?](repeating: nil, count: MemberIndex.limit)

  static func patience(with wait: TimeSpan) -> TimeSpan { max(wait * 4, shortestPatience) }

  /// A look at one member, with when it was last heard over each path. `isAlive`: somebody hears it.
  /// Returns for each path whether it is heard there, nil as long as that is not known, and what is new.
  mutating func look(
    at member: MemberIndex, isAlive: Bool, heardAt: [Instant?], patience: TimeSpan, now: Instant
  ) -> [(isHeard: Bool?, news: News?)] {
    let heard = heardAt.map { $0.map { now - $0 <= patience } ?? false }
    let isHere = isAlive && heard.contains(true)
    // After a pause of this host one path may have delivered what waited, and another one not yet.
    if let last = lookedAt[member.value], now - last > patience { hereSince[member.value] = nil }
    lookedAt[member.value] = now
    // A member's silence is told as such. What was lost before is so still when it comes back.
    let since = isHere ? hereSince[member.value] ?? now : nil
    hereSince[member.value] = since
    var found: [(isHeard: Bool?, news: News?)] = []
    for path in heard.indices {
      found.append(
        Self.look(at: &paths[place(member, path)], isHeard: heard[path], since: since, patience: patience, now: now))
    }
    return found
  }

  /// - Parameter since: since when the member has been heard by whatever way; nil if it is not.
  private static func look(
    at path: inout Path, isHeard: Bool, since: Instant?, patience: TimeSpan, now: Instant
  ) -> (isHeard: Bool?, news: News?) {
    guard isHeard else {
      path.heardSince = nil
      guard let since else { return (false, nil) }
      // A member that has just come may still be heard there.
      guard path.isLost || now - since > patience else { return (nil, nil) }
      defer { path.isLost = true }
      return (false, path.isLost ? nil : .lost)
    }
    let steadySince = path.heardSince ?? now
    path.heardSince = steadySince
    guard path.isLost, now - steadySince >= steadyAfter else { return (true, nil) }
    path.isLost = false
    return (true, .back)
  }

  /// The slot means another member from now on.
  mutating func forget(_ member: MemberIndex) {
    hereSince[member.value] = nil
    lookedAt[member.value] = nil
    for path in 0..<Arrival.pathLimit { paths[place(member, path)] = Path() }
  }

  private func place(_ member: MemberIndex, _ path: Int) -> Int { member.value * Arrival.pathLimit + path }
}
