// Files that the data plane sends to clients: opened below a folder, read without waiting for the disk. Raw descriptors, as
// in `StreamSocket`: the slab of connections owns them.

internal import CLinux
internal import Glibc

package enum ServedFile {
  package enum Kind: Sendable {
    /// `modifiedNanosecond`: of the second.
    case file(byteCount: Int64, modifiedSecond: Int64, modifiedNanosecond: Int64)
    case folder
    /// A device, a pipe, or not to be asked.
    case other
  }

  /// A descriptor, or a negative error number. Both texts end with a zero; `path` is relative and cannot lead out of `root`.
  package static func open(_ root: UnsafePointer<UInt8>, _ path: UnsafePointer<UInt8>) -> Int32 {
    root.withMemoryRebound(to: CChar.self, capacity: 1) { root in
      path.withMemoryRebound(to: CChar.self, capacity: 1) { path in afloat_open_beneath(root, path) }
    }
  }

  /// Whether a result of `open` says that it may not be read.
  package static func isForbidden(_ result: Int32) -> Bool { result == -EACCES || result == -EPERM }

  package static func kind(_ raw: Int32) -> Kind {
    var byteCount: Int64 = 0
    var (second, nanosecond): (Int64, Int64) = (0, 0)
    switch afloat_file_version(raw, &byteCount, &second, &nanosecond) {
    case 0: return .file(byteCount: byteCount, modifiedSecond: second, modifiedNanosecond: nanosecond)
    case 1: return .folder
    default: return .other
    }
  }

  /// Bytes read that were in memory, 0 at the end, or a negative error number.
  package static func readCached(
    _ raw: Int32, _ bytes: UnsafeMutablePointer<UInt8>, _ room: Int, at offset: Int64
  ) -> Int {
    afloat_read_cached(raw, bytes, room, offset)
  }

  /// Whether the byte at `offset` would have to be waited for. False where the kernel cannot tell.
  package static func isOnDisk(_ raw: Int32, at offset: Int64) -> Bool {
    var byte: UInt8 = 0
    return afloat_read_cached(raw, &byte, 1, offset) == StreamSocket.wouldBlock
  }

  package static func readAhead(_ raw: Int32, at offset: Int64, _ count: Int) {
    afloat_read_ahead(raw, offset, Int64(count))
  }

  /// Bytes taken by the socket, 0 at the end of the file, or a negative error number.
  package static func send(_ raw: Int32, at offset: Int64, _ count: Int, to socket: Int32) -> Int {
    afloat_send_file(socket, raw, offset, count)
  }
}
