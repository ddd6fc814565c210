// What a node needs before it may hold a VIP: named in the configuration, judged by the agent, honoured by the elector,
// which only hears whether all of it is there.

package import Primitives

/// A program that is run again and again; exit status 0 is good.
package struct ScriptCheck: Codable, Hashable, Sendable {
  package var path: String
  /// From start to start; a run that takes longer delays the next.
  package var every = TimeSpan.seconds(2)
  /// A run that takes longer is ended, with all that it started, and counts as failed.
  package var timeout = TimeSpan.seconds(1)
  /// How many results in a row change the judgement; the very first result is believed at once.
  package var rise = 2
  package var fall = 3

  package init(path: String) { self.path = path }
}

package struct Requirement: Codable, Hashable, Sendable {
  package enum Kind: Codable, Hashable, Sendable {
    /// The balancer serves.
    case balancer
    /// So many servers of the pool take new clients, as this node sees them.
    case pool(String, atLeast: Int)
    /// The interface is up and has carrier.
    case interface(String)
    case script(ScriptCheck)
    /// A process of that name runs.
    case process(String)
    /// There is a file of that path.
    case file(String)

    /// `script /usr/local/bin/uplink`.
    package var words: String {
      switch self {
      case .balancer: "balancer"
      case .pool(let name, _): "pool \(name)"
      case .interface(let name): "interface \(name)"
      case .script(let check): "script \(check.path)"
      case .process(let name): "process \(name)"
      case .file(let path): "file \(path)"
      }
    }
  }
  package var kind: Kind
  /// Without it the node gives the VIP up even if nobody else may hold it.
  package var strict: Bool

  package init(_ kind: Kind, strict: Bool = false) {
    self.kind = kind
    self.strict = strict
  }
}

/// The agent's judgement of all of a VIP's requirements at this node.
package struct VIPStanding: Codable, Equatable, Sendable {
  package var vip: String
  package var eligible: Bool
  /// Something strict is missing.
  package var strict: Bool
  /// What is missing, in words; empty if nothing is.
  package var cause: String

  package init(vip: String, eligible: Bool, strict: Bool, cause: String) {
    self.vip = vip
    self.eligible = eligible
    self.strict = strict
    self.cause = cause
  }
}
