// What Connection may cost: a client can name the same thing thousands of times in one head.

import Testing

@testable import HTTP1

@Suite struct ConnectionTests {
  @Test(arguments: ["te", "close", "Keep-Alive", "upgrade", "cache-control"])
  func `options that are repeated thousands of times cost no walk of the head`(option: String) {
    let isCounted = option == "cache-control"
    let options = String(repeating: option + ",", count: isCounted ? 31 : 1_000)
    let bytes = "GET / HTTP/1.1\nHost: a\nConnection: \(options)x\nX: 1\nTE: gzip\nY: 2\n\n".wire
    let parsed = parseRequest(bytes)
    #expect(parsed.result == .complete)
    let written = String(decoding: parsed.written, as: UTF8.self)
    #expect(written.contains("\r\nY: 2\r\n") && !written.contains("\r\nX: 1\r\n") && !written.contains("gzip"))

    let scratch = HeadScratch(fieldCount: 100)
    defer { scratch.deallocate() }
    withPadded(bytes) { pointer, count in
      var cuts = CutList(scratch: scratch)
      let walks = cuts.cutNominated(pointer, fieldsStart: 16, end: Int32(count))
      #expect(walks == 1)
      #expect(cuts.count == 1)
    }
  }
}
