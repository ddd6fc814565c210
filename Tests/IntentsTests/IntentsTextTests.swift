// The canonical text: what is on disk and on the wire.

import Intents
import Primitives
import Testing

@Suite struct `Text of intents` {
  private let n1 = NodeName("n1")!
  private let n2 = NodeName("n2")!

  @Test func `is what the documentation shows`() throws {
    var intents = Intents()
    try intents.setServer(.drain, "n3", of: "app", author: n1)
    try intents.setDrain(
      DrainIntent(
        reason: "kernel 100 %", sinceUnixNanoseconds: 1_795_219_200_000_000_000, deadlineUnixNanoseconds: 7,
        onDeadline: .force, by: "root@n2", untilReboot: true),
      of: n1, author: n2)
    try intents.setDrain(nil, of: n2, author: n1)
    let lines = """
      drain/n1 1 n2 by=root@n2 deadline=7 on-deadline=force reason=kernel%20100%20%25 since=1795219200000000000 until-reboot=yes
      drain/n2 1 n1 -
      server/app/n3 1 n1 state=drain

      """
    #expect(intents.text == sealed(lines))
    #expect(try Intents(text: intents.text) == intents)
  }

  @Test func `of an empty document never changes`() throws {
    #expect(Intents().text == "afloat-intents 1\nend 0 86213d7ac71eae76\n")
    #expect(try Intents(text: Intents().text) == Intents())
  }

  @Test func `reads back as the same document`() throws {
    for seed in UInt64(0)..<1_000 {
      var random = SeededRandom(seed: seed)
      let intents = randomIntents(&random)
      let again = try Intents(text: intents.text)
      #expect(again == intents, "seed \(seed)")
      #expect(again.digest == intents.digest, "seed \(seed)")
    }
  }

  @Test func `with any byte changed or any tail lost is refused`() throws {
    var random = SeededRandom(seed: 7)
    var intents = Intents()
    while intents.registers.count < 5 { intents = randomIntents(&random) }
    let bytes = Array(intents.text.utf8)
    for index in bytes.indices {
      var damaged = bytes
      damaged[index] ^= UInt8.random(in: 1...255, using: &random)
      guard let text = String(validating: damaged, as: UTF8.self) else { continue }
      #expect(throws: IntentsFault.self, "byte \(index)") { try Intents(text: text) }
    }
    for count in 0..<bytes.count {
      #expect(throws: IntentsFault.self, "\(count) bytes") {
        try Intents(text: String(decoding: bytes[..<count], as: UTF8.self))
      }
    }
  }

  @Test func `garbage between valid words never crashes`() {
    let words = [
      "drain/n1", "server/app/s", "1", "n1", "-", "state=drain", "since=1", "=", "%", "%zz", "reason=%C3", "\n", " ",
    ]
    var accepted = 0
    for seed in UInt64(0)..<5_000 {
      var random = SeededRandom(seed: seed)
      var text = ""
      for _ in 0..<Int.random(in: 0...12, using: &random) { text += words.randomElement(using: &random)! + " " }
      if let intents = try? Intents(text: sealed(text + "\n")) {
        accepted += 1
        #expect(intents.text == sealed(text + "\n"))
      }
    }
    #expect(accepted < 100)
  }

  @Test(arguments: [
    ("drain/n1 1 n2\n", "line 2 of the intents: four words were expected"),
    ("drain/n1 x n2 -\n", "line 2 of the intents: a counter and a node were expected"),
    ("drain/n1 1 n2 reason=x\n", "intent drain/n1: not a drain"),
    ("drain/n1/n2 1 n2 since=1\n", "intent drain/n1/n2: not a drain"),
    ("server/app/s1 1 n1 state=gone\n", "intent server/app/s1: the state is drain, maint or ready"),
    ("server/app/s1 1 n1 state=drain \n", "intent server/app/s1: not a list of fields"),
    ("server/app/s1 1 n1 state=%64rain\n", "intent server/app/s1: not in canonical form"),
    ("drain/n1 1 n2 -\ndrain/n1 2 n2 -\n", "line 3 of the intents: drain/n1 comes twice"),
    ("drain 1 n2 -\n", "not a key of an intent: drain"),
    (
      "drain/n2 1 n2 -\ndrain/n1 2 n2 -\n",
      "the intents are damaged: its digest or count is wrong, or it is not in canonical form"
    ),
  ])
  func `that is wrong says where and why`(_ lines: String, _ message: String) {
    let fault = #expect(throws: IntentsFault.self) { try Intents(text: sealed(lines)) }
    #expect(fault?.description == message)
  }

  @Test func `keeps kinds and fields that a later version wrote`() throws {
    let lines = "server/app/s1 1 n1 later=1 state=maint\nswitch/route 4 n9 to=green\n"
    var intents = try Intents(text: sealed(lines))
    #expect(intents.servers == [ServerName(pool: "app", server: "s1"): .maint])
    #expect(intents.text == sealed(lines))
    try intents.merge(Intents())
    #expect(intents.text == sealed(lines))
  }
}
