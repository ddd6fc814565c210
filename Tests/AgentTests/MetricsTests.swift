// GET /metrics: every line is one of the text format, families are whole, histograms add up.

import Control
import Primitives
import Settings
import Testing

@testable import Agent

struct MetricsTests {
  private func sources() throws -> APISources {
    let text = """
      cluster: {name: c, interface: eth0, key: file:k, members: {n1: 192.0.2.11, n2: 192.0.2.12}}
      vips: {web: {addresses: [192.0.2.100/24]}}
      listeners: {web: {bind: ["*:80"], pool: app}}
      pools: {app: {servers: {s1: 192.0.2.21:80}}}
      """
    return APISources(
      node: NodeName("n1")!, version: "1.2", started: APITime(unixNanoseconds: 5_000_000_000),
      configuration: try Configuration.parse(Array(text.utf8), file: "afloat.yaml"), view: NodeView())
  }

  private var figures: BalancerFigures {
    var traffic = TrafficFigures()
    traffic.responses = [0, 5, 1, 2, 3]
    traffic.bytesIn = 100
    traffic.bytesOut = 200
    var counts = [UInt64](repeating: 0, count: LatencyBuckets.count)
    counts[0] = 1
    counts[LatencyBuckets.index(microseconds: 1_000)] = 2
    counts[LatencyBuckets.count - 1] = 4
    traffic.firstByte = LatencyFigures(counts: counts, sumMicroseconds: 1_500_000)
    traffic.total = traffic.firstByte
    return BalancerFigures(
      taken: 1,
      listeners: [
        ListenerFigures(
          name: "we\"b\\", connections: 1, accepted: 2, requests: 11, refused: 0, splicedBytes: 5, traffic: traffic,
          endings: ["server_late": 3])
      ], routes: [RouteFigures(listener: "web", name: "web/0", requests: 4, responses: [0, 4, 0, 0, 0], denied: 1)],
      pools: [
        PoolFigures(
          name: "app", waiting: 0, queued: 0, queueFull: 0, queueLate: 0, retries: 7, traffic: traffic,
          servers: [
            ServerFigures(
              name: "s1", state: .drain, weight: 100, connections: 0, requests: 11, failures: 3, traffic: traffic)
          ])
      ])
  }

  @Test func `every line is a comment or a sample of the family above it`() throws {
    let text = MetricsText(try sources(), figures).description
    var family = ""
    var seen: Set<String> = []
    var samples: Set<String> = []
    for line in text.split(separator: "\n") {
      if line.hasPrefix("# HELP ") { continue }
      if line.hasPrefix("# TYPE ") {
        family = String(line.split(separator: " ")[2])
        #expect(seen.insert(family).inserted, "\(family) comes twice")
        continue
      }
      let sample = try #require(line.wholeMatch(of: #/([a-z0-9_]+)(\{.*\})? (-?[0-9.]+(e-?[0-9]+)?)/#))
      let name = String(sample.1)
      #expect(name == family || ["_bucket", "_sum", "_count"].contains { name == family + $0 }, "\(line)")
      #expect(samples.insert(name + String(sample.2 ?? "")).inserted, "\(line) comes twice")
      #expect(!family.hasSuffix("_total") || text.contains("# TYPE \(family) counter"))
    }
    #expect(text.hasSuffix("\n"))
  }

  @Test func `values are where their labels say`() throws {
    let text = MetricsText(try sources(), figures).description
    for line in [
      "afloat_build_info{version=\"1.2\",node=\"n1\"} 1", "afloat_start_time_seconds 5.0",
      "afloat_member_alive{member=\"n2\"} 0", "afloat_vip_held{vip=\"web\"} 0",
      "afloat_listener_requests_total{listener=\"we\\\"b\\\\\"} 11",
      "afloat_listener_endings_total{listener=\"we\\\"b\\\\\",cause=\"server_late\"} 3",
      "afloat_route_denied_total{listener=\"web\",route=\"web/0\"} 1",
      "afloat_pool_retries_total{pool=\"app\"} 7", "afloat_server_up{pool=\"app\",server=\"s1\"} 0",
      "afloat_server_responses_total{pool=\"app\",server=\"s1\",class=\"5xx\"} 3",
      "afloat_server_bytes_total{pool=\"app\",server=\"s1\",direction=\"out\"} 200",
      "afloat_pool_first_byte_seconds_bucket{pool=\"app\",le=\"0.000128\"} 1",
      "afloat_pool_first_byte_seconds_bucket{pool=\"app\",le=\"0.001024\"} 3",
      "afloat_pool_first_byte_seconds_bucket{pool=\"app\",le=\"67.108864\"} 3",
      "afloat_pool_first_byte_seconds_bucket{pool=\"app\",le=\"+Inf\"} 7",
      "afloat_pool_first_byte_seconds_sum{pool=\"app\"} 1.5", "afloat_pool_first_byte_seconds_count{pool=\"app\"} 7",
    ] {
      #expect(text.contains("\n" + line + "\n"), "\(line)")
    }
  }

  @Test func `without a balancer the node is still described`() throws {
    let text = MetricsText(try sources(), nil).description
    #expect(text.contains("afloat_verdict{verdict="))
    #expect(!text.contains("afloat_listener"))
  }
}
