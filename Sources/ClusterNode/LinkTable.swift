// Who hears whom, as every member says in its heartbeats: for status only, nothing is decided by it.

internal import Membership
package import Primitives

/// What one member hears of another.
package struct LinkView: Hashable, Sendable {
  /// When the hearer heard the other last, on this node's clock; nil as long as it has not said so.
  package var heardAt: Instant?
  /// In 1/255.
  package var loss: UInt8 = 0
  /// Nil as long as the hearer has not measured it.
  package var roundTrip: TimeSpan?

  package init() {}
}

struct LinkTable: Sendable {
  private var links: [LinkView] = []
  /// Slots that there is room for.
  private var room = 0

  /// Makes room for slots below `members`, and keeps what is known. Allocates.
  mutating func makeRoom(members: Int) {
    guard members > room else { return }
    var larger = [LinkView](repeating: LinkView(), count: members * members)
    for hearer in 0..<room { for other in 0..<room { larger[hearer * members + other] = links[hearer * room + other] } }
    links = larger
    room = members
  }

  subscript(hearer: MemberIndex, other: MemberIndex) -> LinkView {
    get { links[place(hearer, other)] }
    set { links[place(hearer, other)] = newValue }
  }

  private func place(_ hearer: MemberIndex, _ other: MemberIndex) -> Int {
    precondition(other.value < room, "no room for the member")
    return hearer.value * room + other.value
  }

  /// A slot got another member, or its member another life.
  mutating func forget(_ member: MemberIndex) {
    for slot in 0..<room {
      self[member, MemberIndex(slot)] = LinkView()
      self[MemberIndex(slot), member] = LinkView()
    }
  }
}
