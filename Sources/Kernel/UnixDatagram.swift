// One datagram to a Unix socket that is named by a path (or by "@name" in the abstract name space), as systemd listens on.

internal import CLinux

package enum UnixDatagram {
  /// Sends without waiting. False if nobody took it.
  @discardableResult
  package static func send(_ bytes: [UInt8], toPath path: String) -> Bool {
    bytes.withUnsafeBytes { afloat_send_to_path(path, $0.baseAddress, $0.count) } >= 0
  }
}
