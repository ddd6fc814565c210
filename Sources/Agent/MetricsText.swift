// GET /metrics: everything that has a number, in the text format of Prometheus (version 0.0.4). Names and labels are a contract:
// they may be added, not changed. Times are in seconds, sizes in bytes; histograms have a bound per doubling.

internal import Control
internal import Primitives

struct MetricsText {
  private var text = ""

  static let contentType = "text/plain; version=0.0.4; charset=utf-8"
  /// Bounds of histograms: those of every eighth latency bucket, from 128 µs to 67 s.
  private static let bounds = (2...21).map { $0 * 8 }

  init(_ sources: APISources, _ figures: BalancerFigures?) {
    node(sources)
    cluster(sources)
    guard let figures else { return }
    listeners(figures)
    routes(figures)
    pools(figures)
    servers(figures)
    accessLog(figures.accessLog)
  }

  var description: String { text }

  // MARK: Samples

  private enum Kind: String { case gauge, counter, histogram }

  private mutating func family(_ name: String, _ kind: Kind, _ help: String) {
    text += "# HELP afloat_\(name) \(help)\n# TYPE afloat_\(name) \(kind.rawValue)\n"
  }

  private mutating func sample(_ name: String, _ labels: [(String, String)], _ value: String) {
    text += "afloat_\(name)\(Self.written(labels)) \(value)\n"
  }

  private static func written(_ labels: [(String, String)]) -> String {
    labels.isEmpty ? "" : "{" + labels.map { "\($0.0)=\"\(escaped($0.1))\"" }.joined(separator: ",") + "}"
  }

  private static func escaped(_ value: String) -> String {
    guard value.utf8.contains(where: { $0 == 92 || $0 == 34 || $0 == 10 }) else { return value }
    return value.reduce(into: "") { result, character in
      switch character {
      case "\\": result += "\\\\"
      case "\"": result += "\\\""
      case "\n": result += "\\n"
      default: result.append(character)
      }
    }
  }

  private static func seconds(microseconds: UInt64) -> String { "\(Double(microseconds) / 1e6)" }

  private mutating func one(_ name: String, _ kind: Kind, _ help: String, _ labels: [(String, String)], _ value: String)
  {
    family(name, kind, help)
    sample(name, labels, value)
  }

  /// A family with a sample for each of `items`.
  private mutating func each<Item>(
    _ name: String, _ kind: Kind, _ help: String, _ items: [Item], _ labels: (Item) -> [(String, String)],
    _ value: (Item) -> some CustomStringConvertible
  ) {
    if items.isEmpty { return }
    family(name, kind, help)
    for item in items { sample(name, labels(item), value(item).description) }
  }

  private mutating func histogram<Item>(
    _ name: String, _ help: String, _ items: [Item], _ labels: (Item) -> [(String, String)],
    _ figures: (Item) -> LatencyFigures
  ) {
    if items.isEmpty { return }
    family(name, .histogram, help)
    for item in items {
      let (labels, figures) = (labels(item), figures(item))
      let counts = figures.counts
      var sum: UInt64 = 0
      var next = 0
      for bound in Self.bounds {
        while next < bound {
          sum += counts[next]
          next += 1
        }
        let le = Self.seconds(microseconds: LatencyBuckets.start(bound))
        sample("\(name)_bucket", labels + [("le", le)], "\(sum)")
      }
      sample("\(name)_bucket", labels + [("le", "+Inf")], "\(figures.count)")
      sample("\(name)_sum", labels, Self.seconds(microseconds: figures.sumMicroseconds))
      sample("\(name)_count", labels, "\(figures.count)")
    }
  }

  private mutating func responses<Item>(
    _ name: String, _ help: String, _ items: [Item], _ labels: (Item) -> [(String, String)],
    _ counts: (Item) -> [UInt64]
  ) {
    if items.isEmpty { return }
    family(name, .counter, help)
    for item in items {
      for (digit, count) in counts(item).enumerated() {
        sample(name, labels(item) + [("class", "\(digit + 1)xx")], "\(count)")
      }
    }
  }

  private mutating func bytes<Item>(
    _ name: String, _ help: String, _ items: [Item], _ labels: (Item) -> [(String, String)],
    _ traffic: (Item) -> TrafficFigures
  ) {
    if items.isEmpty { return }
    family(name, .counter, help)
    for item in items {
      sample(name, labels(item) + [("direction", "in")], "\(traffic(item).bytesIn)")
      sample(name, labels(item) + [("direction", "out")], "\(traffic(item).bytesOut)")
    }
  }

  // MARK: Node and cluster

  private mutating func node(_ sources: APISources) {
    let status = sources.status
    one(
      "build_info", .gauge, "What runs here; always 1.", [("version", sources.version), ("node", sources.node.text)],
      "1")
    one(
      "start_time_seconds", .gauge, "When the agent was started.", [],
      "\(Double(sources.started.unixNanoseconds / 1_000_000) / 1_000)")
    family("verdict", .gauge, "1 for the verdict of `afloat status`, 0 for the others.")
    for verdict in [APIVerdict.ok, .degraded, .noQuorum, .critical] {
      sample("verdict", [("verdict", verdict.rawValue)], status.verdict == verdict ? "1" : "0")
    }
    one("warnings", .gauge, "Warnings in `afloat status`.", [], "\(status.warnings.count)")
    each(
      "process_up", .gauge, "Whether a process of afloat runs and is ready.", status.processes,
      { [("process", $0.name)] }, { $0.state == "running" ? 1 : 0 })
    each(
      "process_restarts_total", .counter, "Restarts of a process since the agent was started.", status.processes,
      { [("process", $0.name)] }, { $0.restarts })
    each(
      "drain_active", .gauge, "Nodes that are being drained, or are drained.", status.drains,
      { [("node", $0.node), ("phase", $0.phase.rawValue)] }, { _ in 1 })
  }

  private mutating func cluster(_ sources: APISources) {
    let members = sources.members
    each(
      "member_alive", .gauge, "Whether this node takes the member for alive.", members, { [("member", $0.name)] },
      { [.dead, .starting].contains($0.state) ? 0 : 1 })
    let measured = members.filter { !$0.isSelf }
    func seconds(_ milliseconds: Double?) -> String? { milliseconds.map { "\($0 / 1_000)" } }
    func perMember(_ name: String, _ help: String, _ value: (APIMember) -> String?) {
      let known = measured.compactMap { member in value(member).map { (member.name, $0) } }
      each(name, .gauge, help, known, { [("member", $0.0)] }, { $0.1 })
    }
    perMember("member_round_trip_seconds", "Round trip of heartbeats.") { seconds($0.rttMilliseconds) }
    perMember("member_loss_in_ratio", "Share of the member's heartbeats that do not come.") {
      $0.lossIn.map { "\($0)" }
    }
    perMember("member_loss_out_ratio", "Share of our heartbeats that the member misses.") { $0.lossOut.map { "\($0)" } }
    perMember("member_detection_seconds", "How long the member may be silent before it is taken for dead.") {
      seconds($0.detectionMilliseconds)
    }
    let paths = measured.flatMap { member in member.paths.map { (member: member.name, path: $0) } }
    each(
      "member_heard", .gauge, "Whether this node hears the member on the interface.", paths,
      { [("member", $0.member), ("interface", $0.path.interface)] }, { $0.path.heard == true ? 1 : 0 })
    if let own = members.first(where: \.isSelf), let stall = seconds(own.worstStallMilliseconds) {
      one("elector_worst_stall_seconds", .gauge, "Longest time that the elector was kept from running.", [], stall)
    }
    let vips = sources.vips
    each(
      "vip_held", .gauge, "Whether somebody holds the virtual IP, as far as this node knows.", vips,
      { [("vip", $0.name)] }, { $0.holder == nil ? 0 : 1 })
    each(
      "vip_held_here", .gauge, "Whether this node holds the virtual IP.", vips, { [("vip", $0.name)] },
      { $0.holder == sources.node.text ? 1 : 0 })
    each(
      "vip_eligible_here", .gauge, "Whether this node may hold the virtual IP.", vips, { [("vip", $0.name)] },
      { $0.ineligible == nil ? 1 : 0 })
    let since = vips.compactMap { vip in vip.since.map { (vip.name, $0) } }
    each(
      "vip_since_seconds", .gauge, "When the holder of the virtual IP last changed.", since, { [("vip", $0.0)] },
      { Double($0.1.unixNanoseconds / 1_000_000) / 1_000 })
  }

  // MARK: Balancer

  private mutating func listeners(_ figures: BalancerFigures) {
    let all = figures.listeners
    let labels = { (listener: ListenerFigures) in [("listener", listener.name)] }
    each("listener_connections", .gauge, "Open connections of clients.", all, labels) { $0.connections }
    each("listener_accepted_total", .counter, "Connections that were accepted.", all, labels) { $0.accepted }
    each("listener_requests_total", .counter, "Requests; connections in TCP mode.", all, labels) { $0.requests }
    each("listener_refused_total", .counter, "Requests and connections that were refused.", all, labels) { $0.refused }
    responses("listener_responses_total", "Answers by class of status.", all, labels) { $0.traffic.responses }
    bytes("listener_bytes_total", "Bytes from and to clients.", all, labels) { $0.traffic }
    each("listener_spliced_bytes_total", .counter, "Bytes passed on without being copied, both ways.", all, labels) {
      $0.splicedBytes
    }
    family("listener_endings_total", .counter, "Exchanges that a server did not simply answer, by cause.")
    for listener in all {
      for (cause, count) in listener.endings.sorted(by: { $0.key < $1.key }) {
        sample("listener_endings_total", labels(listener) + [("cause", cause)], "\(count)")
      }
    }
    histogram("listener_first_byte_seconds", "From the request to the first byte of its answer.", all, labels) {
      $0.traffic.firstByte
    }
    histogram("listener_duration_seconds", "From the request, or the connection, to its end.", all, labels) {
      $0.traffic.total
    }
  }

  private mutating func routes(_ figures: BalancerFigures) {
    let labels = { (route: RouteFigures) in [("listener", route.listener), ("route", route.name)] }
    each("route_requests_total", .counter, "Requests that a route took, and that are over.", figures.routes, labels) {
      $0.requests
    }
    each("route_denied_total", .counter, "Requests over the route's rate limit.", figures.routes, labels) { $0.denied }
    responses("route_responses_total", "Answers by class of status.", figures.routes, labels) { $0.responses }
  }

  private mutating func pools(_ figures: BalancerFigures) {
    let all = figures.pools
    let labels = { (pool: PoolFigures) in [("pool", pool.name)] }
    each("pool_waiting", .gauge, "Clients that wait for a server.", all, labels) { $0.waiting }
    each("pool_queued_total", .counter, "Clients that had to wait for a server.", all, labels) { $0.queued }
    each("pool_queue_full_total", .counter, "Clients turned away because too many waited.", all, labels) {
      $0.queueFull
    }
    each("pool_queue_late_total", .counter, "Clients turned away because they waited too long.", all, labels) {
      $0.queueLate
    }
    each("pool_retries_total", .counter, "Requests sent again after a server failed them.", all, labels) { $0.retries }
    responses("pool_responses_total", "Answers of servers by class of status.", all, labels) { $0.traffic.responses }
    bytes("pool_bytes_total", "Bytes from clients to servers and back.", all, labels) { $0.traffic }
    histogram("pool_first_byte_seconds", "From the request to the first byte of its answer.", all, labels) {
      $0.traffic.firstByte
    }
    histogram("pool_duration_seconds", "From the request, or the connection, to its end.", all, labels) {
      $0.traffic.total
    }
  }

  private mutating func servers(_ figures: BalancerFigures) {
    let all = figures.pools.flatMap { pool in pool.servers.map { (pool: pool.name, server: $0) } }
    typealias Item = (pool: String, server: ServerFigures)
    let labels = { (item: Item) in [("pool", item.pool), ("server", item.server.name)] }
    each("server_up", .gauge, "Whether the server takes new clients.", all, labels) {
      $0.server.state.takesNewClients(weight: $0.server.weight) ? 1 : 0
    }
    each(
      "server_state", .gauge, "Always 1; the state is a label.", all,
      { labels($0) + [("state", $0.server.state.rawValue)] }, { _ in 1 })
    each("server_weight", .gauge, "The weight that is in force.", all, labels) { $0.server.weight }
    each("server_connections", .gauge, "Requests in flight and open tunnels.", all, labels) { $0.server.connections }
    each("server_requests_total", .counter, "Requests and connections sent to it.", all, labels) { $0.server.requests }
    each("server_failures_total", .counter, "Requests and connections that it failed.", all, labels) {
      $0.server.failures
    }
    responses("server_responses_total", "Its answers by class of status.", all, labels) { $0.server.traffic.responses }
    bytes("server_bytes_total", "Bytes from clients to it and back.", all, labels) { $0.server.traffic }
    histogram("server_first_byte_seconds", "From the request to the first byte of its answer.", all, labels) {
      $0.server.traffic.firstByte
    }
    histogram("server_duration_seconds", "From the request, or the connection, to its end.", all, labels) {
      $0.server.traffic.total
    }
  }

  private mutating func accessLog(_ figures: AccessLogFigures) {
    one("access_log_lines_total", .counter, "Lines of the access log that were written.", [], "\(figures.written)")
    one("access_log_dropped_total", .counter, "Lines of the access log that were lost.", [], "\(figures.dropped)")
  }
}
