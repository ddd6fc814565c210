// The deadlines of the kernel gate, as the elector that moves them and the guardian that shuts them see them: an array of
// 8-byte words in the memory of an eBPF map. A store takes effect with the next packet; no call into the kernel is needed.

internal import Glibc
package import Primitives
internal import Synchronization

package final class GateDeadlines: @unchecked Sendable {
  // Unchecked: the mapping is only ever accessed through atomics, and lives as long as this object.
  private let descriptor: FileDescriptor
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  /// One page. The room Gate makes the array as large.
  package static let slotCount = 512

  /// Maps an array that `KernelGate` made. Whoever holds its descriptor may; no privilege is needed.
  package init(mapping file: consuming FileDescriptor) throws(SystemError) {
    let address = mmap(nil, Self.slotCount * 8, PROT_READ | PROT_WRITE, MAP_SHARED, file.raw, 0)
    guard let address, address != MAP_FAILED else { throw .last("map the deadlines of the kernel gate") }
    descriptor = file
    // Atomic<UInt64> has the layout of the integer.
    words = address.bindMemory(to: Atomic<UInt64>.self, capacity: Self.slotCount)
  }

  deinit { munmap(words, Self.slotCount * 8) }

  /// For a child that is to map it as well.
  package var rawDescriptor: Int32 { descriptor.raw }

  /// From now until `deadline`, on `Clock.boot`, this node may answer for the slot's addresses. One that has passed opens
  /// nothing.
  package func open(_ slot: Int, until deadline: Instant) {
    precondition((0..<Self.slotCount).contains(slot))
    words[slot].store(UInt64(max(0, deadline.nanoseconds)), ordering: .releasing)
  }

  package func shut(_ slot: Int) { open(slot, until: Instant(nanoseconds: 0)) }

  package func shutAll() { for slot in 0..<Self.slotCount { shut(slot) } }

  package func deadline(of slot: Int) -> Instant {
    precondition((0..<Self.slotCount).contains(slot))
    return Instant(nanoseconds: Int64(clamping: words[slot].load(ordering: .acquiring)))
  }
}
