// `afloat top`: rates and quantiles from two looks, and the tables that show them.

import Commands
import Control
import Testing

@Suite("Top") struct TopTests {
  private func makeTraffic(_ responses: [UInt64], bytes: UInt64, buckets: [UInt64]) -> TrafficFigures {
    var traffic = TrafficFigures()
    traffic.responses = responses
    traffic.bytesIn = bytes
    traffic.bytesOut = 10 * bytes
    traffic.firstByte.buckets = buckets
    traffic.firstByte.count = stride(from: 1, to: buckets.count, by: 2).reduce(0) { $0 + buckets[$1] }
    traffic.total = traffic.firstByte
    return traffic
  }

  private func figures(_ second: Int64, requests: UInt64, failed: UInt64, buckets: [UInt64]) -> BalancerFigures {
    let traffic = makeTraffic([0, requests - failed, 0, 0, failed], bytes: requests * 100, buckets: buckets)
    return BalancerFigures(
      taken: second * 1_000_000_000,
      listeners: [
        ListenerFigures(
          name: "web", connections: 3, accepted: requests / 2, requests: requests, refused: 0, splicedBytes: 0,
          traffic: traffic,
          endings: failed > 0 ? ["server_late": failed] : [:])
      ],
      pools: [
        PoolFigures(
          name: "app", waiting: 2, queued: 4, queueFull: 1, queueLate: 2, retries: failed, traffic: traffic,
          servers: [
            ServerFigures(
              name: "s1", state: .up, weight: 100, connections: 1, requests: requests, failures: failed,
              traffic: traffic),
            ServerFigures(
              name: "s2", state: .down, weight: 100, connections: 0, requests: 0, failures: 0,
              traffic: TrafficFigures()),
          ])
      ])
  }

  private var status: APIStatus {
    APIStatus(
      verdict: .ok, reasons: [], cluster: "c", node: "n1", version: "1",
      vips: [
        APIVIP(name: "web", addresses: [], interface: "e", holder: "n1", since: nil, cause: "")
      ])
  }

  private var top: TopFigures {
    // Buckets 60 and 70 begin at 6,144 and 14,336 µs.
    TopFigures(
      status, from: figures(10, requests: 1_000, failed: 0, buckets: [60, 1_000]),
      to: figures(12, requests: 1_500, failed: 10, buckets: [60, 1_000, 70, 500]), time: APITime(unixNanoseconds: 0))
  }

  @Test("rates are those of the interval, and so are quantiles") func interval() throws {
    let web = top.listeners[0]
    #expect(top.intervalSeconds == 2)
    #expect(web.acceptedPerSecond == 125)
    #expect(web.traffic.requestsPerSecond == 250)
    #expect(web.traffic.responsesPerSecond == [0, 245, 0, 0, 5])
    #expect(web.traffic.bytesInPerSecond == 25_000)
    #expect(web.endingsPerSecond == ["server_late": 5])
    let p50 = try #require(web.traffic.firstByteMilliseconds.p50)
    #expect(p50 >= Double(LatencyBuckets.start(70)) / 1_000 && p50 <= Double(LatencyBuckets.start(71)) / 1_000)
    #expect(top.pools[0].servers[1].traffic.firstByteMilliseconds.p50 == nil)
    #expect(top.pools[0].retriesPerSecond == 5)
  }

  @Test("a balancer that was started anew makes no negative rates") func restart() {
    let top = TopFigures(
      status, from: figures(10, requests: 1_000, failed: 5, buckets: [60, 1_000]),
      to: figures(11, requests: 20, failed: 1, buckets: [70, 20]), time: APITime(unixNanoseconds: 0))
    #expect(top.listeners[0].traffic.requestsPerSecond == 20)
    #expect(top.listeners[0].traffic.responsesPerSecond == [0, 19, 0, 0, 1])
  }

  @Test("the tables") func tables() {
    let text = Views(style: Style(isColoured: false), now: APITime(unixNanoseconds: 0)).top(top)
    #expect(text.hasPrefix("n1: OK, 1970-01-01T00:00:00.000Z, over 2.0 s\nVIP web: n1\n\nLISTENER  CONN  NEW/S  REQ/S"))
    let lines = text.split(separator: "\n").map(String.init)
    #expect(lines.contains { $0.hasPrefix("web") && $0.contains("250") && $0.hasSuffix("server_late 5.0") })
    #expect(lines.contains { $0.hasPrefix("app          1 of 2 up") && $0.contains("  2  ") })
    #expect(lines.contains { $0.hasPrefix("  s2         down") && $0.contains(#/- +- +-$/#) })
  }

  @Test("a holder that others hear only is not painted as one that is heard") func hearsay() {
    var shown = top
    shown.vips[0].holderToldBy = "n2"
    let views = Views(style: Style(isColoured: true), now: APITime(unixNanoseconds: 0))
    #expect(views.top(top).contains("VIP web: \u{1b}[32mn1"))
    #expect(views.top(shown).contains("VIP web: \u{1b}[33mn1"))
  }

  @Test("pools in full say what their clients went through") func pools() {
    let pool = APIPool(
      name: "app",
      servers: [
        APIServer(
          name: "s1", address: "192.0.2.21:80", state: .up, weight: 100, connections: 1, requests: 1_500, failures: 10,
          lastCheck: "200 in 1 ms", requestsPerSecond: 12.34)
      ])
    let views = Views(style: Style(isColoured: false), now: APITime(unixNanoseconds: 0))
    let text = views.pools([pool], figures(12, requests: 1_500, failed: 10, buckets: [60, 1_000, 70, 500]))
    #expect(text.contains("POOL/SERVER  ADDRESS        STATE  WEIGHT  CONNECTIONS  REQ/S  REQUESTS  5XX  FAILURES"))
    #expect(text.contains("app/s1       192.0.2.21:80  up        100            1   12.3      1500   10        10"))
    #expect(
      text.contains(
        "pool app: 2 clients waiting for a server now, 4 had to wait (1 turned away because too many did, 2 after too long), "
          + "10 sent again after a server failed them"))
    #expect(views.pools([pool], nil).contains("12.3      1500    -        10    -    -  200 in 1 ms"))
  }
}
