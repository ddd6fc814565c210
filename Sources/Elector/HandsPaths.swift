// Over which interfaces members are heard, as the agent is told, and the events when that changes.

import ClusterNode
import Control
import Kernel
import Membership
import Primitives

extension Hands {
  /// What a look at the members found new: the names, by interface.
  struct PathNews {
    var lost: [Int: [String]] = [:]
    var back: [Int: [String]] = [:]
    /// Members that are heard at all.
    var hereCount = 0
  }

  /// Of another member; notes in `news` what has changed.
  func paths(of slot: Int, _ snapshot: StatusSnapshot, _ news: inout PathNews) -> [PathStatus] {
    let interfaces = plan.configuration.interfaces
    let view = snapshot.members[slot]
    guard !view.isSelf else { return [] }
    let isAlive = view.state != .unheard && view.state != .dead
    let views = interfaces.indices.map { snapshot.paths[slot * Arrival.pathLimit + $0] }
    let patience = PathWatch.patience(with: view.patience ?? snapshot.detectionTime)
    let now = snapshot.takenAt
    let found = pathWatch.look(
      at: MemberIndex(slot), isAlive: isAlive, heardAt: views.map(\.heardAt), patience: patience, now: now)
    if isAlive, found.contains(where: { $0.isHeard == true }) { news.hereCount += 1 }
    return interfaces.indices.map { path in
      switch found[path].news {
      case .lost: news.lost[path, default: []].append(names.member(MemberIndex(slot)))
      case .back: news.back[path, default: []].append(names.member(MemberIndex(slot)))
      case nil: break
      }
      let isMulticast = views[path].multicastAt.map { now - $0 <= patience } ?? false
      return PathStatus(
        interface: interfaces[path], isHeard: found[path].isHeard, lastHeardAgo: views[path].heardAt.map { now - $0 },
        isMulticast: found[path].isHeard == true ? isMulticast : nil)
    }
  }

  /// One event for each interface, however many members are concerned.
  func tell(_ news: PathNews, at: Instant) {
    for (path, interface) in plan.configuration.interfaces.enumerated() {
      if let lost = news.lost[path] {
        tell(.pathLost, subject: interface, cause: Self.pathWords(lost, of: news.hereCount, interface, ""), at: at)
      }
      if let back = news.back[path] {
        tell(
          .pathBack, subject: interface, cause: Self.pathWords(back, of: news.hereCount, interface, " again"), at: at)
      }
    }
  }

  /// `n2 is not heard on eth1`, `n2, n3 are not heard on eth1`, `no member is heard on eth1`.
  static func pathWords(_ members: [String], of count: Int, _ interface: String, _ again: String) -> String {
    let isLost = again.isEmpty
    if members.count == count, count > 1 {
      return "\(isLost ? "no member" : "every member") is heard on \(interface)\(again)"
    }
    let names = members.sorted().joined(separator: ", ")
    return "\(names) \(members.count == 1 ? "is" : "are") \(isLost ? "not " : "")heard on \(interface)\(again)"
  }
}
