// Lines of the access log: golden ones in each format, and that nothing a client sends breaks out of its place.

import Control
import Foundation
import Primitives
import Testing

@testable import Balancer

/// Texts with memory of their own, for as long as the test runs.
private func text(_ bytes: [UInt8]) -> Text {
  let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, bytes.count))
  _ = memory.initialize(from: bytes)
  return Text(start: memory.baseAddress, count: bytes.count)
}

private func text(_ string: String) -> Text { text(Array(string.utf8)) }

struct LogLineTests {
  private func makeRecord() -> LogRecord {
    var record = LogRecord()
    record.ending = .complete
    record.status = 200
    record.isServerStatus = true
    record.port = 51_234
    record.address = IPAddress("198.51.100.7")!
    // 2026-11-26T08:12:14.655321Z, given as time of the monotonic clock with an offset of 0.
    record.began = 1_795_680_734_655_321_987
    record.head = 0
    record.queue = 1_250
    record.connect = 310
    record.firstByte = 12_345
    record.total = 15_000
    record.bytesIn = 321
    record.bytesOut = 4_321
    record.headOut = 321
    record.requestID = 0x0123_4567_89ab_cdef
    record.listener = 0
    return record
  }

  private func makeTexts(
    line: String = "GET /a?b=1 HTTP/1.1", referer: String = "http://example.com/", agent: String = "curl/8"
  ) -> LogTexts {
    var texts = LogTexts()
    texts.listener = text("web")
    texts.route = text("web/0")
    texts.pool = text("app")
    texts.server = text("s1")
    texts.line = text(line)
    texts.host = text("www.example.com")
    texts.referer = text(referer)
    texts.agent = text(agent)
    return texts
  }

  private func written(
    _ format: AccessLogConfiguration.Format, _ record: LogRecord, _ texts: LogTexts, _ loads: LogLoads = LogLoads()
  ) -> String {
    var buffer = LogBuffer(capacity: 16)
    var writer = LogLine(format)
    writer.write(record, texts, loads, to: &buffer)
    return String(decoding: UnsafeBufferPointer(start: buffer.bytes, count: buffer.count), as: UTF8.self)
  }

  /// The hours depend on the machine's time zone.
  private func withoutDate(_ line: String) -> String {
    guard let start = line.firstIndex(of: "["), let end = line.firstIndex(of: "]") else { return line }
    return line.replacingCharacters(in: line.index(after: start)..<end, with: "")
  }

  @Test func `combined`() {
    #expect(
      withoutDate(written(.combined, makeRecord(), makeTexts()))
        == "198.51.100.7 - - [] \"GET /a?b=1 HTTP/1.1\" 200 4000 \"http://example.com/\" \"curl/8\""
        + " id=0123456789abcdef listener=web server=app/s1 times=0.000/1.250/0.310/12.345/15.000 in=321 out=4321"
        + " retries=0 end=\"complete\"\n")
  }

  @Test func `combined dates carry their zone`() {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.dateFormat = "dd/MMM/yyyy:HH:mm:ss Z"
    let date = formatter.string(from: Date(timeIntervalSince1970: 1_795_680_734))
    #expect(written(.combined, makeRecord(), makeTexts()).contains("[\(date)]"))
  }

  @Test func `json`() {
    #expect(
      written(.json, makeRecord(), makeTexts())
        == "{\"time\":\"2026-11-26T08:12:14.655321Z\",\"id\":\"0123456789abcdef\",\"client\":\"198.51.100.7\","
        + "\"port\":51234,\"mode\":\"http\",\"listener\":\"web\",\"route\":\"web/0\",\"pool\":\"app\",\"server\":\"s1\","
        + "\"method\":\"GET\",\"target\":\"/a?b=1\",\"version\":\"HTTP/1.1\",\"host\":\"www.example.com\","
        + "\"referer\":\"http://example.com/\",\"user_agent\":\"curl/8\",\"status\":200,\"bytes_in\":321,\"bytes_out\":4321,"
        + "\"times_ms\":{\"head\":0.000,\"queue\":1.250,\"connect\":0.310,\"first_byte\":12.345,\"total\":15.000},"
        + "\"retries\":0,\"affinity\":null,\"end\":\"complete\"}\n")
  }

  @Test func `the id of a trusted forwarder stands in place of ours`() {
    var texts = makeTexts()
    texts.id = text("7c9e6679-7425-40de-944b-e07fc1f90ae7")
    let id = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    #expect(written(.combined, makeRecord(), texts).contains(" id=\(id) listener=web "))
    #expect(written(.json, makeRecord(), texts).contains(",\"id\":\"\(id)\",\"client\":"))
  }

  @Test func `lines that were lost are told of until none has been for a while`() {
    var losses = LogLosses()
    let start = Instant(nanoseconds: 0)
    #expect(losses.warning(dropped: 0, now: start) == nil)
    #expect(losses.warning(dropped: 3, now: start + .seconds(10))?.hasPrefix("3 lines") == true)
    #expect(losses.warning(dropped: 3, now: start + .seconds(200)) != nil)
    #expect(losses.warning(dropped: 4, now: start + .seconds(250))?.hasPrefix("4 lines") == true)
    #expect(losses.warning(dropped: 4, now: start + .seconds(549)) != nil)
    #expect(losses.warning(dropped: 4, now: start + .seconds(550)) == nil)
    #expect(losses.warning(dropped: 5, now: start + .seconds(551)) != nil)
  }

  @Test func `hap`() {
    var record = makeRecord()
    record.retries = 1
    record.affinity = .kept
    let loads = LogLoads(all: 9, listener: 8, pool: 7, server: 6, serverQueue: 1, poolQueue: 2)
    #expect(
      withoutDate(written(.hap, record, makeTexts(), loads))
        == "198.51.100.7:51234 [] web app/s1 0/1/0/10/15 200 4321 - - --VN 9/8/7/6/1 1/2 \"GET /a?b=1 HTTP/1.1\"\n")
  }

  @Test func `no backslash takes a quote of ours away`() {
    let texts = makeTexts(line: #"GET /\"x\ HTTP/1.1\"#, referer: #"\"#, agent: #"a\"#)
    #expect(written(.hap, makeRecord(), texts).hasSuffix(##" "GET /#5C#22x#5C HTTP/1.1#5C"\##n"##))
    for format in [AccessLogConfiguration.Format.combined, .hap] {
      #expect(!written(format, makeRecord(), texts).contains(#"\""#))
    }
  }

  @Test func `hap of a tunnel`() {
    var record = makeRecord()
    record.isHTTP = false
    record.status = 0
    record.ending = .tunnelIdle
    var texts = makeTexts(line: "")
    texts.route = .empty
    #expect(
      withoutDate(written(.hap, record, texts)) == "198.51.100.7:51234 [] web app/s1 1/0/15 4321 cD 0/0/0/0/0 0/0\n")
  }

  @Test func `what was not reached is said to be so`() {
    var record = LogRecord()
    record.ending = .malformed
    record.status = 400
    record.head = 0
    record.address = IPAddress("2001:db8::7")!
    var texts = LogTexts()
    texts.listener = text("web")
    texts.line = text("nonsense")
    #expect(
      withoutDate(written(.combined, record, texts))
        == "2001:db8::7 - - [] \"nonsense\" 400 0 \"-\" \"-\" id=0000000000000000 listener=web server=-"
        + " times=0.000/-/-/-/0.000 in=0 out=0 retries=0 end=\"malformed request\"\n")
    #expect(
      withoutDate(written(.hap, record, texts))
        == "2001:db8::7:0 [] web web/<NOSRV> 0/-1/-1/-1/0 400 0 - - PR-- 0/0/0/0/0 0/0 \"nonsense\"\n")
    let json = written(.json, record, texts)
    #expect(json.contains("\"server\":null,\"method\":null,\"target\":null,\"version\":null"))
    #expect(json.contains("\"line\":\"nonsense\",\"status\":400"))
    #expect(json.contains("\"queue\":null,\"connect\":null,\"first_byte\":null"))
  }

  @Test(arguments: [AccessLogConfiguration.Format.combined, .json, .hap])
  func `every ending and every byte leave one parsable line`(_ format: AccessLogConfiguration.Format) throws {
    let injected = Array("\" end=\"complete\"\n\\\\\r\n".utf8)
    let hostile: [UInt8] = Array(1...255) + injected + [0xe2, 0x82, 0xac, 0xf0, 0x9f]
    for ending in Ending.allCases {
      var record = makeRecord()
      record.ending = ending
      var texts = makeTexts()
      texts.line = text(Array("GET /".utf8) + hostile + Array(" HTTP/1.1".utf8))
      texts.agent = text(hostile)
      texts.referer = text(hostile)
      let line = written(format, record, texts)
      #expect(line.utf8.filter { $0 == 10 }.count == 1 && line.hasSuffix("\n"))
      #expect(line.utf8.dropLast().allSatisfy { $0 >= 32 && $0 != 127 })
      switch format {
      case .json:
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        #expect(object?["end"] as? String == "\(ending.words)")
        #expect((object?["user_agent"] as? String)?.contains("€") == true)
      case .combined:
        // Quotes come in pairs, and only ours.
        #expect(line.utf8.filter { $0 == 34 }.count == 8)
        #expect(line.hasSuffix(" retries=0 end=\"\(ending.words)\"\n"))
      case .hap:
        #expect(line.utf8.filter { $0 == 34 }.count == 2)
        #expect(line.contains(" \(ending.letters)-- "))
      }
    }
  }

  @Test func `endings have distinct words and names`() {
    #expect(Set(Ending.allCases.map { "\($0.words)" }).count == Ending.allCases.count)
    #expect(Ending.clientStalled.name == "client_stalled")
  }

  @Test func `decimals and hexadecimals`() {
    var buffer = LogBuffer(capacity: 256)
    for value in [0, 9, 10, 999, 1_000, UInt64.max] {
      buffer.append(decimal: value)
      buffer.append(32)
    }
    buffer.append(decimal: Int64.min)
    buffer.append(32)
    buffer.append(milliseconds: 1_234_005)
    buffer.append(32)
    buffer.append(hexadecimal: 0xbeef, digits: 6)
    let all = String(decoding: UnsafeBufferPointer(start: buffer.bytes, count: buffer.count), as: UTF8.self)
    #expect(all == "0 9 10 999 1000 18446744073709551615 -9223372036854775808 1234.005 00beef")
  }
}
