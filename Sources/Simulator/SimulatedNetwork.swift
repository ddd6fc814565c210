// Who hears whom, over one path or two.

import Membership

/// A path, and whether a datagram goes to the group or to one member.
struct SimulatedRoute {
  let path: UInt8
  let isMulticast: Bool

  var arrival: Arrival { Arrival(path: Int(path), isMulticast: isMulticast) }
}

struct SimulatedNetwork {
  enum Kind: CaseIterable { case multicast, unicast }

  let count: Int
  let pathCount: Int
  /// One way: at `place` for both kinds, and when that link last changed in either.
  private var multicastCut: [Bool]
  private var unicastCut: [Bool]
  private var changedAt: [Int64]
  /// In 1/1000 of the datagrams.
  var loss: UInt64 = 0
  var duplication: UInt64 = 0
  var lossChangedAt: Int64 = 0
  /// Delay of a datagram, uniform; a wide range reorders.
  var delay: ClosedRange<Int64>

  init(count: Int, pathCount: Int, delay: ClosedRange<Int64>) {
    self.count = count
    self.pathCount = pathCount
    self.delay = delay
    multicastCut = Array(repeating: false, count: pathCount * count * count)
    unicastCut = multicastCut
    changedAt = Array(repeating: 0, count: pathCount * count * count)
  }

  private func place(_ path: Int, _ from: Int, _ to: Int) -> Int { (path * count + from) * count + to }

  func carries(_ kind: Kind, _ path: Int, _ from: Int, _ to: Int) -> Bool {
    switch kind {
    case .multicast: !multicastCut[place(path, from, to)]
    case .unicast: !unicastCut[place(path, from, to)]
    }
  }

  /// The path has carried everything that way, without a change, since `time`.
  func isUp(_ path: Int, _ from: Int, _ to: Int, since time: Int64) -> Bool {
    carries(.multicast, path, from, to) && carries(.unicast, path, from, to)
      && changedAt[place(path, from, to)] <= time
  }

  /// The path has carried nothing that way, without a change, since `time`.
  func isCut(_ path: Int, _ from: Int, _ to: Int, since time: Int64) -> Bool {
    !carries(.multicast, path, from, to) && !carries(.unicast, path, from, to)
      && changedAt[place(path, from, to)] <= time
  }

  /// Whatever the path has carried that way, it has since `time`.
  func isUnchanged(_ path: Int, _ from: Int, _ to: Int, since time: Int64) -> Bool {
    changedAt[place(path, from, to)] <= time
  }

  /// - Parameters:
  ///   - kind: nil for both.
  ///   - path: nil for all.
  mutating func set(_ from: Int, _ to: Int, kind: Kind? = nil, path: Int? = nil, up: Bool, at time: Int64) {
    for one in 0..<pathCount where path == nil || path == one {
      for each in Kind.allCases where kind == nil || kind == each {
        guard carries(each, one, from, to) != up else { continue }
        let place = place(one, from, to)
        switch each {
        case .multicast: multicastCut[place] = !up
        case .unicast: unicastCut[place] = !up
        }
        changedAt[place] = time
      }
    }
  }

  mutating func healAll(at time: Int64) {
    for from in 0..<count { for to in 0..<count { set(from, to, up: true, at: time) } }
  }
}
