// The deadlines of the kernel gate, as the elector that moves them and the guardian that shuts them see them: an array of
// 8-byte words in the memory of an eBPF map. A store takes effect with the next packet; no call into the kernel is needed.

internal import Glibc
package import Primitives
internal import Synchronization

/// How a host is reached on the link of a VIP. Without an IPv4 address it is asked for by IPv6, whatever the packets are.
package struct LinkAddresses: Hashable, Sendable {
  package var v4: IPAddress?
  package var v6: IPAddress

  package init(v4: IPAddress?, v6: IPAddress) {
    self.v4 = v4
    self.v6 = v6
  }
}

package final class GateDeadlines: @unchecked Sendable {
  // Unchecked: the mapping is only ever accessed through atomics, and lives as long as this object.
  private let descriptor: FileDescriptor
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  /// As CGate/kernel/GateLayout.h lays it out: the words of a kind, slot by slot, then those of the next.
  package static let slotCount = 256
  package static let wordCount = 6 * slotCount
  private enum Kind: Int { case open, keep, pass, address, address6First, address6Last }

  /// Maps an array that `KernelGate` made. Whoever holds its descriptor may; no privilege is needed.
  package init(mapping file: consuming FileDescriptor) throws(SystemError) {
    let address = mmap(nil, Self.wordCount * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file.raw, 0)
    guard let address, address != MAP_FAILED else { throw .last("map the deadlines of the kernel gate") }
    descriptor = file
    // Atomic<UInt64> has the layout of the integer.
    words = address.bindMemory(to: Atomic<UInt64>.self, capacity: Self.wordCount)
  }

  deinit { munmap(words, Self.wordCount * 8) }

  /// For a child that is to map it as well.
  package var rawDescriptor: Int32 { descriptor.raw }

  /// From now until `deadline`, on `Clock.boot`, this node may answer for the slot's addresses. One that has passed opens
  /// nothing.
  package func open(_ slot: Int, until deadline: Instant) { store(deadline, .open, slot) }

  package func shut(_ slot: Int) { open(slot, until: Instant(nanoseconds: 0)) }

  /// Everything, connections included.
  package func shutAll() {
    for slot in 0..<Self.slotCount {
      shut(slot)
      endConnections(slot)
    }
  }

  package func deadline(of slot: Int) -> Instant {
    precondition((0..<Self.slotCount).contains(slot))
    return Instant(nanoseconds: Int64(clamping: words[slot].load(ordering: .acquiring)))
  }

  /// Shuts the slot; the TCP connections that this node has at its addresses go on until `deadline`. To find the way to their
  /// clients it asks in the name of `own`, its addresses on the same link; by ARP in nobody's name if it has none there.
  /// Until `strays` new connections are taken, and segments of others that it does not know dropped; from then on the first are
  /// dropped, and the second reset.
  package func shutKeepingConnections(_ slot: Int, until deadline: Instant, own: LinkAddresses, strays: Instant) {
    stopPassing(slot)
    store(own, slot)
    store(deadline, .keep, slot)
    shut(slot)
    store(strays, .pass, slot)
  }

  package func prolongConnections(_ slot: Int, until deadline: Instant) { store(deadline, .keep, slot) }

  /// Neither are connections kept nor is anything passed on.
  package func endConnections(_ slot: Int) {
    store(Instant(nanoseconds: 0), .keep, slot)
    stopPassing(slot)
  }

  /// While the slot is open, segments of connections that this node does not know go to `previous`, the holder before it, until
  /// `deadline`.
  package func passUnknown(_ slot: Int, to previous: LinkAddresses, until deadline: Instant) {
    endConnections(slot)
    store(previous, slot)
    store(deadline, .pass, slot)
  }

  package func stopPassing(_ slot: Int) { store(Instant(nanoseconds: 0), .pass, slot) }

  private func store(_ addresses: LinkAddresses, _ slot: Int) {
    // The kernel wants them in network order.
    store(UInt64((addresses.v4?.v4Value ?? 0).bigEndian), .address, slot)
    store(addresses.v6.high.bigEndian, .address6First, slot)
    store(addresses.v6.low.bigEndian, .address6Last, slot)
  }

  private func store(_ value: Instant, _ kind: Kind, _ slot: Int) {
    store(UInt64(max(0, value.nanoseconds)), kind, slot)
  }

  private func store(_ value: UInt64, _ kind: Kind, _ slot: Int) {
    precondition((0..<Self.slotCount).contains(slot))
    words[kind.rawValue * Self.slotCount + slot].store(value, ordering: .releasing)
  }
}
