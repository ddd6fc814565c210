// The socketpair between agent and child: one message per packet (SOCK_SEQPACKET), descriptors alongside. What does not fit
// a packet goes through a memory file whose descriptor is sent in its place.

internal import CLinux
internal import Glibc

/// One end of the channel between two of our processes.
package struct ControlSocket: ~Copyable, Sendable {
  /// Messages up to this length go inline, longer ones through a memory file. Well under the default socket buffer.
  package static let maximumInlineByteCount = 48 * 1024
  /// Longer messages are refused.
  package static let maximumByteCount = 64 * 1024 * 1024

  package let descriptor: FileDescriptor

  package init(owning descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

  /// Both ends, close-on-exec; blocking unless `setNonBlocking` is called.
  package static func pair() throws(SystemError) -> ControlSocketPair {
    var raws: (Int32, Int32) = (-1, -1)
    try withUnsafeMutablePointer(to: &raws) { (pointer) throws(SystemError) in
      try pointer.withMemoryRebound(to: Int32.self, capacity: 2) { (pair) throws(SystemError) in
        _ = try checkedCall("create a socket pair") {
          socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0, pair)
        }
      }
    }
    return ControlSocketPair(
      parent: ControlSocket(owning: FileDescriptor(owning: raws.0)),
      child: ControlSocket(owning: FileDescriptor(owning: raws.1)))
  }

  package borrowing func setNonBlocking() throws(SystemError) {
    let raw = descriptor.raw
    try checkedCall("make the control socket non-blocking") { fcntl(raw, F_SETFL, fcntl(raw, F_GETFL) | O_NONBLOCK) }
  }

  /// Sends one message, with descriptors (still owned by the caller; at most 199).
  /// False if the socket is non-blocking and its buffer full: nothing was sent.
  package borrowing func send(_ bytes: [UInt8], descriptors: [Int32] = []) throws(SystemError) -> Bool {
    guard bytes.count <= Self.maximumByteCount else {
      throw SystemError("send a message of \(bytes.count) bytes", code: EMSGSIZE)
    }
    // First byte: 0 inline, 1 in the memory file that is the first descriptor.
    if bytes.count <= Self.maximumInlineByteCount { return try sendPacket([0] + bytes, descriptors) }
    let file = FileDescriptor(
      owning: try checkedCall("create a memory file") { afloat_memfd_create("afloat-message", 1) })
    var written = 0
    while written < bytes.count {
      written += try checkedCall("write a memory file") {
        bytes.withUnsafeBytes { write(file.raw, $0.baseAddress! + written, $0.count - written) }
      }
    }
    return try sendPacket([1], [file.raw] + descriptors)
  }

  private borrowing func sendPacket(_ packet: [UInt8], _ descriptors: [Int32]) throws(SystemError) -> Bool {
    let raw = descriptor.raw
    return try retryingCall("send to the other process") {
      packet.withUnsafeBytes {
        afloat_send_packet(raw, $0.baseAddress, $0.count, descriptors, Int32(descriptors.count), 0)
      }
    } != nil
  }

  /// One message and the descriptors that came with it. Throws ECONNRESET when the other process is gone;
  /// nil if the socket is non-blocking and nothing is there.
  package borrowing func receive() throws(SystemError) -> ControlPacket? {
    let raw = descriptor.raw
    let room = Self.maximumInlineByteCount + 1
    var raws = [Int32](repeating: -1, count: Int(AFLOAT_MAXIMUM_DESCRIPTORS))
    var descriptorCount = AFLOAT_MAXIMUM_DESCRIPTORS
    var failure: SystemError?
    var ended = false
    var blocked = false
    let packet = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
      do throws(SystemError) {
        descriptorCount = AFLOAT_MAXIMUM_DESCRIPTORS
        guard
          let length = try retryingCall(
            "receive from the other process",
            { afloat_receive_packet(raw, buffer.baseAddress, room, &raws, &descriptorCount, 0) })
        else { blocked = true; return }
        ended = length == 0
        count = length
      } catch { failure = error }
    }
    if let failure { throw failure }
    if blocked { return nil }
    if ended { throw SystemError("receive from the other process", code: ECONNRESET) }
    var descriptors = FileDescriptorList(owning: Array(raws.prefix(Int(descriptorCount))))
    if packet[0] == 0 { return ControlPacket(bytes: Array(packet.dropFirst()), descriptors: descriptors) }
    guard let file = descriptors.takeFirst() else {
      throw SystemError("receive a message without its memory file", code: EBADMSG)
    }
    return ControlPacket(bytes: try Self.contents(of: file), descriptors: descriptors)
  }

  private static func contents(of file: borrowing FileDescriptor) throws(SystemError) -> [UInt8] {
    let raw = file.raw
    let size = Int(try checkedCall("measure a memory file") { lseek(raw, 0, SEEK_END) })
    guard size <= maximumByteCount else { throw SystemError("receive a message of \(size) bytes", code: EMSGSIZE) }
    var failure: SystemError?
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      while count < size {
        let offset = count
        do throws(SystemError) {
          let got = try checkedCall("read a memory file") {
            pread(raw, buffer.baseAddress! + offset, size - offset, off_t(offset))
          }
          if got == 0 { break }
          count += got
        } catch {
          failure = error
          return
        }
      }
    }
    if let failure { throw failure }
    return bytes
  }
}

extension SystemError {
  /// From `ControlSocket.receive`: one message could not be had, and the next may.
  package var isOfOneMessage: Bool { [EMSGSIZE, EBADMSG, ENOMEM, EMFILE, ENFILE].contains(code) }
}

package struct ControlSocketPair: ~Copyable {
  package var parent: ControlSocket
  package var child: ControlSocket

  /// Hands out one end and closes the other.
  package consuming func takeParent() -> ControlSocket { parent }
  package consuming func takeChild() -> ControlSocket { child }
}

package struct ControlPacket: ~Copyable {
  package let bytes: [UInt8]
  package var descriptors: FileDescriptorList
}
