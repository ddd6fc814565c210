// The electors of all hosts. An array cannot hold what is not copyable, and would copy what is for a look at one field.

import ClusterNode

struct NodeStore: ~Copyable {
  typealias Node = ClusterNode<SimulatedAuthenticator>

  private let base: UnsafeMutablePointer<Node>
  private var count = 0

  init(capacity: Int) { base = .allocate(capacity: capacity) }
  deinit {
    base.deinitialize(count: count)
    base.deallocate()
  }

  /// Precondition: fewer than the capacity are there.
  mutating func append(_ node: consuming Node) {
    (base + count).initialize(to: node)
    count += 1
  }

  subscript(host: Int) -> Node {
    _read {
      precondition(host >= 0 && host < count, "no such host")
      yield base[host]
    }
    _modify {
      precondition(host >= 0 && host < count, "no such host")
      yield &base[host]
    }
  }
}
