// What the gate's program does for TCP connections that outlive a planned handover, frame by frame. That unknown segments go to
// the previous holder is tested in integration/handover: here every frame comes by lo.

import Gate
import Kernel
import Primitives
import Testing

private let vips = [IPAddress("192.0.2.100")!, IPAddress("2001:db8::100")!]
private let clients = [IPAddress("192.0.2.201")!, IPAddress("2001:db8::201")!]
private let own = LinkAddresses(v4: IPAddress("192.0.2.11")!, v6: IPAddress("fe80::af10:c000:20b")!)
private let solicited = IPAddress("ff02::1:ff00:100")!

@Suite("Connections that are kept", .serialized, .enabled(if: isPermitted, "eBPF needs root"))
struct ConnectionsTests {
  private let long = TimeSpan.seconds(60)

  /// Runs `body` with a gate that guards both VIPs by slot 3.
  private func withGate(_ body: (borrowing KernelGate, GateDeadlines) throws -> Void) throws {
    let gate = try KernelGate()
    for vip in vips { try gate.guardAddress(vip, by: 3) }
    try body(gate, try GateDeadlines(mapping: try gate.deadlines()))
  }

  private func expect(
    _ gate: borrowing KernelGate, _ frame: [UInt8], _ direction: KernelGate.Direction, passes: Bool, _ what: String
  ) throws {
    let found = try gate.lets(frame, direction)
    #expect(found == passes, "\(what)")
  }

  private func expectSegments(_ gate: borrowing KernelGate, _ family: Int, pass: Bool) throws {
    let (vip, client) = (vips[family], clients[family])
    for flags in [Frames.ack, Frames.ack | Frames.fin, Frames.reset, Frames.ack | Frames.syn] {
      try expect(gate, Frames.segment(flags, from: client, to: vip), .input, passes: pass, "in, flags \(flags)")
      try expect(gate, Frames.segment(flags, from: vip, to: client), .output, passes: pass, "out, flags \(flags)")
    }
  }

  @Test("segments pass the shut gate in both directions, openings at first, and all else never", arguments: [0, 1])
  func kept(family: Int) throws {
    let (vip, client) = (vips[family], clients[family])
    try withGate { gate, deadlines in
      try expectSegments(gate, family, pass: false)
      deadlines.shutKeepingConnections(3, until: Clock.boot + long, own: own, strays: Clock.boot - .seconds(1))
      try expectSegments(gate, family, pass: true)
      try expect(gate, Frames.segment(Frames.syn, from: client, to: vip), .input, passes: false, "an opening")
      try expect(
        gate, Frames.segment(Frames.syn, from: vip, to: client), .output, passes: false, "an opening from here")
      let datagrams =
        family == 0
        ? [Frames.ipv4(from: client, to: vip), Frames.ipv4(from: vip, to: client)]
        : [Frames.ipv6(from: client, to: vip), Frames.ipv6(from: vip, to: client)]
      try expect(gate, datagrams[0], .input, passes: false, "a datagram")
      try expect(gate, datagrams[1], .output, passes: false, "a datagram from here")
      // What nobody here knows is another's, for a second; who opens a connection has not heard of the other.
      deadlines.shutKeepingConnections(3, until: Clock.boot + long, own: own, strays: Clock.boot + long)
      try expect(gate, Frames.segment(Frames.ack, from: client, to: vip), .input, passes: false, "a stray")
      try expect(
        gate, Frames.segment(Frames.syn, from: client, to: vip), .input, passes: false, "an opening, nobody listens")
      let everywhere = Endpoint(address: IPAddress(family == 0 ? "0.0.0.0" : "::")!, port: 7000)
      let listener = try ListeningSocket.open(everywhere, .init(count: 1))
      try expect(gate, Frames.segment(Frames.syn, from: client, to: vip), .input, passes: true, "an early opening")
      _ = consume listener
      try expect(
        gate, Frames.segment(Frames.syn, from: vip, to: client), .output, passes: false, "an opening from here")
      try expect(gate, Frames.segment(Frames.ack, from: vip, to: client), .output, passes: true, "what is sent")
      deadlines.prolongConnections(3, until: Clock.boot - .milliseconds(1))
      try expectSegments(gate, family, pass: false)
      deadlines.passUnknown(3, to: own, until: Clock.boot + long)
      deadlines.open(3, until: Clock.boot + long)
      try expectSegments(gate, family, pass: true)
    }
  }

  @Test("segments are found behind IPv6 extension headers and no further, and fragments are none")
  func extensionHeaders() throws {
    let (vip, client) = (vips[1], clients[1])
    try withGate { gate, deadlines in
      deadlines.shutKeepingConnections(3, until: Clock.boot + long, own: own, strays: Clock.boot - .seconds(1))
      for (extensions, passes) in [
        ([0], true), ([0, 60, 43, 60], true), ([0, 60, 43, 60, 60], false), ([44], false), ([51], false),
      ]
        as [([UInt8], Bool)]
      {
        let frame = Frames.segment(Frames.ack, from: client, to: vip, extensions: extensions)
        try expect(gate, frame, .input, passes: passes, "\(extensions)")
        let opening = Frames.segment(Frames.syn, from: client, to: vip, extensions: extensions)
        try expect(gate, opening, .input, passes: false, "an opening behind \(extensions)")
      }
      let whole = Frames.segment(Frames.ack, from: client, to: vip)
      for length in [54, 60, whole.count - 7] {
        try expect(gate, Array(whole[..<length]), .input, passes: false, "cut off at \(length)")
      }
      let fragment = Frames.segment(Frames.ack, from: clients[0], to: vips[0], fragment: 185)
      try expect(gate, fragment, .input, passes: false, "a fragment of IPv4")
    }
  }

  @Test("neighbours are asked in this node's own name, and told and answered nothing in the VIP's") func neighbours()
    throws
  {
    try withGate { gate, deadlines in
      let question = Frames.question(from: vips[1], about: clients[1])
      let asked = Frames.arp(1, sender: vips[0], target: clients[0])
      try expect(gate, question, .output, passes: false, "nothing is kept")
      deadlines.shutKeepingConnections(3, until: Clock.boot + long, own: own, strays: Clock.boot + long)
      let changed = try gate.outcome(of: question, .output)
      #expect(changed == Frames.question(from: own.v6, about: clients[1]), "source and checksum, nothing else")
      let message = Array((changed ?? question)[54...])
      #expect(Frames.checksum(message, from: own.v6, to: clients[1]) == 0)
      let changedARP = try gate.outcome(of: asked, .output)
      #expect(changedARP == Frames.arp(1, sender: own.v4!, target: clients[0]))
      try expect(
        gate, Frames.neighbour(135, from: clients[1], to: solicited, target: vips[1]), .input, passes: false,
        "asked for the VIP")
      try expect(
        gate, Frames.neighbour(135, from: clients[1], to: vips[1], target: vips[1]), .input, passes: false,
        "asked for it alone")
      try expect(
        gate, Frames.neighbour(136, from: vips[1], to: clients[1], target: vips[1]), .output, passes: false, "an answer"
      )
      try expect(
        gate, Frames.neighbour(136, from: own.v6, to: clients[1], target: vips[1]), .output, passes: false,
        "an announcement")
      try expect(
        gate, Frames.ipv6(from: vips[1], to: clients[1], next: 58, [129, 0, 0, 0, 0, 0, 0, 0]), .output, passes: false,
        "an echo")
      try expect(gate, Frames.arp(2, sender: vips[0], target: clients[0]), .output, passes: false, "an answer by ARP")
      try expect(
        gate, Frames.arp(1, sender: vips[0], target: vips[0]), .output, passes: false, "an announcement by ARP")
      // A node without an IPv4 address of its own asks as one that has none yet (RFC 5227).
      deadlines.shutKeepingConnections(
        3, until: Clock.boot + long, own: LinkAddresses(v4: nil, v6: own.v6), strays: Clock.boot + long)
      let nameless = try gate.outcome(of: asked, .output)
      #expect(nameless == Frames.arp(1, sender: IPAddress.anyV4, target: clients[0]))
    }
  }
}
