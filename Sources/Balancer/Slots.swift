// Numbers for what has a name. While a server, pool or listener is configured, or removed and still used by a connection,
// it keeps its number: connections, counters and health go on across a change of configuration without being looked up
// or moved. A number is given to another only after nothing uses it any more.

internal import Control
internal import Primitives

/// Names and their slots, up to `capacity` of them.
struct SlotTable<Name: Hashable> {
  enum Holder {
    case nobody
    case configured(Name)
    /// Removed from the configuration; connections may still use it.
    case retired(Name)
  }

  let capacity: Int
  /// By slot.
  private(set) var holders: [Holder] = []
  private var slots: [Name: Int] = [:]
  private var free: [Int] = []
  private(set) var retiredCount = 0

  init(capacity: Int) { self.capacity = capacity }

  /// The slots of `names`, which are unique, in their order: kept for those that have one (a retired one is configured
  /// again), new for the others. What is not named is retired. Nil, with nothing changed, if there are not enough slots.
  mutating func assign(_ names: [Name]) -> [Int]? {
    let new = names.count { slots[$0] == nil }
    guard new <= free.count + capacity - holders.count else { return nil }
    for (slot, holder) in holders.enumerated() {
      if case .configured(let name) = holder { holders[slot] = .retired(name) }
    }
    let result = names.map { name in
      let slot = slots[name] ?? takeFree()
      slots[name] = slot
      holders[slot] = .configured(name)
      return slot
    }
    retiredCount = slots.count - names.count
    return result
  }

  private mutating func takeFree() -> Int {
    if let slot = free.popLast() { return slot }
    holders.append(.nobody)
    return holders.count - 1
  }

  var retired: [Int] {
    holders.indices.filter { slot in if case .retired = holders[slot] { true } else { false } }
  }

  /// Gives a retired slot back: nothing uses it any more.
  mutating func release(_ slot: Int) {
    guard case .retired(let name) = holders[slot] else { preconditionFailure("only a retired slot is released") }
    slots[name] = nil
    holders[slot] = .nobody
    retiredCount -= 1
    free.append(slot)
  }
}

/// What makes a listener the same one: in another mode it is another, since its connections are of another kind.
struct ListenerIdentity: Hashable {
  let name: String
  let isHTTP: Bool

  init(_ listener: ListenerConfiguration) {
    name = listener.name
    isHTTP = listener.mode == .http
  }
}

struct RouteIdentity: Hashable {
  let listener: String
  let name: String
}

/// What makes a server the same one: at another address, or with another start of its connections, it is another, whose
/// connections and health are not this one's.
struct ServerIdentity: Hashable {
  let pool: String
  let name: String
  let endpoint: Endpoint
  let proxyHeader: ProxyHeaderVersion?

  init(_ server: ServerConfiguration, of pool: String) {
    self.pool = pool
    name = server.name
    endpoint = server.endpoint
    proxyHeader = server.proxyHeader
  }
}
