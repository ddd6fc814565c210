// The gate's program on the running kernel: frame by frame, and attached to an interface. Needs root and eBPF; a machine
// without them says so once, in the first test.

import Gate
import Glibc
import Kernel
import Primitives
import Synchronization
import Testing

/// Whether this process may load it at all; any other refusal fails the tests.
let isPermitted: Bool = {
  do throws(GateFault) { _ = try KernelGate() } catch { return error.code != EPERM }
  return true
}()

private let vip = IPAddress("192.0.2.100")!
private let vip6 = IPAddress("2001:db8::100")!
private let node = IPAddress("192.0.2.11")!
private let node6 = IPAddress("2001:db8::11")!
private let client = IPAddress("192.0.2.201")!
private let client6 = IPAddress("2001:db8::201")!
private let zero = IPAddress("0.0.0.0")!
private let solicited = IPAddress("ff02::1:ff00:100")!
private let allNodes = IPAddress("ff02::1")!

/// A frame, where it goes, and whether it passes while the gate is shut.
private struct Case: CustomStringConvertible, Sendable {
  let description: String
  let direction: KernelGate.Direction
  let frame: [UInt8]
  let passesShut: Bool

  init(_ description: String, _ direction: KernelGate.Direction, _ frame: [UInt8], passes: Bool) {
    self.description = description
    self.direction = direction
    self.frame = frame
    passesShut = passes
  }
}

private let cases: [Case] = [
  // What would be an answer, or make this node give one.
  Case("IPv4 to the VIP", .input, Frames.ipv4(from: client, to: vip), passes: false),
  Case("IPv4 to the VIP, tagged", .input, Frames.ipv4(from: client, to: vip, tags: [7]), passes: false),
  Case("IPv4 to the VIP, tagged twice", .input, Frames.ipv4(from: client, to: vip, tags: [7, 8]), passes: false),
  Case("IPv4 from the VIP", .output, Frames.ipv4(from: vip, to: client), passes: false),
  Case("ARP: who has the VIP", .input, Frames.arp(1, sender: client, target: vip), passes: false),
  Case("ARP: a probe for the VIP", .input, Frames.arp(1, sender: zero, target: vip), passes: false),
  Case("ARP: the VIP is here", .output, Frames.arp(2, sender: vip, target: client), passes: false),
  Case("ARP: the VIP announces itself", .output, Frames.arp(1, sender: vip, target: vip), passes: false),
  Case("ARP: the VIP asks", .output, Frames.arp(1, sender: vip, target: client, tags: [7]), passes: false),
  Case("IPv6 to the VIP", .input, Frames.ipv6(from: client6, to: vip6), passes: false),
  Case("IPv6 from the VIP", .output, Frames.ipv6(from: vip6, to: client6), passes: false),
  Case(
    "a solicitation of the VIP", .input, Frames.neighbour(135, from: client6, to: solicited, target: vip6),
    passes: false),
  Case(
    "a solicitation of the VIP behind extension headers", .input,
    Frames.neighbour(135, from: client6, to: solicited, target: vip6, extensions: [0, 60]), passes: false),
  Case(
    "an advertisement of the VIP", .output, Frames.neighbour(136, from: node6, to: allNodes, target: vip6),
    passes: false),
  // A client of the VIP that another node holds.
  Case("IPv4 to the VIP, outwards", .output, Frames.ipv4(from: node, to: vip), passes: true),
  Case("IPv4 from the VIP, inwards", .input, Frames.ipv4(from: vip, to: node), passes: true),
  Case("ARP: this node asks for the VIP", .output, Frames.arp(1, sender: node, target: vip), passes: true),
  Case("ARP: the holder answers", .input, Frames.arp(2, sender: vip, target: node), passes: true),
  Case("ARP: the holder announces itself", .input, Frames.arp(1, sender: vip, target: vip), passes: true),
  Case("ARP: the holder asks for this node", .input, Frames.arp(1, sender: vip, target: node), passes: true),
  Case("IPv6 to the VIP, outwards", .output, Frames.ipv6(from: node6, to: vip6), passes: true),
  Case("IPv6 from the VIP, inwards", .input, Frames.ipv6(from: vip6, to: node6), passes: true),
  Case(
    "this node solicits the VIP", .output, Frames.neighbour(135, from: node6, to: solicited, target: vip6), passes: true
  ),
  Case(
    "the holder advertises the VIP", .input, Frames.neighbour(136, from: client6, to: allNodes, target: vip6),
    passes: true),
  // What is nothing to do with it.
  Case("IPv4 to this node", .input, Frames.ipv4(from: client, to: node), passes: true),
  Case("IPv4 from this node", .output, Frames.ipv4(from: node, to: client), passes: true),
  Case("ARP: who has this node", .input, Frames.arp(1, sender: client, target: node), passes: true),
  Case(
    "a solicitation of this node", .input, Frames.neighbour(135, from: client6, to: solicited, target: node6),
    passes: true),
  Case("another protocol", .input, Frames.ethernet(0x88cc, [UInt8](repeating: 0, count: 46)), passes: true),
  Case("an ARP packet that ends too early", .input, Frames.ethernet(0x0806, [0, 1, 8, 0, 6, 4, 0, 1]), passes: true),
  Case("ARP for another kind of address", .input, Frames.ethernet(0x0806, [0, 1, 8, 1, 6, 16, 0, 1]), passes: true),
]

@Suite("Kernel gate", .serialized, .enabled(if: isPermitted, "eBPF needs root")) struct GateTests {
  @Test("a frame passes or not, as the protocol says") func directions() throws {
    let gate = try KernelGate()
    try gate.guardAddress(vip, by: 3)
    try gate.guardAddress(vip6, by: 3)
    let deadlines = try GateDeadlines(mapping: try gate.deadlines())
    for one in cases {
      let passes = try gate.lets(one.frame, one.direction)
      #expect(passes == one.passesShut, "shut: \(one)")
    }
    deadlines.open(3, until: Clock.boot + .seconds(60))
    for one in cases {
      let passes = try gate.lets(one.frame, one.direction)
      #expect(passes, "open: \(one)")
    }
    // A deadline that has passed opens nothing, and another slot's is not this one's.
    deadlines.open(3, until: Clock.boot - .milliseconds(1))
    deadlines.open(4, until: .distantFuture)
    for one in cases {
      let passes = try gate.lets(one.frame, one.direction)
      #expect(passes == one.passesShut, "passed: \(one)")
    }
    try gate.release(vip)
    try gate.release(vip6)
    for one in cases {
      let passes = try gate.lets(one.frame, one.direction)
      #expect(passes, "not guarded: \(one)")
    }
  }

  @Test("it shuts by itself at the deadline") func shutsByItself() throws {
    let gate = try KernelGate()
    try gate.guardAddress(vip, by: 0)
    let deadlines = try GateDeadlines(mapping: try gate.deadlines())
    let frame = Frames.ipv4(from: client, to: vip)
    let deadline = Clock.boot + .milliseconds(30)
    deadlines.open(0, until: deadline)
    var seenOpen = false
    while true {
      let before = Clock.boot
      let passes = try gate.lets(frame, .input)
      let after = Clock.boot
      if after < deadline {
        #expect(passes)
        seenOpen = true
      }
      if before >= deadline {
        #expect(!passes)
        break
      }
    }
    #expect(seenOpen)
    deadlines.open(0, until: .distantFuture)
    deadlines.shutAll()
    let (deadlineAfter, passesAfter) = (deadlines.deadline(of: 0), try gate.lets(frame, .input))
    #expect(deadlineAfter == Instant(nanoseconds: 0) && !passesAfter)
  }

  @Test("every address has room, and one more is refused in words") func fullTable() throws {
    let gate = try KernelGate()
    for number in 0..<KernelGate.addressLimit {
      try gate.guardAddress(IPAddress(v4: 0xc633_6400 + UInt32(number)), by: 1)
    }
    do throws(GateFault) {
      try gate.guardAddress(vip, by: 1)
      Issue.record("a full table took one more")
    } catch { #expect(error.description.hasPrefix("cannot guard 192.0.2.100: ")) }
  }

  @Test("attached, it takes an earlier gate's place and leaves others' filters alone") func attaches() throws {
    try inOwnNetwork {
      let link = try NetlinkConnection().links().first { $0.name == "lo" }!
      try NetlinkConnection().setUp(interface: link.index)
      run("tc qdisc add dev lo clsact")
      run("tc filter add dev lo ingress prio 2 protocol ip u32 match u32 0 0")
      run("tc filter add dev lo egress prio 7 protocol all u32 match u32 0 0")
      let foreign = (filters("ingress"), filters("egress"))
      do {
        let earlier = try KernelGate()
        expect(earlier, isAttached: false, to: link)
        try earlier.attach(to: link)
        try earlier.attach(to: link)
        expect(earlier, isAttached: true, to: link)
      }
      // The earlier agent is gone, its filters are not.
      #expect(filters("ingress") == foreign.0 + 1 && filters("egress") == foreign.1 + 1)
      let newer = try KernelGate()
      expect(newer, isAttached: false, to: link)
      try newer.attach(to: link)
      expect(newer, isAttached: true, to: link)
      #expect(filters("ingress") == foreign.0 + 1 && filters("egress") == foreign.1 + 1)
      run("tc filter del dev lo egress prio 1")
      expect(newer, isAttached: false, to: link)
      try newer.attach(to: link)
      #expect(KernelGate.detach(from: link))
      #expect(!KernelGate.detach(from: link))
      #expect(filters("ingress") == foreign.0 && filters("egress") == foreign.1)
    }
  }

  @Test("where only the older kind of qdisc is, both directions cannot be had, and nothing is left half done")
  func olderQdisc() throws {
    try inOwnNetwork {
      let link = try NetlinkConnection().links().first { $0.name == "lo" }!
      run("tc qdisc add dev lo ingress")
      let fresh = try KernelGate()
      do throws(GateFault) {
        try fresh.attach(to: link)
        Issue.record("attached without clsact")
      } catch { #expect(error.description.contains("ingress qdisc")) }
      #expect(filters("ingress") == 0)
    }
  }

  @Test("where another program's filter comes first, nothing is left half done either") func firstPriorityTaken() throws
  {
    try inOwnNetwork {
      let link = try NetlinkConnection().links().first { $0.name == "lo" }!
      run("tc qdisc add dev lo clsact")
      run("tc filter add dev lo egress prio 1 protocol ip u32 match u32 0 0")
      let others = filters("egress")
      let gate = try KernelGate()
      do throws(GateFault) {
        try gate.attach(to: link)
        Issue.record("attached behind another filter")
      } catch { #expect(error.description.contains("first priority")) }
      #expect(filters("ingress") == 0 && filters("egress") == others)
    }
  }

  @Test("packets through an interface stop at the deadline, in both directions") func packets() throws {
    try inOwnNetwork {
      let netlink = try NetlinkConnection()
      let link = try netlink.links().first { $0.name == "lo" }!
      try netlink.setUp(interface: link.index)
      try netlink.add(InterfaceAddress(interface: link.index, prefix: AddressPrefix("192.0.2.100/32")!, isOurs: true))
      let gate = try KernelGate()
      try gate.guardAddress(vip, by: 2)
      try gate.attach(to: link)
      let deadlines = try GateDeadlines(mapping: try gate.deadlines())
      #expect(!answers("127.0.0.1"), "shut, and asked from elsewhere")
      deadlines.open(2, until: .distantFuture)
      #expect(answers("127.0.0.1"))
      deadlines.shut(2)
      #expect(!answers("192.0.2.100"), "shut, with the address at both ends")
      KernelGate.detach(from: link)
      #expect(answers("127.0.0.1"))
    }
  }
}

// MARK: Tools

/// Runs `body` on a thread with a fresh network namespace.
private func inOwnNetwork(_ body: @escaping @Sendable () throws -> Void) throws {
  typealias Unshare = @convention(c) (Int32) -> Int32
  let unshare = unsafeBitCast(dlsym(nil, "unshare"), to: Unshare.self)
  let outcome = Outcome()
  try Threads.start("own-network") {
    do {
      guard unshare(0x4000_0000 /* CLONE_NEWNET */) == 0 else { throw SystemError.last("make a network namespace") }
      try body()
      outcome.result.withLock { $0 = .success(()) }
    } catch { outcome.result.withLock { $0 = .failure(error) } }
  }
  while true {
    if let result = outcome.result.withLock({ $0 }) { return try result.get() }
    usleep(1000)
  }
}

private final class Outcome: Sendable {
  let result = Mutex<Result<Void, any Error>?>(nil)
}

/// In the calling thread's network namespace.
private func run(_ command: String) { #expect(system(command) == 0, "\(command)") }

private func expect(_ gate: borrowing KernelGate, isAttached: Bool, to link: NetworkLink) {
  let found = gate.isAttached(to: link)
  #expect(found == isAttached)
}

/// How many eBPF and other filters there are in one direction.
private func filters(_ direction: String) -> Int {
  guard let pipe = popen("tc filter show dev lo \(direction) | grep -cE 'u32|direct-action'", "r") else { return -1 }
  defer { pclose(pipe) }
  let digit = getc(pipe)
  return digit < 0 ? -1 : Int(digit) - 48
}

/// Whether a ping from `source` to the VIP is answered.
private func answers(_ source: String) -> Bool {
  system("ping -q -c 1 -W 0.2 -I \(source) 192.0.2.100 >/dev/null 2>&1") == 0
}
