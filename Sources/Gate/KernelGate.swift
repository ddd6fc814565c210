// The kernel gate as an owned value: the eBPF program that lets this node answer for a VIP's addresses only until a deadline.
// The agent has the power to load and attach it; the elector gets the descriptor of the deadlines and nothing else. What it
// lets through is said in CGate/kernel/gate.bpf.c.

internal import CGate
internal import Glibc
package import Kernel
package import Primitives

/// Why there is no gate, with the remedy.
package struct GateFault: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String
  package let code: Int32

  init(_ operation: String, code: Int32) {
    self.code = code
    let cause = SystemError(operation, code: code).description
    let remedy =
      switch code {
      case EPERM, EACCES: " (needs CAP_BPF and CAP_NET_ADMIN in the machine's own user namespace)"
      case ENOSYS: " (this kernel, or the container's filter of system calls, has no eBPF)"
      case EINVAL, EOPNOTSUPP, ENOENT: " (needs Linux 5.10 or later with CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS)"
      case EBUSY: " (another program has an ingress qdisc there, or the first priority of clsact)"
      default: ""
      }
    description = cause + remedy
  }
}

/// One thread at a time. When it goes, what is attached stays attached: the filters keep program and deadlines alive.
package struct KernelGate: ~Copyable, @unchecked Sendable {
  // Unchecked: a value of one owner, which may move to another thread.
  private let gate: OpaquePointer

  package static let addressLimit = Int(AFLOAT_GATE_ADDRESSES)

  /// Loads the program; every slot is shut, no address is guarded.
  package init() throws(GateFault) {
    precondition(
      GateDeadlines.slotCount == Int(AFLOAT_GATE_SLOTS) && GateDeadlines.wordCount == Int(AFLOAT_GATE_WORDS),
      "the array is mapped as it is made")
    var loaded: OpaquePointer?
    let object = Self.object
    let code = afloat_gate_load(object, object.count, &loaded)
    guard code == 0, let loaded else { throw GateFault("load the kernel gate", code: -code) }
    gate = loaded
  }

  deinit { afloat_gate_close(gate) }

  /// The compiled program. `gateObject` is made by the plugin CompileGate.
  private static var object: [UInt8] {
    let digits = UnsafeBufferPointer(start: gateObject.utf8Start, count: gateObject.utf8CodeUnitCount)
    func value(_ digit: UInt8) -> UInt8 { digit < 0x60 ? digit - 0x30 : digit - 0x57 }
    return (0..<digits.count / 2).map { value(digits[2 * $0]) << 4 | value(digits[2 * $0 + 1]) }
  }

  /// A descriptor of the deadlines, for `GateDeadlines` here or in another process.
  package borrowing func deadlines() throws(SystemError) -> FileDescriptor {
    let raw = afloat_gate_words(gate)
    return FileDescriptor(owning: try checkedCall("duplicate a descriptor") { fcntl(raw, F_DUPFD_CLOEXEC, 10) })
  }

  /// Answers for `address` go through only while `slot` is open.
  package borrowing func guardAddress(_ address: IPAddress, by slot: Int) throws(GateFault) {
    precondition((0..<GateDeadlines.slotCount).contains(slot))
    let code = afloat_gate_guard(gate, address.mappedBytes, UInt32(slot))
    guard code == 0 else { throw GateFault("guard \(address)", code: -code) }
  }

  package borrowing func release(_ address: IPAddress) throws(GateFault) {
    let code = afloat_gate_release(gate, address.mappedBytes)
    guard code == 0 else { throw GateFault("no longer guard \(address)", code: -code) }
  }

  package enum Direction: Sendable { case input, output }

  /// What the kernel would do with an Ethernet frame: runs the program on it, sends it nowhere.
  package borrowing func lets(_ frame: [UInt8], _ direction: Direction) throws(GateFault) -> Bool {
    try outcome(of: frame, direction) != nil
  }

  /// The same: the frame as it would go on, nil if it would be dropped.
  package borrowing func outcome(of frame: [UInt8], _ direction: Direction) throws(GateFault) -> [UInt8]? {
    var result = [UInt8](repeating: 0, count: frame.count)
    let code = afloat_gate_try(gate, direction == .output ? 1 : 0, frame, UInt32(frame.count), &result)
    guard code >= 0 else { throw GateFault("try a frame on the kernel gate", code: -code) }
    return code == 1 ? result : nil
  }

  /// Attaches both directions to `link` in this network namespace, in the place of an earlier agent's gate if there is one,
  /// beside other programs' filters. Takes the kernel's rtnl lock: may block.
  package borrowing func attach(to link: NetworkLink) throws(GateFault) {
    let code = afloat_gate_attach(gate, link.index)
    guard code == 0 else { throw GateFault("attach the kernel gate to \(link.name)", code: -code) }
  }

  /// Whether this gate, and not another agent's, is attached to the link in both directions.
  package borrowing func isAttached(to link: NetworkLink) -> Bool { afloat_gate_is_attached(gate, link.index) == 1 }

  /// Removes the filters of this or an earlier agent's gate. False if there were none. The qdisc stays: others may use it.
  @discardableResult
  package static func detach(from link: NetworkLink) -> Bool { afloat_gate_detach(link.index) > 0 }
}

extension IPAddress {
  /// Sixteen bytes; an IPv4 address in its mapped form.
  fileprivate var mappedBytes: [UInt8] {
    family == .v6 ? bytes : [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] + bytes
  }
}
