// What we tell servers about the client, made once per connection and then copied: the head of every request gets the
// same lines but for the host.

package import Primitives

/// The text lives in memory of the caller's; this value only knows its parts, in this order:
///
///     X-Forwarded-For: 192.0.2.1\r\n
///     X-Forwarded-Proto: http\r\n
///     X-Forwarded-Host: \x20
///     Forwarded: for=192.0.2.1;proto=http;host="
package struct ForwardingText: Sendable {
  /// Enough for every address.
  package static let byteCapacity = 192

  nonisolated(unsafe) let bytes: UnsafePointer<UInt8>
  let forCount: UInt8
  let protoCount: UInt8
  let hostCount: UInt8
  let forwardedCount: UInt8

  /// Writes the text to `storage`, which has `byteCapacity` bytes and outlives this value. No allocation for IPv4.
  package init(address: IPAddress, isSecure: Bool, storage: UnsafeMutablePointer<UInt8>) {
    var output = Output(storage)
    output.append("X-Forwarded-For: ")
    Self.append(address, to: &output)
    output.append("\r\n")
    let first = output.count
    output.append("X-Forwarded-Proto: ")
    output.append(isSecure ? "https\r\n" : "http\r\n")
    let second = output.count
    output.append("X-Forwarded-Host: ")
    let third = output.count
    output.append("Forwarded: for=")
    if address.family == .v6 { output.append("\"[") }
    Self.append(address, to: &output)
    if address.family == .v6 { output.append("]\"") }
    output.append(isSecure ? ";proto=https;host=\"" : ";proto=http;host=\"")
    precondition(output.count <= Self.byteCapacity)
    bytes = UnsafePointer(storage)
    forCount = UInt8(first)
    protoCount = UInt8(second - first)
    hostCount = UInt8(third - second)
    forwardedCount = UInt8(output.count - third)
  }

  private static func append(_ address: IPAddress, to output: inout Output) {
    guard let value = address.v4Value else {
      for byte in address.description.utf8 { output.append(byte) }
      return
    }
    var shift: UInt32 = 24
    while true {
      output.append(decimal: UInt64((value &>> shift) & 255))
      if shift == 0 { return }
      output.append(46)
      shift -= 8
    }
  }

  var forEnd: Int { Int(forCount) }
  var protoEnd: Int { forEnd + Int(protoCount) }
  var hostEnd: Int { protoEnd + Int(hostCount) }
  var end: Int { hostEnd + Int(forwardedCount) }
}
