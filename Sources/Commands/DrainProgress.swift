// What is printed while a drain is watched: on a terminal a block that is rewritten in place, elsewhere a line whenever
// something has changed.

package import Control

package struct DrainProgress {
  package let node: String
  package let isTerminal: Bool
  package let views: Views
  private var linesOnScreen = 0
  private var lastBlocking: [String] = []
  private var hasStarted = false
  private var missing = 0

  package init(node: String, isTerminal: Bool, views: Views) {
    self.node = node
    self.isTerminal = isTerminal
    self.views = views
  }

  /// What to print, and the exit status once the watch is over. `drain` is nil if the agent knows of none.
  package mutating func update(_ drain: APIDrain?, elapsedSeconds: Int64) -> (text: String, exitStatus: Int32?) {
    let name = Words.printable(node)
    guard let drain else {
      // A restarted agent may need a moment to read what it knows.
      missing += 1
      if missing < 10 { return ("", nil) }
      return (erase() + "the drain of \(name) was ended by undrain\n", 1)
    }
    missing = 0
    let time = Words.span(seconds: elapsedSeconds)
    switch drain.phase {
    case .drained: return (erase() + "\(name) is drained (\(time))\n", 0)
    case .deadlinePassed:
      let left = drain.blocking.map { "  " + views.blocker($0) + "\n" }.joined()
      return (erase() + "\(name) was not empty at the deadline (\(time)); still there:\n\(left)", 4)
    case .draining: break
    }
    let blocking = drain.blocking.map { views.blocker($0) }
    if isTerminal {
      let shown = blocking.prefix(12)
      var lines = ["draining \(name), \(time)" + (blocking.isEmpty ? "" : ", waiting for")] + shown.map { "  " + $0 }
      if blocking.count > shown.count { lines.append("  and \(blocking.count - shown.count) more") }
      let text = erase() + lines.map { $0 + "\n" }.joined()
      linesOnScreen = lines.count
      return (text, nil)
    }
    guard blocking != lastBlocking || !hasStarted else { return ("", nil) }
    hasStarted = true
    lastBlocking = blocking
    let waits = blocking.isEmpty ? "" : ", waiting for " + blocking.joined(separator: "; ")
    return ("draining \(name), \(time)\(waits)\n", nil)
  }

  /// Goes back to the start of the block and clears it.
  private mutating func erase() -> String {
    defer { linesOnScreen = 0 }
    return linesOnScreen == 0 ? "" : "\u{1b}[\(linesOnScreen)A\u{1b}[J"
  }

  static func json(_ drain: APIDrain) throws -> String {
    try JSONLine.text(drain)
  }
}
