// The datagram byte by byte, and what becomes of bytes that are none.

import Primitives
import Testing
import Wire

/// A tag that anybody can compute by hand: the sum of the bytes in the first eight, its complement in the rest.
struct SumAuthenticator: DatagramAuthenticator {
  var signingKeyID: UInt32 = 0xaabb_ccdd
  mutating func sign(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    var state: UInt64 = 0
    for byte in bytes { state = state &* 31 &+ UInt64(byte) }
    tag.storeBytes(of: state.bigEndian, toByteOffset: 0, as: UInt64.self)
    tag.storeBytes(of: (~state).bigEndian, toByteOffset: 8, as: UInt64.self)
  }
  mutating func verify(_ bytes: UnsafeRawBufferPointer, tag: UnsafeRawBufferPointer, keyID: UInt32) -> TagVerdict {
    guard keyID == signingKeyID else { return .unknownKey }
    var expected = [UInt8](repeating: 0, count: 16)
    expected.withUnsafeMutableBytes { sign(bytes, into: $0) }
    return expected.elementsEqual(tag) ? .valid : .wrongTag
  }
}

/// `#expect` cannot call what mutates.
func expectTrue(_ value: Bool) { #expect(value) }

let sampleHeader = HeartbeatHeader(
  flags: [.draining, .starting], clusterID: 0x0102_0304_0506_0708, keyID: 0xaabb_ccdd, sender: 0x1112_1314_1516_1718,
  boot: BootID(high: 0x2122_2324_2526_2728, low: 0x3132_3334_3536_3738), sequence: 0x4142,
  sendTimeNanoseconds: 0x5152_5354,
  intervalMicroseconds: 10_000, detectionMicroseconds: 35_000, configurationDigest: 0x6162, intentsDigest: 0x7172)

func sampleDatagram() -> [UInt8] {
  var bytes = [UInt8](repeating: 0xee, count: DatagramLayout.maximumByteCount)
  let length = bytes.withUnsafeMutableBytes { buffer in
    var authenticator = SumAuthenticator()
    var writer = DatagramWriter(buffer: buffer)
    writer.header(sampleHeader)
    expectTrue(writer.begin(.releases, roomFor: ReleaseNotice.byteCount))
    expectTrue(
      writer.append(ReleaseNotice(vip: 0x81, successor: 0x82, serial: 3, cause: .moved, keepsConnections: true)))
    writer.end()
    expectTrue(writer.begin(.peers, roomFor: PeerReport.byteCount))
    let report = PeerReport(
      peer: 0x91, bootFold: 0x92, lastSequence: 0x93, ageMicroseconds: 250, loss: 7, roundTrip: 8)
    expectTrue(writer.append(report))
    writer.end()
    expectTrue(writer.begin(.patiences, roomFor: Patience.byteCount))
    expectTrue(writer.append(Patience(microseconds: 30_500)))
    writer.end()
    expectTrue(writer.begin(.vips, roomFor: VIPReport.byteCount))
    expectTrue(
      writer.append(VIPReport(vip: 0xa1, priority: 0xfffe, role: .holder, eligible: true, passesUnknown: true, term: 9))
    )
    expectTrue(writer.append(VIPReport(vip: 0xa2, priority: 5, role: .idle, eligible: false, holder: 0xb1b2_b3b4)))
    writer.end()
    let version = Array("1.2".utf8).withUnsafeBytes { writer.part(.softwareVersion, $0) }
    #expect(version)
    return writer.finish(authenticator: &authenticator)
  }
  return Array(bytes[..<length])
}

func open(_ bytes: [UInt8], clusterID: UInt64 = sampleHeader.clusterID) -> Result<HeartbeatHeader, DropReason> {
  var authenticator = SumAuthenticator()
  return bytes.withUnsafeBytes {
    Datagram.open($0, clusterID: clusterID, authenticator: &authenticator).map { $0.header }
  }
}

func resign(_ bytes: [UInt8]) -> [UInt8] {
  var copy = bytes
  var authenticator = SumAuthenticator()
  let signed = Array(bytes.dropLast(16))
  var tag = [UInt8](repeating: 0, count: 16)
  signed.withUnsafeBytes { source in tag.withUnsafeMutableBytes { authenticator.sign(source, into: $0) } }
  copy.replaceSubrange((copy.count - 16)..., with: tag)
  return copy
}

func reason(_ result: Result<HeartbeatHeader, DropReason>) -> DropReason? {
  if case .failure(let reason) = result { reason } else { nil }
}

@Suite("The heartbeat datagram")
struct DatagramTests {
  @Test("has exactly these bytes")
  func golden() {
    let golden: [UInt8] = [
      0x41, 0x46, 0x4c, 0x54,  // 0 "AFLT"
      0x01, 0x00,  // 4 version, reserved
      0x00, 0x05,  // 6 flags: draining, starting
      0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,  // 8 cluster
      0xaa, 0xbb, 0xcc, 0xdd,  // 16 key
      0x00, 0xdb, 0x00, 0x01,  // 20 length 219, fragment 0 of 1
      0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,  // 24 sender
      0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,  // 32 boot
      0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38,
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x41, 0x42,  // 48 sequence
      0x00, 0x00, 0x00, 0x00, 0x51, 0x52, 0x53, 0x54,  // 56 send time
      0x00, 0x00, 0x27, 0x10,  // 64 interval 10,000 us
      0x00, 0x00, 0x88, 0xb8,  // 68 detection 35,000 us
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x61, 0x62,  // 72 configuration
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x71, 0x72,  // 80 intents
      0x00, 0x03, 0x00, 0x18,  // 88 part: releases, 24 bytes
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x81,  // VIP
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x82,  // successor
      0x00, 0x00, 0x00, 0x03, 0x01, 0x01, 0x00, 0x00,  // serial 3, cause moved, keeps connections
      0x00, 0x01, 0x00, 0x20,  // 116 part: peers, 32 bytes
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x91,  // peer
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x92,  // boot fold
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x93,  // last sequence
      0x00, 0x00, 0x00, 0xfa, 0x07, 0x00, 0x00, 0x08,  // age 250 us, loss 7/255, round trip 80 us
      0x00, 0x06, 0x00, 0x04,  // 152 part: patiences, 4 bytes
      0x00, 0x00, 0x77, 0x24,  // 30,500 us
      0x00, 0x02, 0x00, 0x20,  // 160 part: VIPs, 32 bytes
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa1,  // VIP
      0xff, 0xfe, 0x02, 0x03, 0x00, 0x00, 0x00, 0x09,  // priority 65,534, holder, eligible, passes unknown, term 9
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa2,  // VIP
      0x00, 0x05, 0x00, 0x04, 0xb1, 0xb2, 0xb3, 0xb4,  // priority 5, idle, not eligible, hears a holder, its name
      0x00, 0x05, 0x00, 0x03, 0x31, 0x2e, 0x32,  // 196 part: software version "1.2"
    ]
    let bytes = sampleDatagram()
    #expect(
      Array(bytes.dropLast(16)) == golden,
      "differs at \(zip(bytes, golden).enumerated().first { $1.0 != $1.1 }?.offset ?? -1)")
    #expect(bytes.count == golden.count + 16)
  }

  @Test("reads back what was written")
  func roundTrip() throws {
    let bytes = sampleDatagram()
    var authenticator = SumAuthenticator()
    try bytes.withUnsafeBytes { buffer in
      let datagram = try Datagram.open(buffer, clusterID: sampleHeader.clusterID, authenticator: &authenticator).get()
      #expect(datagram.header == sampleHeader)
      #expect(datagram.releases.count == 1)
      #expect(
        datagram.releases[0]
          == ReleaseNotice(vip: 0x81, successor: 0x82, serial: 3, cause: .moved, keepsConnections: true))
      #expect(
        datagram.peers[0]
          == PeerReport(peer: 0x91, bootFold: 0x92, lastSequence: 0x93, ageMicroseconds: 250, loss: 7, roundTrip: 8))
      #expect(datagram.vips.count == 2)
      #expect(datagram.vips[1] == VIPReport(vip: 0xa2, priority: 5, role: .idle, eligible: false, holder: 0xb1b2_b3b4))
      #expect(datagram.resign == nil)
      #expect(datagram.patiences.count == 1 && datagram.patiences[0] == Patience(microseconds: 30_500))
      #expect(String(decoding: datagram.softwareVersion, as: UTF8.self) == "1.2")
    }
  }

  @Test("the last line of a VIP that a configuration lost says so, and is no holder's")
  func lastLine() throws {
    var authenticator = SumAuthenticator()
    var bytes = [UInt8](repeating: 0, count: DatagramLayout.maximumByteCount)
    let line = VIPReport(vip: 0xa3, priority: 0, role: .idle, eligible: false, isUnconfigured: true)
    let count = bytes.withUnsafeMutableBytes { room in
      var writer = DatagramWriter(buffer: room)
      writer.header(sampleHeader)
      _ = writer.begin(.vips, roomFor: VIPReport.byteCount) && writer.append(line)
      writer.end()
      return writer.finish(authenticator: &authenticator)
    }
    // Role, flags, term.
    let at = DatagramLayout.headerByteCount + DatagramLayout.partHeaderByteCount
    #expect(Array(bytes[(at + 10)..<(at + 16)]) == [0, 8, 0, 0, 0, 0])
    try bytes[..<count].withUnsafeBytes { buffer in
      let read = try Datagram.open(buffer, clusterID: sampleHeader.clusterID, authenticator: &authenticator).get()
      #expect(read.vips[0] == line)
    }
  }

  @Test("names what is wrong with it")
  func faults() {
    let good = sampleDatagram()
    func changed(_ offset: Int, _ value: UInt8) -> [UInt8] { var copy = good; copy[offset] = value; return copy }
    #expect(reason(open(good)) == nil)
    #expect(reason(open(Array(good.prefix(103)))) == .tooShort)
    #expect(reason(open(good + [UInt8](repeating: 0, count: 1201 - good.count))) == .tooLong)
    #expect(reason(open(changed(0, 0x42))) == .wrongMagic)
    #expect(reason(open(changed(4, 2))) == .wrongVersion)
    #expect(reason(open(good + [0])) == .wrongLength)
    #expect(reason(open(changed(23, 2))) == .wrongLength)
    #expect(reason(open(good, clusterID: 1)) == .wrongCluster)
    #expect(reason(open(changed(19, 0))) == .unknownKey)
    #expect(reason(open(changed(60, 1))) == .wrongTag)
    #expect(reason(open(resign(changed(119, 0x21)))) == .malformedPart, "a part that runs into the next")
    #expect(reason(open(resign(changed(89, 1)))) == .malformedPart, "24 bytes are no whole number of peer reports")
    #expect(reason(open(resign(changed(117, 2)))) == .malformedPart, "VIPs twice")
  }

  @Test("with an unknown part is read without it")
  func unknownPart() throws {
    var bytes = sampleDatagram()
    bytes[197] = 0x77
    bytes = resign(bytes)
    var authenticator = SumAuthenticator()
    try bytes.withUnsafeBytes {
      let datagram = try Datagram.open($0, clusterID: sampleHeader.clusterID, authenticator: &authenticator).get()
      #expect(datagram.softwareVersion.isEmpty)
      #expect(datagram.vips.count == 2)
    }
  }

  @Test("cut off anywhere, or with any byte changed, is dropped")
  func everyTruncationAndChange() {
    let good = sampleDatagram()
    for length in 0..<good.count { #expect(reason(open(Array(good.prefix(length)))) != nil, "first \(length) bytes") }
    for offset in 0..<good.count {
      for bit in 0..<8 {
        var copy = good
        copy[offset] ^= 1 << UInt8(bit)
        // Byte 5 is covered by the tag only.
        #expect(reason(open(copy)) != nil, "byte \(offset), bit \(bit)")
      }
    }
  }

  @Test("signed with our key but made of anything never reads past its end", arguments: 1...20)
  func fuzz(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let good = sampleDatagram()
    var authenticator = SumAuthenticator()
    var read = 0
    for _ in 0..<2_000 {
      var bytes = good
      if random.chance(1, in: 3) {
        bytes =
          Array(good.prefix(88)) + (0..<Int(random.next() % 900)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
          + [UInt8](repeating: 0, count: 16)
      }
      for _ in 0..<(random.next() % 6) {
        bytes[24 + Int(random.next() % UInt64(bytes.count - 24))] = UInt8(truncatingIfNeeded: random.next() % 64)
      }
      bytes[20] = UInt8(bytes.count >> 8)
      bytes[21] = UInt8(bytes.count & 255)
      bytes = resign(bytes)
      // An exact allocation, so that the address sanitizer sees one byte too many.
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
      defer { copy.deallocate() }
      copy.copyBytes(from: bytes)
      if case .success(let datagram) = Datagram.open(
        UnsafeRawBufferPointer(copy), clusterID: sampleHeader.clusterID, authenticator: &authenticator)
      {
        read += 1
        for position in 0..<datagram.peers.count { _ = datagram.peers[position] }
        for position in 0..<datagram.patiences.count { _ = datagram.patiences[position] }
        for position in 0..<datagram.vips.count { _ = datagram.vips[position] }
        for position in 0..<datagram.releases.count { _ = datagram.releases[position] }
        #expect(datagram.softwareVersion.count <= 32)
      }
    }
    #expect(read > 0, "no mutation was ever accepted: the fuzzer tests nothing")
  }

  @Test("of random bytes is dropped", arguments: 1...5)
  func noise(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    for _ in 0..<2_000 {
      let bytes = (0..<Int(random.next() % 1300)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      #expect(reason(open(bytes)) != nil)
    }
  }

  @Test("refuses what does not fit, and stays within its limit")
  func limit() {
    var bytes = [UInt8](repeating: 0, count: DatagramLayout.maximumByteCount)
    let length = bytes.withUnsafeMutableBytes { buffer in
      var authenticator = SumAuthenticator()
      var writer = DatagramWriter(buffer: buffer)
      writer.header(sampleHeader)
      expectTrue(writer.begin(.vips, roomFor: VIPReport.byteCount))
      var count = 0
      while writer.append(VIPReport(vip: UInt64(count), priority: 1, role: .candidate, eligible: true)) { count += 1 }
      writer.end()
      #expect(count == 68)
      expectTrue(!writer.begin(.peers, roomFor: PeerReport.byteCount))
      expectTrue(!writer.resign(.left))
      return writer.finish(authenticator: &authenticator)
    }
    #expect(length <= DatagramLayout.maximumByteCount)
    #expect(reason(open(Array(bytes[..<length]))) == nil)
  }
}

@Suite("Resign and announcements")
struct OtherFrameTests {
  @Test("a resign carries the boot and the reason and nothing else")
  func resignDatagram() throws {
    var authenticator = SumAuthenticator()
    var bytes = [UInt8](repeating: 0, count: DatagramLayout.maximumByteCount)
    let length = bytes.withUnsafeMutableBytes {
      ResignDatagram.encode(
        clusterName: "zone-a", node: NodeName("n1")!, boot: BootID(high: 1, low: 2), sequence: 77, reason: .hung,
        now: Instant(nanoseconds: 5), authenticator: &authenticator, into: $0)
    }
    #expect(length == 88 + 8 + 16)
    #expect(Array(bytes[88..<96]) == [0, 4, 0, 4, 1, 0, 0, 0])
    try bytes[..<length].withUnsafeBytes {
      let datagram = try Datagram.open($0, clusterID: StableHash.hash("zone-a"), authenticator: &authenticator).get()
      #expect(datagram.resign == .hung)
      #expect(datagram.header.boot == BootID(high: 1, low: 2))
      #expect(datagram.header.sequence == 77)
      #expect(datagram.header.sender == StableHash.hash("n1"))
    }
  }

  @Test("what an announcement says is read back, and nothing else is taken for an ARP packet")
  func arpPacket() {
    var frame = [UInt8](repeating: 0xee, count: ARPAnnouncement.paddedByteCount)
    frame.withUnsafeMutableBytes {
      ARPAnnouncement.encode(.reply, address: 0xc000_0264, mac: MACAddress(0x0200_5e00_5301), into: $0)
    }
    func read(_ bytes: [UInt8]) -> ARPPacket? { bytes.withUnsafeBytes { ARPPacket(frame: $0) } }
    let packet = read(frame)
    #expect(packet?.operation == 2 && packet?.senderAddress == 0xc000_0264 && packet?.targetAddress == 0xc000_0264)
    #expect(packet?.sender == MACAddress(0x0200_5e00_5301))
    #expect(packet?.sender.description == "02:00:5e:00:53:01")
    for count in 0..<ARPAnnouncement.byteCount { #expect(read(Array(frame[..<count])) == nil) }
    for offset in 12..<20 {
      var other = frame
      other[offset] ^= 1
      #expect(read(other) == nil, "byte \(offset) matters")
    }
  }

  @Test("gratuitous ARP has exactly these bytes", arguments: ARPAnnouncement.Operation.allCases)
  func arp(operation: ARPAnnouncement.Operation) {
    var frame = [UInt8](repeating: 0xee, count: ARPAnnouncement.paddedByteCount)
    frame.withUnsafeMutableBytes {
      ARPAnnouncement.encode(operation, address: 0xc000_0264, mac: MACAddress(0x0200_5e00_5301), into: $0)
    }
    let golden: [UInt8] = [
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff,  // to everybody
      0x02, 0x00, 0x5e, 0x00, 0x53, 0x01,  // from us
      0x08, 0x06,  // ARP
      0x00, 0x01, 0x08, 0x00, 0x06, 0x04,  // Ethernet, IPv4
      0x00, operation == .request ? 1 : 2,
      0x02, 0x00, 0x5e, 0x00, 0x53, 0x01, 192, 0, 2, 100,  // sender
    ]
    let target: [UInt8] = operation == .request ? [0, 0, 0, 0, 0, 0] : [0x02, 0x00, 0x5e, 0x00, 0x53, 0x01]
    #expect(frame == golden + target + [192, 0, 2, 100] + [UInt8](repeating: 0, count: 18))
  }

  @Test("an unsolicited neighbour advertisement has exactly these bytes")
  func advertisement() {
    var frame = [UInt8](repeating: 0xee, count: NeighbourAdvertisement.byteCount)
    frame.withUnsafeMutableBytes {
      NeighbourAdvertisement.encode(
        address: IPAddress("2001:db8::100")!, mac: MACAddress(0x0200_0000_0a01), into: $0)
    }
    let mac: [UInt8] = [0x02, 0x00, 0x00, 0x00, 0x0a, 0x01]
    let address: [UInt8] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00]
    let golden: [UInt8] =
      [0x33, 0x33, 0x00, 0x00, 0x00, 0x01] + mac + [0x86, 0xdd]  // to all nodes, from us, IPv6
      + [0x60, 0x00, 0x00, 0x00, 0x00, 32, 58, 255] + address  // ICMPv6, not routed
      + [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01]
      + [136, 0, 0xed, 0x2c, 0x20, 0x00, 0x00, 0x00] + address  // override; checksum by another program
      + [0x02, 0x01] + mac
    #expect(frame == golden)
  }

  @Test("a report says in its 30th byte over which interfaces multicasts are heard")
  func multicastPaths() {
    let report = PeerReport(
      peer: 1, bootFold: 2, lastSequence: 3, ageMicroseconds: 4, loss: 5, multicastPaths: 0b1001)
    var bytes = [UInt8](repeating: 0, count: DatagramLayout.maximumByteCount)
    bytes.withUnsafeMutableBytes {
      var writer = DatagramWriter(buffer: $0)
      writer.header(sampleHeader)
      expectTrue(writer.begin(.peers, roomFor: PeerReport.byteCount))
      expectTrue(writer.append(report))
      writer.end()
    }
    #expect(Array(bytes[116..<124]) == [0, 0, 0, 4, 5, 0b1001, 0, 0])
    #expect(bytes.withUnsafeBytes { PeerReport($0, at: 92) } == report)
  }
}
