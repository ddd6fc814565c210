// What the balancer has counted since it started, in full: for /metrics, /v1/figures and `afloat top`. Assembled when it is
// asked for; the few figures that everybody looks at are in `BalancerStatus`.

/// A histogram over `LatencyBuckets`.
package struct LatencyFigures: Codable, Equatable, Sendable {
  package var count: UInt64 = 0
  package var sumMicroseconds: UInt64 = 0
  /// Bucket and count in turn, of the buckets that are not empty, in their order.
  package var buckets: [UInt64] = []

  package init() {}

  /// `counts`: one per bucket.
  package init(counts: [UInt64], sumMicroseconds: UInt64) {
    count = counts.reduce(0, &+)
    self.sumMicroseconds = sumMicroseconds
    for (index, count) in counts.enumerated() where count > 0 { buckets += [UInt64(index), count] }
  }

  /// One per bucket.
  package var counts: [UInt64] {
    var counts = [UInt64](repeating: 0, count: LatencyBuckets.count)
    for pair in stride(from: 0, to: buckets.count - 1, by: 2) where buckets[pair] < UInt64(LatencyBuckets.count) {
      counts[Int(buckets[pair])] &+= buckets[pair + 1]
    }
    return counts
  }

  /// What has come since `earlier`; everything, if that was another process's.
  package func since(_ earlier: LatencyFigures) -> LatencyFigures {
    guard earlier.count <= count else { return self }
    let counts = zip(self.counts, earlier.counts).map { $0 >= $1 ? $0 - $1 : $0 }
    return LatencyFigures(
      counts: counts,
      sumMicroseconds: sumMicroseconds >= earlier.sumMicroseconds ? sumMicroseconds - earlier.sumMicroseconds : 0)
  }

  enum CodingKeys: String, CodingKey {
    case count, buckets
    case sumMicroseconds = "sum_us"
  }
}

/// Of a listener, pool or server.
package struct TrafficFigures: Codable, Equatable, Sendable {
  /// Final answers by the first digit of their status, 1 to 5. A 1 is a 101.
  package var responses: [UInt64] = [0, 0, 0, 0, 0]
  /// Bytes of requests as clients sent them, and of answers as they went out; heads and framing included.
  package var bytesIn: UInt64 = 0
  package var bytesOut: UInt64 = 0
  /// From the last byte of a request's head (TCP: from the accept) to the first of its answer.
  package var firstByte = LatencyFigures()
  /// From the first byte of a request (TCP: from the accept) to the end.
  package var total = LatencyFigures()

  package init() {}

  enum CodingKeys: String, CodingKey {
    case responses, total
    case bytesIn = "bytes_in"
    case bytesOut = "bytes_out"
    case firstByte = "first_byte"
  }
}

package struct ListenerFigures: Codable, Equatable, Sendable {
  package var name: String
  package var connections: Int
  package var accepted: UInt64
  package var requests: UInt64
  package var refused: UInt64
  /// Of the bytes in and out, those that were not copied on their way through (splice(2)).
  package var splicedBytes: UInt64
  package var traffic: TrafficFigures
  /// How exchanges ended that were not simply answered: by the name of the cause.
  package var endings: [String: UInt64]

  package init(
    name: String, connections: Int, accepted: UInt64, requests: UInt64, refused: UInt64, splicedBytes: UInt64,
    traffic: TrafficFigures, endings: [String: UInt64]
  ) {
    self.name = name
    self.connections = connections
    self.accepted = accepted
    self.requests = requests
    self.refused = refused
    self.splicedBytes = splicedBytes
    self.traffic = traffic
    self.endings = endings
  }

  enum CodingKeys: String, CodingKey {
    case name, connections, accepted, requests, refused, traffic, endings
    case splicedBytes = "spliced_bytes"
  }
}

package struct RouteFigures: Codable, Equatable, Sendable {
  package var listener: String
  package var name: String
  package var requests: UInt64
  /// As in `TrafficFigures`.
  package var responses: [UInt64]
  /// Over the route's rate limit.
  package var denied: UInt64

  package init(listener: String, name: String, requests: UInt64, responses: [UInt64], denied: UInt64) {
    self.listener = listener
    self.name = name
    self.requests = requests
    self.responses = responses
    self.denied = denied
  }
}

package struct ServerFigures: Codable, Equatable, Sendable {
  package var name: String
  package var state: ServerState
  package var weight: Int
  package var connections: Int
  package var requests: UInt64
  package var failures: UInt64
  package var traffic: TrafficFigures

  package init(
    name: String, state: ServerState, weight: Int, connections: Int, requests: UInt64, failures: UInt64,
    traffic: TrafficFigures
  ) {
    self.name = name
    self.state = state
    self.weight = weight
    self.connections = connections
    self.requests = requests
    self.failures = failures
    self.traffic = traffic
  }
}

package struct PoolFigures: Codable, Equatable, Sendable {
  package var name: String
  /// Clients that wait for a server now.
  package var waiting: Int
  /// Those that ever had to wait, and those that were turned away because too many waited or they waited too long.
  package var queued: UInt64
  package var queueFull: UInt64
  package var queueLate: UInt64
  /// Requests and connections that were sent on to a server again, after one had failed them.
  package var retries: UInt64
  /// Of all its servers, removed ones included.
  package var traffic: TrafficFigures
  package var servers: [ServerFigures]

  package init(
    name: String, waiting: Int, queued: UInt64, queueFull: UInt64, queueLate: UInt64, retries: UInt64,
    traffic: TrafficFigures, servers: [ServerFigures]
  ) {
    self.name = name
    self.waiting = waiting
    self.queued = queued
    self.queueFull = queueFull
    self.queueLate = queueLate
    self.retries = retries
    self.traffic = traffic
    self.servers = servers
  }

  enum CodingKeys: String, CodingKey {
    case name, waiting, queued, retries, traffic, servers
    case queueFull = "queue_full"
    case queueLate = "queue_late"
  }
}

/// GET /v1/figures.
package struct BalancerFigures: Codable, Equatable, Sendable {
  /// Of the monotonic clock, in nanoseconds: what rates are reckoned by.
  package var taken: Int64
  package var listeners: [ListenerFigures]
  package var routes: [RouteFigures]
  package var pools: [PoolFigures]
  package var accessLog: AccessLogFigures

  package init(
    taken: Int64, listeners: [ListenerFigures] = [], routes: [RouteFigures] = [], pools: [PoolFigures] = [],
    accessLog: AccessLogFigures = AccessLogFigures()
  ) {
    self.taken = taken
    self.listeners = listeners
    self.routes = routes
    self.pools = pools
    self.accessLog = accessLog
  }

  enum CodingKeys: String, CodingKey {
    case listeners, routes, pools
    case taken = "taken_ns"
    case accessLog = "access_log"
  }
}

/// Lines since the balancer started.
package struct AccessLogFigures: Codable, Equatable, Sendable {
  package var written: UInt64 = 0
  /// Lost because the ring was full or the line could not be written.
  package var dropped: UInt64 = 0

  package init() {}
}

/// `log.access` of the configuration.
package struct AccessLogConfiguration: Codable, Equatable, Sendable {
  package enum Format: String, Codable, Sendable { case combined, json, hap }
  package enum Target: Codable, Equatable, Sendable {
    case standardOutput
    case syslog
    /// Opened by the agent.
    case file(String)
  }
  package var target: Target
  package var format: Format

  package init(target: Target, format: Format = .combined) {
    self.target = target
    self.format = format
  }
}
