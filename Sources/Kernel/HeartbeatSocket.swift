// Heartbeats on the wire: one UDP socket for one interface, both for the cluster's group and for what is addressed to this
// node, and a batch that receives without allocating. The kernel stamps each datagram when it arrives, so a late wake-up
// does not make a peer look late.

internal import CLinux
internal import Glibc
package import Primitives

/// A non-blocking socket of one interface. Multicasts have a hop limit of 1, and own ones are not heard.
package struct HeartbeatSocket: ~Copyable, Sendable {
  package let descriptor: FileDescriptor
  private let group: SocketAddress

  /// - Parameters:
  ///   - group: a multicast address of either family, and the port of all heartbeats.
  ///   - receives: false for who only speaks: nothing piles up in such a socket.
  ///   - groupOnlyOn: receive what is sent to the group through the interface of this index and nothing else: such a socket
  ///     may stand beside the one of a running elector, to which everything else goes on to arrive.
  ///   - loopback: hear other sockets of this host too (for tests on one host).
  package init(
    group: Endpoint, receives: Bool = true, groupOnlyOn interface: UInt32? = nil,
    receiveBufferByteCount: Int32 = 1 << 20,
    loopback: Bool = false
  ) throws(SystemError) {
    guard group.address.isMulticast else { throw SystemError("listen to the group \(group)", code: EINVAL) }
    var address = SocketAddress(group)
    // A group of the link alone means nothing without the link.
    if let interface, !address.isV4 { address.storage.sin6_scope_id = interface }
    var step: UnsafePointer<CChar>?
    let kind =
      !receives ? AFLOAT_RECEIVES_NOTHING : interface != nil ? AFLOAT_RECEIVES_GROUP_ONLY : AFLOAT_RECEIVES_ALL
    let raw = afloat_heartbeat_open(
      &address.storage, receiveBufferByteCount, Int32(kind.rawValue), loopback ? 1 : 0, &step)
    guard raw >= 0 else { throw .last("\(step.map { String(cString: $0) } ?? "listen") (\(group))") }
    descriptor = FileDescriptor(owning: raw)
    self.group = address
  }

  /// Ties the socket to an interface, again if need be: from now on it sends and receives there only, multicasts from
  /// `source` (which IPv6 chooses itself). `joins`: joins the group as well.
  /// Takes the kernel's rtnl lock: may block for as long as other programs change the network. Safe beside `send` and
  /// `receive` on another thread.
  package borrowing func join(interface index: UInt32, source: IPAddress, joins: Bool = true) throws(SystemError) {
    var from = SocketAddress(Endpoint(address: source, port: 0))
    guard from.isV4 == group.isV4 else { throw SystemError("send to the group as \(source)", code: EAFNOSUPPORT) }
    var to = group
    let raw = descriptor.raw
    let what = joins ? "join the group \(group.address) on" : "send through"
    try checkedCall("\(what) interface \(index) as \(source)") {
      joins
        ? afloat_heartbeat_join(raw, &to.storage, index, &from.storage)
        : afloat_heartbeat_join(raw, nil, index, &from.storage)
    }
  }

  /// Sends one datagram to the group; 0, or the errno of the refusal. Never blocks, allocates nothing.
  package borrowing func send(_ bytes: UnsafeRawBufferPointer) -> Int32 {
    var to = group
    return afloat_heartbeat_send(descriptor.raw, bytes.baseAddress, bytes.count, &to.storage, nil)
  }

  /// The same to one address, from one of this host's.
  package borrowing func send(
    _ bytes: UnsafeRawBufferPointer, to address: SocketAddress, from source: SocketAddress
  ) -> Int32 {
    var (to, from) = (address, source)
    return afloat_heartbeat_send(descriptor.raw, bytes.baseAddress, bytes.count, &to.storage, &from.storage)
  }
}

/// One datagram of a batch; valid until the batch receives again.
package struct ReceivedDatagram {
  package let bytes: UnsafeRawBufferPointer
  /// Sent to a group, not to an address of this host.
  package let isMulticast: Bool
  /// When the kernel got it, CLOCK_REALTIME in nanoseconds; nil if it did not say.
  package let stampUnixNanoseconds: Int64?
}

/// Room for a batch of datagrams, allocated once.
package struct DatagramBatch: ~Copyable {
  /// A batch this full may have left some behind.
  package static let capacity = Int(AFLOAT_BATCH_COUNT)
  private let batch: OpaquePointer

  package init() {
    guard let batch = afloat_batch_create() else { preconditionFailure("no memory for a batch of datagrams") }
    self.batch = batch
  }

  deinit { afloat_batch_destroy(batch) }

  /// Takes what waits, at most `capacity`; 0 when nothing is left (or the socket has an error, which clears it).
  package mutating func receive(from socket: borrowing HeartbeatSocket) -> Int {
    max(0, Int(afloat_batch_receive(batch, socket.descriptor.raw)))
  }

  /// Longer datagrams than the room of 1,536 bytes come cut; ours are at most 1,200 bytes.
  package subscript(index: Int) -> ReceivedDatagram {
    precondition((0..<Self.capacity).contains(index))
    let datagram = afloat_batch_datagram(batch, Int32(index))
    return ReceivedDatagram(
      bytes: UnsafeRawBufferPointer(start: datagram.bytes, count: Int(datagram.count)),
      isMulticast: datagram.multicast != 0, stampUnixNanoseconds: datagram.stamp == 0 ? nil : datagram.stamp)
  }
}

/// Turns the kernel's wall-clock stamps into instants of the monotonic clock. Wall clocks jump, so a stamp only ever counts
/// as an age, and never as more than the time since the socket was last known to be empty.
package struct ReceiveTimes: Sendable {
  private var emptyAt: Instant

  package init(now: Instant) { emptyAt = now }

  /// When a datagram arrived.
  /// - Parameters:
  ///   - stamp: the kernel's stamp, CLOCK_REALTIME.
  ///   - unixNow, now: both clocks, read together after the datagram was taken.
  package func instant(stamp: Int64?, unixNow: Int64, now: Instant) -> Instant {
    guard let stamp else { return now }
    let most = max(0, now.nanoseconds - emptyAt.nanoseconds)
    let (age, overflow) = unixNow.subtractingReportingOverflow(stamp)
    return Instant(nanoseconds: now.nanoseconds - min(max(0, overflow ? 0 : age), most))
  }

  /// The socket was found empty by a call that began at `now` or later.
  package mutating func drained(at now: Instant) { emptyAt = now }
}
