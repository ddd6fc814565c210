// Asks the agent over its Unix socket. One connection per request: commands are short, and this way nothing of an earlier
// answer can be mistaken for a later one.

internal import Control
internal import FoundationEssentials
internal import Kernel
internal import Primitives

/// A command that did not do what was asked: what is printed on standard error, and the exit status.
package struct CommandFailure: Error, Equatable, CustomStringConvertible {
  package var description: String
  package var exitStatus: Int32

  package init(_ description: String, exitStatus: Int32 = 1) {
    self.description = description
    self.exitStatus = exitStatus
  }
}

/// Why a request got no good answer.
enum ClientFault: Error, CustomStringConvertible {
  /// Nobody there, or nobody who speaks HTTP.
  case unreachable(String)
  /// An answer that is not 2xx.
  case refused(status: Int, APIError)

  var description: String {
    switch self {
    case .unreachable(let text): return text
    case .refused(_, let error):
      guard let override = error.override, !error.error.contains(override) else { return error.error }
      return "\(error.error) (override: \(override))"
    }
  }
}

extension APIError {
  /// With --json a refusal is an object on standard output as well.
  func show() {
    if let line = try? JSONLine.text(self) { Terminal.write(line) }
  }
}

struct AgentClient {
  static let defaultSocket = "/run/afloat/afloat.sock"

  let socket: String
  /// Bounds a whole request.
  var timeout = TimeSpan.seconds(10)

  /// The body of a good answer as it came.
  func get(_ path: String) throws -> [UInt8] { try request("GET", path, body: nil) }

  func get<Value: Decodable>(_ path: String, _ type: Value.Type) throws -> Value { try decode(get(path), path) }

  func post(_ path: String, _ body: some Encodable) throws -> [UInt8] {
    try request("POST", path, body: Array(JSONEncoder().encode(body)))
  }

  func decode<Value: Decodable>(_ bytes: [UInt8], _ path: String) throws -> Value {
    do {
      return try JSONDecoder().decode(Value.self, from: Data(bytes))
    } catch {
      throw ClientFault.unreachable(
        "cannot understand the agent's answer to \(path): is it of the same version? (\(error))")
    }
  }

  private func request(_ method: String, _ path: String, body: [UInt8]?) throws -> [UInt8] {
    let (status, answer) = try exchange(method, path, body)
    guard (200...299).contains(status) else {
      let fallback = APIError(error: "the agent answers \(status) to \(method) \(path)")
      throw ClientFault.refused(
        status: status, (try? JSONDecoder().decode(APIError.self, from: Data(answer))) ?? fallback)
    }
    return answer
  }

  private func exchange(_ method: String, _ path: String, _ body: [UInt8]?) throws -> (status: Int, body: [UInt8]) {
    let deadline = Clock.monotonic + timeout
    do {
      let stream = try LocalStream(path: socket, timeout: timeout)
      var head = "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n"
      if let body { head += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n" }
      try stream.write(Array((head + "\r\n").utf8) + (body ?? []))
      var reader = ResponseReader()
      while true {
        let bytes = try stream.read()
        if bytes.isEmpty { break }
        if try reader.receive(bytes) { break }
        guard Clock.monotonic < deadline else { throw SystemError("read the answer", code: SystemError.tryAgain) }
      }
      return try reader.finish()
    } catch let error as SystemError {
      throw ClientFault.unreachable(unreachable(error))
    } catch let fault as AnswerFault {
      throw ClientFault.unreachable("there is no agent behind \(socket): \(fault)")
    }
  }

  private func unreachable(_ error: SystemError) -> String {
    if error.code == SystemError.tryAgain {
      return "the agent behind \(socket) does not answer within \(timeout.milliseconds / 1000) s"
    }
    let remedy =
      error.code == SystemError.permissionDenied || error.cause == "permission denied"
      ? "run as root, or as a member of the socket's group"
      : "start it with `systemctl start afloat` or `afloat agent --config FILE`; --socket or AFLOAT_SOCKET names another socket"
    return "no agent answers on \(socket): \(error.cause) (\(remedy))"
  }
}
