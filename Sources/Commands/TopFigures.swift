// What `afloat top` shows: the difference between two looks at the balancer's figures, as rates and quantiles.

package import Control

/// Of a listener, a pool or a server, over one interval.
package struct TopTraffic: Encodable, Equatable, Sendable {
  package struct Quantiles: Encodable, Equatable, Sendable {
    @OrNull package var p50: Double?
    @OrNull package var p90: Double?
    @OrNull package var p99: Double?
  }
  package var requestsPerSecond: Double
  package var bytesInPerSecond: Double
  package var bytesOutPerSecond: Double
  /// By the first digit of the status, 1 to 5.
  package var responsesPerSecond: [Double]
  package var firstByteMilliseconds: Quantiles
  package var totalMilliseconds: Quantiles

  enum CodingKeys: String, CodingKey {
    case requestsPerSecond = "requests_per_s"
    case bytesInPerSecond = "bytes_in_per_s"
    case bytesOutPerSecond = "bytes_out_per_s"
    case responsesPerSecond = "responses_per_s"
    case firstByteMilliseconds = "first_byte_ms"
    case totalMilliseconds = "total_ms"
  }
}

package struct TopListener: Encodable, Equatable, Sendable {
  package var name: String
  package var connections: Int
  package var acceptedPerSecond: Double
  package var refusedPerSecond: Double
  package var traffic: TopTraffic
  /// Exchanges that ended otherwise than by an answer, per second and by cause.
  package var endingsPerSecond: [String: Double]

  enum CodingKeys: String, CodingKey {
    case name, connections, traffic
    case acceptedPerSecond = "accepted_per_s"
    case refusedPerSecond = "refused_per_s"
    case endingsPerSecond = "endings_per_s"
  }
}

package struct TopServer: Encodable, Equatable, Sendable {
  package var name: String
  package var state: ServerState
  package var connections: Int
  package var failuresPerSecond: Double
  package var traffic: TopTraffic

  enum CodingKeys: String, CodingKey {
    case name, state, connections, traffic
    case failuresPerSecond = "failures_per_s"
  }
}

package struct TopPool: Encodable, Equatable, Sendable {
  package var name: String
  package var waiting: Int
  package var queuedPerSecond: Double
  package var retriesPerSecond: Double
  package var traffic: TopTraffic
  package var servers: [TopServer]

  enum CodingKeys: String, CodingKey {
    case name, waiting, traffic, servers
    case queuedPerSecond = "queued_per_s"
    case retriesPerSecond = "retries_per_s"
  }
}

/// One line of `afloat top --json`.
package struct TopFigures: Encodable, Equatable, Sendable {
  package var time: APITime
  package var node: String
  package var verdict: String
  package var intervalSeconds: Double
  package var vips: [APIVIP]
  package var listeners: [TopListener]
  package var pools: [TopPool]
  package var accessLogDroppedPerSecond: Double

  enum CodingKeys: String, CodingKey {
    case time, node, verdict, vips, listeners, pools
    case intervalSeconds = "interval_s"
    case accessLogDroppedPerSecond = "access_log_dropped_per_s"
  }

  package init(_ status: APIStatus, from earlier: BalancerFigures, to later: BalancerFigures, time: APITime) {
    let seconds = max(1e-3, Double(later.taken - earlier.taken) / 1e9)
    let rates = Rates(seconds: seconds)
    self.time = time
    node = status.node
    verdict = status.verdict.rawValue
    intervalSeconds = seconds
    vips = status.vips
    listeners = later.listeners.map { now in
      let before = earlier.listeners.first { $0.name == now.name }
      var endings: [String: Double] = [:]
      for (cause, count) in now.endings {
        // A cause that was not there before had happened to nobody.
        let rate = rates.rate(before.map { $0.endings[cause] ?? 0 }, count)
        if rate > 0 { endings[cause] = rate }
      }
      return TopListener(
        name: now.name, connections: now.connections, acceptedPerSecond: rates.rate(before?.accepted, now.accepted),
        refusedPerSecond: rates.rate(before?.refused, now.refused),
        traffic: rates.traffic(before?.traffic, now.traffic, rates.rate(before?.requests, now.requests)),
        endingsPerSecond: endings)
    }
    pools = later.pools.map { now in
      let before = earlier.pools.first { $0.name == now.name }
      let servers = now.servers.map { now in
        let before = before?.servers.first { $0.name == now.name }
        return TopServer(
          name: now.name, state: now.state, connections: now.connections,
          failuresPerSecond: rates.rate(before?.failures, now.failures),
          traffic: rates.traffic(before?.traffic, now.traffic, rates.rate(before?.requests, now.requests)))
      }
      return TopPool(
        name: now.name, waiting: now.waiting, queuedPerSecond: rates.rate(before?.queued, now.queued),
        retriesPerSecond: rates.rate(before?.retries, now.retries),
        traffic: rates.traffic(
          before?.traffic, now.traffic, servers.reduce(0) { $0 + $1.traffic.requestsPerSecond }), servers: servers)
    }
    accessLogDroppedPerSecond = rates.rate(earlier.accessLog.dropped, later.accessLog.dropped)
  }
}

private struct Rates {
  let seconds: Double

  /// A count that has shrunk began anew; one that was not there before says nothing yet.
  func rate(_ before: UInt64?, _ now: UInt64) -> Double {
    guard let before else { return 0 }
    return Double(now >= before ? now - before : now) / seconds
  }

  func traffic(_ before: TrafficFigures?, _ now: TrafficFigures, _ requestsPerSecond: Double) -> TopTraffic {
    let earlier = before ?? now
    return TopTraffic(
      requestsPerSecond: requestsPerSecond, bytesInPerSecond: rate(earlier.bytesIn, now.bytesIn),
      bytesOutPerSecond: rate(earlier.bytesOut, now.bytesOut),
      responsesPerSecond: zip(earlier.responses, now.responses).map { rate($0, $1) },
      firstByteMilliseconds: quantiles(now.firstByte.since(earlier.firstByte)),
      totalMilliseconds: quantiles(now.total.since(earlier.total)))
  }

  private func quantiles(_ figures: LatencyFigures) -> TopTraffic.Quantiles {
    let counts = figures.counts
    func milliseconds(_ quantile: Double) -> Double? {
      LatencyBuckets.quantile(quantile, counts).map { ($0).rounded() / 1_000 }
    }
    return TopTraffic.Quantiles(p50: milliseconds(0.5), p90: milliseconds(0.9), p99: milliseconds(0.99))
  }
}
