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
  private var links = [LinkView](repeating: LinkView(), count: MemberIndex.limit * MemberIndex.limit)

  subscript(hearer: MemberIndex, other: MemberIndex) -> LinkView {
    get { links[hearer.value * MemberIndex.limit + other.value] }
    set { links[hearer.value * MemberIndex.limit + other.value] = newValue }
  }

  /// A slot got another member, or its member another life.
  mutating func forget(_ member: MemberIndex) {
    for slot in 0..<MemberIndex.limit {
      self[member, MemberIndex(slot)] = LinkView()
      self[MemberIndex(slot), member] = LinkView()
    }
  }
}
