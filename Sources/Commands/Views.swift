// What `status`, `members`, `vips`, `pools`, `listeners` and `drain` print, as pure functions of the API's answers.

package import Control

package struct Views {
  package let style: Style
  /// For relative times.
  package let now: APITime

  package init(style: Style, now: APITime) {
    self.style = style
    self.now = now
  }

  /// The first line is the verdict.
  package func status(_ status: APIStatus) -> String {
    let tone: Style.Tone =
      switch status.verdict {
      case .ok: .good
      case .degraded: .warning
      case .noQuorum, .critical: .bad
      }
    let reasons = status.reasons.map(Words.printable).joined(separator: "; ")
    var text = style.paint(status.verdict.rawValue, tone) + (reasons.isEmpty ? "" : ": \(reasons)") + "\n"
    let place = status.cluster.map { "cluster \(Words.printable($0)), seen from \(Words.printable(status.node))" }
    text += (place ?? "lone balancer \(Words.printable(status.node))") + ", afloat \(Words.printable(status.version))"
    if let started = status.started { text += ", started \(Words.ago(started, now: now))" }
    text += "\n"
    if !status.vips.isEmpty { text += "\n" + vips(status.vips) }
    if !status.members.isEmpty { text += "\n" + memberSummary(status.members) }
    if !status.services.isEmpty { text += "\n" + services(status.services) }
    if !status.pools.isEmpty { text += "\n" + pools(status.pools) }
    if !status.drains.isEmpty { text += "\n" + drains(status.drains) }
    for process in status.processes where process.state != "running" || process.restarts > 0 {
      let restarts = process.restarts > 0 ? ", restarted \(Words.count(process.restarts, "time"))" : ""
      text += "\nprocess \(Words.printable(process.name)): \(Words.printable(process.state))\(restarts)"
    }
    if text.last != "\n" { text += "\n" }
    if !status.warnings.isEmpty { text += "\n" }
    for warning in status.warnings { text += style.paint("warning:", .warning) + " \(Words.printable(warning))\n" }
    return text
  }

  private func memberSummary(_ members: [APIMember]) -> String {
    var table = Table([
      ("MEMBER", .left), ("ADDRESS", .left), ("STATE", .left), ("ROUND TRIP", .right), ("LOSS IN", .right),
      ("OUT", .right),
    ])
    for member in members {
      table.add(
        memberName(member), Cell(member.address), state(member), Cell(Words.milliseconds(member.rttMilliseconds)),
        Cell(Words.percent(member.lossIn)), Cell(Words.percent(member.lossOut)))
    }
    return table.text(style)
  }

  package func members(_ members: [APIMember]) -> String {
    guard !members.isEmpty else { return "no members: this is a lone balancer\n" }
    let own = members.first { $0.isSelf }?.configuration
    var table = Table([
      ("MEMBER", .left), ("ADDRESS", .left), ("ROLE", .left), ("STATE", .left), ("ROUND TRIP", .right),
      ("LOSS IN", .right), ("OUT", .right), ("CONFIGURATION", .left), ("WORST STALL", .right), ("DETECTION", .right),
      ("VERSION", .left),
    ])
    for member in members {
      let differs = member.configuration != nil && own != nil && member.configuration != own
      let configuration = member.configuration.map { String($0.prefix(8)) + (differs ? " (differs)" : "") } ?? "-"
      table.add(
        memberName(member), Cell(member.address), Cell(member.role), state(member),
        Cell(Words.milliseconds(member.rttMilliseconds)), Cell(Words.percent(member.lossIn)),
        Cell(Words.percent(member.lossOut)), Cell(configuration, differs ? .warning : nil),
        Cell(Words.milliseconds(member.worstStallMilliseconds)), Cell(Words.milliseconds(member.detectionMilliseconds)),
        Cell(member.version ?? "-"))
    }
    return table.text(style) + paths(members) + links(members)
  }

  private func memberName(_ member: APIMember) -> Cell { Cell(member.name + (member.isSelf ? " (here)" : ""), .strong) }

  private func state(_ member: APIMember) -> Cell {
    let tone: Style.Tone =
      switch member.state {
      case .alive: .good
      case .dead: .bad
      case .suspect, .starting, .draining, .drained: .warning
      }
    guard member.state == .dead, let heard = member.lastHeardMilliseconds, heard.isFinite, heard >= 1_000, heard < 1e15
    else {
      return Cell(member.state.rawValue, tone)
    }
    return Cell("dead, heard \(Words.span(seconds: Int64(heard / 1_000))) ago", tone)
  }

  package func vips(_ vips: [APIVIP]) -> String {
    guard !vips.isEmpty else { return "no VIPs\n" }
    var table = Table([
      ("VIP", .left), ("ADDRESSES", .left), ("HOLDER", .left), ("SINCE", .left), ("FENCE", .left), ("CAUSE", .left),
    ])
    for vip in vips {
      table.add(
        Cell(vip.name, .strong), Cell(vip.addresses.joined(separator: ", ")),
        vip.holder.map { Cell($0, vip.holderToldBy == nil ? .good : .warning) } ?? Cell("nobody", .bad),
        Cell(Words.ago(vip.since, now: now)),
        Cell(vip.fence), Cell(vip.cause.isEmpty ? "-" : vip.cause))
    }
    var text = table.text(style)
    for vip in vips {
      guard let why = vip.ineligible else { continue }
      text += "this node may not hold \(Words.printable(vip.name)): \(Words.printable(why))\n"
    }
    return text
  }

  func services(_ services: [APIService]) -> String {
    var table = Table([("SERVICE", .left), ("LEADER", .left), ("TERM", .right), ("STATE", .left)])
    for service in services {
      table.add(
        Cell(service.name, .strong), service.leader.map { Cell($0, .good) } ?? Cell("nobody", .bad),
        Cell(service.term.map { "\($0)" } ?? "-"), Cell(service.state))
    }
    return table.text(style)
  }

  package func pools(_ pools: [APIPool]) -> String {
    guard !pools.isEmpty else { return "no pools\n" }
    var table = Table([
      ("POOL/SERVER", .left), ("ADDRESS", .left), ("STATE", .left), ("WEIGHT", .right), ("CONNECTIONS", .right),
      ("REQUESTS", .right), ("FAILURES", .right), ("LAST CHECK", .left),
    ])
    for pool in pools {
      for server in pool.servers {
        let tone: Style.Tone =
          switch server.state {
          case .up, .backup: .good
          case .down: .bad
          case .starting, .drain, .maint: .warning
          }
        table.add(
          Cell("\(pool.name)/\(server.name)", .strong), Cell(address(server)), Cell(server.state.rawValue, tone),
          "\(server.weight)", "\(server.connections)", "\(server.requests)", "\(server.failures)",
          Cell(server.lastCheck.isEmpty ? "not checked" : server.lastCheck))
      }
    }
    return table.text(style)
  }

  /// `192.0.2.21:8080 (app.example)` where a name stands for it.
  func address(_ server: APIServer) -> String {
    guard let name = server.hostName, !server.address.hasPrefix(name) else { return server.address }
    return "\(server.address) (\(name))"
  }

  package func listeners(_ listeners: [APIListener]) -> String {
    guard !listeners.isEmpty else { return "no listeners\n" }
    var table = Table([
      ("LISTENER", .left), ("BIND", .left), ("MODE", .left), ("POOL", .left), ("CONNECTIONS", .right),
      ("ACCEPTED", .right), ("REQUESTS", .right), ("REFUSED", .right),
    ])
    for listener in listeners {
      table.add(
        Cell(listener.name, .strong), Cell(listener.bind.joined(separator: ", ")), Cell(listener.mode),
        Cell(pools(listener)),
        "\(listener.connections)", "\(listener.accepted)", "\(listener.requests)", "\(listener.refused)")
    }
    return table.text(style)
  }

  /// `app`; `app (web/default: green)` where operators sent a route elsewhere.
  private func pools(_ listener: APIListener) -> String {
    let pool = listener.pool.isEmpty ? "-" : listener.pool
    if listener.switched.isEmpty { return pool }
    let switched = listener.switched.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
    return "\(pool) (\(switched.joined(separator: ", ")))"
  }

  package func drains(_ drains: [APIDrain]) -> String {
    drains.map { drain in
      var line = style.paint("drain", .quiet) + " \(Words.printable(drain.node)): " + phase(drain)
      line += ", asked by \(Words.printable(drain.by)) \(Words.ago(drain.since, now: now))"
      if !drain.reason.isEmpty { line += " (\(Words.printable(drain.reason)))" }
      if drain.phase == .draining, let deadline = drain.deadline {
        line += ", deadline \(Words.until(deadline, now: now))"
      }
      if drain.untilReboot { line += ", until it reboots" }
      return line + "\n" + drain.blocking.map { "  waits for " + blocker($0) + "\n" }.joined()
    }.joined()
  }

  private func phase(_ drain: APIDrain) -> String {
    switch drain.phase {
    case .draining: style.paint("draining", .warning)
    case .drained: style.paint("drained", .good)
    case .deadlinePassed: style.paint("not empty at the deadline", .bad)
    }
  }

  /// `server app/n1 on n2: 3 connections`.
  package func blocker(_ blocker: APIBlocker) -> String {
    let kind = blocker.kind == .vip ? "VIP" : blocker.kind.rawValue
    let place = blocker.node.isEmpty ? "" : " on \(blocker.node)"
    let detail = blocker.detail.isEmpty ? Words.count(blocker.connections, "connection") : blocker.detail
    return Words.printable("\(kind) \(blocker.name)\(place): \(detail)")
  }

  package func events(_ events: [APIEvent]) -> String {
    events.map { event in
      let steps = event.stepsMilliseconds.sorted { $0.key < $1.key }
        .map { "\($0.key) \(Words.milliseconds($0.value))" }.joined(separator: ", ")
      let line = "\(event.time)  \(event.node)  \(event.kind)  \(event.subject)  \(event.cause)"
      return Words.printable(line + (steps.isEmpty ? "" : "  [\(steps)]")) + "\n"
    }.joined()
  }
}
