// The datagram that ends a boot. The agent's guardian sends it in the name of a dead elector, whose boot id and next
// sequence it reads from the shared page; peers take over at once instead of waiting for the detection time.

package import Primitives

package enum ResignDatagram {
  /// Writes the signed datagram and returns its length. A boot that has resigned is never believed again, so the elector
  /// must be gone (its pidfd says so) before this is sent.
  /// - Parameters:
  ///   - sequence: one that the boot has not used.
  ///   - buffer: at least `DatagramLayout.maximumByteCount` bytes.
  package static func encode<Authenticator: DatagramAuthenticator>(
    clusterName: String, node: NodeName, boot: BootID, sequence: UInt64, reason: ResignReason, now: Instant,
    authenticator: inout Authenticator, into buffer: UnsafeMutableRawBufferPointer
  ) -> Int {
    var writer = DatagramWriter(buffer: buffer)
    writer.header(
      HeartbeatHeader(
        flags: [], clusterID: StableHash.hash(clusterName), keyID: authenticator.signingKeyID,
        sender: StableHash.hash(node.text), boot: boot, sequence: sequence, sendTimeNanoseconds: now.nanoseconds,
        intervalMicroseconds: 0, detectionMicroseconds: 0, configurationDigest: 0, intentsDigest: 0))
    let fits = writer.resign(reason)
    precondition(fits, "a resign part fits an empty datagram")
    return writer.finish(authenticator: &authenticator)
  }
}
