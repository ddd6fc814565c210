// Planned handovers: the balancer quietens a VIP before the elector swaps it, and serves again afterwards; and the moves that
// operators wait for.

internal import Control
internal import Glibc
internal import Kernel
internal import Logging
package import Primitives

/// VIPs whose clients the balancer was asked to part with.
package struct Handovers {
  private struct Handover {
    var vip: String
    /// As they were then: the VIP may have others after a reload, or be none any more.
    var addresses: [IPAddress]
    /// Still to be answered by the balancer.
    var awaited: Bool
    var expires: Instant
    /// The VIP has been handed over already.
    var isParting = false
  }
  package init() {}

  private var byToken: [UInt64: Handover] = [:]
  private var nextToken: UInt64 = 1

  package var isEmpty: Bool { byToken.isEmpty }
  package var nextExpiry: Instant { byToken.values.map(\.expires).min() ?? .distantFuture }

  /// A token for the balancer. `expires`: when the VIP is served again if nothing is heard of it by then.
  package mutating func begin(
    _ vip: String, addresses: [IPAddress], expires: Instant, isParting: Bool = false
  ) -> UInt64 {
    defer { nextToken += 1 }
    byToken[nextToken] = Handover(
      vip: vip, addresses: addresses, awaited: !isParting, expires: expires, isParting: isParting)
    return nextToken
  }

  /// The VIP has been handed over, and the balancer still parts with its clients.
  package func isParting(_ vip: String) -> Bool { byToken.values.contains { $0.vip == vip && $0.isParting } }

  /// The VIP that may be swapped now; nil for a token that is not awaited (any more).
  package mutating func quietened(_ token: UInt64) -> String? {
    guard let handover = byToken[token], handover.awaited else { return nil }
    byToken[token]?.awaited = false
    return handover.vip
  }

  /// The VIP was lost, or stays: the addresses that the balancer had been told to quieten.
  package mutating func finish(_ vip: String) -> [IPAddress] {
    let ended = byToken.filter { $0.value.vip == vip }
    for token in ended.keys { byToken[token] = nil }
    return Set(ended.values.flatMap(\.addresses)).sorted()
  }

  /// All that was quietened, whatever became of the VIPs.
  package var addresses: [IPAddress] { byToken.values.flatMap(\.addresses) }

  /// VIPs of which nothing was heard in time.
  package func expire(_ now: Instant) -> [String] { byToken.values.filter { now >= $0.expires }.map(\.vip) }

  /// The balancer is gone, its connections with it: everything that waits for it may be swapped.
  package mutating func abandonQuietening() -> [String] {
    let vips = byToken.values.filter(\.awaited).map(\.vip)
    for token in byToken.keys { byToken[token]?.awaited = false }
    return vips
  }
}

/// A move that somebody waits for.
struct PendingMove {
  /// How long the answer may take.
  static let patience = TimeSpan.seconds(3)

  let request: APIMoveRequest
  let reply: CheckedContinuation<APIMoveAnswer, any Error>
  let deadline = Clock.monotonic + PendingMove.patience
  /// When this node let go, on the wall clock of the elector's reports.
  var releasedUnixNanoseconds: Int64?

  init(request: APIMoveRequest, reply: CheckedContinuation<APIMoveAnswer, any Error>) {
    self.request = request
    self.reply = reply
  }

  func refuse(_ why: String, status: Int = 409) { reply.resume(throwing: Refusal(status, why)) }

  func succeed(from: NodeName, gapNanoseconds: Int64?) {
    reply.resume(
      returning: APIMoveAnswer(
        vip: request.vip, from: from.text, to: request.to,
        gapMilliseconds: gapNanoseconds.map { Double($0 / 1_000) / 1_000 }))
  }
}

extension SupervisorLoop {
  func startHandover(vip: String, to: NodeName, deadline: TimeSpan) {
    let addresses = plan.addresses(of: vip)
    guard balancer.isReady, !addresses.isEmpty else { return tellElector(.handoverReady(vip: vip)) }
    let token = handovers.begin(vip, addresses: addresses, expires: Clock.monotonic + deadline + .seconds(1))
    tellBalancer(.quieten(token: token, addresses: addresses, deadline: deadline))
    logger.debug("handing \(vip) over to \(to)")
  }

  /// The VIP is elsewhere; its connections here are to end when their requests do.
  func partWithConnections(vip: String, deadline: TimeSpan) {
    let addresses = plan.addresses(of: vip)
    guard balancer.isReady, !addresses.isEmpty else { return }
    let token = handovers.begin(
      vip, addresses: addresses, expires: Clock.monotonic + deadline + .seconds(1), isParting: true)
    tellBalancer(.quieten(token: token, addresses: addresses, deadline: deadline))
  }

  /// Serves a VIP's addresses again, if they had been quietened.
  func resume(_ vip: String) {
    let addresses = handovers.finish(vip)
    if !addresses.isEmpty { tellBalancer(.resume(addresses: addresses)) }
  }

  func startMove(_ move: PendingMove) {
    let vip = move.request.vip
    guard let target = NodeName(move.request.to), plan.elector?.members.contains(where: { $0.name == target }) == true
    else { return move.refuse("there is no member \(move.request.to)", status: 404) }
    guard plan.elector?.vips.contains(where: { $0.name == vip }) == true else {
      return move.refuse("there is no VIP \(vip)", status: 404)
    }
    guard elector.isReady else {
      return move.refuse("the elector of this node does not run: \(elector.downBecause)", status: 503)
    }
    guard moves[vip] == nil else { return move.refuse("\(vip) is being moved already") }
    moves[vip] = move
    tellElector(.move(vip: vip, to: target))
  }

  /// The elector's own measure, if it gives one, ends a move.
  func moveProgress(_ event: ElectorEvent) {
    guard moves[event.subject] != nil else { return }
    switch event.kind {
    case .vipLost: moves[event.subject]?.releasedUnixNanoseconds = event.unixNanoseconds
    case .handoverDone:
      moves.removeValue(forKey: event.subject)?.succeed(from: plan.node, gapNanoseconds: event.steps["swap"])
    default: break
    }
  }

  /// Else the time from letting go to the first heartbeat that claims the VIP for the target.
  func moveProgress(_ status: ElectorStatus) {
    for vip in status.vips {
      guard let move = moves[vip.name], let released = move.releasedUnixNanoseconds, let holder = vip.holder,
        holder.text == move.request.to
      else { continue }
      moves[vip.name] = nil
      let gap = vip.sinceUnixNanoseconds - released
      move.succeed(from: plan.node, gapNanoseconds: gap >= 0 ? gap : nil)
    }
  }

  func expireMoves(_ now: Instant) {
    for (vip, move) in moves where now >= move.deadline {
      moves[vip] = nil
      move.refuse(
        move.releasedUnixNanoseconds == nil
          ? "\(vip) was not handed over within \(PendingMove.patience.milliseconds / 1_000) s; see afloat events"
          : "\(vip) was let go, and \(move.request.to) has not been heard as its holder yet; see afloat vips",
        status: 503)
    }
  }
}
