// Fuzzes request heads. The first byte chooses options; the rest is the head. Beyond not crashing: the verdict does not
// depend on what lies after the end, an earlier prefix never gets another verdict, and what is written for the server is
// itself accepted, with the same framing.

import HTTP1
import Primitives

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequestHead(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  if size < 1 { return 0 }
  let control = data[0]
  let count = size - 1
  let options = RequestOptions(rawValue: control & 15)
  let limits = HeadLimits(headByteCount: 1024, fieldCount: 16, targetByteCount: 200)
  let scratch = HeadScratch(fieldCount: 16)
  let bytes = exactCopy(data + 1, count, filler: 0x41)
  let other = exactCopy(data + 1, count, filler: control)
  defer {
    scratch.deallocate()
    bytes.deallocate()
    other.deallocate()
  }

  var head = RequestHead()
  let early = head.parse(other, count: count / 2, limits: limits, options: options, scratch: scratch)
  let again = head.parse(other, count: count, limits: limits, options: options, scratch: scratch)
  let result = head.parse(bytes, count: count, limits: limits, options: options, scratch: scratch)
  require(result == again, "the verdict depends on bytes after the end")
  require(early == .incomplete || early == result, "a verdict was taken back")
  if result != .complete { return 0 }
  require(Int(head.byteCount) <= min(count, limits.headByteCount), "the head is longer than what came")

  let storage = UnsafeMutablePointer<UInt8>.allocate(capacity: ForwardingText.byteCapacity)
  defer { storage.deallocate() }
  let address =
    control & 64 == 0
    ? IPAddress(v4: 0xc000_0207) : IPAddress(v6High: 0x2001_0db8_0000_0000, low: 0xffff_ffff_ffff_ffff)
  let via: StaticString = "Via: 1.1 n1\r\n"
  let host: StaticString = "198.51.100.1:8080"
  let additions = RequestAdditions(
    forwarding: control & 128 == 0
      ? ForwardingText(address: address, isSecure: control & 32 != 0, storage: storage) : nil,
    via: UnsafeBufferPointer(start: via.utf8Start, count: via.utf8CodeUnitCount),
    defaultHost: UnsafeBufferPointer(start: host.utf8Start, count: host.utf8CodeUnitCount))
  let bound = head.writtenByteBound(additions)
  let output = UnsafeMutablePointer<UInt8>.allocate(capacity: bound)
  defer { output.deallocate() }
  let written = head.write(
    from: bytes, scratch: scratch, options: options, additions: additions, to: output, capacity: bound)
  require(written <= bound, "more was written than promised")

  let copy = exactCopy(output, written, filler: 0x0a)
  let wide = HeadScratch(fieldCount: 64)
  defer {
    copy.deallocate()
    wide.deallocate()
  }
  var second = RequestHead()
  let verdict = second.parse(
    copy, count: written, limits: HeadLimits(headByteCount: 8192, fieldCount: 64, targetByteCount: 1024),
    options: [.trustedSource, .keepsUnderscoreNames], scratch: wide)
  require(verdict == .complete && Int(second.byteCount) == written, "what was written is not a head")
  require(second.framing == head.framing && second.contentLength == head.contentLength, "the framing changed")
  require(!second.isOldVersion && !second.flags.contains(.absoluteForm), "the form is not that of a proxy's request")
  require(second.keepsAlive, "the server was told to close")
  require(second.flags.contains(.upgrade) == head.flags.contains(.upgrade), "the upgrade changed")
  return 0
}
