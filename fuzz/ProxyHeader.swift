// Fuzzes PROXY headers: nothing behind what has arrived is looked at, a verdict stays when more bytes come, and a complete
// header is no longer than what came.

import HTTP1
import Primitives
import ProxyProtocol

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzProxyHeader(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, size))
  defer { bytes.deallocate() }
  if size > 0 { bytes.update(from: data, count: size) }
  let result = ProxyHeader.parse(bytes, count: size)
  let early = ProxyHeader.parse(bytes, count: size / 2)
  require(early == .incomplete || early == result, "a verdict was taken back")
  switch result {
  case .complete(let header):
    require(header.byteCount <= size && header.byteCount <= ProxyHeader.maximumByteCount, "longer than what came")
    require((header.source == nil) == (header.destination == nil), "half of the addresses")
    require(ProxyHeader.parse(bytes, count: header.byteCount) == result, "bytes behind the header count")
  case .incomplete: require(size < ProxyHeader.maximumByteCount, "a header without an end")
  case .fault: break
  }
  return 0
}
