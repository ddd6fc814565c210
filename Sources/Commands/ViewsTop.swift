// The tables of `afloat top`, and of `afloat pools`.

package import Control

extension Views {
  package func top(_ top: TopFigures) -> String {
    let seconds = Words.decimal(top.intervalSeconds, 1)
    var text = "\(Words.printable(top.node)): \(top.verdict), \(top.time), over \(seconds) s\n"
    for vip in top.vips {
      let tone: Style.Tone = vip.holder == nil ? .bad : vip.holderToldBy == nil ? .good : .warning
      let holder = style.paint(Words.printable(vip.holder ?? "nobody"), tone)
      text += "VIP \(Words.printable(vip.name)): \(holder)\n"
    }
    if top.accessLogDroppedPerSecond > 0 {
      text +=
        style.paint("warning:", .warning)
        + " \(Words.decimal(top.accessLogDroppedPerSecond, 0)) lines of the access log are lost per second\n"
    }
    text += "\n" + listeners(top.listeners) + "\n" + servers(top.pools)
    return text
  }

  private func listeners(_ listeners: [TopListener]) -> String {
    var table = Table([
      ("LISTENER", .left), ("CONN", .right), ("NEW/S", .right), ("REQ/S", .right), ("2XX", .right), ("3XX", .right),
      ("4XX", .right), ("5XX", .right), ("REFUSED/S", .right), ("IN/S", .right), ("OUT/S", .right), ("P50", .right),
      ("P90", .right), ("P99", .right), ("ENDINGS/S", .left),
    ])
    for listener in listeners {
      let traffic = listener.traffic
      let endings = listener.endingsPerSecond.sorted { $0.value > $1.value }.prefix(3)
        .map { "\($0.key) \(Self.rate($0.value))" }.joined(separator: ", ")
      table.add(
        Cell(listener.name, .strong), "\(listener.connections)", Cell(Self.rate(listener.acceptedPerSecond)),
        Cell(Self.rate(traffic.requestsPerSecond)), Cell(Self.rate(traffic.responsesPerSecond[1])),
        Cell(Self.rate(traffic.responsesPerSecond[2])), Cell(Self.rate(traffic.responsesPerSecond[3])),
        errors(traffic.responsesPerSecond[4]), Cell(Self.rate(listener.refusedPerSecond)),
        Cell(Self.size(traffic.bytesInPerSecond)), Cell(Self.size(traffic.bytesOutPerSecond)),
        Cell(Words.milliseconds(traffic.firstByteMilliseconds.p50)),
        Cell(Words.milliseconds(traffic.firstByteMilliseconds.p90)),
        Cell(Words.milliseconds(traffic.firstByteMilliseconds.p99)), Cell(endings.isEmpty ? "-" : endings))
    }
    return table.text(style)
  }

  private func servers(_ pools: [TopPool]) -> String {
    var table = Table([
      ("POOL/SERVER", .left), ("STATE", .left), ("CONN", .right), ("REQ/S", .right), ("2XX", .right), ("3XX", .right),
      ("4XX", .right), ("5XX", .right), ("FAIL/S", .right), ("WAITING", .right), ("RETRY/S", .right), ("IN/S", .right),
      ("OUT/S", .right), ("P50", .right), ("P90", .right), ("P99", .right),
    ])
    for pool in pools {
      let failures = pool.servers.reduce(0) { $0 + $1.failuresPerSecond }
      let up = pool.servers.count { $0.state == .up || $0.state == .backup }
      add(
        pool.traffic, to: &table, Cell(pool.name, .strong),
        Cell("\(up) of \(pool.servers.count) up", up == 0 ? .bad : up < pool.servers.count ? .warning : .good),
        connections: pool.servers.reduce(0) { $0 + $1.connections }, failures: failures,
        waiting: "\(pool.waiting)", retries: Self.rate(pool.retriesPerSecond))
      for server in pool.servers {
        add(
          server.traffic, to: &table, Cell("  \(server.name)"), Cell(server.state.rawValue, Self.tone(server.state)),
          connections: server.connections, failures: server.failuresPerSecond, waiting: "", retries: "")
      }
    }
    return table.text(style)
  }

  private func add(
    _ traffic: TopTraffic, to table: inout Table, _ name: Cell, _ state: Cell, connections: Int, failures: Double,
    waiting: String, retries: String
  ) {
    table.add(
      name, state, "\(connections)", Cell(Self.rate(traffic.requestsPerSecond)),
      Cell(Self.rate(traffic.responsesPerSecond[1])), Cell(Self.rate(traffic.responsesPerSecond[2])),
      Cell(Self.rate(traffic.responsesPerSecond[3])), errors(traffic.responsesPerSecond[4]), errors(failures),
      Cell(waiting), Cell(retries),
      Cell(Self.size(traffic.bytesInPerSecond)), Cell(Self.size(traffic.bytesOutPerSecond)),
      Cell(Words.milliseconds(traffic.firstByteMilliseconds.p50)),
      Cell(Words.milliseconds(traffic.firstByteMilliseconds.p90)),
      Cell(Words.milliseconds(traffic.firstByteMilliseconds.p99)))
  }

  private func errors(_ perSecond: Double) -> Cell { Cell(Self.rate(perSecond), perSecond > 0 ? .bad : nil) }

  private static func tone(_ state: ServerState) -> Style.Tone {
    switch state {
    case .up, .backup: .good
    case .down: .bad
    case .starting, .drain, .maint: .warning
    }
  }

  /// `0`, `0.25`, `12.5`, `1234`.
  static func rate(_ perSecond: Double) -> String {
    perSecond == 0 ? "0" : Words.decimal(perSecond, perSecond < 1 ? 2 : perSecond < 100 ? 1 : 0)
  }

  /// `512 B`, `1.5 KiB`, `12 MiB`.
  static func size(_ byteCount: Double) -> String {
    var (value, unit) = (byteCount, 0)
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1_024 && unit < units.count - 1 {
      value /= 1_024
      unit += 1
    }
    return "\(Words.decimal(value, unit == 0 || value >= 100 ? 0 : 1)) \(units[unit])"
  }

  /// `afloat pools`: what a server has done since the balancer started, and how fast. `figures`: nil where the balancer
  /// gives none.
  package func pools(_ pools: [APIPool], _ figures: BalancerFigures?) -> String {
    guard !pools.isEmpty else { return "no pools\n" }
    var table = Table([
      ("POOL/SERVER", .left), ("ADDRESS", .left), ("STATE", .left), ("WEIGHT", .right), ("CONNECTIONS", .right),
      ("REQ/S", .right), ("REQUESTS", .right), ("5XX", .right), ("FAILURES", .right), ("P50", .right),
      ("P99", .right), ("LAST CHECK", .left),
    ])
    var notes = ""
    for pool in pools {
      let counted = figures?.pools.first { $0.name == pool.name }
      for server in pool.servers {
        let traffic = counted?.servers.first { $0.name == server.name }?.traffic
        let counts = traffic?.firstByte.counts ?? []
        func quantile(_ share: Double) -> Cell {
          Cell(Words.milliseconds(LatencyBuckets.quantile(share, counts).map { $0 / 1_000 }))
        }
        table.add(
          Cell("\(pool.name)/\(server.name)", .strong), Cell(address(server)),
          Cell(server.state.rawValue, Self.tone(ServerState(rawValue: server.state.rawValue) ?? .down)),
          "\(server.weight)", "\(server.connections)", Cell(server.requestsPerSecond.map { Self.rate($0) } ?? "-"),
          "\(server.requests)", Cell(traffic.map { "\($0.responses[4])" } ?? "-"), "\(server.failures)",
          quantile(0.5), quantile(0.99), Cell(server.lastCheck.isEmpty ? "not checked" : server.lastCheck))
      }
      guard let counted else { continue }
      var parts: [String] = []
      if counted.waiting > 0 { parts.append("\(Words.count(counted.waiting, "client")) waiting for a server now") }
      if counted.queued > 0 {
        parts.append(
          "\(counted.queued) had to wait (\(counted.queueFull) turned away because too many did, \(counted.queueLate) after"
            + " too long)")
      }
      if counted.retries > 0 { parts.append("\(counted.retries) sent again after a server failed them") }
      if !parts.isEmpty { notes += "pool \(Words.printable(pool.name)): \(parts.joined(separator: ", "))\n" }
    }
    return table.text(style) + (notes.isEmpty ? "" : "\n" + notes)
  }
}
