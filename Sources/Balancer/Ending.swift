// How an exchange ended: one cause each, in words for people, as the name of a figure, and in the two letters that HAProxy's
// log has for it (its manual, "Session state at disconnection").

/// Why an exchange, or a tunnel, is over.
enum Ending: UInt8, CaseIterable, Sendable {
  /// It goes on.
  case none
  case complete
  case answeredHere
  case malformed
  case tooLarge
  case refused
  case denied
  case connectionLimit
  case headLate
  case headCutOff
  case bodyLate
  case bodyCutOff
  case queueFull
  case queueLate
  case leftQueue
  case noServer
  case sorrySite
  case connectFailed
  case connectLate
  case exhausted
  case leftConnecting
  case leftWaiting
  case serverClosed
  case serverLate
  case serverMalformed
  case serverCutOff
  case serverStalled
  case serverBadBody
  case leftAnswer
  case clientStalled
  case fileCutOff
  case tunnelEnded
  case tunnelIdle
  case tunnelClientReset
  case tunnelServerReset
  case stopped

  var words: StaticString {
    switch self {
    case .none: "under way"
    case .complete: "complete"
    case .answeredHere: "answered by the balancer"
    case .malformed: "malformed request"
    case .tooLarge: "request body too large"
    case .refused: "refused by the routes"
    case .denied: "over the rate limit of its route"
    case .connectionLimit: "over a limit of connections"
    case .headLate: "request head did not come in time"
    case .headCutOff: "client closed while request head was read"
    case .bodyLate: "request body did not come in time"
    case .bodyCutOff: "client closed while request body was read"
    case .queueFull: "too many wait for a server"
    case .queueLate: "waited too long for a server"
    case .leftQueue: "client closed while it waited for a server"
    case .noServer: "no server is up"
    case .sorrySite: "no server is up, answered by the sorry site"
    case .connectFailed: "connection to server failed"
    case .connectLate: "connection to server took too long"
    case .exhausted: "this node could open no more connections"
    case .leftConnecting: "client closed while server was connected"
    case .leftWaiting: "client closed while response was awaited"
    case .serverClosed: "server closed before its response"
    case .serverLate: "server did not respond in time"
    case .serverMalformed: "malformed response"
    case .serverCutOff: "server closed while response body was sent"
    case .serverStalled: "server stopped while response body was sent"
    case .serverBadBody: "malformed response body"
    case .leftAnswer: "client closed while response body was sent"
    case .clientStalled: "client stopped reading the response"
    case .fileCutOff: "file became shorter while it was sent"
    case .tunnelEnded: "tunnel closed"
    case .tunnelIdle: "tunnel was idle for too long"
    case .tunnelClientReset: "client reset the tunnel"
    case .tunnelServerReset: "server reset the tunnel"
    case .stopped: "cut off by the end of the balancer"
    }
  }

  /// Who ended it, and in which phase.
  var letters: StaticString {
    switch self {
    case .none, .complete, .tunnelEnded: "--"
    case .answeredHere: "LR"
    case .malformed, .tooLarge, .refused, .denied, .connectionLimit: "PR"
    case .headLate: "cR"
    case .headCutOff: "CR"
    case .bodyLate: "cH"
    case .bodyCutOff, .leftWaiting: "CH"
    case .queueFull: "PQ"
    case .queueLate: "sQ"
    case .leftQueue: "CQ"
    case .noServer, .sorrySite, .connectFailed: "SC"
    case .connectLate: "sC"
    case .exhausted: "RC"
    case .leftConnecting: "CC"
    case .serverClosed: "SH"
    case .serverLate: "sH"
    case .serverMalformed: "PH"
    case .serverCutOff, .tunnelServerReset: "SD"
    case .serverStalled: "sD"
    case .serverBadBody: "PD"
    case .leftAnswer, .tunnelClientReset: "CD"
    case .clientStalled, .tunnelIdle: "cD"
    case .fileCutOff: "LD"
    case .stopped: "KD"
    }
  }

  /// Of the label in figures: `server_late`.
  var name: String {
    "\(self)".reduce(into: "") { result, character in
      if character.isUppercase { result += "_" }
      result += character.lowercased()
    }
  }

  /// Of an answer of our own that says no more than its status.
  init(ofAnswer status: Int) {
    switch status {
    case 408: self = .headLate
    case 413: self = .tooLarge
    case 429: self = .denied
    case 502: self = .serverMalformed
    case 503: self = .noServer
    case 504: self = .serverLate
    default: self = .answeredHere
    }
  }
}
