// Fuzzes chunked bodies. The first byte chooses the output and where the body is split; what is forwarded must not depend
// on the split, and read again it must be the same body in canonical form.

import HTTP1

/// Reads the pieces 0 ..< first, first ..< count with what was held back before them; nil after a fault.
func readBody(_ data: UnsafePointer<UInt8>, _ count: Int, first: Int, output: ChunkedOutput) -> (
  ended: Bool, consumed: Int, forwarded: [UInt8], payload: Int
)? {
  var body = ChunkedBody()
  var consumed = 0
  var payload = 0
  var forwarded: [UInt8] = []
  for end in [first, count] {
    let length = max(end, consumed) - consumed
    let piece = exactCopy(data + consumed, length, filler: 0x30)
    let scratch = UnsafeMutablePointer<UInt8>.allocate(capacity: ChunkedBody.scratchByteCount(for: length))
    defer {
      piece.deallocate()
      scratch.deallocate()
    }
    let step = body.read(piece, count: length, output: output, scratch: scratch)
    if case .fault = step.status { return nil }
    require(step.consumed <= length && step.forward.endOffset <= step.consumed, "more was consumed than came")
    require(step.writtenCount <= ChunkedBody.scratchByteCount(for: length), "more was written than promised")
    if step.writtenCount > 0 {
      forwarded += UnsafeBufferPointer(start: scratch, count: step.writtenCount)
    } else {
      forwarded += UnsafeBufferPointer(start: piece + step.forward.offset, count: step.forward.count)
    }
    consumed += step.consumed
    payload += step.payloadCount
    if step.status == .end { return (true, consumed, forwarded, payload) }
    require(length - step.consumed <= ChunkedBody.maximumHeldByteCount, "too much is held back")
  }
  return (false, consumed, forwarded, payload)
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzChunkedBody(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  if size < 2 { return 0 }
  let output: ChunkedOutput = data[0] & 1 == 0 ? .chunked : .content
  let count = size - 2
  let body = data + 2
  let whole = readBody(body, count, first: 0, output: output)
  let split = readBody(body, count, first: Int(data[1]) % (count + 1), output: output)
  require((whole == nil) == (split == nil), "the verdict depends on how the body arrives")
  guard let whole, let split else { return 0 }
  require(whole.ended == split.ended && whole.consumed == split.consumed, "the end depends on how the body arrives")
  require(whole.forwarded == split.forwarded && whole.payload == split.payload, "the body depends on how it arrives")
  if output == .content {
    require(whole.forwarded.count == whole.payload, "content was lost or added")
  } else if whole.ended {
    whole.forwarded.withUnsafeBufferPointer { text in
      let again = readBody(text.baseAddress!, text.count, first: 0, output: .chunked)
      require(again != nil && again!.ended && again!.consumed == text.count, "what was written is not a chunked body")
      require(
        again!.forwarded == whole.forwarded && again!.payload == whole.payload, "what was written is not canonical")
    }
  }
  return 0
}
