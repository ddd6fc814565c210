// What operators asked for, as a document that any two nodes can merge in any order with the same result: a map of
// last-writer-wins registers. A register carries a stamp (counter, author); the larger stamp wins, and clearing a register is
// a write like any other, so a later delete beats an earlier value and never comes back from a node that was away.
// Keys and values are plain text, so a version that does not know a kind of intent still keeps and passes it on.

package import Primitives

/// Orders the writes of one register: the higher counter wins, the author's name breaks ties.
package struct IntentStamp: Hashable, Comparable, Sendable {
  package let counter: UInt64
  package let author: NodeName

  package init(counter: UInt64, author: NodeName) {
    self.counter = counter
    self.author = author
  }

  package static func < (left: IntentStamp, right: IntentStamp) -> Bool {
    left.counter != right.counter ? left.counter < right.counter : left.author < right.author
  }
}

/// One register: who wrote it last, and what (nil: cleared).
package struct IntentRegister: Hashable, Sendable {
  package let stamp: IntentStamp
  package let value: IntentValue?

  package init(stamp: IntentStamp, value: IntentValue?) {
    self.stamp = stamp
    self.value = value
  }

  /// Larger stamp; for one stamp with two values (a node that lost its disk and counted anew) the larger text, so that
  /// all nodes still agree.
  fileprivate func beats(_ other: IntentRegister) -> Bool {
    if stamp != other.stamp { return stamp > other.stamp }
    return (other.value?.text ?? "").utf8.lexicographicallyPrecedes((value?.text ?? "").utf8)
  }
}

/// Why a document or a write is refused.
package enum IntentsFault: Error, Equatable, Sendable, CustomStringConvertible {
  case tooManyRegisters(limit: Int)
  case invalidKey(String)
  case invalidValue(key: String, why: String)
  case counterTooHigh(key: String, counter: UInt64)
  case counterJump(key: String, from: UInt64, to: UInt64)
  case malformed(line: Int, why: String)
  case damaged(why: String)

  package var description: String {
    switch self {
    case .tooManyRegisters(let limit): "the intents hold more than \(limit) entries"
    case .invalidKey(let key): "not a key of an intent: \(key.prefix(80))"
    case .invalidValue(let key, let why): "intent \(key.prefix(80)): \(why)"
    case .counterTooHigh(let key, let counter): "intent \(key.prefix(80)): counter \(counter) is out of range"
    case .counterJump(let key, let from, let to):
      "intent \(key.prefix(80)): counter jumps from \(from) to \(to), more than \(Intents.maximumCounterStep)"
    case .malformed(let line, let why): "line \(line) of the intents: \(why)"
    case .damaged(let why): "the intents are damaged: \(why)"
    }
  }
}

/// The document. Bounded: at most `maximumRegisterCount` registers of at most about 1.3 KiB each; what would exceed a bound is
/// refused as a whole and changes nothing.
///
/// Counters: a write takes the register's counter + 1. No counter above `maximumCounter` is accepted from anywhere, and
/// `admit` (for documents of peers) refuses a counter more than `maximumCounterStep` above the own one. So even a member that
/// lies needs 2^30 documents to use a register up, no addition overflows, and an honest node never meets a bound
/// (2^32 writes of one register are 136 years of one per second).
package struct Intents: Equatable, Sendable {
  package static let maximumRegisterCount = 4096
  package static let maximumCounter: UInt64 = 1 << 62
  package static let maximumCounterStep: UInt64 = 1 << 32

  /// By the text of the key.
  package private(set) var registers: [String: IntentRegister] = [:]

  package init() {}

  /// Takes registers that were checked before (a part of a document).
  init(checked registers: [String: IntentRegister]) { self.registers = registers }

  /// The value of `key`; nil if it was never set or is cleared.
  package func value(of key: IntentKey) -> IntentValue? { registers[key.text]?.value }

  /// Writes `key`; nil clears it. The write beats every write that this document has seen.
  package mutating func set(_ key: IntentKey, to value: IntentValue?, author: NodeName) throws(IntentsFault) {
    let counter = registers[key.text]?.stamp.counter ?? 0
    guard counter < Self.maximumCounter else { throw .counterTooHigh(key: key.text, counter: counter) }
    guard registers[key.text] != nil || registers.count < Self.maximumRegisterCount else {
      throw .tooManyRegisters(limit: Self.maximumRegisterCount)
    }
    registers[key.text] = IntentRegister(stamp: IntentStamp(counter: counter + 1, author: author), value: value)
  }

  /// Puts one register of a document that is being read; the later of two wins.
  mutating func insert(_ register: IntentRegister, at key: IntentKey) throws(IntentsFault) {
    guard register.stamp.counter > 0, register.stamp.counter <= Self.maximumCounter else {
      throw .counterTooHigh(key: key.text, counter: register.stamp.counter)
    }
    guard registers.count < Self.maximumRegisterCount || registers[key.text] != nil else {
      throw .tooManyRegisters(limit: Self.maximumRegisterCount)
    }
    registers[key.text] = register
  }

  /// The union, register by register the one with the larger stamp: commutative, associative, idempotent while the union is
  /// within the bound. Returns the keys that changed here; throws without a change if the union would exceed the bound.
  @discardableResult
  package mutating func merge(_ other: Intents) throws(IntentsFault) -> [String] {
    var changed: [String] = []
    var added = 0
    for (key, register) in other.registers {
      guard let own = registers[key] else {
        changed.append(key)
        added += 1
        continue
      }
      if register.beats(own) { changed.append(key) }
    }
    guard registers.count + added <= Self.maximumRegisterCount else {
      throw .tooManyRegisters(limit: Self.maximumRegisterCount)
    }
    for key in changed { registers[key] = other.registers[key] }
    return changed.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// `merge` for a document that came from a peer: refuses counters that jump.
  @discardableResult
  package mutating func admit(_ other: Intents) throws(IntentsFault) -> [String] {
    for (key, register) in other.registers {
      let own = registers[key]?.stamp.counter ?? 0
      guard register.stamp.counter <= own + Self.maximumCounterStep else {
        throw .counterJump(key: key, from: own, to: register.stamp.counter)
      }
    }
    return try merge(other)
  }
}
