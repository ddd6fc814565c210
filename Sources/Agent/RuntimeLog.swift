// Log lines to standard error, as text or JSON. Written on a queue of their own: a reader of the other end that has stopped
// (a full pipe, a stuck journal) must not stop supervision, so lines are dropped and counted instead.

package import Control
internal import Dispatch
internal import Glibc
internal import Kernel
package import Logging
internal import Settings
internal import Synchronization

package enum LogFormat: String, Sendable { case text, json }

/// What of the lines is written, and how; a reload may change it.
package struct LogStyle: Equatable, Sendable {
  package var level: Logger.Level
  package var format: LogFormat

  package init(level: Logger.Level = .info, format: LogFormat = .text) {
    self.level = level
    self.format = format
  }

  init(_ settings: Configuration.Log) {
    level = Logger.Level(rawValue: settings.level.rawValue) ?? .info
    format = LogFormat(rawValue: settings.format.rawValue) ?? .text
  }
}

/// Where lines go, in order.
package final class LogSink: Sendable {
  /// Lines that may wait to be written; what comes beyond is dropped.
  private static let maximumWaiting = 10_000

  private let queue = DispatchQueue(label: "log")
  private let waiting = Atomic<Int>(0)
  private let dropped = Atomic<Int>(0)
  private let descriptor: Int32
  private let currentStyle = Mutex(LogStyle())

  package init(descriptor: Int32 = 2) { self.descriptor = descriptor }

  package var style: LogStyle {
    get { currentStyle.withLock { $0 } }
    set { currentStyle.withLock { $0 = newValue } }
  }

  package func write(_ line: String) {
    guard waiting.add(1, ordering: .relaxed).newValue <= Self.maximumWaiting else {
      waiting.subtract(1, ordering: .relaxed)
      dropped.add(1, ordering: .relaxed)
      return
    }
    queue.async { [self] in
      let lost = dropped.exchange(0, ordering: .relaxed)
      if lost > 0 { put("(\(lost) log lines dropped: nobody read them)\n") }
      put(line + "\n")
      waiting.subtract(1, ordering: .relaxed)
    }
  }

  /// Returns when what was written before has gone out, or after `milliseconds`.
  package func flush(milliseconds: Int) {
    let done = DispatchSemaphore(value: 0)
    queue.async { done.signal() }
    _ = done.wait(timeout: .now() + .milliseconds(milliseconds))
  }

  private func put(_ text: String) {
    let bytes = Array(text.utf8)
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + written, $0.count - written) }
      if count < 0, errno == EINTR { continue }
      // Standard error may be non-blocking or gone; a line lost there is not worth more.
      if count <= 0 { return }
      written += count
    }
  }
}

/// swift-log's handler over a `LogSink`, in its style.
package struct LineLogHandler: LogHandler {
  private let label: String
  private let sink: LogSink
  /// Of this logger alone; the sink's level holds for all.
  private var ownLevel = Logger.Level.trace
  package var metadata: Logger.Metadata = [:]
  package var metadataProvider: Logger.MetadataProvider?

  package init(label: String, sink: LogSink) {
    self.label = label
    self.sink = sink
  }

  package var logLevel: Logger.Level {
    get { max(ownLevel, sink.style.level) }
    set { ownLevel = newValue }
  }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  package func log(event: LogEvent) {
    var all = metadata
    if let extra = event.metadata { all.merge(extra) { $1 } }
    sink.write(
      Self.line(
        time: APITime(unixNanoseconds: Clock.unixNanoseconds), level: event.level, label: label,
        message: "\(event.message)", metadata: all.map { ($0.key, "\($0.value)") }.sorted { $0.0 < $1.0 },
        format: sink.style.format))
  }

  package static func line(
    time: APITime, level: Logger.Level, label: String, message: String, metadata: [(String, String)], format: LogFormat
  ) -> String {
    switch format {
    case .text:
      let pairs = metadata.map { " \($0.0)=\(needsQuotes($0.1) ? quoted($0.1) : $0.1)" }.joined()
      return "\(time) \(level) \(label): \(printable(message))\(pairs)"
    case .json:
      let pairs = metadata.map { ",\(quoted($0.0)):\(quoted($0.1))" }.joined()
      return
        "{\"time\":\"\(time)\",\"level\":\"\(level)\",\"source\":\(quoted(label)),\"message\":\(quoted(message))\(pairs)}"
    }
  }

  private static func needsQuotes(_ text: String) -> Bool {
    text.isEmpty || text.utf8.contains { $0 <= 32 || $0 == 34 || $0 == 61 || $0 == 127 }
  }

  /// One line stays one line, whatever is in it.
  private static func printable(_ text: String) -> String {
    text.utf8.contains { $0 < 32 } ? String(quoted(text).dropFirst().dropLast()) : text
  }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 32:
        let hex = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
