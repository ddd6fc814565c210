// Who is who on the channel. Each connection has a pre-shared key of its own, derived from the cluster's key, the cluster's
// name and both members' names, so a connection proves knowledge of the cluster key *and* that both sides mean the same two
// members. Whoever holds the cluster key can be any member: that is what the key means.

internal import Cryptography
package import Primitives

/// The cluster's keys, made ready for the channel.
package struct ChannelKeys: Equatable, Sendable {
  /// Dialer and listener, as the PSK identity names them.
  package struct Identity: Equatable, Sendable {
    package var keyID: String
    package var dialer: NodeName
    package var listener: NodeName

    package init(keyID: String, dialer: NodeName, listener: NodeName) {
      self.keyID = keyID
      self.dialer = dialer
      self.listener = listener
    }

    /// `afloat-channel-1 KEYID DIALER LISTENER`.
    package var text: String { "afloat-channel-1 \(keyID) \(dialer) \(listener)" }

    /// Nil for anything else than `text` writes.
    package init?(_ bytes: some Collection<UInt8>) {
      guard bytes.count <= 200, let text = String(validating: bytes, as: UTF8.self) else { return nil }
      let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
      guard words.count == 4, words[0] == "afloat-channel-1", let dialer = NodeName(words[2]),
        let listener = NodeName(words[3])
      else { return nil }
      self.init(keyID: words[1], dialer: dialer, listener: listener)
    }
  }

  private struct Key: Equatable, Sendable {
    var id: String
    var secret: [UInt8]
  }

  private let cluster: String
  private let keys: [Key]

  /// `clusterKeys`: one or two; the first is preferred, all are accepted.
  package init(cluster: String, clusterKeys: [[UInt8]]) {
    self.cluster = cluster
    keys = clusterKeys.map { clusterKey in
      let secret = KeyDerivation.derive(.channel, from: clusterKey, byteCount: 32)
      let tag = Self.tag("key id", secret)
      return Key(
        id: tag.prefix(4).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined(), secret: secret)
    }
  }

  package var count: Int { keys.count }

  /// What a dialer presents on its `attempt`-th try in a row: the keys in turn, so that members which know only one of two
  /// keys find each other while a key is being replaced.
  package func identity(attempt: Int, dialer: NodeName, listener: NodeName) -> Identity {
    Identity(keyID: keys[attempt % keys.count].id, dialer: dialer, listener: listener)
  }

  /// 32 bytes; nil if the key is not ours.
  package func preSharedKey(for identity: Identity) -> [UInt8]? {
    guard let key = keys.first(where: { $0.id == identity.keyID }) else { return nil }
    // Names hold no space, and the cluster's name comes last, so no two meanings have one text.
    return Self.tag("psk \(identity.text) \(cluster)", key.secret)
  }

  private static func tag(_ text: String, _ secret: [UInt8]) -> [UInt8] {
    let key = AuthenticationKey(bytes: secret)
    return Array(text.utf8).withUnsafeBytes { key.digest(of: $0).bytes }
  }
}
