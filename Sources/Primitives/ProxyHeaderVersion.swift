/// How the PROXY protocol is written.
package enum ProxyHeaderVersion: String, Codable, Sendable {
  /// A line of text.
  case v1
  /// Binary.
  case v2
}
