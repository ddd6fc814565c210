// The house rules that a compiler does not check: which room may import which, what must not be in lean and pure rooms,
// how long a file may be, and that each one says at its top what it is for. The rules are those of docs/ARCHITECTURE.md.

import Foundation
import Testing

/// One Swift file of the repository.
struct SourceFile: CustomStringConvertible, Sendable {
  let path: String
  let room: String
  let lines: [String]
  var description: String { path }

  /// Modules that it imports, with their line numbers.
  var imports: [(module: String, line: Int)] {
    lines.enumerated().compactMap { index, line in
      let words = line.split(separator: " ").map(String.init)
      guard let keyword = words.firstIndex(of: "import"), keyword + 1 < words.count, keyword <= 2 else { return nil }
      guard
        words[..<keyword].allSatisfy({
          ["package", "internal", "private", "fileprivate"].contains($0) || $0.hasPrefix("@")
        })
      else { return nil }
      let kinds = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
      let name =
        kinds.contains(words[keyword + 1]) && keyword + 2 < words.count ? words[keyword + 2] : words[keyword + 1]
      return (String(name.prefix { $0 != "." }), index + 1)
    }
  }
}

enum Repository {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  static func files(under top: String) -> [SourceFile] {
    let folder = root.appendingPathComponent(top)
    let names = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
    return names.filter { $0.hasSuffix(".swift") }.sorted().map { name in
      let text = (try? String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)) ?? ""
      var lines = text.components(separatedBy: "\n")
      if lines.last == "" { lines.removeLast() }
      return SourceFile(path: "\(top)/\(name)", room: String(name.prefix { $0 != "/" }), lines: lines)
    }
  }

  static let sources = files(under: "Sources")
  static let tests = files(under: "Tests")
}

@Suite("Tidiness") struct TidyTests {
  /// Room → rooms below it that it may import.
  static let plan: [String: Set<String>] = [
    "Primitives": [],
    "Wire": ["Primitives"],
    "Membership": ["Primitives"],
    "Election": ["Primitives", "Membership"],
    "ClusterNode": ["Primitives", "Wire", "Membership", "Election"],
    "Intents": ["Primitives"],
    "Health": ["Primitives"],
    "Balancing": ["Primitives", "Health"],
    "HTTP1": ["Primitives"],
    "ProxyProtocol": ["Primitives"],
    "Patterns": ["CPCRE2"],
    "Routing": ["Primitives", "HTTP1", "Patterns"],
    "Settings": ["Primitives", "Control", "Patterns"],
    "Simulator": ["Primitives", "Wire", "Membership", "Election", "ClusterNode"],
    "Kernel": ["CLinux", "CNetlink", "Primitives"],
    "Gate": ["CGate", "Kernel", "Primitives"],
    "Cryptography": ["COpenSSL", "Primitives", "Wire"],
    "Control": ["Primitives"],
    "Elector": ["Primitives", "Wire", "Membership", "Election", "ClusterNode", "Kernel", "Cryptography", "Control"],
    "Balancer": [
      "Primitives", "HTTP1", "ProxyProtocol", "Patterns", "Routing", "Balancing", "Health", "Kernel", "Control",
    ],
    "Agent": ["Primitives", "Wire", "Intents", "Settings", "Kernel", "Gate", "Cryptography", "Control", "COpenSSL"],
    "Doctor": ["Primitives", "Wire", "Settings", "Kernel", "Gate", "Cryptography", "Control"],
    "Commands": ["Primitives", "Control", "Settings", "Kernel", "Doctor"],
    "afloat": ["Agent", "Commands"],
    "afloat-elector": ["Elector"],
    "afloat-balancer": ["Balancer"],
    "afloat-sim": ["Simulator", "ClusterNode", "Primitives"],
  ]
  /// No I/O, clock, randomness or logger: time and chance come in as arguments.
  static let pure: Set<String> = [
    "Primitives", "Wire", "Membership", "Election", "ClusterNode", "Intents", "Health", "Balancing", "HTTP1",
    "ProxyProtocol", "Routing", "Simulator",
  ]
  /// What the two children are made of: no Foundation, no Swift concurrency runtime of their own, no packages.
  static let lean: Set<String> = [
    "Patterns", "Kernel", "Cryptography", "Control", "Elector", "Balancer", "afloat-elector", "afloat-balancer",
  ]
  static let modulesOfTheSystem: Set<String> = ["Glibc", "Synchronization"]
  /// Packages that a room may use beyond that.
  static let outside: [String: Set<String>] = [
    // Atomics for what is worked out when it is first asked for: the same whoever asks.
    "Balancing": ["Synchronization"],
    "Settings": ["Yams", "FoundationEssentials", "Foundation"],
    "Agent": [
      "Hummingbird", "HTTPTypes", "Logging", "NIOCore", "NIOPosix", "ServiceLifecycle", "FoundationEssentials",
      "Foundation",
      "Dispatch", "UnixSignals",
    ],
    "Doctor": ["FoundationEssentials"],
    "Commands": ["ArgumentParser", "FoundationEssentials", "Foundation"],
    "afloat": ["ArgumentParser"],
    "afloat-sim": [],
  ]

  @Test("every room is in the plan") func everyRoomIsPlanned() {
    let rooms = Set(Repository.sources.map(\.room))
    #expect(rooms.count > 15, "the sources were not found")
    #expect(rooms.subtracting(Self.plan.keys) == [], "rooms that docs/ARCHITECTURE.md and this plan do not know")
  }

  @Test("imports follow the arrows of the plan", arguments: Repository.sources)
  func importsFollowThePlan(_ file: SourceFile) {
    var allowed = (Self.plan[file.room] ?? []).union(Self.outside[file.room] ?? [])
    if !Self.pure.contains(file.room) { allowed.formUnion(Self.modulesOfTheSystem) }
    for (module, line) in file.imports {
      #expect(allowed.contains(module), "\(file.path):\(line): \(file.room) may not import \(module)")
    }
  }

  @Test("Package.swift declares exactly the planned arrows between rooms") func packageDeclaresThePlan() throws {
    let text = try String(contentsOf: Repository.root.appendingPathComponent("Package.swift"), encoding: .utf8)
    for (room, allowed) in Self.plan {
      guard let start = text.range(of: "room(\"\(room)\"") ?? text.range(of: "room(\n      \"\(room)\"") else {
        continue
      }
      var depth = 0
      var declaration = ""
      for character in text[start.lowerBound...] {
        declaration.append(character)
        if character == "(" { depth += 1 }
        if character == ")" {
          depth -= 1
          if depth == 0 { break }
        }
      }
      let names = declaration.split(separator: "\"").enumerated().filter { $0.offset % 2 == 1 }.map {
        String($0.element)
      }
      let rooms = Set(
        names.dropFirst().filter {
          Self.plan[$0] != nil || ["CLinux", "CNetlink", "CGate", "COpenSSL", "CPCRE2"].contains($0)
        })
      #expect(rooms.isSubset(of: allowed), "\(room) declares \(rooms.subtracting(allowed)) beyond the plan")
    }
  }

  @Test("no file is longer than 450 lines", arguments: Repository.sources + Repository.tests)
  func filesAreShort(_ file: SourceFile) {
    #expect(file.lines.count <= 450, "\(file.path) has \(file.lines.count) lines")
  }

  @Test("every file starts with prose that says what it is for", arguments: Repository.sources + Repository.tests)
  func filesStartWithProse(_ file: SourceFile) {
    let prose = file.lines.prefix { $0.hasPrefix("//") }.joined(separator: " ")
    #expect(prose.count >= 15, "\(file.path) starts with \(file.lines.first ?? "nothing")")
  }

  @Test("nothing is left for later in the sources", arguments: Repository.sources + Repository.tests)
  func nothingIsLeftForLater(_ file: SourceFile) {
    let marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]
    for (index, line) in file.lines.enumerated() {
      #expect(!marks.contains { line.contains($0) }, "\(file.path):\(index + 1): \(line)")
    }
  }

  @Test("nothing is public, and no check of the compiler is switched off", arguments: Repository.sources)
  func nothingIsPublic(_ file: SourceFile) {
    for (index, line) in file.lines.enumerated() {
      let code = line.trimmingCharacters(in: .whitespaces)
      #expect(!code.hasPrefix("public ") && !code.hasPrefix("open "), "\(file.path):\(index + 1): use package access")
      #expect(!code.contains("@testable"), "\(file.path):\(index + 1): tests use package access")
    }
  }

  @Test("promises that the compiler cannot check are explained", arguments: Repository.sources)
  func promisesAreExplained(_ file: SourceFile) {
    let promises = ["@unchecked", "nonisolated(unsafe)", "@inline(always)"]
    for (index, line) in file.lines.enumerated() where promises.contains(where: { line.contains($0) }) {
      if line.trimmingCharacters(in: .whitespaces).hasPrefix("//") { continue }
      let around = file.lines[max(0, index - 8)...min(index + 2, file.lines.count - 1)]
      #expect(
        around.contains { $0.contains("//") }, "\(file.path):\(index + 1): needs the invariant or the figure: \(line)")
    }
  }

  @Test("the build keeps its checks") func buildKeepsItsChecks() throws {
    let text = try String(contentsOf: Repository.root.appendingPathComponent("Package.swift"), encoding: .utf8)
    // The ban itself, and the only place that names it: overflow and bounds are checked in release builds too.
    #expect(!text.contains("-Ounchecked"))
    #expect(text.contains(".treatAllWarnings(as: .error)"))
    #expect(text.contains(".swiftLanguageMode(.v6)"))
  }

  @Test("documents and samples that the README names are there") func documentsAreThere() throws {
    let readme = try String(contentsOf: Repository.root.appendingPathComponent("README.md"), encoding: .utf8)
    let links = readme.components(separatedBy: "](").dropFirst().map { String($0.prefix { $0 != ")" && $0 != "#" }) }
    let local = links.filter { !$0.isEmpty && !$0.contains("://") }
    #expect(!local.isEmpty)
    for link in local {
      #expect(
        FileManager.default.fileExists(atPath: Repository.root.appendingPathComponent(link).path),
        "README links to \(link)")
    }
  }
}
