// Claims of IPv6 addresses by others, and the doctors' probes: byte by byte, and what is refused.

import Primitives
import Testing
import Wire

@Suite("Neighbour discovery of others")
struct NeighbourClaimTests {
  static let vip = IPAddress("2001:db8::100")!
  static let other = IPAddress("2001:db8::11")!
  static let mac = MACAddress(0x0200_5e00_5399)
  static let address: [UInt8] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00]

  static func message(
    type: UInt8 = 136, code: UInt8 = 0, target: [UInt8] = address, options: [UInt8] = [2, 1, 2, 0, 0x5e, 0, 0x53, 0x99]
  ) -> [UInt8] {
    [type, code, 0, 0, 0x20, 0, 0, 0] + target + options
  }

  static func claim(_ bytes: [UInt8], source: IPAddress = other, hops: Int? = 255) -> NeighbourClaim? {
    bytes.withUnsafeBytes { NeighbourClaim(message: $0, source: source, hopLimit: hops) }
  }

  @Test("an advertisement claims its target for the hardware address that it names")
  func advertisement() {
    #expect(Self.claim(Self.message()) == NeighbourClaim(address: Self.vip, claimant: Self.mac))
    let later = Self.message(options: [14, 2] + [UInt8](repeating: 7, count: 14) + [2, 1, 2, 0, 0x5e, 0, 0x53, 0x99])
    #expect(Self.claim(later) == NeighbourClaim(address: Self.vip, claimant: Self.mac), "behind another option")
  }

  @Test("our own announcement reads as a claim of ours")
  func announcement() {
    var frame = [UInt8](repeating: 0, count: NeighbourAdvertisement.byteCount)
    frame.withUnsafeMutableBytes { NeighbourAdvertisement.encode(address: Self.vip, mac: Self.mac, into: $0) }
    #expect(Self.claim(Array(frame[54...]), source: Self.vip) == NeighbourClaim(address: Self.vip, claimant: Self.mac))
  }

  @Test("a solicitation claims the address that it comes from, and nothing where it only asks whether one is free")
  func solicitation() {
    let bytes = Self.message(type: 135, options: [1, 1, 2, 0, 0x5e, 0, 0x53, 0x99])
    #expect(Self.claim(bytes) == NeighbourClaim(address: Self.other, claimant: Self.mac))
    #expect(Self.claim(bytes, source: .anyV6) == nil)
    #expect(Self.claim(Self.message(type: 135)) == nil, "a target's address is no source's")
  }

  @Test(
    "what is malformed, came through a router or names nobody claims nothing",
    arguments: [
      (message(), 254), (message(), nil), (message(code: 1), 255), (message(type: 134), 255),
      (message(options: []), 255),
      (message(options: [2, 0, 2, 0, 0x5e, 0, 0x53, 0x99]), 255),
      (message(options: [2, 2, 2, 0, 0x5e, 0, 0x53, 0x99]), 255),
      (message(options: [2, 1, 2, 0, 0x5e, 0, 0x53]), 255),
      (message(target: [0xff, 2] + [UInt8](repeating: 0, count: 14)), 255),
      (Array(message().prefix(23)), 255), ([], 255),
    ] as [([UInt8], Int?)])
  func nothing(_ bytes: [UInt8], _ hops: Int?) {
    #expect(Self.claim(bytes, hops: hops) == nil)
  }
}

@Suite("The doctors' probe")
struct ProbeDatagramTests {
  static let probe = ProbeDatagram(
    cluster: 0x0102_0304_0506_0708, sender: 0x1112_1314_1516_1718, run: 0x2122_2324_2526_2728,
    entries: [ProbeEntry(peer: 0x31, run: 0x32, multicasts: 3, unicasts: 4)])

  static func bytes(_ probe: ProbeDatagram = probe) -> [UInt8] {
    var authenticator = SumAuthenticator()
    return probe.encode(authenticator: &authenticator)
  }

  static func open(_ bytes: [UInt8], cluster: UInt64 = probe.cluster, key: UInt32? = nil) -> Result<
    ProbeDatagram, DropReason
  > {
    var authenticator = SumAuthenticator()
    if let key { authenticator.signingKeyID = key }
    return bytes.withUnsafeBytes { ProbeDatagram.open($0, cluster: cluster, authenticator: &authenticator) }
  }

  @Test("has exactly these bytes")
  func golden() {
    let golden: [UInt8] = [
      0x41, 0x46, 0x4c, 0x44, 0x01, 0x01, 0x00, 0x50,  // "AFLD", version 1, one entry, 80 bytes
      0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,  // cluster
      0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,  // sender
      0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,  // run
      0xaa, 0xbb, 0xcc, 0xdd, 0, 0, 0, 0,  // key
      0, 0, 0, 0, 0, 0, 0, 0x31, 0, 0, 0, 0, 0, 0, 0, 0x32, 0, 0, 0, 3, 0, 0, 0, 4,
    ]
    #expect(Array(Self.bytes().dropLast(16)) == golden)
    #expect(Self.open(Self.bytes()) == .success(Self.probe))
  }

  @Test("takes as many entries as fit a datagram")
  func full() {
    var probe = Self.probe
    probe.entries = (0..<ProbeDatagram.entryLimit).map {
      ProbeEntry(peer: UInt64($0), run: 1, multicasts: 2, unicasts: 3)
    }
    let bytes = Self.bytes(probe)
    #expect(bytes.count <= DatagramLayout.maximumByteCount && Self.open(bytes) == .success(probe))
  }

  @Test("each way to be wrong has its reason, and no bit may be another")
  func wrong() {
    let good = Self.bytes()
    #expect(Self.open(Array(good.dropLast())) == .failure(.wrongLength))
    #expect(Self.open(Array(good.prefix(40))) == .failure(.tooShort))
    #expect(Self.open(good, cluster: 9) == .failure(.wrongCluster))
    #expect(Self.open(good, key: 9) == .failure(.unknownKey))
    #expect(Self.open(sampleDatagram()) == .failure(.wrongMagic))
    #expect(Self.open([UInt8](repeating: 0x41, count: 1201)) == .failure(.tooLong))
    // Two entries do not make it as long as the shortest heartbeat; more would.
    #expect(reason(WireTests.open(good)) == .tooShort, "an elector drops it as no heartbeat")
    var long = Self.probe
    long.entries = (0..<8).map { ProbeEntry(peer: $0, run: 1, multicasts: 2, unicasts: 3) }
    #expect(reason(WireTests.open(Self.bytes(long))) == .wrongMagic, "an elector drops it as no heartbeat")
    // The four bytes behind the key are zero by convention only, yet signed as well.
    for index in good.indices {
      var altered = good
      altered[index] ^= 0x10
      if case .success = Self.open(altered) { Issue.record("byte \(index) may be altered") }
    }
  }

  @Test("whom a datagram claims to come from is read without believing it")
  func claims() {
    #expect(Self.bytes().withUnsafeBytes { DatagramLayout.claimedSender($0) } == Self.probe.sender)
    #expect(sampleDatagram().withUnsafeBytes { DatagramLayout.claimedSender($0) } == sampleHeader.sender)
    #expect([UInt8](repeating: 0, count: 200).withUnsafeBytes { DatagramLayout.claimedSender($0) } == nil)
    #expect(Array(Self.bytes().prefix(20)).withUnsafeBytes { DatagramLayout.claimedSender($0) } == nil)
  }
}
