// What the VIPs require at this node and what is known of it: answers come in one by one, standings go out to the elector
// when they change. A value without any looking of its own.

package import Control
internal import Primitives

/// What was found when something required was looked at.
package struct RequirementAnswer: Equatable, Sendable {
  package var met: Bool
  /// What was seen, in words.
  package var cause: String

  package init(met: Bool, cause: String) {
    self.met = met
    self.cause = cause
  }
}

package struct RequirementBook: Sendable {
  private var vips: [VIPConfiguration] = []
  /// Nothing for what has not been looked at.
  private var answers: [Requirement.Kind: RequirementAnswer] = [:]
  private var told: [String: VIPStanding] = [:]
  /// VIPs for which this node was eligible before the configuration changed: what they require anew counts from its first
  /// answer on, so that a reload moves nothing.
  private var trusted: Set<String> = []

  package init() {}

  /// A new configuration: what it does not require any more is forgotten, but for the balancer, who is not asked.
  package mutating func configure(_ vips: [VIPConfiguration]) {
    trusted = Set(self.vips.filter { standing(of: $0).eligible }.map(\.name))
    self.vips = vips
    let kinds = Set(vips.flatMap { $0.requires.map(\.kind) })
    answers = answers.filter { kinds.contains($0.key) || $0.key == .balancer }
    let names = Set(vips.map(\.name))
    told = told.filter { names.contains($0.key) }
  }

  /// What has to be looked at outside of Afloat's own processes, each once.
  package var outside: Set<Requirement.Kind> {
    Set(
      vips.flatMap { $0.requires.map(\.kind) }.filter {
        switch $0 {
        case .balancer, .pool: false
        case .interface, .script, .process, .file: true
        }
      })
  }

  /// True if the answer is news. One for what is not required (any more) is not.
  package mutating func note(_ kind: Requirement.Kind, _ answer: RequirementAnswer) -> Bool {
    let isRequired = vips.contains { $0.requires.contains { $0.kind == kind } }
    guard answers[kind] != answer, isRequired || kind == .balancer else { return false }
    answers[kind] = answer
    return isRequired
  }

  /// The pools as the balancer reports them; nil while it does not serve, because of `why`. `destinations`: the pools that
  /// clients of one are sent to, by switches; each of them has to have the servers. True if that is news.
  package mutating func note(
    pools: [PoolStatus]?, why: String = "", destinations: (String) -> Set<String> = { [$0] }
  ) -> Bool {
    var isNews = false
    for case .pool(let name, let atLeast) in Set(vips.flatMap { $0.requires.map(\.kind) }) {
      let answer: RequirementAnswer
      if let pools {
        let names = destinations(name)
        let found = pools.filter { names.contains($0.name) }
        guard found.count == names.count else { continue }
        answer = RequirementAnswer(
          met: found.allSatisfy { Self.serving($0) >= atLeast },
          cause: found.map { Self.words($0, isSwitch: $0.name != name) }.joined(separator: "; "))
      } else {
        answer = RequirementAnswer(met: false, cause: why)
      }
      if note(.pool(name, atLeast: atLeast), answer) { isNews = true }
    }
    return isNews
  }

  private static func serving(_ pool: PoolStatus) -> Int {
    pool.servers.count { $0.state == .up && $0.weight > 0 }
  }

  private static func words(_ pool: PoolStatus, isSwitch: Bool) -> String {
    let weightless = pool.servers.count { $0.state == .up && $0.weight == 0 }
    return (isSwitch ? "its clients are switched to pool \(pool.name): " : "")
      + "\(serving(pool)) of \(pool.servers.count) servers are up"
      + (weightless == 0 ? "" : " (not counting \(weightless) with weight 0)")
  }

  /// A new elector knows nothing.
  package mutating func forgetTold() { told = [:] }

  /// The standings that the elector has to be told.
  package mutating func changes() -> [VIPStanding] {
    var changed: [VIPStanding] = []
    for vip in vips where !vip.requires.isEmpty {
      let standing = standing(of: vip)
      guard told[vip.name] != standing else { continue }
      told[vip.name] = standing
      changed.append(standing)
    }
    return changed
  }

  private func standing(of vip: VIPConfiguration) -> VIPStanding {
    let missing = vip.requires.filter { !(answers[$0.kind]?.met ?? trusted.contains(vip.name)) }
    return VIPStanding(
      vip: vip.name, eligible: missing.isEmpty, strict: missing.contains(where: \.strict),
      cause: missing.map { "\($0.words): \(cause(of: $0))" }.joined(separator: "; "))
  }

  /// Why it does not serve, or that it does.
  package var balancerCause: String { answers[.balancer]?.cause ?? "not known yet" }

  private func cause(of requirement: Requirement) -> String {
    answers[requirement.kind]?.cause ?? "not known yet"
  }

  /// For `vips`: by name of the VIP.
  package var shown: [String: [APIRequirement]] {
    var shown: [String: [APIRequirement]] = [:]
    for vip in vips {
      shown[vip.name] = vip.requires.map {
        APIRequirement(
          requirement: $0.words, met: answers[$0.kind]?.met ?? false, strict: $0.strict, cause: cause(of: $0))
      }
    }
    return shown
  }
}

extension Requirement {
  /// `pool app (at least 2)`.
  package var words: String {
    if case .pool(_, let atLeast) = kind, atLeast > 1 { return "\(kind.words) (at least \(atLeast))" }
    return kind.words
  }
}
