// The datagrams that are on their way, wait in a frozen host's socket, or were kept by an attacker. One that goes to many
// receivers is there once, and its slot is used again after the last of them; nothing is allocated per datagram.

import Wire

struct DatagramPool: ~Copyable {
  typealias Slot = UInt16
  /// More than all sockets of frozen hosts, the attacker's recordings and what is on its way can be; a simulation that
  /// exceeds it is at fault itself.
  static let capacity = 16_384

  private let bytes: UnsafeMutableRawPointer
  private var lengths = [UInt16](repeating: 0, count: capacity)
  private var uses = [UInt16](repeating: 0, count: capacity)
  private var free: [Slot] = []
  private var next = 0

  init() { bytes = .allocate(byteCount: Self.capacity * DatagramLayout.maximumByteCount, alignment: 16) }
  deinit { bytes.deallocate() }

  /// A slot with one use, the caller's. Its bytes are undefined until they are written, and stay where they are until the last use ends.
  mutating func take() -> (slot: Slot, room: UnsafeMutableRawBufferPointer) {
    let slot: Slot
    if let used = free.popLast() {
      slot = used
    } else {
      precondition(next < Self.capacity, "more datagrams at once than the simulation may have")
      slot = Slot(next)
      next += 1
    }
    uses[Int(slot)] = 1
    return (slot, buffer(slot, DatagramLayout.maximumByteCount))
  }

  mutating func setLength(_ length: Int, of slot: Slot) { lengths[Int(slot)] = UInt16(length) }
  mutating func use(_ slot: Slot) { uses[Int(slot)] += 1 }

  mutating func drop(_ slot: Slot) {
    uses[Int(slot)] -= 1
    if uses[Int(slot)] == 0 { free.append(slot) }
  }

  subscript(slot: Slot) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(buffer(slot, Int(lengths[Int(slot)]))) }

  private func buffer(_ slot: Slot, _ length: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: bytes + Int(slot) * DatagramLayout.maximumByteCount, count: length)
  }
}
