// Scripts for tests, written by another process: a file that this one had open for writing could not be run while some other
// test forks ("text file busy").

import Foundation
import Testing

enum Scripts {
  static func write(_ path: String, _ text: String) throws {
    try shell("printf '%s\\n' '#!/bin/sh' \"$1\" > \"$0\" && chmod 755 \"$0\"", path, text)
  }

  static func copy(_ source: String, to path: String) throws { try shell("cp \"$1\" \"$0\"", path, source) }

  private static func shell(_ command: String, _ path: String, _ argument: String) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", command, path, argument]
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
  }
}
