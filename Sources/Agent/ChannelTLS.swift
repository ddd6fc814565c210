// TLS 1.3 with an external pre-shared key and fresh Diffie-Hellman (psk_dhe_ke, RFC 8446 section 2.2) over a non-blocking
// socket: no certificates, no tickets, no early data. A side that does not know the key gets an alert and nothing else.

internal import COpenSSL
internal import Primitives

/// The two contexts; used on the channel's thread only.
package final class ChannelTLS {
  fileprivate let client: OpaquePointer
  fileprivate let server: OpaquePointer

  package init() throws(ChannelFault) {
    guard let client = SSL_CTX_new(TLS_client_method()), let server = SSL_CTX_new(TLS_server_method()) else {
      throw .unexpected("cannot set TLS up: \(ChannelTLS.lastError())")
    }
    self.client = client
    self.server = server
    for context in [client, server] {
      SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_3_VERSION), nil)
      // The key's hash is SHA-256, which both suites use.
      SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256")
      SSL_CTX_set_num_tickets(context, 0)
      SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
      let modes = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS
      SSL_CTX_ctrl(context, SSL_CTRL_MODE, Int(modes), nil)
    }
    // Nothing is trusted, so a server that shows a certificate instead of knowing the key is refused.
    SSL_CTX_set_verify(client, SSL_VERIFY_PEER, nil)
    SSL_CTX_set_psk_use_session_callback(client) { ssl, digest, identity, identityLength, session in
      guard let self = ChannelSession.of(ssl), let key = self.key else { return 0 }
      if let digest, EVP_MD_get_type(digest) != NID_sha256 { return 0 }
      guard let made = ChannelSession.session(ssl, key: key) else { return 0 }
      identity?.pointee = UnsafePointer(self.identityBytes.baseAddress)
      identityLength?.pointee = self.identityBytes.count
      session?.pointee = made
      return 1
    }
    SSL_CTX_set_psk_find_session_callback(server) { ssl, identity, identityLength, session in
      guard let self = ChannelSession.of(ssl), let identity,
        let key = self.lookUp?(UnsafeBufferPointer(start: identity, count: identityLength)),
        let made = ChannelSession.session(ssl, key: key)
      else { return 0 }
      session?.pointee = made
      return 1
    }
  }

  deinit {
    SSL_CTX_free(client)
    SSL_CTX_free(server)
  }

  static func lastError() -> String {
    var text = [CChar](repeating: 0, count: 256)
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0 else { return "connection closed" }
    if let reason = ERR_reason_error_string(code) { return "TLS: " + String(cString: reason) }
    ERR_error_string_n(code, &text, text.count)
    return "TLS: " + String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// One TLS connection over a descriptor that somebody else owns; used on the channel's thread only.
package final class ChannelSession {
  package enum Outcome: Equatable {
    /// Bytes moved; 0 for a finished handshake.
    case done(Int)
    case wantsRead
    case wantsWrite
    case ended
    case failed(String)
  }

  private let ssl: OpaquePointer
  fileprivate var identityBytes = UnsafeMutableBufferPointer<UInt8>(start: nil, count: 0)
  fileprivate var key: [UInt8]?
  fileprivate var lookUp: ((UnsafeBufferPointer<UInt8>) -> [UInt8]?)?
  private let isClient: Bool

  /// The dialing side.
  package init(_ tls: ChannelTLS, descriptor: Int32, identity: ChannelKeys.Identity, key: [UInt8]) throws(ChannelFault)
  {
    ssl = try Self.make(tls.client, descriptor)
    isClient = true
    self.key = key
    let text = Array(identity.text.utf8)
    identityBytes = .allocate(capacity: text.count)
    _ = identityBytes.initialize(from: text)
    SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
    SSL_set_connect_state(ssl)
  }

  /// The listening side. `lookUp` gets the bytes of an identity, which may be anything, and returns its key.
  package init(_ tls: ChannelTLS, descriptor: Int32, lookUp: @escaping (UnsafeBufferPointer<UInt8>) -> [UInt8]?)
    throws(ChannelFault)
  {
    ssl = try Self.make(tls.server, descriptor)
    isClient = false
    self.lookUp = lookUp
    SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
    SSL_set_accept_state(ssl)
  }

  deinit {
    SSL_free(ssl)
    identityBytes.deallocate()
  }

  private static func make(_ context: OpaquePointer, _ descriptor: Int32) throws(ChannelFault) -> OpaquePointer {
    guard let ssl = SSL_new(context), SSL_set_fd(ssl, descriptor) == 1 else {
      throw .unexpected("cannot set TLS up: \(ChannelTLS.lastError())")
    }
    return ssl
  }

  /// The object behind a callback; lives as long as its SSL.
  fileprivate static func of(_ ssl: OpaquePointer?) -> ChannelSession? {
    guard let ssl, let raw = SSL_get_ex_data(ssl, 0) else { return nil }
    return Unmanaged<ChannelSession>.fromOpaque(raw).takeUnretainedValue()
  }

  /// A session that stands for a pre-shared key.
  fileprivate static func session(_ ssl: OpaquePointer?, key: [UInt8]) -> OpaquePointer? {
    let suite: [UInt8] = [0x13, 0x01]  // TLS_AES_128_GCM_SHA256, RFC 8446 appendix B.4
    guard let cipher = SSL_CIPHER_find(ssl, suite), let session = SSL_SESSION_new() else { return nil }
    guard SSL_SESSION_set1_master_key(session, key, key.count) == 1, SSL_SESSION_set_cipher(session, cipher) == 1,
      SSL_SESSION_set_protocol_version(session, Int32(TLS1_3_VERSION)) == 1
    else {
      SSL_SESSION_free(session)
      return nil
    }
    return session
  }

  package func handshake() -> Outcome {
    ERR_clear_error()
    let result = SSL_do_handshake(ssl)
    guard result == 1 else { return outcome(result) }
    // Belt and braces: without the pre-shared key nothing was proved.
    guard SSL_session_reused(ssl) == 1 else { return .failed("the pre-shared key was not used") }
    return .done(0)
  }

  package func read(into buffer: UnsafeMutableRawBufferPointer) -> Outcome {
    ERR_clear_error()
    let count = SSL_read(ssl, buffer.baseAddress, Int32(clamping: buffer.count))
    return count > 0 ? .done(Int(count)) : outcome(count)
  }

  /// `bytes` is not empty.
  package func write(_ bytes: UnsafeRawBufferPointer) -> Outcome {
    ERR_clear_error()
    let count = SSL_write(ssl, bytes.baseAddress, Int32(clamping: bytes.count))
    return count > 0 ? .done(Int(count)) : outcome(count)
  }

  /// Says goodbye if that is possible without waiting.
  package func close() {
    ERR_clear_error()
    _ = SSL_shutdown(ssl)
    ERR_clear_error()
  }

  private func outcome(_ result: Int32) -> Outcome {
    switch SSL_get_error(ssl, result) {
    case SSL_ERROR_WANT_READ: .wantsRead
    case SSL_ERROR_WANT_WRITE: .wantsWrite
    case SSL_ERROR_ZERO_RETURN: .ended
    case SSL_ERROR_SYSCALL: ERR_peek_error() == 0 ? .ended : .failed(ChannelTLS.lastError())
    default: .failed(ChannelTLS.lastError())
    }
  }
}
