// Shared by the fuzz targets.

import HTTP1

/// The bytes in memory of their own with exactly the slack that the parsers may read, so that one byte more is noticed.
func exactCopy(_ bytes: UnsafePointer<UInt8>, _ count: Int, filler: UInt8) -> UnsafeMutablePointer<UInt8> {
  let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: count + scanSlack)
  copy.initialize(repeating: filler, count: count + scanSlack)
  if count > 0 { copy.update(from: bytes, count: count) }
  return copy
}

func require(_ condition: Bool, _ message: StaticString) {
  if !condition { fatalError("\(message)") }
}
