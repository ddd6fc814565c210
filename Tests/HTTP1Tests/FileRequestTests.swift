// Dates, entity tags, ranges and types of files.

import HTTP1
import Primitives
import Testing

@Suite("Files") struct FileRequestTests {
  private func date(_ second: Int64) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: HTTPDate.byteCount) { memory in
      HTTPDate.write(second, to: memory.baseAddress!)
      return String(decoding: memory, as: UTF8.self)
    }
  }

  /// In 2026, unless it is said otherwise.
  private func second(_ text: String, now: Int64 = 1_795_000_000) -> Int64? {
    Array(text.utf8).withUnsafeBufferPointer { HTTPDate.parse($0, now: now) }
  }

  @Test(
    "dates are written as the RFC says",
    arguments: [
      (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
      (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (1_767_225_599, "Wed, 31 Dec 2025 23:59:59 GMT"),
      (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] as [(Int64, String)])
  func writes(_ unixSecond: Int64, _ text: String) {
    #expect(date(unixSecond) == text)
    #expect(second(text) == unixSecond)
  }

  @Test("what is written is read back", arguments: 0..<20) func readsBack(_ seed: Int) {
    var random = SeededRandom(seed: UInt64(seed))
    for _ in 0..<200 {
      let moment = Int64(random.next() % 253_402_300_799)
      #expect(second(date(moment)) == moment)
    }
  }

  @Test(
    "the two obsolete forms are read",
    arguments: [
      ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777), ("Sun Nov  6 08:49:37 1994", 784_111_777),
      ("Tue Feb 29 00:00:00 2000", 951_782_400), ("Wednesday, 31-Dec-25 23:59:59 GMT", 1_767_225_599),
      ("Thu Jan 01 00:00:00 1970", 0),
    ] as [(String, Int64)])
  func readsObsolete(_ text: String, _ unixSecond: Int64) { #expect(second(text) == unixSecond) }

  @Test("two digits of a year are at most 50 years ahead") func centuries() throws {
    // The day of the week must fit.
    #expect(second("Friday, 06-Nov-76 00:00:00 GMT").map(date) == "Fri, 06 Nov 2076 00:00:00 GMT")
    #expect(second("Sunday, 06-Nov-77 00:00:00 GMT").map(date) == "Sun, 06 Nov 1977 00:00:00 GMT")
    let later = try #require(second("Fri, 01 Jan 2094 00:00:00 GMT"))
    #expect(second("Saturday, 06-Nov-94 00:00:00 GMT", now: later).map(date) == "Sat, 06 Nov 2094 00:00:00 GMT")
  }

  @Test(
    "other texts are no dates",
    arguments: [
      "", "Monday, 06-Nov-94 08:49:37 GMT", "Sundax, 06-Nov-94 08:49:37 GMT", "Sunday, 06 Nov 94 08:49:37 GMT",
      "Sunday, 06-Nov-1994 08:49:37 GMT", "Sunday, 6-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-9x 08:49:37 GMT",
      "Sun, 06-Nov-94 08:49:37 GMT", "Mon Nov  6 08:49:37 1994", "Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 19x4",
      "Sun Nov  x 08:49:37 1994", "Sun Nov 31 08:49:37 1994", "Sunday, 06-Nov-94 08:49:37 UTC",
      "Mon, 06 Nov 1994 08:49:37 GMT",
      "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Now 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
      "Thu, 31 Jun 2026 00:00:00 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06 Nov 1894 08:49:37 GMT",
    ])
  func refuses(_ text: String) { #expect(second(text) == nil) }

  @Test(
    "types follow the ending",
    arguments: [
      ("a/b.HTML", "text/html; charset=utf-8"), ("b.tar.gz", "application/gzip"), ("b", "application/octet-stream"),
      ("b.", "application/octet-stream"), (".html", "text/html; charset=utf-8"),
      ("a.png/b", "application/octet-stream"),
      ("x.exe", "application/octet-stream"),
    ])
  func types(_ path: String, _ type: String) {
    let found = Array(path.utf8).withUnsafeBufferPointer { MediaTypes.type(of: $0) }
    #expect("\(found)" == type)
  }

  private let modified: Int64 = 784_111_777
  private func version(size: Int64 = 10, nanosecond: Int64 = 500_000_000, now: Int64? = nil) -> FileVersion {
    FileVersion(
      byteCount: size, modifiedSecond: modified, modifiedNanosecond: nanosecond,
      now: now ?? (modified + 100) * 1_000_000_000)
  }

  private func tag(_ version: FileVersion) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: FileVersion.largestTagByteCount) { memory in
      let count = version.writeTag(to: memory.baseAddress!)
      return String(decoding: memory.prefix(count), as: UTF8.self)
    }
  }

  private func answer(
    _ fields: String, method: String = "GET", size: Int64 = 10, of other: FileVersion? = nil
  ) -> FileAnswer? {
    let text = Array("\(method) / HTTP/1.1\r\nHost: h\r\n\(fields)\r\n".utf8)
    let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: text.count + scanSlack)
    let scratch = HeadScratch()
    defer {
      bytes.deallocate()
      scratch.deallocate()
    }
    bytes.initialize(repeating: 65, count: text.count + scanSlack)
    bytes.update(from: text, count: text.count)
    var head = RequestHead()
    guard head.parse(bytes, count: text.count, limits: HeadLimits(), options: [], scratch: scratch) == .complete else {
      return nil
    }
    return .decide(head, of: bytes, other ?? version(size: size))
  }

  @Test("entity tags: lists, weak ones, and what is none") func tags() {
    let expected = tag(version())
    #expect(expected == "\"2ebc98a1-1dcd6500-a\"")
    #expect(answer("If-None-Match: \(expected)\r\n") == .notModified)
    #expect(answer("If-None-Match: \"a,b\", ,W/\(expected)\r\n") == .notModified)
    #expect(answer("If-None-Match: \"a\"\r\nIf-None-Match: \(expected)\r\n") == .notModified)
    #expect(answer("If-None-Match: \(expected.dropLast())\r\n") == .whole)
    #expect(answer("If-None-Match: 2ebc\r\n") == .whole)
    #expect(answer("If-Match: \"a\", \(expected)\r\n") == .whole)
    #expect(answer("If-Match: W/\(expected)\r\n") == .preconditionFailed)
    #expect(answer("If-Range: W/\(expected)\r\nRange: bytes=0-0\r\n") == .whole)
  }

  @Test("a file that was changed within the second is another one") func changedWithinTheSecond() {
    let before = tag(version())
    let after = version(nanosecond: 504_000_000)
    #expect(answer("If-None-Match: \(before)\r\n", of: after) == .whole)
    #expect(answer("If-Range: \(before)\r\nRange: bytes=2-3\r\n", of: after) == .whole)
    #expect(answer("If-Match: \(before)\r\n", of: after) == .preconditionFailed)
  }

  @Test("a file that may still change within a tick of the file system's clock has no tag") func changedJustNow() {
    let written = modified * 1_000_000_000 + 500_000_000
    for (age, hasTag) in [(0, false), (4_000_000, false), (20_000_000, true), (900_000_000, true), (-1, true)] {
      let version = version(now: written + Int64(age))
      #expect(version.hasTag == hasTag)
      #expect(answer("If-None-Match: \(tag(version))\r\n", of: version) == (hasTag ? .notModified : .whole))
      #expect(answer("If-Match: *\r\n", of: version) == .whole)
      let head = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: FileHead.byteCapacity) { memory in
        String(decoding: FileHead.write(.whole, version, "text/css", to: memory.baseAddress!), as: UTF8.self)
      }
      #expect(head.contains("\r\nETag: ") == hasTag && head.contains("1994 08:49:37 GMT\r\n") && head.hasSuffix("\r\n"))
    }
    // Whatever a file says of its time.
    for second in [Int64.min, -5, 0, 253_402_300_800, Int64.max] {
      let odd = FileVersion(byteCount: 1, modifiedSecond: second, modifiedNanosecond: 0, now: written)
      #expect(odd.hasTag && tag(odd).utf8.count <= FileVersion.largestTagByteCount)
    }
  }

  @Test("If-Range believes a date only when its second is over") func strongDates() {
    let fields = "If-Range: \(date(modified))\r\nRange: bytes=2-3\r\n"
    #expect(answer(fields) == .part(2..<4))
    #expect(answer(fields, of: version(now: (modified + 1) * 1_000_000_000)) == .part(2..<4))
    #expect(answer(fields, of: version(now: modified * 1_000_000_000 + 999_999_999)) == .whole)
    #expect(answer("If-Range: \(date(modified + 1))\r\nRange: bytes=2-3\r\n") == .whole)
  }

  @Test("Last-Modified never lies after the present") func futureDates() {
    let present = modified - 1_000
    let version = version(now: present * 1_000_000_000)
    let head = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: FileHead.byteCapacity) { memory in
      String(decoding: FileHead.write(.whole, version, "text/css", to: memory.baseAddress!), as: UTF8.self)
    }
    #expect(head.contains("Last-Modified: \(date(present))\r\n"))
    // What was told then is no answer to what the file is later.
    #expect(answer("If-Modified-Since: \(date(present - 1))\r\n", of: version) == .whole)
    #expect(answer("If-Range: \(date(present))\r\nRange: bytes=2-3\r\n", of: version) == .whole)
    #expect(answer("If-Modified-Since: \(date(present))\r\n") == .whole)
  }

  @Test("ranges only of GET, and of an empty file none") func ranges() {
    #expect(answer("Range: bytes=2-3\r\n") == .part(2..<4))
    #expect(answer("Range: bytes=2-3\r\n", method: "HEAD") == .whole)
    #expect(answer("Range: bytes=0-\r\n", size: 0) == .unsatisfiable)
    #expect(answer("Range: bytes=-1\r\n", size: 0) == .unsatisfiable)
    #expect(answer("Range: bytes=1-9223372036854775807\r\n") == .part(1..<10))
    #expect(answer("Range: bytes=0-99999999999999999999999\r\n") == .part(0..<10))
    #expect(answer("Range: bytes= 0-1\r\n") == .whole)
    #expect(answer("Range: BYTES=0-1\r\n") == .part(0..<2))
  }
}
