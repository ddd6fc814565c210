// Which of a sender's last 256 sequences were seen: refuses replays, and tells how many were lost.

/// A sliding window in the manner of RFC 4303 section 3.4.3: a sequence is accepted once, and never if it is 256 or more
/// behind the highest.
package struct ReplayWindow: Sendable {
  package static let width: UInt64 = 256

  package enum Verdict: Hashable, Sendable {
    /// Higher than any before.
    case newest
    /// Late, but not seen before.
    case late
    case replayed
  }

  package private(set) var highest: UInt64 = 0
  private var first: UInt64 = 0
  // Bit i of word w stands for sequence `highest - (64 w + i)`.
  private var w0: UInt64 = 0
  private var w1: UInt64 = 0
  private var w2: UInt64 = 0
  private var w3: UInt64 = 0

  package init() {}

  package var isEmpty: Bool { highest == 0 }

  /// What `accept` would say, without accepting. Sequence 0 is never valid.
  package func judge(_ sequence: UInt64) -> Verdict {
    if sequence == 0 { return .replayed }
    if sequence > highest { return .newest }
    let behind = highest - sequence
    if behind >= Self.width { return .replayed }
    return word(Int(behind / 64)) >> (behind % 64) & 1 == 1 ? .replayed : .late
  }

  package mutating func accept(_ sequence: UInt64) -> Verdict {
    let verdict = judge(sequence)
    switch verdict {
    case .replayed: break
    case .newest:
      if isEmpty { first = sequence }
      shift(by: isEmpty ? Self.width : sequence - highest)
      highest = sequence
      w0 |= 1
    case .late:
      let behind = highest - sequence
      set(Int(behind / 64), bit: behind % 64)
      first = min(first, sequence)
    }
    return verdict
  }

  /// Share of the last 256 sequences (fewer at the start) that did not arrive, in 1/255. Nil before 16 were sent.
  package var loss: UInt8? {
    let span = min(Self.width, highest - first + 1)
    guard !isEmpty, span >= 16 else { return nil }
    let seen = UInt64(w0.nonzeroBitCount + w1.nonzeroBitCount + w2.nonzeroBitCount + w3.nonzeroBitCount)
    return UInt8((span - min(seen, span)) * 255 / span)
  }

  private func word(_ index: Int) -> UInt64 {
    switch index {
    case 0: w0
    case 1: w1
    case 2: w2
    default: w3
    }
  }

  private mutating func set(_ index: Int, bit: UInt64) {
    switch index {
    case 0: w0 |= 1 << bit
    case 1: w1 |= 1 << bit
    case 2: w2 |= 1 << bit
    default: w3 |= 1 << bit
    }
  }

  private mutating func shift(by distance: UInt64) {
    if distance >= Self.width {
      (w0, w1, w2, w3) = (0, 0, 0, 0)
      return
    }
    for _ in 0..<(distance / 64) { (w3, w2, w1, w0) = (w2, w1, w0, 0) }
    let bits = distance % 64
    guard bits > 0 else { return }
    w3 = w3 << bits | w2 >> (64 - bits)
    w2 = w2 << bits | w1 >> (64 - bits)
    w1 = w1 << bits | w0 >> (64 - bits)
    w0 <<= bits
  }
}
