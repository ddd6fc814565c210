// Fuzzes what reads heartbeats and doctors' probes, behind an authenticator that believes everything: whoever has the key, or
// a bug in another version, may send any parts. What is read is written again and must read the same.

import Primitives
import Wire

/// Every tag is right, and made of zeros.
struct Believer: DatagramAuthenticator {
  var signingKeyID: UInt32
  mutating func sign(_ bytes: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    for index in tag.indices { tag[index] = 0 }
  }
  mutating func verify(_ bytes: UnsafeRawBufferPointer, tag: UnsafeRawBufferPointer, keyID: UInt32) -> TagVerdict {
    .valid
  }
}

func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
  UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHeartbeat(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
  let bytes = UnsafeRawBufferPointer(start: data, count: size)
  _ = DatagramLayout.claimedSender(bytes)
  var believer = Believer(signingKeyID: 1)
  if size >= 16 {
    if ProbeDatagram.isMeant(bytes) {
      probe(bytes, &believer)
    } else {
      // The cluster is taken from the datagram, so that it is always the right one.
      let cluster = word(bytes, 8)
      if case .success(let datagram) = Datagram.open(bytes, clusterID: cluster, authenticator: &believer) {
        heartbeat(datagram, cluster, &believer)
      }
    }
  } else if case .success = Datagram.open(bytes, clusterID: 0, authenticator: &believer) {
    fatalError("16 bytes are no heartbeat")
  }
  return 0
}

func probe(_ bytes: UnsafeRawBufferPointer, _ believer: inout Believer) {
  guard case .success(let probe) = ProbeDatagram.open(bytes, cluster: word(bytes, 8), authenticator: &believer) else {
    return
  }
  require(probe.entries.count <= ProbeDatagram.entryLimit, "more entries than fit")
  let again = probe.encode(authenticator: &believer)
  let read = again.withUnsafeBytes {
    ProbeDatagram.open($0, cluster: probe.cluster, authenticator: &believer)
  }
  guard case .success(let second) = read else { fatalError("what was written is not read") }
  require(second == probe, "the probe reads differently")
}

func list<Entry>(_ entries: Entries<Entry>) -> [Entry] { (0..<entries.count).map { entries[$0] } }

func heartbeat(_ datagram: Datagram, _ cluster: UInt64, _ believer: inout Believer) {
  let (peers, vips, releases) = (list(datagram.peers), list(datagram.vips), list(datagram.releases))
  require(datagram.softwareVersion.count <= Datagram.softwareVersionLimit, "the version is too long")
  var room = [UInt8](repeating: 0xee, count: DatagramLayout.maximumByteCount)
  room.withUnsafeMutableBytes { buffer in
    var writer = DatagramWriter(buffer: buffer)
    writer.header(datagram.header)
    // What came in one datagram goes into one again.
    require(writer.begin(.peers, roomFor: peers.count * PeerReport.byteCount), "no room for peers")
    for peer in peers { require(writer.append(peer), "no room for a peer") }
    writer.end()
    require(writer.begin(.vips, roomFor: vips.count * VIPReport.byteCount), "no room for VIPs")
    for vip in vips { require(writer.append(vip), "no room for a VIP") }
    writer.end()
    require(writer.begin(.releases, roomFor: releases.count * ReleaseNotice.byteCount), "no room for releases")
    for release in releases { require(writer.append(release), "no room for a release") }
    writer.end()
    if let reason = datagram.resign { require(writer.resign(reason), "no room to resign") }
    if datagram.softwareVersion.count > 0 {
      require(writer.part(.softwareVersion, datagram.softwareVersion), "no room for the version")
    }
    let count = writer.finish(authenticator: &believer)
    let copy = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
    guard case .success(let second) = Datagram.open(copy, clusterID: cluster, authenticator: &believer) else {
      fatalError("what was written is not read")
    }
    require(second.header == datagram.header, "the header reads differently")
    require(list(second.peers) == peers && list(second.vips) == vips, "reports read differently")
    require(list(second.releases) == releases && second.resign == datagram.resign, "a release reads differently")
    require(second.softwareVersion.elementsEqual(datagram.softwareVersion), "the version reads differently")
  }
}
