// Fuzzes the search for a cookie: the first byte is the length of the name, which follows; the rest is the field's value.

import HTTP1

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCookies(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  if size < 2 { return 0 }
  let nameCount = max(1, min(Int(data[0]) % 16, size - 1))
  let name = exactCopy(data + 1, nameCount, filler: 0x3d)
  let count = size - 1 - nameCount
  let bytes = exactCopy(data + 1 + nameCount, count, filler: 0x3d)
  defer {
    name.deallocate()
    bytes.deallocate()
  }
  let cookie = CookieName(UnsafeBufferPointer(start: name, count: nameCount))
  let field = ByteRange(0, count)
  var from: Int32 = 0
  var found = 0
  while let value = Cookies.value(of: cookie, in: field, from: from, of: bytes) {
    require(
      value.offset > Int(from) && value.offset <= value.endOffset && value.endOffset <= count,
      "the value is out of bounds")
    for index in value.offset..<value.endOffset {
      require(bytes[index] != 0x3b || name[0] == 0x3b, "the value holds a separator")
    }
    if let tag = Cookies.tag(in: value, of: bytes) {
      let text = UnsafeMutablePointer<UInt8>.allocate(capacity: 16)
      defer { text.deallocate() }
      Cookies.write(tag: tag, to: text)
      for index in 0..<16 { require(text[index] == bytes[value.offset + index], "the tag is another") }
    }
    from = value.end
    found += 1
    require(found <= count, "the search does not move on")
  }
  return 0
}
