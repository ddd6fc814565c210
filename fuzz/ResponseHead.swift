// Fuzzes response heads, as RequestHead.swift does requests. The first byte says whether the request was HEAD and how the
// response goes on.

import HTTP1

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzResponseHead(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  if size < 1 { return 0 }
  let control = data[0]
  let count = size - 1
  let isHead = control & 1 == 1
  let limits = HeadLimits(headByteCount: 1024, fieldCount: 16)
  let scratch = HeadScratch(fieldCount: 16)
  let bytes = exactCopy(data + 1, count, filler: 0x41)
  let other = exactCopy(data + 1, count, filler: control)
  defer {
    scratch.deallocate()
    bytes.deallocate()
    other.deallocate()
  }

  var head = ResponseHead()
  let early = head.parse(other, count: count / 2, isHeadRequest: isHead, limits: limits, scratch: scratch)
  let again = head.parse(other, count: count, isHeadRequest: isHead, limits: limits, scratch: scratch)
  let result = head.parse(bytes, count: count, isHeadRequest: isHead, limits: limits, scratch: scratch)
  require(result == again, "the verdict depends on bytes after the end")
  require(early == .incomplete || early == result, "a verdict was taken back")
  if result != .complete { return 0 }
  require(Int(head.byteCount) <= min(count, limits.headByteCount), "the head is longer than what came")
  require(head.status >= 100 && head.status <= 999, "the status is out of range")

  var additions = ResponseAdditions()
  if head.framing == .chunked || head.framing == .untilClose { additions.framing = .chunked }
  if control & 2 != 0 { additions.connection = .close }
  if head.flags.contains(.upgrade) { additions.connection = .upgrade }
  let cookie: StaticString = "Set-Cookie: AFLOAT=0123456789abcdef; Path=/; HttpOnly\r\n"
  additions.cookie = UnsafeBufferPointer(start: cookie.utf8Start, count: cookie.utf8CodeUnitCount)
  let bound = head.writtenByteBound(additions)
  let output = UnsafeMutablePointer<UInt8>.allocate(capacity: bound)
  defer { output.deallocate() }
  let written = head.write(from: bytes, scratch: scratch, additions: additions, to: output, capacity: bound)
  require(written <= bound, "more was written than promised")

  let copy = exactCopy(output, written, filler: 0x0a)
  let wide = HeadScratch(fieldCount: 64)
  defer {
    copy.deallocate()
    wide.deallocate()
  }
  var second = ResponseHead()
  let verdict = second.parse(
    copy, count: written, isHeadRequest: isHead, limits: HeadLimits(headByteCount: 8192, fieldCount: 64), scratch: wide)
  require(verdict == .complete && Int(second.byteCount) == written, "what was written is not a head")
  let expected = head.framing == .untilClose ? .chunked : head.framing
  require(second.framing == expected && second.status == head.status, "the framing changed")
  if head.framing == .counted { require(second.contentLength == head.contentLength, "the length changed") }
  return 0
}
