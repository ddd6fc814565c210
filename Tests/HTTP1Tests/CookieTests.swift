// The affinity cookie among others, in one field and in several.

import Testing

@testable import HTTP1

@Suite struct CookieTests {
  static let name = Array("AFLOAT".utf8)

  func tags(_ head: String, name: [UInt8] = name) -> [UInt64] {
    let bytes = head.wire
    let scratch = HeadScratch(fieldCount: 100)
    defer { scratch.deallocate() }
    return withPadded(bytes, filler: 61) { pointer, count in
      name.withUnsafeBufferPointer { name in
        var parsed = RequestHead()
        let result = parsed.parse(pointer, count: count, limits: HeadLimits(), options: [], scratch: scratch)
        #expect(result == .complete)
        var found: [UInt64] = []
        while let tag = parsed.tag(named: CookieName(name), occurrence: found.count, in: pointer) {
          found.append(tag)
          if found.count == RequestHead.maximumTagCount { break }
        }
        return found
      }
    }
  }

  func tags(cookie: String) -> [UInt64] { tags("GET / HTTP/1.1\nHost: a\nCookie: \(cookie)\n\n") }

  @Test("the tag is found wherever it stands")
  func finds() {
    #expect(tags(cookie: "AFLOAT=0123456789abcdef") == [0x0123_4567_89ab_cdef])
    #expect(tags(cookie: "a=b; AFLOAT=00000000000000ff; c=d") == [0xff])
    #expect(tags(cookie: "a=b;AFLOAT=00000000000000ff;c=d") == [0xff])
    #expect(tags(cookie: "a=b; AFLOAT=\"00000000000000ff\"") == [0xff])
    #expect(tags(cookie: ";; AFLOAT=00000000000000ff ; ") == [0xff])
    #expect(tags(cookie: "x=AFLOAT=00000000000000fe; AFLOAT=00000000000000ff") == [0xff])
    #expect(tags(cookie: "AFLOAT=ffffffffffffffff") == [UInt64.max])
  }

  @Test("what is not a tag of that name is not found")
  func ignores() {
    for cookie in [
      "", "AFLOAT", "AFLOAT=", "AFLOAT=1", "AFLOAT=0123456789abcdeg", "AFLOAT=0123456789ABCDEF",
      "AFLOAT=0123456789abcdef0",
      "XAFLOAT=0123456789abcdef", "AFLOATX=0123456789abcdef", "afloat=0123456789abcdef", "AFLOAT =0123456789abcdef",
      "AFLOAT= 123456789abcdef", "AFLOAT=\"123456789abcdef", "a=\"AFLOAT=0123456789abcdef",
    ] {
      #expect(tags(cookie: cookie) == [], "\(cookie)")
    }
    #expect(tags("GET / HTTP/1.1\nHost: a\n\n") == [])
  }

  @Test("every tag is found in turn, over several fields")
  func several() {
    #expect(tags(cookie: "AFLOAT=0000000000000001; AFLOAT=bad; AFLOAT=0000000000000002") == [1, 2])
    let head =
      "GET / HTTP/1.1\nCookie: AFLOAT=0000000000000001\nHost: a\nX: AFLOAT=0000000000000009\ncookie: b; AFLOAT=0000000000000002\nCookie: AFLOAT=0000000000000003\n\n"
    #expect(tags(head) == [1, 2, 3])
    let many = (0..<20).map { _ in "AFLOAT=0000000000000001" }.joined(separator: ";")
    #expect(tags(cookie: many).count == RequestHead.maximumTagCount)
  }

  @Test("a tag is written as it is read")
  func roundTrip() {
    for tag in [0, 1, 0x0123_4567_89ab_cdef, UInt64.max] {
      var text = [UInt8](repeating: 0, count: 16)
      text.withUnsafeMutableBufferPointer { Cookies.write(tag: tag, to: $0.baseAddress!) }
      #expect(tags(cookie: "AFLOAT=" + String(decoding: text, as: UTF8.self)) == [tag])
    }
  }
}
