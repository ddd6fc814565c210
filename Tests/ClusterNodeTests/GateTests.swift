// What a node says where the kernel gate stands before its VIPs.

import ClusterNode
import Election
import Primitives
import Testing

private let web = VIPIndex(0)

@Suite("Behind the kernel gate")
struct GateStories {
  @Test("a planned handover names the successor at once: the gate is shut first, the address goes later")
  func handover() {
    var bench = Bench(count: 2, gated: true)
    bench.run(.milliseconds(200))
    bench.confirmsAddresses = false
    bench.command(0, .move(web, to: bench.index(1)))
    #expect(bench.nodes[0]!.node.answers(for: web) == true, "while the balancer finishes it still serves")
    bench.clear()
    bench.command(0, .handoverReady(web))
    let own = bench.made.filter { $0.node == 0 }.map(\.effect)
    let shut = own.firstIndex(of: .release(web, cause: .moved(bench.index(1))))
    let told = own.firstIndex(of: .send)
    #expect(shut != nil && told != nil && shut! < told!)
    #expect(bench.holders() == [1])
    #expect(bench.acquisitions().first?.at == bench.now, "without waiting for the address to go")
    bench.command(0, .addressRemoved(web))
    bench.run(.milliseconds(100))
    #expect(bench.holders() == [1])
    bench.command(1, .addressResult(web, ok: true))
    bench.command(1, .move(web, to: bench.index(0)))
    bench.command(1, .handoverReady(web))
    #expect(bench.holders() == [0], "and back")
  }

  @Test(
    "where connections may stay nobody waits for them: they are kept, and the successor passes on what it does not know"
  )
  func keptConnections() {
    var bench = Bench(count: 3, gated: true, keepsConnections: true)
    bench.run(.milliseconds(200))
    bench.clear()
    bench.command(0, .move(web, to: bench.index(1)))
    let own = bench.made.filter { $0.node == 0 }.map(\.effect)
    let kept = own.firstIndex(of: .keepConnections(web, gently: false))
    let shut = own.firstIndex(of: .release(web, cause: .moved(bench.index(1))))
    let told = own.firstIndex(of: .send)
    #expect(kept != nil && shut != nil && told != nil && kept! < shut! && shut! < told!)
    let taken = bench.made.filter { $0.node == 1 }.map(\.effect)
    let passed = taken.firstIndex(of: .passUnknown(web, to: bench.index(0)))
    let acquired = taken.firstIndex(of: .acquire(web, cause: .moved(bench.index(0))))
    #expect(passed != nil && acquired != nil && passed! < acquired!)
    #expect(bench.acquisitions().first?.at == bench.now, "at once")
    // A dead holder keeps nothing.
    bench.run(.milliseconds(100))
    bench.nodes[1] = nil
    bench.clear()
    bench.run(.milliseconds(100))
    #expect(bench.holders() == [0])
    #expect(!bench.made.contains { if case .passUnknown = $0.effect { true } else { false } })
  }

  @Test("a successor that cannot pass on what it does not know is waited for")
  func plainSuccessor() {
    var bench = Bench(count: 2, gated: true, keepsConnections: true)
    var plain = bench.configurations[1]
    plain.vips[0].keepsConnections = false
    var ignored = EffectBuffer()
    bench.nodes[1]!.node.reconfigure(plain, authenticator: PlainAuthenticator(), now: bench.now, effects: &ignored)
    bench.run(.milliseconds(200))
    bench.clear()
    bench.command(0, .move(web, to: bench.index(1)))
    #expect(bench.made.map(\.effect) == [.handoverStarting(web, to: bench.index(1), deadline: .milliseconds(500))])
  }

  @Test("a drained node parts with its connections gently, one that leaves waits for its balancer")
  func gently() {
    var bench = Bench(count: 2, gated: true, keepsConnections: true)
    bench.run(.milliseconds(200))
    bench.clear()
    bench.command(0, .draining(true))
    #expect(bench.made.contains { $0.node == 0 && $0.effect == .keepConnections(web, gently: true) })
    #expect(bench.holders() == [1])
    bench.clear()
    bench.command(0, .draining(false))
    bench.command(1, .shutdown(quieten: true))
    #expect(
      bench.made.contains { $0.effect == .handoverStarting(web, to: bench.index(0), deadline: .milliseconds(500)) })
    #expect(!bench.made.contains { if case .keepConnections = $0.effect { true } else { false } })
  }

  @Test("a node answers from its claim until it lets go")
  func answering() {
    var bench = Bench(count: 2, gated: true)
    #expect(bench.nodes[0]!.node.answers(for: web) == false)
    bench.run(.milliseconds(200))
    #expect(bench.nodes[0]!.node.answers(for: web) && !bench.nodes[1]!.node.answers(for: web))
    bench.command(0, .carrier(up: false))
    #expect(bench.nodes[0]!.node.answers(for: web) == false)
  }

  @Test("a node whose gate has shut by itself answers again only when its peers have echoed it")
  func silenced() {
    var bench = Bench(count: 2, gated: true)
    bench.run(.milliseconds(205))
    bench.clear()
    bench.cut = [[0, 1], [1, 0]]
    bench.command(0, .silenced)
    bench.run(.milliseconds(30))
    #expect(bench.nodes[0]!.node.answers(for: web) == false)
    bench.cut = []
    bench.run(.milliseconds(20))
    #expect(bench.nodes[0]!.node.answers(for: web) == true)
    #expect(bench.holders() == [0])
    bench.clear()
    bench.command(1, .silenced)
    #expect(
      bench.made.filter { $0.node == 1 }.map(\.effect).allSatisfy { $0 == .send }, "there is nothing to let go of")
  }

  @Test("a lone member goes on after a stall: nobody has taken over")
  func lone() {
    var bench = Bench(count: 1, gated: true)
    bench.run(.milliseconds(50))
    bench.clear()
    bench.command(0, .silenced)
    #expect(bench.nodes[0]!.node.answers(for: web) == true)
    #expect(!bench.made.contains { $0.effect == .release(web, cause: .stalled) })
  }

  @Test("whoever wakes after its detection time claims nothing before it has read, whatever woke it")
  func wokenByAnOrder() {
    var bench = Bench(count: 3, gated: true)
    bench.run(.milliseconds(200))
    bench.clear()
    bench.now = bench.now + .milliseconds(100)
    bench.command(0, .intentsDigest(7))
    #expect(bench.made.first?.effect != .send, "it must not claim what others have taken")
    #expect(bench.nodes[0]!.node.answers(for: web) == false)
  }
}
