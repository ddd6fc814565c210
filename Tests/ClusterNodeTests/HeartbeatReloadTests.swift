// Another heartbeat by a rolling reload: nobody is taken for dead, and what the holder holds answers all the time.

import ClusterNode
import Election
import Primitives
import Testing

@Suite("Another heartbeat while nodes run")
struct HeartbeatReloadStories {
  static let spans = [TimeSpan.milliseconds(10), .milliseconds(100), .seconds(1)]
  static let changes = spans.flatMap { old in spans.filter { $0 != old }.map { (old, $0) } }

  @Test("moves nothing and shuts nothing, whoever is first", arguments: changes, [[0, 1, 2], [2, 1, 0]])
  func rolling(change: (TimeSpan, TimeSpan), order: [Int]) {
    var bench = settled(change.0)
    roll(&bench, to: change.1, order)
    #expect(bench.nodes[0]!.node.answeringTime == bench.nodes[0]!.node.detectionTime)
    #expect(bench.nodes[0]!.node.detectionTime == change.1 * 3 + change.1 / 2)
    // And the pace is the new one.
    bench.clear()
    bench.run(change.1 * 4)
    let sent = bench.made.count { $0.node == 0 && $0.effect == .send }
    #expect((3...5).contains(sent), "\(sent) heartbeats in four intervals")
  }

  @Test(
    "takes nobody for dead whom others hear, whoever is first", arguments: changes,
    [[0, 1, 2], [1, 0, 2], [2, 1, 0]])
  func rollingHeardByOthers(change: (TimeSpan, TimeSpan), order: [Int]) {
    var bench = settled(change.0)
    bench.cut = [[0, 2]]
    bench.run(.seconds(5))
    roll(&bench, to: change.1, order)
    // And who dies is given up in the time of the new interval, by both.
    bench.run(max(change.0, change.1) * 4)
    bench.clear()
    bench.nodes[0] = nil
    bench.run(change.1 * 6)
    #expect(bench.deaths == 2 && bench.holders().count == 1)
  }

  /// Three nodes with the heartbeat; the first holds the VIP.
  private func settled(_ heartbeat: TimeSpan) -> Bench {
    var bench = Bench(count: 3, heartbeat: heartbeat, gated: true)
    bench.run(.seconds(30))
    #expect(bench.holders() == [0])
    return bench
  }

  /// One node after another takes the heartbeat; nobody dies, and the holder answers at every moment.
  private func roll(_ bench: inout Bench, to heartbeat: TimeSpan, _ order: [Int]) {
    bench.clear()
    for index in order {
      var changed = bench.configurations[index]
      changed.heartbeat = heartbeat
      bench.reload(index, changed)
      watch(&bench, .milliseconds(700))
    }
    watch(&bench, heartbeat * 8)
    #expect(bench.deaths == 0 && bench.holders() == [0])
  }

  /// Step by step: what the holder answers for is live at every moment.
  private func watch(_ bench: inout Bench, _ span: TimeSpan) {
    let end = bench.now + span
    var dark = 0
    while bench.now < end {
      bench.run(.milliseconds(5))
      if bench.nodes[0]!.node.liveUntil(VIPIndex(0)).map({ $0 < bench.now }) ?? true { dark += 1 }
    }
    #expect(dark == 0, "moments at which the gate was shut")
  }
}
