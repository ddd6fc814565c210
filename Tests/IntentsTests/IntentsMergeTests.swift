// The laws of the merge, over seeds, and the rules of writing.

import Intents
import Primitives
import Testing

/// A document as a node may have it: random writes of a few registers by a few authors.
func randomIntents(_ random: inout SeededRandom, writes: Int = 12) -> Intents {
  var intents = Intents()
  let nodes = ["n1", "n2", "n3"].map { NodeName($0)! }
  for _ in 0..<Int.random(in: 0...writes, using: &random) {
    let author = nodes.randomElement(using: &random)!
    let node = nodes.randomElement(using: &random)!
    switch Int.random(in: 0..<4, using: &random) {
    case 0: try! intents.setDrain(nil, of: node, author: author)
    case 1:
      let drain = DrainIntent(
        reason: ["", "kernel", "100 % müde = ja", "-"].randomElement(using: &random)!,
        sinceUnixNanoseconds: Int64.random(in: 0...(1 << 60), using: &random),
        deadlineUnixNanoseconds: Bool.random(using: &random) ? 5 : nil,
        onDeadline: Bool.random(using: &random) ? .fail : .force, by: "root@\(author)",
        untilReboot: Bool.random(using: &random))
      try! intents.setDrain(drain, of: node, author: author)
    default:
      try! intents.setServer(
        [.ready, .drain, .maint].randomElement(using: &random)!, "s\(Int.random(in: 1...3, using: &random))", of: "app",
        author: author)
    }
  }
  return intents
}

private func merged(_ left: Intents, _ right: Intents) -> Intents {
  var result = left
  try! result.merge(right)
  return result
}

@Suite struct `Merging intents` {
  @Test func `is commutative, associative and idempotent`() {
    for seed in UInt64(0)..<2_000 {
      var random = SeededRandom(seed: seed)
      let (a, b, c) = (randomIntents(&random), randomIntents(&random), randomIntents(&random))
      #expect(merged(a, b) == merged(b, a), "seed \(seed)")
      #expect(merged(merged(a, b), c) == merged(a, merged(b, c)), "seed \(seed)")
      #expect(merged(a, a) == a, "seed \(seed)")
      #expect(merged(merged(a, b), b) == merged(a, b), "seed \(seed)")
      #expect(merged(a, b).digest == merged(b, a).digest, "seed \(seed)")
    }
  }

  @Test func `parts merged in any order give the whole`() {
    for seed in UInt64(0)..<100 {
      var random = SeededRandom(seed: seed)
      var whole = Intents()
      for index in 0..<120 {
        let drain = DrainIntent(
          reason: String(repeating: "x", count: Int.random(in: 0...200, using: &random)), sinceUnixNanoseconds: 1,
          by: "root@n1")
        try! whole.setDrain(drain, of: NodeName("node-\(index)")!, author: NodeName("n1")!)
      }
      let parts = whole.parts(maximumByteCount: 4096).shuffled(using: &random)
      #expect(parts.count > 3)
      var result = Intents()
      for part in parts {
        #expect(part.text.utf8.count <= 4096)
        try! result.merge(part)
      }
      #expect(result == whole)
    }
  }

  @Test func `names exactly the keys that changed`() throws {
    var left = Intents()
    var right = Intents()
    let (n1, n2) = (NodeName("n1")!, NodeName("n2")!)
    try left.setServer(.drain, "s1", of: "app", author: n1)
    try right.setServer(.maint, "s1", of: "app", author: n2)
    try right.setServer(.drain, "s2", of: "app", author: n2)
    #expect(try left.merge(right) == ["server/app/s1", "server/app/s2"])
    #expect(try left.merge(right) == [])
    #expect(try right.merge(left) == [])
    #expect(left.servers == [.init(pool: "app", server: "s1"): .maint, .init(pool: "app", server: "s2"): .drain])
  }

  @Test func `a later clearing wins over an earlier drain that comes back from a node that was away`() throws {
    let (n1, n2) = (NodeName("n1")!, NodeName("n2")!)
    var here = Intents()
    try here.setDrain(DrainIntent(reason: "", sinceUnixNanoseconds: 1, by: "a"), of: n1, author: n2)
    let away = here
    try here.setDrain(nil, of: n1, author: n1)
    try here.merge(away)
    #expect(here.drain(of: n1) == nil)
    #expect(here.drains.isEmpty)
    var returned = away
    try returned.merge(here)
    #expect(returned == here)
  }
}

@Suite struct `Bounds of intents` {
  private let n1 = NodeName("n1")!

  @Test func `a counter at the limit is refused instead of overflowing`() throws {
    let line = "server/app/s1 \(Intents.maximumCounter) n1 state=drain\n"
    var intents = try Intents(text: sealed(line))
    #expect(throws: IntentsFault.counterTooHigh(key: "server/app/s1", counter: Intents.maximumCounter)) {
      try intents.setServer(.ready, "s1", of: "app", author: n1)
    }
    #expect(throws: IntentsFault.counterTooHigh(key: "server/app/s1", counter: Intents.maximumCounter + 1)) {
      try Intents(text: sealed("server/app/s1 \(Intents.maximumCounter + 1) n1 state=drain\n"))
    }
    #expect(throws: IntentsFault.counterTooHigh(key: "server/app/s1", counter: 0)) {
      try Intents(text: sealed("server/app/s1 0 n1 state=drain\n"))
    }
  }

  @Test func `a peer cannot make a counter jump far`() throws {
    var intents = Intents()
    let far = Intents.maximumCounterStep + 1
    let poisoned = try Intents(text: sealed("server/app/s1 \(far) n1 state=drain\n"))
    #expect(throws: IntentsFault.counterJump(key: "server/app/s1", from: 0, to: far)) { try intents.admit(poisoned) }
    #expect(intents == Intents())
    try intents.setServer(.drain, "s1", of: "app", author: n1)
    try intents.admit(poisoned)
    #expect(intents == poisoned)
  }

  @Test func `too many registers are refused as a whole`() throws {
    var full = Intents()
    for index in 0..<Intents.maximumRegisterCount {
      try full.setServer(.drain, "s\(index)", of: "app", author: n1)
    }
    let before = full
    #expect(throws: IntentsFault.tooManyRegisters(limit: Intents.maximumRegisterCount)) {
      try full.setServer(.drain, "more", of: "app", author: n1)
    }
    var other = Intents()
    try other.setServer(.maint, "s1", of: "app", author: n1)
    try other.setServer(.maint, "more", of: "app", author: n1)
    #expect(throws: IntentsFault.tooManyRegisters(limit: Intents.maximumRegisterCount)) { try full.merge(other) }
    #expect(full == before)
    try full.setServer(.ready, "s1", of: "app", author: n1)
    #expect(try Intents(text: full.text) == full)
  }

  @Test(arguments: [String(repeating: "x", count: 201), "line\nbreak", "bell\u{7}"])
  func `long and unprintable reasons are refused`(_ reason: String) {
    var intents = Intents()
    #expect(throws: IntentsFault.self) {
      try intents.setDrain(DrainIntent(reason: reason, sinceUnixNanoseconds: 1, by: "a"), of: n1, author: n1)
    }
    #expect(intents == Intents())
  }

  @Test(arguments: ["a/b", "", " ", "..", "ä"]) func `names of servers follow the rule`(_ name: String) {
    var intents = Intents()
    #expect(throws: IntentsFault.invalidKey("server/app/\(name)")) {
      try intents.setServer(.drain, name, of: "app", author: n1)
    }
  }
}

/// A text with these lines and a right last line.
func sealed(_ lines: String) -> String {
  let body = "afloat-intents 1\n" + lines
  let digits = String(StableHash.hash(body.utf8), radix: 16)
  let count = lines.split(separator: "\n").count
  return body + "end \(count) " + String(repeating: "0", count: 16 - digits.count) + digits + "\n"
}
