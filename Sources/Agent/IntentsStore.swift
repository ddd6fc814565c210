// The intents of this node: in memory for readers, and on the disk (STATE_DIR/intents) before a write is acknowledged.

package import Intents
internal import Kernel
internal import Synchronization

package final class IntentsStore: Sendable {
  private struct Current {
    var intents = Intents()
    var warning: String?
    /// Set while what is on the disk must not be overwritten.
    var refusal: String?
  }

  package let path: String
  private let current: Mutex<Current>
  /// Held while a write is on its way to the disk, so that readers never wait for it.
  private let writing = Mutex(())

  /// Reads what is there. A damaged file is never guessed at: it is renamed to `intents.damaged`, `warning` says so, and the
  /// document starts empty until a peer's arrives.
  package init(directory: String) {
    path = directory + "/intents"
    var first = Current()
    do {
      if let bytes = try Files.readIfThere(path, limit: Intents.maximumTextByteCount) {
        guard let text = String(validating: bytes, as: UTF8.self) else {
          throw IntentsFault.damaged(why: "it is not UTF-8")
        }
        first.intents = try Intents(text: text)
      }
    } catch {
      let aside = path + ".damaged"
      do {
        try Files.rename(path, to: aside)
        first.warning =
          "what operators asked for could not be read (\(error)); kept as \(aside), starting without it until a peer has it"
      } catch let other {
        first.warning = "what operators asked for can neither be read (\(error)) nor put aside (\(other))"
        first.refusal = "\(path) cannot be read (\(error)): repair or remove it, then restart the agent"
      }
    }
    current = Mutex(first)
  }

  package var intents: Intents { current.withLock { $0.intents } }

  /// For `status`; nil when all is well.
  package var warning: String? { current.withLock { $0.warning } }

  /// Changes the document, on the disk first, and returns it. Waits for the disk: not for a thread that must not block.
  /// Throws `IntentsFault` or `SystemError`; then nothing has changed.
  @discardableResult
  package func update(_ change: (inout Intents) throws -> Void) throws -> Intents {
    try writing.withLock { _ in
      let (before, refusal) = current.withLock { ($0.intents, $0.refusal) }
      var after = before
      try change(&after)
      if after == before { return before }
      if let refusal { throw IntentsFault.damaged(why: refusal) }
      let text = Array(after.text.utf8)
      guard text.count <= Intents.maximumTextByteCount else {
        throw IntentsFault.damaged(why: "it would be longer than \(Intents.maximumTextByteCount) bytes")
      }
      try Files.replace(path, with: text, mode: 0o600)
      current.withLock { $0.intents = after }
      return after
    }
  }
}
