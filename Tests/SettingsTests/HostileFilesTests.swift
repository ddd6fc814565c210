// Files that are no configurations at all, and seeded damage to the samples: no crash, and every error has a place.

import Primitives
import Settings
import Testing

@Suite("Hostile files") struct HostileFilesTests {
  @Test("bytes that are not UTF-8 are located") func notUTF8() {
    #expect(errors([0x61, 0x0a, 0x62, 0xff]) == ["afloat.yaml:2:2: the file is not UTF-8 here (save it as UTF-8)"])
  }

  @Test("a huge file is refused unread") func hugeFile() {
    let text =
      "the file has 1100000 bytes, more than 1 MiB (a configuration is some kilobytes; is this the right file?)"
    #expect(errors([UInt8](repeating: 0x23, count: 1_100_000)) == ["afloat.yaml:1:1: " + text])
  }

  @Test("deep nesting is refused", arguments: [40, 500, 999, 100_000]) func deepNesting(_ depth: Int) {
    let text = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    let lines = errors(text)
    #expect(lines.count == 1)
    #expect(lines[0].hasSuffix("the file nests deeper than 32 levels (nothing here needs more than ten)"))
  }

  @Test("aliases of aliases are refused before they expand") func aliasBomb() {
    var bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    for level in 1..<12 {
      bomb += "a\(level): &a\(level) [" + (0..<9).map { _ in "*a\(level - 1)" }.joined(separator: ",") + "]\n"
    }
    #expect(
      errors(bomb) == [
        "afloat.yaml:12:52: the file has too many YAML aliases (99 aliases of 12 anchors; write values out)"
      ])
  }

  @Test("aliases that expand to too many values are refused") func wideAliases() {
    let list = "a: &a [" + (0..<2000).map { "\($0)" }.joined(separator: ",") + "]\n"
    let uses = "b: [" + (0..<100).map { _ in "*a" }.joined(separator: ",") + "]\n"
    let lines = errors(list + uses)
    #expect(lines.count == 1)
    #expect(lines[0].contains("the file has more than 50000 values (do aliases repeat too much?)"))
  }

  @Test("more than a hundred errors are counted") func manyErrors() {
    let lines = errors((0..<150).map { "key\($0)x: 1\n" }.joined())
    #expect(lines.count == 101)
    #expect(lines.last == "afloat.yaml: and 50 more errors")
  }

  @Test("damaged samples never crash, and every error says where", arguments: Samples.names)
  func damagedSamples(_ name: String) throws {
    let original = try Samples.bytes(name)
    let lineCount = original.filter { $0 == 10 }.count + 2
    var random = SeededRandom(seed: StableHash.hash(name))
    let interesting: [UInt8] = Array("[]{},:&*!|>'\"%@`#?-~<= \n\t\r\u{0}0aé".utf8) + [0x80, 0xff]
    var refused = 0
    for _ in 0..<600 {
      var bytes = original
      for _ in 0...Int(random.next() % 4) {
        let index = Int(random.next() % UInt64(bytes.count))
        switch random.next() % 5 {
        case 0: bytes.remove(at: index)
        case 1: bytes.insert(interesting[Int(random.next() % UInt64(interesting.count))], at: index)
        case 2: bytes[index] = interesting[Int(random.next() % UInt64(interesting.count))]
        case 3:
          let end = min(bytes.count, index + Int(random.next() % 40))
          bytes.insert(contentsOf: bytes[index..<end], at: Int(random.next() % UInt64(bytes.count)))
        default: bytes.removeSubrange(index..<min(bytes.count, index + Int(random.next() % 20)))
        }
        if bytes.isEmpty { bytes = [10] }
      }
      do {
        _ = try Configuration.parse(bytes, file: "f")
      } catch {
        refused += 1
        #expect(!error.problems.isEmpty)
        for problem in error.problems {
          #expect(problem.position.line >= 1 && problem.position.column >= 1)
          #expect(problem.position.line <= lineCount + 200)
          #expect(!problem.message.isEmpty && !problem.message.contains("\n"), "\(problem)")
        }
      }
    }
    #expect(refused > 100, "the damage is too gentle to prove anything")
  }
}
