// Who hears whom, told to the agent now and then: it is for people, and may be long.

import ClusterNode
import Control
import Kernel
import Membership
import Primitives

extension Hands {
  /// In a small cluster every second; the list grows with the square of the members.
  private static let rareFrom = 16

  func reportLinksIfDue(_ snapshot: StatusSnapshot) {
    let slots = names.members.indices.filter { slot in
      let view = snapshot.members[slot]
      return names.members[slot] != nil && view.isConfigured && view.state != .unheard && view.state != .dead
    }
    let interval = TimeSpan.seconds(slots.count > Self.rareFrom ? 5 : 1)
    guard snapshot.takenAt - linksToldAt >= interval else { return }
    linksToldAt = snapshot.takenAt
    var links: [LinkStatus] = []
    for hearer in slots {
      for other in slots where other != hearer {
        guard let name = names.members[hearer], let otherName = names.members[other] else { continue }
        let link = snapshot.links[hearer * MemberIndex.limit + other]
        // Twice the detection time, and never less than what a busy machine may sleep: this is no judgement.
        let patience = max((snapshot.members[other].detectionTime ?? snapshot.detectionTime) * 2, .milliseconds(500))
        let isHeard = link.heardAt.map { snapshot.takenAt - $0 <= patience } ?? false
        links.append(
          LinkStatus(
            hearer: name, other: otherName, isHeard: isHeard, loss: isHeard ? Double(link.loss) / 255 : nil,
            roundTrip: isHeard ? link.roundTrip : nil))
      }
    }
    reporter.report(.links(links))
  }
}
