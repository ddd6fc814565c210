// What the tests of the settings share: small files that are right, and the repository's samples.

import Foundation
import Settings
import Testing

/// The lines of errors that `text` causes; empty if it is accepted.
func errors(_ text: String) -> [String] { errors(Array(text.utf8)) }

func errors(_ bytes: [UInt8]) -> [String] {
  do {
    _ = try Configuration.parse(bytes, file: "afloat.yaml")
    return []
  } catch {
    return error.lines
  }
}

func parse(_ text: String) throws -> Configuration { try Configuration.parse(Array(text.utf8), file: "afloat.yaml") }

enum Samples {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("cluster")

  static let names =
    (try? FileManager.default.contentsOfDirectory(atPath: folder.path))?.filter { $0.hasSuffix(".yaml") }.sorted() ?? []

  static func bytes(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: folder.appendingPathComponent(name)))
  }
}

/// A cluster that is right; tests append to it.
let cluster = """
  cluster:
    name: zone-a
    interface: eth0
    key: file:cluster.key
    members: {n1: 192.0.2.11, n2: 192.0.2.12, n3: 192.0.2.13}

  """

/// Listener and pool that are right.
let web = """
  listeners:
    web: {bind: ["*:80"], pool: app}
  pools:
    app: {servers: {s1: "192.0.2.21:8080"}}

  """
