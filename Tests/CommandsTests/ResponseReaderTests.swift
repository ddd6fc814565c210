// Answers of the local API as bytes: right ones in any pieces, and hostile ones, which must be errors and nothing worse.

import Commands
import Primitives
import Testing

@Suite("Answers of the agent") struct ResponseReaderTests {
  /// Feeds `text` in pieces of `size` bytes; the peer closes afterwards.
  static func read(_ text: String, pieces size: Int = 1_000_000) throws -> (status: Int, body: String) {
    var reader = ResponseReader()
    let bytes = Array(text.utf8)
    var offset = 0
    while offset < bytes.count {
      let end = min(bytes.count, offset + size)
      if try reader.receive(Array(bytes[offset..<end])) { break }
      offset = end
    }
    let answer = try reader.finish()
    return (answer.status, String(decoding: answer.body, as: UTF8.self))
  }

  @Test(
    "right answers, in any pieces",
    arguments: [
      ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
      ("HTTP/1.1 200 OK\r\ncontent-length:5  \r\n\r\nhello and more", 200, "hello"),
      ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
      ("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, ""),
      ("HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, "until the end"),
      (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n", 200,
        "hello world"
      ),
      (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", 200,
        "0123456789"
      ),
      ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
    ], [1, 2, 3, 7, 1_000_000])
  func rightAnswers(_ answer: (String, Int, String), _ size: Int) throws {
    let found = try Self.read(answer.0, pieces: size)
    #expect(found.status == answer.1)
    #expect(found.body == answer.2)
  }

  @Test(
    "wrong answers are errors",
    arguments: [
      "", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "HTTP/2 200\r\n\r\n",
      "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/1.1 999 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
      "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
      "HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\nx",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
    ], [1, 1_000_000]) func wrongAnswers(_ text: String, _ size: Int)
  {
    #expect(throws: (any Error).self) { try Self.read(text, pieces: size) }
  }

  @Test("endless heads and lines are cut off") func endlessHeads() {
    let line = "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 70_000)
    #expect(throws: (any Error).self) { try Self.read(line, pieces: 4096) }
    let fields = "HTTP/1.1 200 OK\r\n" + String(repeating: "X: y\r\n", count: 20_000)
    #expect(throws: (any Error).self) { try Self.read(fields, pieces: 4096) }
  }

  @Test("random damage never crashes") func randomDamage() {
    let answer = Array(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n".utf8)
    var random = SeededRandom(seed: 11)
    for _ in 0..<5_000 {
      var bytes = answer
      for _ in 0...(random.next() % 4) {
        let index = Int(random.next() % UInt64(bytes.count))
        switch random.next() % 3 {
        case 0: bytes[index] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes.remove(at: index)
        default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: index)
        }
      }
      var reader = ResponseReader()
      if (try? reader.receive(bytes)) != nil { _ = try? reader.finish() }
    }
  }
}
