// What the tests of routes share: heads out of text, and conditions in memory that stays.

import HTTP1
import Patterns
import Primitives
import Routing

/// A parsed head with its buffer; stays for good.
struct Parsed {
  let bytes: UnsafePointer<UInt8>
  let head: RequestHead
  let scratch = HeadScratch()
  let area: UnsafeMutablePointer<UInt8>

  init?(_ text: String, options: RequestOptions = []) {
    let raw = Array(text.utf8)
    let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: raw.count + scanSlack)
    memory.initialize(repeating: 65, count: raw.count + scanSlack)
    memory.update(from: raw, count: raw.count)
    var head = RequestHead()
    let result = head.parse(memory, count: raw.count, limits: HeadLimits(), options: options, scratch: scratch)
    guard result == .complete else { return nil }
    bytes = UnsafePointer(memory)
    self.head = head
    area = .allocate(capacity: raw.count * 4 + 4096)
  }

  init?(target: String, host: String = "www.example.org", method: String = "GET", fields: String = "") {
    self.init("\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n\(fields)\r\n")
  }

  var path: TargetPath? { TargetPath.read(head, of: bytes, area: area) }
  var host: TargetHost { TargetHost(head, of: bytes) }

  func text(_ range: ByteRange) -> String {
    String(decoding: UnsafeBufferPointer(start: bytes + range.offset, count: range.count), as: UTF8.self)
  }
}

func kept<Value>(_ values: [Value]) -> UnsafeBufferPointer<Value> {
  let memory = UnsafeMutableBufferPointer<Value>.allocate(capacity: values.count)
  _ = memory.initialize(from: values)
  return UnsafeBufferPointer(memory)
}

func kept(_ text: String) -> Text { kept(Array(text.utf8)) }
func kept(texts: [String]) -> UnsafeBufferPointer<Text> { kept(texts.map { kept($0) }) }

extension String {
  init(_ text: Text) { self.init(decoding: text, as: UTF8.self) }
}
