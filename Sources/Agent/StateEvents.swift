// The durable log of transitions: one JSON object per line in events.jsonl, the newest kept in memory for the API. Written
// on a queue of its own, so that a slow disk delays nothing; at 8 MiB the file becomes events.jsonl.1.

package import Control
internal import Dispatch
internal import FoundationEssentials
internal import Kernel
package import Logging
internal import Synchronization

package final class EventLog: Sendable {
  package static let maximumByteCount = 8 * 1024 * 1024
  /// What the API can show.
  package static let maximumInMemory = 2_000
  /// Events that may wait for the disk; what comes beyond is in memory only, and counted.
  private static let maximumWaiting = 10_000

  private struct Shown {
    var events: [APIEvent] = []
    /// Said by `status` while the log cannot be written.
    var failure: String?
  }

  private let node: String
  private let logger: Logger
  private let shown: Mutex<Shown>
  private let queue = DispatchQueue(label: "events")
  private let waiting = Atomic<Int>(0)
  private let file: LogFile

  /// Reads what is there. A file that cannot be read or written is a warning of `failure`, not an error: the node must serve.
  package init(directory: String, node: String, logger: Logger) {
    self.node = node
    self.logger = logger
    file = LogFile(path: directory + "/events.jsonl")
    var first = Shown()
    do {
      first.events = try file.newest(Self.maximumInMemory)
    } catch { first.failure = "events are not kept: \(error)" }
    shown = Mutex(first)
  }

  package var failure: String? { shown.withLock { $0.failure } }

  /// Oldest first, at most `limit`, not older than `since`.
  package func newest(_ limit: Int, since: APITime? = nil) -> [APIEvent] {
    shown.withLock { shown in
      Array(shown.events.lazy.filter { event in since.map { event.time >= $0 } ?? true }.suffix(max(0, limit)))
    }
  }

  /// Never blocks on the disk.
  package func record(
    _ kind: String, subject: String, cause: String, unixNanoseconds: Int64 = Clock.unixNanoseconds,
    steps: [String: Int64] = [:], level: Logger.Level = .info
  ) {
    let event = APIEvent(
      time: APITime(unixNanoseconds: unixNanoseconds), node: node, kind: kind, subject: subject, cause: cause,
      stepsMilliseconds: steps.mapValues { Double($0 / 1_000) / 1_000 })
    var metadata: Logger.Metadata = ["event": "\(kind)", "subject": "\(subject)"]
    for (step, nanoseconds) in steps { metadata["\(step)_us"] = "\(nanoseconds / 1_000)" }
    logger.log(level: level, "\(kind.replacing("_", with: " ")) \(subject): \(cause)", metadata: metadata)
    shown.withLock { shown in
      shown.events.append(event)
      // In blocks, so that the array is not shifted for every event.
      if shown.events.count > Self.maximumInMemory + 256 {
        shown.events.removeFirst(shown.events.count - Self.maximumInMemory)
      }
    }
    guard waiting.add(1, ordering: .relaxed).newValue <= Self.maximumWaiting else {
      waiting.subtract(1, ordering: .relaxed)
      return
    }
    queue.async { [self] in
      defer { waiting.subtract(1, ordering: .relaxed) }
      do {
        try file.append(event)
        shown.withLock { $0.failure = nil }
      } catch {
        let failure = "events are not kept: \(error)"
        shown.withLock { $0.failure = failure }
      }
    }
  }

  /// Returns when everything recorded before is on the disk, or after `milliseconds`.
  package func flush(milliseconds: Int) {
    let done = DispatchSemaphore(value: 0)
    queue.async { done.signal() }
    _ = done.wait(timeout: .now() + .milliseconds(milliseconds))
  }
}

/// The file; used on the log's queue only, after `newest`.
private final class LogFile: Sendable {
  private struct Open: ~Copyable {
    var descriptor: FileDescriptor?
    var byteCount = 0
  }

  let path: String
  private let state = Mutex(Open())

  init(path: String) { self.path = path }

  /// The last events of the previous file and this one. Lines that are not ours (a torn last line) are skipped. Read from
  /// the end, and no more than is wanted: the election waits for it at the start.
  func newest(_ limit: Int) throws -> [APIEvent] {
    var newestFirst: [APIEvent] = []
    let decoder = JSONDecoder()
    for name in [path, path + ".1"] where newestFirst.count < limit {
      guard let bytes = try Files.readIfThere(name) else { continue }
      var end = bytes.count
      while end > 0, newestFirst.count < limit {
        let start = bytes[..<end].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        if start < end, let event = try? decoder.decode(APIEvent.self, from: Data(bytes[start..<end])) {
          newestFirst.append(event)
        }
        end = start - 1
      }
    }
    return newestFirst.reversed()
  }

  func append(_ event: APIEvent) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    var line = Array(try encoder.encode(event))
    line.append(UInt8(ascii: "\n"))
    try state.withLock { state in
      if state.descriptor == nil {
        let descriptor = try Files.openToAppend(path)
        state.byteCount = try descriptor.size()
        // After a torn line the next one must start afresh; an empty line is skipped by readers.
        if state.byteCount > 0 { line.insert(UInt8(ascii: "\n"), at: 0) }
        state.descriptor = consume descriptor
      }
      try state.descriptor!.writeAll(line)
      try state.descriptor!.synchronize()
      state.byteCount += line.count
      if state.byteCount >= EventLog.maximumByteCount {
        try Files.rename(path, to: path + ".1")
        state.descriptor = nil
        state.byteCount = 0
      }
    }
  }
}
