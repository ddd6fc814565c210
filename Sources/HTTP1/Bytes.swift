// The leaves under the parsers: unaligned words, a scan for control characters sixteen bytes at a time, comparisons
// with literals that fold to a few word compares. Every buffer that is scanned has `scanSlack` readable bytes after its
// end, whatever they hold. All of it is internal to this room and inlined: the figures are those of the head parsers.

/// A part of a message, as offsets into the buffer that was parsed.
package struct ByteRange: Equatable, Sendable {
  package var start: Int32
  package var end: Int32

  @inlinable package init(start: Int32, end: Int32) {
    self.start = start
    self.end = end
  }

  /// Offsets below 2³¹, which the limits of a head and of a read buffer guarantee.
  @inlinable package init(_ start: Int, _ end: Int) {
    self.start = Int32(truncatingIfNeeded: start)
    self.end = Int32(truncatingIfNeeded: end)
  }

  @inlinable package static var empty: ByteRange { ByteRange(start: 0, end: 0) }
  @inlinable package var isEmpty: Bool { start == end }
  @inlinable package var offset: Int { Int(start) }
  @inlinable package var count: Int { Int(end) &- Int(start) }
  @inlinable package var endOffset: Int { Int(end) }
}

/// Bytes that must be readable after the end of every buffer that is parsed. Their content does not matter.
package let scanSlack = 16

package typealias Bytes = UnsafePointer<UInt8>

@inline(__always) func word8(_ bytes: Bytes) -> UInt64 { UnsafeRawPointer(bytes).loadUnaligned(as: UInt64.self) }
@inline(__always) func word4(_ bytes: Bytes) -> UInt32 { UnsafeRawPointer(bytes).loadUnaligned(as: UInt32.self) }
@inline(__always) func word2(_ bytes: Bytes) -> UInt16 { UnsafeRawPointer(bytes).loadUnaligned(as: UInt16.self) }

/// The same of a literal that is long enough; folds to a constant.
@inline(__always) func literal8(_ text: StaticString) -> UInt64 { word8(text.utf8Start) }
@inline(__always) func literal4(_ text: StaticString) -> UInt32 { word4(text.utf8Start) }
@inline(__always) func literal2(_ text: StaticString) -> UInt16 { word2(text.utf8Start) }

/// CR LF as a word in memory order.
@inline(__always) var crlf: UInt16 { UInt16(13).littleEndian | UInt16(10 << 8).littleEndian }

/// Whether the bytes equal `text`, which is at least 2 bytes and in lower case, ignoring the case of letters. The caller
/// has compared the lengths, and knows that the bytes are token characters: those never collide when bit 5 is set, if
/// `text` has only letters, digits and "-".
@inline(__always) func matches(_ bytes: Bytes, _ text: StaticString) -> Bool {
  let literal = text.utf8Start
  let count = text.utf8CodeUnitCount
  let lower8: UInt64 = 0x2020_2020_2020_2020
  if count >= 8 {
    var index = 0
    while index &+ 8 <= count {
      if word8(bytes + index) | lower8 != word8(literal + index) | lower8 { return false }
      index &+= 8
    }
    return index == count || word8(bytes + (count &- 8)) | lower8 == word8(literal + (count &- 8)) | lower8
  }
  if count >= 4 {
    let lower4: UInt32 = 0x2020_2020
    return word4(bytes) | lower4 == word4(literal) | lower4
      && word4(bytes + (count &- 4)) | lower4 == word4(literal + (count &- 4)) | lower4
  }
  return word2(bytes) | 0x2020 == word2(literal) | 0x2020
    && word2(bytes + (count &- 2)) | 0x2020 == word2(literal + (count &- 2)) | 0x2020
}

/// Whether `range` holds `text` in any case; any bytes. For values, not on the path of every request.
func equalsIgnoringCase(_ bytes: Bytes, _ range: ByteRange, _ text: StaticString) -> Bool {
  if range.count != text.utf8CodeUnitCount { return false }
  for index in 0..<range.count where lowercased(bytes[range.offset + index]) != text.utf8Start[index] { return false }
  return true
}

/// `text` is in lower case.
func equalsIgnoringCase(_ bytes: Bytes, _ range: ByteRange, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
  if range.count != text.count { return false }
  for index in 0..<range.count where lowercased(bytes[range.offset + index]) != text[index] { return false }
  return true
}

func equalsIgnoringCase(_ bytes: Bytes, _ left: ByteRange, _ right: ByteRange) -> Bool {
  if left.count != right.count { return false }
  for index in 0..<left.count
  where lowercased(bytes[left.offset + index]) != lowercased(bytes[right.offset + index]) { return false }
  return true
}

@inline(__always) func lowercased(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }
@inline(__always) func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }
@inline(__always) func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

/// tchar of RFC 9110, section 5.6.2, as a bit per ASCII code.
@inline(__always) func isTokenByte(_ byte: UInt8) -> Bool {
  let word: UInt64 = byte < 64 ? 0x03ff_6cfa_0000_0000 : 0x57ff_ffff_c7ff_fffe
  return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
}

typealias Lanes = SIMDMask<SIMD16<Int8>>

// Types are spelled out in what follows: where the compiler infers them it may take the generic operators, which it does not
// turn into vector instructions (a head then takes ten times as long).
@inline(__always) func lanes16(_ byte: UInt8) -> SIMD16<UInt8> { SIMD16<UInt8>(repeating: byte) }

/// Index of the first set lane of a mask as a byte offset, 16 if none.
@inline(__always) func firstLane(_ mask: Lanes) -> Int {
  let halves = unsafeBitCast(mask, to: SIMD2<UInt64>.self)
  if halves.x != 0 { return halves.x.trailingZeroBitCount &>> 3 }
  if halves.y != 0 { return 8 &+ (halves.y.trailingZeroBitCount &>> 3) }
  return 16
}

@inline(__always) func load16(_ bytes: Bytes) -> SIMD16<UInt8> {
  UnsafeRawPointer(bytes).loadUnaligned(as: SIMD16<UInt8>.self)
}

/// Index of the first control character other than HTAB in `start ..< count`; `count` if there is none.
@inline(__always) func firstControl(_ bytes: Bytes, _ start: Int, _ count: Int) -> Int {
  var index = start
  while index < count {
    let lanes = load16(bytes + index)
    let control: Lanes = (lanes .< lanes16(0x20)) .| (lanes .== lanes16(0x7f))
    let lane = firstLane(control)
    if lane == 16 {
      index &+= 16
      continue
    }
    let found = index &+ lane
    if found >= count { return count }
    if bytes[found] != 9 { return found }
    index = found &+ 1
  }
  return count
}

/// Index of the first byte in `start ..< count` that no request target holds: space, controls, DEL, beyond ASCII, "#".
@inline(__always) func firstOutsideTarget(_ bytes: Bytes, _ start: Int, _ count: Int) -> Int {
  var index = start
  while index < count {
    let lanes = load16(bytes + index)
    let outside: Lanes = (lanes .<= lanes16(0x20)) .| (lanes .>= lanes16(0x7f)) .| (lanes .== lanes16(35))
    let lane = firstLane(outside)
    if lane < 16 { return min(index &+ lane, count) }
    index &+= 16
  }
  return count
}

/// Index of the first byte in `start ..< count` that is not a token character. `sawUnderscore` is set when one was passed.
@inline(__always) func endOfToken(_ bytes: Bytes, _ start: Int, _ count: Int, _ sawUnderscore: inout Bool) -> Int {
  var index = start
  while index < count {
    let lanes = load16(bytes + index)
    let letters: SIMD16<UInt8> = (lanes | lanes16(0x20)) &- lanes16(97)
    let digits: SIMD16<UInt8> = lanes &- lanes16(48)
    let usual: Lanes = (letters .< lanes16(26)) .| (digits .< lanes16(10)) .| (lanes .== lanes16(45))
    let lane = firstLane(.!usual)
    index &+= lane
    if lane == 16 { continue }
    if index >= count { return count }
    if !isTokenByte(bytes[index]) { return index }
    if bytes[index] == 95 { sawUnderscore = true }
    index &+= 1
  }
  return count
}

/// A growing write position in memory that the caller has sized beforehand.
struct Output {
  let base: UnsafeMutablePointer<UInt8>
  var count = 0

  @inline(__always) init(_ base: UnsafeMutablePointer<UInt8>) { self.base = base }

  @inline(__always) mutating func append(_ bytes: Bytes, _ from: Int, _ to: Int) {
    if to > from {
      (base + count).update(from: bytes + from, count: to &- from)
      count &+= to &- from
    }
  }

  @inline(__always) mutating func append(_ bytes: UnsafeBufferPointer<UInt8>) {
    if let start = bytes.baseAddress { append(start, 0, bytes.count) }
  }

  @inline(__always) mutating func append(_ text: StaticString) { append(text.utf8Start, 0, text.utf8CodeUnitCount) }

  @inline(__always) mutating func append(_ byte: UInt8) {
    base[count] = byte
    count &+= 1
  }

  mutating func append(decimal value: UInt64) {
    var divisor: UInt64 = 1
    while value / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      append(UInt8(truncatingIfNeeded: 48 &+ value / divisor % 10))
      divisor /= 10
    }
  }

  /// Without leading zeros; "0" for zero.
  mutating func append(hexadecimal value: UInt64) {
    var shift = value == 0 ? 0 : (63 - value.leadingZeroBitCount) & ~3
    while shift >= 0 {
      let digit = UInt8(truncatingIfNeeded: (value &>> UInt64(shift)) & 15)
      append(digit < 10 ? 48 &+ digit : 87 &+ digit)
      shift -= 4
    }
  }
}
